"""What MongoDB's profiler saw, out of the observations of a run: operations, indexes, plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfload.analysis.mongosh import Keys
from perfload.codec import decode_histogram
from perfload.histogram import Histogram
from perfload.model import Observation, RunRecord, span_at

SOURCE = "mongodb_profiler"

OTHER = "other"
"""The shape under which those beyond the profiler's limit are summed up."""

_COUNTS = (
    *("count", "total_us", "max_us", "docs_examined", "keys_examined", "returned", "collection_scans"),
    *("in_memory_sorts", "limit_missing", "lock_wait_us", "errors"),
)


@dataclass(slots=True)
class Sums:
    """Operations of one shape, added up."""

    count: int = 0
    total_us: int = 0
    max_us: int = 0
    docs_examined: int = 0
    keys_examined: int = 0
    returned: int = 0
    collection_scans: int = 0
    in_memory_sorts: int = 0
    limit_missing: int = 0
    lock_wait_us: int = 0
    errors: int = 0

    def add(self, values: Mapping[str, int]) -> None:
        """Add what was seen in one interval."""
        for name, value in values.items():
            both = (getattr(self, name), value)
            setattr(self, name, max(both) if name == "max_us" else sum(both))

    @property
    def examined(self) -> int:
        """Documents read, or keys where only those were."""
        return max(self.docs_examined, self.keys_examined)

    @property
    def mean_ms(self) -> float:
        """Per operation."""
        return self.total_us / self.count / 1000 if self.count else 0.0


@dataclass(slots=True)
class ProfiledOperation:
    """Operations of one shape on one collection, over a run. Fields as in the `operation` observation."""

    ns: str
    op: str
    shape: str
    equality: tuple[str, ...]
    sort: Keys
    range: tuple[str, ...]
    branches: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    """(equality, range) of each part of an `$or`."""
    lookups: tuple[tuple[str, str], ...]
    filtered: bool
    counts_matches: bool
    total: Sums = field(default_factory=Sums)
    phases: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    times_us: Histogram = field(default_factory=Histogram)
    plans: dict[str, int] = field(default_factory=dict)

    @property
    def plan(self) -> str:
        """The most frequent one."""
        return max(self.plans, key=self.plans.__getitem__, default="")


@dataclass(frozen=True, slots=True)
class Index:
    """An index, as it was at one time."""

    name: str
    keys: Keys
    is_plain: bool
    """Whether it can stand for another: no special kind, neither partial nor sparse nor hidden."""
    constrains: bool
    """Whether it does more than to find: unique, or removing documents when their time has come."""
    uses: int | None
    since: str


@dataclass(frozen=True, slots=True)
class CollectionState:
    """A collection before or after the load."""

    ns: str
    at_s: float
    """Seconds of the run; below 0 before its start."""
    indexes: tuple[Index, ...]
    has_indexes: bool
    """False where listing them was refused."""
    documents: int | None
    average_document_bytes: float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """Operations of one shape between two looks at the profiler, in seconds of the run."""

    key: tuple[str, str, str]
    """(collection, operation, shape)."""
    from_s: float
    until_s: float
    counts: Mapping[str, int]
    data: Mapping[str, Any]


def intervals(record: RunRecord) -> Iterator[Interval]:
    """Yield what the profiler saw of the load, in order of time; what ran before it is left out."""
    started_at_s = record.manifest.started_at_s
    for observation in _observed(record, "operation"):
        data = observation.data
        key = (_text(data, "ns"), _text(data, "op"), _text(data, "shape"))
        counts = {name: _count(data.get(name)) for name in _COUNTS}
        until_s = observation.at_s - started_at_s
        from_s = data.get("from_s")
        began_s = from_s - started_at_s if isinstance(from_s, (int, float)) else until_s
        if all(key) and counts["count"] and until_s > 0:
            yield Interval(key, began_s, until_s, counts, data)


