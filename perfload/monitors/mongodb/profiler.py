"""MongoDB's profiler during a run: what the operations of the system under test cost, by shape.

Switched on by `[mongodb] profile`. Sets the profiler of the database that `MONGODB_URL` names (of all that it
may see, if it names none), follows `system.profile`, and puts everything back at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from perfload.errors import UsageError
from perfload.monitoring import PROFILE_CHOICES
from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.mongodb import explain, index_use, profile_note
from perfload.monitors.mongodb.connection import (
    ADDRESS_VARIABLE,
    address_of,
    connect,
    error_timed_out,
    failures_explained,
    reason_in,
)
from perfload.monitors.mongodb.member import member_url
from perfload.monitors.mongodb.operations import OperationTable
from perfload.monitors.mongodb.placeholders import with_placeholders
from perfload.monitors.mongodb.profile_level import Mode
from perfload.monitors.mongodb.profiled_database import ProfiledDatabase
from perfload.units import parse_duration_s

if TYPE_CHECKING:
    from pymongo import MongoClient

MAX_DATABASES = 10
SYSTEM_DATABASES = frozenset({"admin", "local", "config"})

WORST = 5
"""Shapes whose plan is explained at the end."""

COLLECTIONS_PER_READ = 8
"""Whose indexes are looked up at a time, at the start: three commands each."""

LOOK_AGAIN_S = 10.0
"""How often new databases are looked for, where the address names none."""

FINISH_WITHIN_S = 4.0
"""Less than the sampler leaves, which drops what comes later."""

LAST_READ_WITHIN_S = 1.5
RESTORE_WITHIN_S = 1.5
"""So that there is time left for the one when a server does not answer to the other."""


class ProfilerMonitor:
    """The `mongodb_profiler` monitor."""

    def __init__(self, url: str, *, mode: Mode, slow_ms: float, notes: Path) -> None:
        self._url = url
        self._address = address_of(url)
        self._mode = mode
        self._slow_ms = slow_ms
        self._notes = notes
        self._client: MongoClient[dict[str, Any]] | None = None
        self._named = ""
        self._server = ""
        self._version: tuple[int, ...] = ()
        self._databases: dict[str, ProfiledDatabase] = {}
        self._table = OperationTable()
        self._read_at_s: float | None = None
        self._looked_at_s = 0.0
        self._unseen: list[tuple[str, str]] = []
        """(database, collection) whose state before the load is still to be read."""
        self._told: list[Finding] = []

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Make the monitor that `MONGODB_URL`, `PERFLOAD_MONGODB_PROFILE` and `…_SLOW` ask for."""
        mode = environment.get("PERFLOAD_MONGODB_PROFILE") or "slow"
        if mode not in PROFILE_CHOICES or mode == "off":
            raise UsageError(
                f"PERFLOAD_MONGODB_PROFILE is {mode!r}", hint="slow or all; off needs no monitor of its own"
            )
        slow = environment.get("PERFLOAD_MONGODB_SLOW") or "100ms"
        return cls(
            environment.get(ADDRESS_VARIABLE, ""),
            mode=cast(Mode, mode),
            slow_ms=1000 * parse_duration_s(slow, "PERFLOAD_MONGODB_SLOW"),
            notes=profile_note.state_folder(environment),
        )

    def open(self) -> None:
        """Connect, and set the profilers."""
        if not self._url:
            raise MonitorUnavailable(
                "there is no MongoDB to watch", hint=f"set {ADDRESS_VARIABLE} to its address"
            )
        self._client = client = connect(self._url)
        with failures_explained(self._address):
            from pymongo.errors import ConfigurationError

            with contextlib.suppress(ConfigurationError):
                self._named = client.get_default_database().name
            if self._named in SYSTEM_DATABASES:
                # The database of a login, as in mongodb://user:password@host/admin.
                self._named = ""
            self._version = tuple(client.server_info()["versionArray"])
            host, port = client.address or ("", 0)
            self._server = f"{host}:{port}"
            if client.primary is not None:
                # A profiler is one member's own: after an election, this one has to be put back.
                client.close()
                self._client = connect(member_url(self._url, self._server))
            for name in self._wanted():
                self._start(name)

    def read(self, at_s: float) -> Found:
        """Return rates and operations since the read before, and what of the profiler cannot be had."""
        return self._named_after_server(self._read(at_s))

    def finish(self, at_s: float) -> Found:
        """Put the profilers back; return the last operations, the worst plans, indexes and sizes."""
        return self._named_after_server(self._finish(at_s))

    def _named_after_server(self, found: Found) -> Found:
        return [replace(item, node=self._server) for item in found]

    def _read(self, at_s: float) -> Found:
        with failures_explained(self._address):
            if not self._named and at_s - self._looked_at_s >= LOOK_AGAIN_S:
                self._looked_at_s = at_s
                for name in self._wanted():
                    if name not in self._databases:
                        self._start(name)
            is_first = self._read_at_s is None
            found = self._rates(at_s)
            # The first read began with connecting: if that took too long, its answer is dropped.
            if not is_first:
                found += [Finding("operation", data) for data in self._table.publish()]
                found += self._told
                self._told = []
                found += self._states_before()
        if not self._databases:
            found.append(
                Measurement("profile_level", "level", None, "this user may see no database but MongoDB's own")
            )
        return found

    def _finish(self, at_s: float) -> Found:
        from pymongo import timeout

        with timeout(FINISH_WITHIN_S):
            found = [*self._last_operations(at_s), *self._told, *self._restore()]
            return [*found, *self._states_after(), *self._explain_worst()]

    def _last_operations(self, at_s: float) -> list[Measurement | Finding]:
        from pymongo import timeout
        from pymongo.errors import PyMongoError

        found: list[Measurement | Finding] = []
        try:
            with timeout(LAST_READ_WITHIN_S):
                found += self._rates(at_s, is_last=True)
        except PyMongoError as error:
            found.append(_refused("the last operations", error))
        return [*found, *(Finding("operation", data) for data in self._table.publish(limit=None))]

    def close(self) -> None:
        """Put back what `finish` did not, and disconnect."""
        self._restore()
        if self._client is not None:
            self._client.close()

    def _wanted(self) -> Sequence[str]:
        if self._named:
            return [self._named]
        assert self._client is not None
        names = sorted(set(self._client.list_database_names()) - SYSTEM_DATABASES)
        return names[:MAX_DATABASES]

    def _start(self, name: str) -> None:
        from pymongo.errors import OperationFailure

        assert self._client is not None
        database = ProfiledDatabase(
            self._client[name],
            slow_ms=self._slow_ms,
            server=self._server,
            server_version=self._version,
            notes=self._notes,
        )
        self._databases[name] = database
        self._told.append(database.start(self._mode))
        try:
            collections = index_use.collections_of(self._client[name])
            self._unseen += [(name, collection) for collection in collections]
        except OperationFailure as error:
            self._told.append(_refused(f"the collections of {name} (needs read on {name})", error))

    def _rates(self, at_s: float, *, is_last: bool = False) -> list[Measurement | Finding]:
        found: list[Measurement | Finding] = []
        for database in self._databases.values():
            found += database.read(at_s, previous_s=self._read_at_s, table=self._table, is_last=is_last)
        self._read_at_s = at_s
        return found

    def _states_before(self) -> Iterator[Finding]:
        assert self._client is not None
        now, self._unseen = self._unseen[:COLLECTIONS_PER_READ], self._unseen[COLLECTIONS_PER_READ:]
        for database, collection in now:
            state = index_use.collection_state(self._client[database], collection, when="before")
            yield Finding("indexes", state)

    def _restore(self) -> list[Finding]:
        from pymongo import timeout
        from pymongo.errors import PyMongoError

        found = []
        for name, database in self._databases.items():
            try:
                with timeout(RESTORE_WITHIN_S):
                    done = database.give_back()
            except PyMongoError as error:
                done = f"not put back: {reason_in(error)}; perfload doctor does it, and the next run"
            if done:
                found.append(Finding("profiler", {"database": name, "done": done}))
        return found

    def _states_after(self) -> list[Finding]:
        from pymongo.errors import PyMongoError

        assert self._client is not None
        found: list[Finding] = []
        for name in self._databases:
            try:
                for collection in index_use.collections_of(self._client[name]):
                    state = index_use.collection_state(self._client[name], collection, when="after")
                    found.append(Finding("indexes", state))
            except PyMongoError as error:
                found.append(_refused(f"the indexes of {name} at the end", error))
                if error_timed_out(error):
                    break
        return found

    def _explain_worst(self) -> list[Finding]:
        from pymongo.errors import PyMongoError

        assert self._client is not None
        found: list[Finding] = []
        for tally, command in self._table.worst(WORST):
            database, _, collection = tally.namespace.partition(".")
            read = explain.explainable(command, collection)
            if read is None:
                continue
            data = {"ns": tally.namespace, "op": tally.shape.op, "shape": tally.shape.text}
            run = tally.mean_us < explain.RUN_BELOW_US
            try:
                plan = explain.explain(self._client[database], read, run=run)
            except PyMongoError as error:
                found.append(_refused(f"the plan of {tally.shape.text} on {tally.namespace}", error))
                if error_timed_out(error):
                    break
                continue
            found.append(Finding("explain", data | {"example": with_placeholders(command)} | plan))
        return found


def _refused(what: str, error: Exception) -> Finding:
    # In these two places MongoDB's messages quote commands, with their values; the code says enough.
    code = getattr(error, "code", None)
    details = getattr(error, "details", None)
    name = details.get("codeName") if isinstance(details, dict) else None
    reason = f"{name or type(error).__name__}" + (f" ({code})" if code else "")
    return Finding("refused", {"what": what, "reason": reason})
