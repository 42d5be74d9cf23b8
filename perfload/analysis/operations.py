"""Database operations as MongoDB's profiler saw them, against the time that requests took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from perfload.model import RunRecord

KIND = "operation"
"""The observations that say how often operations of one shape ran, and for how long."""


@dataclass(slots=True)
class Operation:
    """All operations of one shape in some stretch of the run."""

    ns: str
    shape: str
    count: int = 0
    total_us: int = 0
    scans: int = 0
    """How many read the whole collection."""
    request_time_us: float = 0.0
    """What all requests took in that stretch."""
    halves: list[list[int]] = field(default_factory=lambda: [[0, 0], [0, 0]])
    """(count, microseconds) in the first and in the second half of the whole run."""

    @property
    def share(self) -> float:
        """The operations' part of the time that requests took; above 1 where they run side by side in one."""
        return self.total_us / self.request_time_us if self.request_time_us else 0.0

    @property
    def mean_ms(self) -> float:
        """Per operation."""
        return self.total_us / self.count / 1000

    @property
    def words(self) -> str:
        """What it is, where."""
        return f"{self.shape} on {self.ns}"

    @property
    def evidence(self) -> list[str]:
        """In words, what speaks against it."""
        found = [
            f"It ran {self.count:,} times at {self.mean_ms:,.0f} ms each: {min(self.share, 1):.0%} of the "
            "time that requests took."
        ]
        if self.scans:
            found.append(f"{self.scans:,} of them read the whole collection, without an index.")
        (few, before_us), (many, after_us) = self.halves
        if few and many and after_us / many > 2 * before_us / few:
            before_ms, after_ms = before_us / few / 1000, after_us / many / 1000
            found.append(f"It grew with the load: from {before_ms:,.0f} to {after_ms:,.0f} ms.")
        return found


def busiest_operation(record: RunRecord, since_s: float, until_s: float) -> Operation | None:
    """Return the operations that took most time from `since_s` to `until_s`; None if none were seen."""
    found: dict[tuple[str, str], Operation] = {}
    for run in _runs(record):
        operation = found.setdefault((run.ns, run.shape), Operation(run.ns, run.shape))
        half = operation.halves[run.at_s > until_s / 2]
        half[0] += run.count
        half[1] += run.total_us
        if since_s <= run.at_s <= until_s:
            operation.count += run.count
            operation.total_us += run.total_us
            operation.scans += run.scans
    busiest = max(found.values(), key=lambda operation: operation.total_us, default=None)
    if busiest is None or not busiest.count:
        return None
    busiest.request_time_us = request_time_us(record, since_s, until_s)
    return busiest


def request_time_us(record: RunRecord, since_s: float, until_s: float) -> float:
    """Return the time of all requests that were finished from `since_s` to `until_s`."""
    return sum(
        window.latency.sum + window.failed.sum
        for window in record.windows
        if since_s <= window.second < until_s
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """How often operations of one shape ran between two looks at the profiler."""

    at_s: float
    ns: str
    shape: str
    count: int
    total_us: int
    scans: int


def _runs(record: RunRecord) -> Iterator[_Runs]:
    for observation in record.observations:
        if observation.kind != KIND:
            continue
        data = observation.data
        texts = data.get("ns"), data.get("shape")
        counts = [data.get(key, 0) for key in ("count", "total_us", "collection_scans")]
        # The file may have been written by another version, or by anybody.
        if all(isinstance(text, str) for text in texts) and all(type(count) is int for count in counts):
            at_s = observation.at_s - record.manifest.started_at_s
            yield _Runs(at_s, str(texts[0]), str(texts[1]), *counts)
