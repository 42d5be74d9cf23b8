"""What MongoDB's profiler recorded, summed up per collection and query shape: a table of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfload.codec import encode_histogram
from perfload.histogram import Histogram
from perfload.monitors.mongodb.command_shapes import CommandShape, command_shape
from perfload.monitors.mongodb.shapes import cut

MAX_SHAPES = 100
"""Of a run. What comes after them is summed up as `OTHER`: a generated query can have a shape of its own."""

MAX_SHAPES_PER_READ = 30
"""Those published at a time, the most expensive ones; the rest stays in the table until the next time."""

OTHER = "other"

MAX_NAMESPACE_CHARS = 255
MAX_PLAN_CHARS = 200

PROFILE_FIELDS = (
    *("op", "ns", "command", "originatingCommand", "ts", "millis", "planSummary", "queryHash"),
    *("planCacheShapeHash", "keysExamined", "docsExamined", "nreturned", "nMatched", "ndeleted", "ninserted"),
    *("responseLength", "hasSortStage", "usedDisk", "errCode", "locks", "storage", "planningTimeMicros"),
    *("writeConflicts", "numYield"),
)
"""What is read of an entry: the rest, its execution statistics above all, is most of it."""

Entry = Mapping[str, Any]
"""One document of `system.profile`."""

_Key = tuple[str, str, str]
"""Collection, operation and shape."""

_SUMS = (
    *("count", "total_us", "docs_examined", "keys_examined", "returned", "bytes", "in_memory_sorts"),
    *("collection_scans", "limit_missing", "spilled_to_disk", "lock_wait_us", "storage_wait_us"),
    *("planning_us", "write_conflicts", "errors"),
)


class OperationTally:
    """Operations of one shape on one collection, since they were last published."""

    def __init__(self, namespace: str, shape: CommandShape, query_hash: str) -> None:
        self.namespace = namespace
        self.shape = shape
        self.query_hash = query_hash
        self.mean_us = 0.0
        """As last published."""
        self._clear()

    def _clear(self) -> None:
        self.sums = dict.fromkeys(_SUMS, 0)
        self.max_us = 0
        self.times_us = Histogram()
        self.plans: dict[str, int] = {}
        self.from_s = 0.0

    def add(self, entry: Entry) -> None:
        """Add one entry of the profiler."""
        time_us = 1000 * _count(entry, "millis")
        plan = cut(_text(entry, "planSummary"), MAX_PLAN_CHARS)
        sums = self.sums
        sums["count"] += 1
        sums["total_us"] += time_us
        sums["docs_examined"] += _count(entry, "docsExamined")
        sums["keys_examined"] += _count(entry, "keysExamined")
        sums["returned"] += _affected(entry)
        sums["bytes"] += _count(entry, "responseLength")
        sums["in_memory_sorts"] += bool(entry.get("hasSortStage")) and bool(self.shape.sort)
        sums["collection_scans"] += plan.startswith("COLLSCAN")
        sums["limit_missing"] += not self.shape.has_limit
        sums["spilled_to_disk"] += bool(entry.get("usedDisk"))
        sums["lock_wait_us"] += _waited_us(entry.get("locks"), "timeAcquiringMicros")
        sums["storage_wait_us"] += _storage_wait_us(entry.get("storage"))
        sums["planning_us"] += _count(entry, "planningTimeMicros")
        sums["write_conflicts"] += _count(entry, "writeConflicts")
        sums["errors"] += "errCode" in entry
        self.max_us = max(self.max_us, time_us)
        self.times_us.record(time_us)
        if plan and (plan in self.plans or len(self.plans) < 10):
            self.plans[plan] = self.plans.get(plan, 0) + 1

    def take(self) -> dict[str, Any]:
        """Return the sums as the data of a `Finding` and begin anew."""
        filtered = self.shape.filter
        data = {
            "ns": self.namespace,
            "op": self.shape.op,
            "shape": self.shape.text,
            "hash": self.query_hash,
            "equality": list(filtered.equality),
            "sort": [list(key) for key in self.shape.sort],
            "range": list(filtered.ranges),
            "unindexable": list(filtered.others),
            "filtered": not filtered.is_empty,
            "branches": [
                {"equality": list(branch.equality), "range": list(branch.ranges)}
                for branch in filtered.branches
            ],
            "lookups": [list(lookup) for lookup in self.shape.lookups],
            "counts_matches": self.shape.counts_matches,
            "from_s": round(self.from_s, 3),
            "max_us": self.max_us,
            "histogram": encode_histogram(self.times_us),
            "plan": max(self.plans, key=self.plans.__getitem__, default=""),
            **self.sums,
        }
        self.mean_us = self.sums["total_us"] / max(1, self.sums["count"])
        self._clear()
        return data


class OperationTable:
    """The operations of a run by collection and shape, with an example of each in memory only."""

    def __init__(self) -> None:
        self._tallies: dict[_Key, OperationTally] = {}
        self._examples: dict[_Key, Mapping[str, Any]] = {}
        self._slowest_us: dict[_Key, int] = {}
        self._total_us: dict[_Key, int] = {}

    def add(self, entry: Entry, *, from_s: float) -> None:
        """Add one entry; `from_s` is when the interval began in which it was recorded."""
        command = entry.get("command")
        command = command if isinstance(command, Mapping) else {}
        originating = entry.get("originatingCommand")
        op = _text(entry, "op")
        shape = command_shape(op, command, originating)
        namespace = cut(_text(entry, "ns"), MAX_NAMESPACE_CHARS)
        key = (namespace, shape.op, shape.text)
        if key not in self._tallies and len(self._tallies) >= MAX_SHAPES:
            shape, namespace = CommandShape(OTHER, OTHER), OTHER
            key = (OTHER, OTHER, OTHER)
        if key not in self._tallies:
            found = entry.get("planCacheShapeHash") or entry.get("queryHash") or ""
            query_hash = cut(str(found), 64) if namespace != OTHER else ""
            self._tallies[key] = OperationTally(namespace, shape, query_hash)
        tally = self._tallies[key]
        tally.from_s = tally.from_s or from_s
        tally.add(entry)
        self._keep_example(key, op, command, originating, time_us=1000 * _count(entry, "millis"))

    def _keep_example(self, key: _Key, op: str, command: Entry, originating: object, time_us: int) -> None:
        self._total_us[key] = self._total_us.get(key, 0) + time_us
        if OTHER in key or "$truncated" in command or time_us < self._slowest_us.get(key, 0):
            return
        self._slowest_us[key] = time_us
        example = originating if op == "getmore" and isinstance(originating, Mapping) else command
        self._examples[key] = example

    def publish(self, limit: int | None = MAX_SHAPES_PER_READ) -> list[dict[str, Any]]:
        """Return the sums since the last time, those with the most time first, at most `limit` of them."""
        busy = [tally for tally in self._tallies.values() if tally.sums["count"]]
        busy.sort(key=lambda tally: tally.sums["total_us"], reverse=True)
        return [tally.take() for tally in busy[:limit]]

    def worst(self, count: int) -> list[tuple[OperationTally, Mapping[str, Any]]]:
        """Return those with the most time in the whole run, each with an example command and its values."""
        keys = sorted(self._examples, key=lambda key: self._total_us[key], reverse=True)
        return [(self._tallies[key], self._examples[key]) for key in keys[:count]]

    @property
    def namespaces(self) -> list[str]:
        """The collections with operations so far."""
        return sorted({tally.namespace for tally in self._tallies.values() if tally.namespace != OTHER})


def _affected(entry: Entry) -> int:
    for name in ("nreturned", "nMatched", "ndeleted", "ninserted"):
        if name in entry:
            return _count(entry, name)
    return 0


def _waited_us(locks: object, name: str) -> int:
    """Return the microseconds in `{Global: {timeAcquiringMicros: {r: 12}}}`, summed up."""
    if not isinstance(locks, Mapping):
        return 0
    total = 0
    for lock in locks.values():
        waits = lock.get(name) if isinstance(lock, Mapping) else None
        if isinstance(waits, Mapping):
            total += sum(_count(waits, mode) for mode in waits)
    return total


def _storage_wait_us(storage: object) -> int:
    if not isinstance(storage, Mapping):
        return 0
    data = storage.get("data")
    read_us = _count(data, "timeReadingMicros") if isinstance(data, Mapping) else 0
    waits = storage.get("timeWaitingMicros")
    return read_us + (sum(_count(waits, name) for name in waits) if isinstance(waits, Mapping) else 0)


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    # A server may say anything; what is no count must not spoil the sums.
    return int(value) if isinstance(value, (int, float)) and 0 <= value < 1 << 53 else 0


def _text(entry: Entry, name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
