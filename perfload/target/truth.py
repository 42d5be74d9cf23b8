"""The truth about a run, as the server saw it: every request counted, and how long each took.

What a load generator reports can be held against this: the counts must be equal to the request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from perfload.histogram import Histogram

SUMMARY_PERCENTS = {"p50_ms": 50.0, "p90_ms": 90.0, "p95_ms": 95.0, "p99_ms": 99.0, "p99_9_ms": 99.9}


class Row:
    """The requests to one endpoint. Latencies run from a request's arrival to the last byte of its answer.

    A request is in `received` from its arrival. Once over, it is either in `by_status` (answered, perhaps
    `truncated`) or in `aborted` (the client closed the connection before its answer was complete).
    """

    __slots__ = ("aborted", "by_status", "failed_latency", "latency", "received", "truncated")

    def __init__(self) -> None:
        self.received = 0
        self.by_status: Counter[int] = Counter()
        self.truncated = 0
        self.aborted = 0
        self.latency = Histogram()
        """Microseconds, of the requests that succeeded."""
        self.failed_latency = Histogram()
        """Microseconds, of those that failed."""

    @property
    def failed(self) -> int:
        """Requests answered with a status of 400 or above, or truncated."""
        return self.failed_latency.count

    @property
    def in_progress(self) -> int:
        """Requests that are not over yet."""
        return self.received - self.aborted - self.by_status.total()

    def answered(self, status: int, latency_us: int) -> None:
        """Count a request that was answered in full."""
        self.by_status[status] += 1
        (self.failed_latency if status >= 400 else self.latency).record(latency_us)

    def cut_off(self, status: int, latency_us: int) -> None:
        """Count a request whose answer was truncated on purpose."""
        self.by_status[status] += 1
        self.truncated += 1
        self.failed_latency.record(latency_us)

    def add(self, other: Row) -> None:
        """Add the requests of `other`."""
        self.received += other.received
        self.by_status.update(other.by_status)
        self.truncated += other.truncated
        self.aborted += other.aborted
        self.latency.add(other.latency)
        self.failed_latency.add(other.failed_latency)

    def as_json(self) -> dict[str, object]:
        """Return the row as `GET /_truth` shows it."""
        return {
            "received": self.received,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "failed": self.failed,
            "truncated": self.truncated,
            "aborted": self.aborted,
            "in_progress": self.in_progress,
            "latency": summarize(self.latency),
            "failed_latency": summarize(self.failed_latency),
        }


def summarize(histogram: Histogram) -> dict[str, object]:
    """Return a histogram of microseconds as JSON: milliseconds for people, `encoded` to compute with."""
    percentiles_us = histogram.percentiles(SUMMARY_PERCENTS.values())
    return {
        "count": histogram.count,
        "min_ms": histogram.min / 1000,
        "mean_ms": round(histogram.mean / 1000, 3),
        **{name: value / 1000 for name, value in zip(SUMMARY_PERCENTS, percentiles_us, strict=True)},
        "max_ms": histogram.max / 1000,
        "sum_us": histogram.sum,
        "encoded": histogram.encode(),
    }


class Part(Protocol):
    """What a part of the target knows beyond rows of requests."""

    def as_json(self) -> dict[str, object]:
        """Return what `GET /_truth` shows under the part's name."""

    def detail(self) -> dict[str, object]:
        """Return what `GET /_truth/NAME` shows."""

    def reset(self) -> None:
        """Start anew."""


class Truth:
    """What the server saw since its start or the last `reset`, by endpoint."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.parts: dict[str, Part] = {}

    def begin(self, endpoint: str) -> Row:
        """Count a request that arrives; its end is told to the row that is returned."""
        row = self.rows.get(endpoint)
        if row is None:
            row = self.rows[endpoint] = Row()
        row.received += 1
        return row

    def reset(self) -> None:
        """Start anew. Requests in progress belong to what was before: they are in no later count."""
        self.rows = {}
        for part in self.parts.values():
            part.reset()

    def totals(self) -> Row:
        """Return the sum of all rows."""
        totals = Row()
        for row in self.rows.values():
            totals.add(row)
        return totals

    def as_json(self) -> dict[str, object]:
        """Return everything as `GET /_truth` shows it."""
        return {
            "endpoints": {name: self.rows[name].as_json() for name in sorted(self.rows)},
            "totals": self.totals().as_json(),
            **{name: part.as_json() for name, part in self.parts.items()},
        }

    def table(self) -> str:
        """Return the truth as a table to read, latencies in milliseconds."""
        header = ["endpoint", "received", "failed", "aborted", "p50 ms", "p95 ms", "p99 ms", "max ms"]
        lines = [header, *(_cells(name, self.rows[name]) for name in sorted(self.rows))]
        lines.append(_cells("total", self.totals()))
        title = "What the target saw (latencies of successful requests, measured in the server):"
        return "\n".join([title, *_aligned(lines)])


def _cells(name: str, row: Row) -> list[str]:
    times_us = [*row.latency.percentiles((50, 95, 99)), row.latency.max]
    times = [f"{time_us / 1000:.1f}" if row.latency.count else "-" for time_us in times_us]
    return [name, f"{row.received:,}", f"{row.failed:,}", f"{row.aborted:,}", *times]


def _aligned(lines: list[list[str]]) -> Iterable[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for first, *numbers in lines:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])
