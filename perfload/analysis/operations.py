"""Database operations as MongoDB's profiler saw them, against the time that requests took."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfload.analysis.profiled import OTHER, intervals
from perfload.model import RunRecord


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
    for interval in intervals(record):
        ns, _, shape = interval.key
        if ns == OTHER:
            continue  # many shapes together: none of them can be named
        operation = found.setdefault((ns, shape), Operation(ns, shape))
        count, total_us = interval.counts["count"], interval.counts["total_us"]
        half = operation.halves[interval.until_s > until_s / 2]
        half[0] += count
        half[1] += total_us
        if since_s <= interval.until_s <= until_s:
            operation.count += count
            operation.total_us += total_us
            operation.scans += interval.counts["collection_scans"]
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