def operations(record: RunRecord) -> list[ProfiledOperation]:
    """Return all operations by shape, those with the most time first."""
    found: dict[tuple[str, str, str], ProfiledOperation] = {}
    for interval in intervals(record):
        data, counts = interval.data, interval.counts
        operation = found.get(interval.key) or found.setdefault(interval.key, _operation(interval.key, data))
        middle_s = max(0.0, (interval.from_s + interval.until_s) / 2)
        operation.total.add(counts)
        operation.phases[span_at(record.manifest.phases, middle_s).name].add(counts)
        _add_times(operation.times_us, data.get("histogram"))
        plan = _text(data, "plan")
        if plan:
            operation.plans[plan] = operation.plans.get(plan, 0) + counts["count"]
    return sorted(found.values(), key=lambda operation: operation.total.total_us, reverse=True)


def _operation(key: tuple[str, str, str], data: Mapping[str, Any]) -> ProfiledOperation:
    return ProfiledOperation(
        *key,
        equality=_texts(data.get("equality")),
        sort=_keys(data.get("sort")),
        range=_texts(data.get("range")),
        branches=tuple(
            (_texts(branch.get("equality")), _texts(branch.get("range")))
            for branch in _list(data.get("branches"))
            if isinstance(branch, dict)
        ),
        lookups=tuple(pair for pair in map(_pair, _list(data.get("lookups"))) if pair is not None),
        filtered=bool(data.get("filtered")),
        counts_matches=bool(data.get("counts_matches")),
    )


def _add_times(times_us: Histogram, encoded: object) -> None:
    try:
        times_us.add(decode_histogram(encoded))
    except ValueError:
        return


def states(record: RunRecord, when: str) -> dict[str, CollectionState]:
    """Return each collection as it was first seen `before`, or last `after`, the load."""
    found: dict[str, CollectionState] = {}
    for observation in _observed(record, "indexes"):
        if observation.data.get("when") != when:
            continue
        state = _state(observation, record.manifest.started_at_s)
        if when == "after" or state.ns not in found:
            found[state.ns] = state
    return found


def _state(observation: Observation, started_at_s: float) -> CollectionState:
    data = observation.data
    refused = [reason for reason in _list(data.get("refused")) if isinstance(reason, str)]
    average = data.get("average_document_bytes")
    documents = data.get("documents")
    return CollectionState(
        ns=_text(data, "ns"),
        at_s=observation.at_s - started_at_s,
        indexes=tuple(_index(index) for index in _list(data.get("indexes")) if isinstance(index, dict)),
        has_indexes=not any(reason.startswith("listing") for reason in refused),
        documents=_count(documents) if isinstance(documents, int) else None,
        average_document_bytes=float(average) if isinstance(average, (int, float)) else None,
    )


def _index(data: Mapping[str, Any]) -> Index:
    keys = _keys(data.get("keys"))
    special = ("sparse", "partial", "hidden", "collation")
    return Index(
        name=_text(data, "name"),
        keys=keys,
        is_plain=bool(keys) and not any(data.get(name) for name in special),
        constrains=bool(data.get("unique") or data.get("ttl")),
        uses=_count(data["uses"]) if isinstance(data.get("uses"), int) else None,
        since=_text(data, "since"),
    )


def findings(record: RunRecord, kind: str) -> Iterator[Mapping[str, Any]]:
    """Yield the data of the profiler's observations of one kind."""
    for observation in _observed(record, kind):
        yield observation.data


def _observed(record: RunRecord, kind: str) -> Iterator[Observation]:
    return (
        observation
        for observation in record.observations
        if observation.kind == kind and observation.source == SOURCE
    )


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in _list(value) if isinstance(item, str))


def _pair(value: object) -> tuple[str, str] | None:
    texts = _texts(value)
    return (texts[0], texts[1]) if len(texts) == 2 else None


def _keys(value: object) -> Keys:
    """Return the keys of an index or a sort; none unless all of them are fields with a direction."""
    pairs = _list(value)
    good = all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and pair[1] in (1, -1)
        for pair in pairs
    )
    return tuple((name, int(direction)) for name, direction in pairs) if good else ()


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
