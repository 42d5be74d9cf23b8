"""What is new in the slow log: how many commands, and which ones, without what they were called with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.redis.info import Fields

METRIC = ("slow_commands_per_s", "commands/s")

MAX_FETCHED = 32
MARGIN = 16
"""Entries that may come between the two questions, and stand before those that are wanted."""
MAX_FOUND_PER_READ = 10
MAX_FOUND = 500
"""Of one run; the rate goes on counting all of them."""

OWN_COMMANDS = frozenset({"INFO", "SLOWLOG", "LATENCY", "CONFIG", "CLIENT", "AUTH"})
"""What perfload itself sends."""

_COMMAND = re.compile(rb"[A-Za-z][A-Za-z0-9._-]{0,39}")
_LEFT_OUT = re.compile(rb"\.\.\. \((\d{1,9}) more arguments\)")
_LATEST_TIME_S = 4_102_444_800
"""The year 2100: no clock of a server is later."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of SLOWLOG GET."""

    number: int
    at_s: int
    duration_us: int
    command: str
    arguments: int
    client: bytes

    @classmethod
    def parse(cls, entry: Any) -> Entry:
        """Return what `entry` says; raises `MonitorUnavailable` if it is of another form."""
        try:
            identity, at_s, duration_us, words = entry[:4]
            values = (int(identity), int(at_s), int(duration_us))
            name = words[0].upper() if _COMMAND.fullmatch(words[0]) else b"?"
            count = len(words) - 1
            # Redis keeps 32 words; in place of the last it says how many more there were.
            if more := _LEFT_OUT.fullmatch(words[-1]):
                count += int(more[1]) - 1
            client = entry[5] if len(entry) > 5 else b""
        except (TypeError, ValueError, IndexError):
            raise MonitorUnavailable("SLOWLOG GET is answered in an unknown form") from None
        if not (0 <= values[1] <= _LATEST_TIME_S and values[2] >= 0):
            raise MonitorUnavailable("SLOWLOG GET tells of an impossible time")
        return cls(*values, command=name.decode("ascii"), arguments=count, client=client)


class SlowLog:
    """Follows the slow log by the numbers of its entries, which rise by one each."""

    def __init__(self) -> None:
        self._before: tuple[float, int] | None = None
        self._found = 0

    def look(
        self,
        at_s: float,
        latest: Any,
        settings: Fields,
        *,
        own_name: str,
        fetch: Callable[[int], Any],
    ) -> Found:
        """Return the rate and the new entries.

        `latest` is the answer to SLOWLOG GET 1, `fetch(n)` asks for the n latest: entries hold users' data,
        so they are not moved around at each read.
        """
        try:
            if isinstance(latest, MonitorUnavailable):
                raise latest
            if not isinstance(latest, list):
                raise MonitorUnavailable("SLOWLOG GET is answered in an unknown form")
            _check_that_it_is_on(settings)
            return self._look(at_s, latest, own_name, fetch)
        except MonitorUnavailable as error:
            return [Measurement(*METRIC, None, error.message)]

    def _look(
        self, at_s: float, latest: Sequence[Any], own_name: str, fetch: Callable[[int], Any]
    ) -> list[Measurement | Finding]:
        before, newest = self._before, Entry.parse(latest[0]).number if latest else None
        if before is None:
            self._before = (at_s, -1 if newest is None else newest)
            return []
        before_s, before_number = before
        # An empty log was emptied by hand: the numbers go on from where they were.
        self._before = (at_s, before_number if newest is None else newest)
        gained = self._before[1] - before_number
        if gained < 0 or at_s <= before_s:
            raise MonitorUnavailable("the slow log begins anew: the server was restarted")
        entries = self._fetched(fetch(min(gained, MAX_FETCHED) + MARGIN), before_number) if gained else []
        others = [entry for entry in entries if not _is_own(entry, own_name)]
        count = gained - (len(entries) - len(others))
        return [Measurement(*METRIC, count / (at_s - before_s)), *self._findings(others)]

    def _fetched(self, answer: Any, after: int) -> list[Entry]:
        if isinstance(answer, MonitorUnavailable):
            raise answer
        if not isinstance(answer, list):
            raise MonitorUnavailable("SLOWLOG GET is answered in an unknown form")
        entries = [Entry.parse(entry) for entry in answer[: MAX_FETCHED + MARGIN]]
        # Entries that came since `latest` was asked for belong to the next read.
        last = self._before[1] if self._before else after
        return [entry for entry in entries if after < entry.number <= last]

    def _findings(self, entries: Sequence[Entry]) -> list[Finding]:
        longest = sorted(entries, key=lambda entry: -entry.duration_us)
        shown = longest[: min(MAX_FOUND_PER_READ, MAX_FOUND - self._found)]
        self._found += len(shown)
        return [
            Finding(
                "slow_command",
                {
                    "command": entry.command,
                    "arguments": entry.arguments,
                    "duration_us": entry.duration_us,
                },
                at_s=float(entry.at_s),
            )
            for entry in sorted(shown, key=lambda entry: entry.number)
        ]


def _check_that_it_is_on(settings: Fields) -> None:
    if settings.get("slowlog-log-slower-than", "0").startswith("-"):
        raise MonitorUnavailable("the slow log is off: CONFIG SET slowlog-log-slower-than 10000")
    if settings.get("slowlog-max-len") == "0":
        raise MonitorUnavailable("the slow log keeps nothing: CONFIG SET slowlog-max-len 128")


def _is_own(entry: Entry, own_name: str) -> bool:
    return entry.command in OWN_COMMANDS and entry.client == own_name.encode()
