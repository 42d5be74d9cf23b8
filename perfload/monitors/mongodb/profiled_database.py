"""One database while it is profiled: its profiler's level, its entries, and what of both cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfload.monitors.base import Finding, Found, Measurement
from perfload.monitors.mongodb.connection import UNAUTHORIZED, reason_in
from perfload.monitors.mongodb.operations import OperationTable
from perfload.monitors.mongodb.profile_lease import ProfilerLease
from perfload.monitors.mongodb.profile_level import Mode, read_settings
from perfload.monitors.mongodb.profile_tail import ProfileTail, Tailed
from perfload.monitors.mongodb.shapes import cut

if TYPE_CHECKING:
    from pymongo.database import Database

MAX_LABEL_CHARS = 64


class ProfiledDatabase:
    """Raises pymongo's errors where the connection fails; what is refused becomes a reason."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        *,
        slow_ms: float,
        server: str,
        server_version: tuple[int, ...],
        notes: Path,
    ) -> None:
        self._database = database
        self._label = f"[{cut(database.name, MAX_LABEL_CHARS)}]"
        self._slow_ms = slow_ms
        self._lease = ProfilerLease(database, server=server, server_version=server_version, notes=notes)
        self._tail = ProfileTail(database)
        self._not_set = ""
        self._not_read = ""

    def start(self, mode: Mode) -> Finding:
        """Set the profiler and skip old entries; return what came of it."""
        self._not_set = self._lease.take(mode, self._slow_ms)
        self._not_read = self._refused(self._tail.start) or ""
        found = self._lease.found
        return Finding(
            "profiler",
            {
                "database": cut(self._database.name),
                "mode": mode,
                "slow_ms": self._slow_ms,
                "found_level": found.level if found else None,
                "is_set": self._lease.is_held,
                "reason": cut(self._not_set),
                "cleared_up": self._lease.cleared_up,
            },
        )

    def read(
        self, at_s: float, *, previous_s: float | None, table: OperationTable, is_last: bool = False
    ) -> Found:
        """Add the entries since the last time to `table`; return level and rates."""
        level, level_reason = self._level()
        tailed = Tailed([])
        if not self._not_read:
            tailed = self._entries(is_last)
        for entry in tailed.entries:
            table.add(entry, from_s=previous_s if previous_s is not None else at_s)
        unread = self._not_read or (level_reason if level == 0 else "")
        found = [
            Measurement(
                f"profile_level{self._label}", "level", level, "" if level is not None else level_reason
            ),
            Measurement(
                f"profile_lost_entries{self._label}",
                "operations",
                None if unread or tailed.lost else 0.0,
                unread or tailed.lost,
            ),
        ]
        if previous_s is not None and at_s > previous_s:
            found += self._rates(tailed, unread or tailed.lost, at_s - previous_s)
        return found

    def give_back(self) -> str:
        """Put the profiler back; return in words what was done."""
        return self._lease.give_back()

    def _level(self) -> tuple[float | None, str]:
        from pymongo.errors import OperationFailure

        try:
            level = read_settings(self._database).level
        except OperationFailure as error:
            return None, self._not_set or f"the profiler's level cannot be read: {reason_in(error)}"
        if level == 0:
            return 0.0, self._not_set or "the profiler is off: somebody else has set it so"
        return float(level), ""

    def _entries(self, is_last: bool) -> Tailed:
        from pymongo.errors import OperationFailure

        try:
            return self._tail.read(is_last=is_last)
        except OperationFailure as error:
            self._not_read = _right_to_read(error, self._database.name)
            return Tailed([])

    def _refused(self, action: Any) -> str:
        from pymongo.errors import OperationFailure

        try:
            action()
        except OperationFailure as error:
            return _right_to_read(error, self._database.name)
        return ""

    def _rates(self, tailed: Tailed, unread: str, seconds: float) -> list[Measurement]:
        times_ms = [entry.get("millis", 0) for entry in tailed.entries]
        slow = sum(1 for time_ms in times_ms if time_ms >= self._slow_ms)
        slow_per_s: float | None = slow / seconds
        ms_per_s: float | None = sum(times_ms) / seconds
        if unread:
            slow_per_s = ms_per_s = None
        return [
            Measurement(f"slow_operations_per_s{self._label}", "operations/s", slow_per_s, unread),
            Measurement(f"profiled_ms_per_s{self._label}", "ms/s", ms_per_s, unread),
        ]


def _right_to_read(error: Exception, database: str) -> str:
    if getattr(error, "code", None) == UNAUTHORIZED:
        return f"reading system.profile needs the role clusterMonitor, or dbAdmin on {database}"
    return f"system.profile cannot be read: {reason_in(error)}"
