"""`dbStats` and `$collStats`: how large databases, collections and indexes are, before and after a run.

A few collections are looked at in each read, so that a server with thousands of them is not kept busy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.mongodb.parts import Moment, refusal
from perfload.monitors.mongodb.server_commands import (
    CommandFailed,
    CommandRefused,
    Commands,
    Document,
    first_batch,
    number_in,
    text_in,
)
from perfload.monitors.mongodb.top import MAX_NAMESPACE_CHARS, SYSTEM_DATABASES

BIGGEST = 50
"""How many collections are described."""

MAX_DATABASES = 50
MAX_LOOKED_AT = 500
"""How many collections are looked at to find the biggest."""

MAX_INDEXES = 20
STEPS_PER_READ = 20
"""Commands for one read."""

_TOTALS = (("data_bytes", "dataSize"), ("storage_bytes", "storageSize"), ("index_bytes", "indexSize"))
_DETAILS_LEFT_OUT = {"storageStats.wiredTiger": 0, "storageStats.indexDetails": 0}


@dataclass(slots=True)
class _Seen:
    """What a survey has found so far."""

    databases: list[dict[str, Any]] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)
    not_read: list[dict[str, str]] = field(default_factory=list)
    passed_over: int = 0
    """Databases and collections beyond the limits."""
    is_complete: bool = True

    def fail(self, namespace: str, error: CommandRefused | CommandFailed) -> None:
        """Note why there is nothing of `namespace`."""
        self.is_complete = False
        if len(self.not_read) < MAX_DATABASES:
            self.not_read.append({"ns": _short(namespace), "reason": error.message[:200]})


class Sizes:
    """The part of the monitor that measures what is stored: once at the start and once at the end."""

    metrics: Sequence[tuple[str, str]] = (
        *((metric, "bytes") for metric, _ in _TOTALS),
        ("documents", "documents"),
    )
    needs = "the role read on each database, or clusterMonitor"
    every_s = 0.0

    def __init__(self) -> None:
        self._seen = _Seen()
        self._survey: Iterator[bool] | None = None
        self._is_done = False

    def read(self, commands: Commands, moment: Moment) -> Found:
        """Go on with the survey from before the run; return it once, when it is made."""
        if self._is_done:
            return []
        if self._survey is None:
            self._seen = _Seen()
            self._survey = _survey(commands, self._seen)
        try:
            for _ in range(STEPS_PER_READ):
                # After a failure there may be no time left for another command in this read.
                if not next(self._survey):
                    break
        except StopIteration:
            self._is_done = True
            return _found(self._seen, "before")
        except CommandRefused as error:
            # Not tried again: later in the run it would no longer be what was there before.
            self._is_done = True
            return self._unavailable(refusal(error, self.needs))
        except MonitorUnavailable:
            self._survey = None
            raise
        return []

    def finish(self, commands: Commands) -> Found:
        """Make the survey after the run, as far as it comes before the time is up."""
        seen = _Seen()
        try:
            for _ in _survey(commands, seen):
                pass
        except CommandRefused as error:
            return self._unavailable(refusal(error, self.needs))
        except MonitorUnavailable as error:
            if not seen.databases:
                return self._unavailable(error.message)
            # What has been seen is still true.
            seen.is_complete = False
        return _found(seen, "after")

    def _unavailable(self, reason: str) -> Found:
        return [Measurement(metric, unit, None, reason) for metric, unit in self.metrics]


def _survey(commands: Commands, seen: _Seen) -> Iterator[bool]:
    """Fill `seen`; yields after each step whether it went well. Raises when there is nothing to see."""
    databases = _databases(commands)
    yield True
    seen.passed_over += max(0, len(databases) - MAX_DATABASES)
    collections: list[tuple[str, str]] = []
    for database in databases[:MAX_DATABASES]:
        try:
            seen.databases.append(_database(database, commands.run({"dbStats": 1}, database=database)))
            collections += [(database, name) for name in _collections(commands, database)]
        except (CommandRefused, CommandFailed) as error:
            seen.fail(database, error)
            yield False
        yield True
    if not seen.databases:
        raise CommandRefused("there is no database yet, or none that this user may measure")
    seen.passed_over += max(0, len(collections) - MAX_LOOKED_AT)
    for database, name in collections[:MAX_LOOKED_AT]:
        try:
            seen.collections += _collection(commands, database, name)
        except (CommandRefused, CommandFailed) as error:
            seen.fail(f"{database}.{name}", error)
            yield False
        yield True


def _databases(commands: Commands) -> list[str]:
    answer = commands.run({"listDatabases": 1, "nameOnly": True, "authorizedDatabases": True})
    listed = answer.get("databases")
    names = [str(entry.get("name")) for entry in listed if isinstance(entry, dict)] if listed else []
    return sorted(name for name in names if name not in SYSTEM_DATABASES)


def _collections(commands: Commands, database: str) -> list[str]:
    answer = commands.run(
        {
            "listCollections": 1,
            "nameOnly": True,
            "authorizedCollections": True,
            "filter": {"type": "collection", "name": {"$not": {"$regex": "^system\\."}}},
            "cursor": {"batchSize": 10 * MAX_LOOKED_AT},
        },
        database=database,
    )
    return sorted(str(entry.get("name")) for entry in first_batch(answer))


def _database(name: str, stats: Document) -> dict[str, Any]:
    return {
        "name": _short(name),
        "collections": _whole(stats.get("collections")),
        "documents": _whole(stats.get("objects")),
        "indexes": _whole(stats.get("indexes")),
        **{metric: _whole(stats.get(key)) for metric, key in _TOTALS},
    }


def _collection(commands: Commands, database: str, name: str) -> list[dict[str, Any]]:
    """Return the sizes of a collection, summed over its shards; nothing for one that is gone."""
    pipeline = [{"$collStats": {"storageStats": {}}}, {"$project": _DETAILS_LEFT_OUT}]
    answer = commands.run({"aggregate": name, "pipeline": pipeline, "cursor": {}}, database=database)
    shards = [
        shard["storageStats"] for shard in first_batch(answer) if isinstance(shard.get("storageStats"), dict)
    ]
    if not shards:
        return []
    indexes: dict[str, int] = {}
    for shard in shards:
        sizes = shard.get("indexSizes")
        for index, size in (sizes if isinstance(sizes, dict) else {}).items():
            indexes[_short(index)] = indexes.get(_short(index), 0) + _whole(size)
    biggest = sorted(indexes, key=lambda index: -indexes[index])[:MAX_INDEXES]
    sizes_by_key = {
        key: sum(_whole(shard.get(source)) for shard in shards)
        for key, source in (
            ("documents", "count"),
            ("data_bytes", "size"),
            ("storage_bytes", "storageSize"),
            ("index_bytes", "totalIndexSize"),
        )
    }
    kept = {index: indexes[index] for index in biggest}
    return [{"database": _short(database), "name": _short(name), **sizes_by_key, "indexes": kept}]


def _found(seen: _Seen, when: str) -> Found:
    collections = sorted(seen.collections, key=lambda entry: -(entry["data_bytes"] + entry["index_bytes"]))
    kept = collections[:BIGGEST]
    data = {
        "when": when,
        "complete": seen.is_complete,
        "databases": [
            {
                **database,
                "biggest": [_unplaced(entry) for entry in kept if entry["database"] == database["name"]],
            }
            for database in seen.databases
        ],
        "left_out": seen.passed_over + len(collections) - len(kept),
        "not_read": seen.not_read,
    }
    values = {name: sum(database[name] for database in seen.databases) for name, _ in Sizes.metrics}
    measurements = [Measurement(name, unit, float(values[name])) for name, unit in Sizes.metrics]
    return [Finding("sizes", data), *measurements]


def _unplaced(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "database"}


def _short(name: str) -> str:
    return text_in(name, MAX_NAMESPACE_CHARS)


def _whole(value: object) -> int:
    number = number_in(value)
    return int(number) if number is not None and abs(number) < 2**62 else 0
