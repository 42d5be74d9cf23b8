"""Sums over windows, from which thresholds and summaries come. Histograms are added, never percentiles."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from perfload.analysis.schema import Spread
from perfload.histogram import Histogram
from perfload.model import Manifest, PhaseSpan, Reading, RunRecord, Window

SPREAD_PERCENTS = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}


class Tally:
    """The sum of some windows."""

    __slots__ = ("due", "failed", "latency", "received_bytes", "service")

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        self.latency = Histogram()
        self.service = Histogram()
        self.failed = Histogram()
        self.received_bytes = 0
        self.due: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        """second in which requests were due -> [succeeded, failed]"""
        for window in windows:
            self.add(window)

    def add(self, window: Window) -> None:
        """Add one window."""
        self.latency.add(window.latency)
        self.service.add(window.service)
        self.failed.add(window.failed)
        self.received_bytes += window.received_bytes
        for second, ok, failed in window.due:
            due = self.due[second]
            due[0] += ok
            due[1] += failed

    @property
    def count(self) -> int:
        """Requests finished, failures included."""
        return self.latency.count + self.failed.count

    @property
    def error_rate_percent(self) -> float | None:
        """Failures per hundred requests; None without requests."""
        return 100 * self.failed.count / self.count if self.count else None

    @property
    def availability_percent(self) -> float | None:
        """Seconds in which a due request succeeded, per hundred seconds with due requests; None without."""
        if not self.due:
            return None
        return 100 * sum(1 for ok, _ in self.due.values() if ok) / len(self.due)


def spread(histogram: Histogram, *, divisor: float = 1000) -> Spread:
    """Return the spread of `histogram`, its values divided by `divisor` (1,000: us to ms)."""
    if not histogram.count:
        return Spread(
            min=None, mean=None, p50=None, p75=None, p90=None, p95=None, p99=None, p99_9=None, max=None
        )
    values = histogram.percentiles(SPREAD_PERCENTS.values())
    p50, p75, p90, p95, p99, p99_9 = (value / divisor for value in values)
    return Spread(
        min=histogram.min / divisor,
        mean=histogram.mean / divisor,
        p50=p50,
        p75=p75,
        p90=p90,
        p95=p95,
        p99=p99,
        p99_9=p99_9,
        max=histogram.max / divisor,
    )


def counted_phases(manifest: Manifest) -> frozenset[str]:
    """Return the names of the phases that totals and thresholds cover: all but warm-ups."""
    return frozenset(span.name for span in manifest.phases if not span.warmup)


def ran_s(span: PhaseSpan, ended_s: float) -> float:
    """Return the seconds for which a phase ran in a run that ended `ended_s` after its start."""
    return max(0.0, min(span.end_s, ended_s) - span.start_s)


def load_end_s(record: RunRecord) -> float:
    """Return the second of the run at which its load ended: that of the plan, or earlier if it was cut short.

    Virtual users still in flight may finish later; their time is no part of any rate.
    """
    manifest = record.manifest
    planned_s = manifest.phases[-1].end_s if manifest.phases else math.inf
    if manifest.ended_at_s is not None:
        return min(planned_s, max(0.0, manifest.ended_at_s - manifest.started_at_s))
    requests = max((window.second + 1 for window in record.windows), default=0)
    arrivals = max((window.second + 1 for window in record.arrivals), default=0)
    return min(planned_s, float(max(requests, arrivals)))


def users_by_second(readings: Iterable[Reading], started_at_s: float) -> dict[int, int]:
    """Return the virtual users in flight, all nodes together, per second of the run."""
    per_node: dict[tuple[int, str], float] = {}
    for reading in generator_readings(readings, "users"):
        key = (int(reading.at_s - started_at_s), reading.node)
        per_node[key] = max(per_node.get(key, 0.0), reading.value or 0.0)
    users: Counter[int] = Counter()
    for (second, _), value in per_node.items():
        users[second] += round(value)
    return dict(users)


def peak_users(record: RunRecord, spans: Iterable[PhaseSpan]) -> int | None:
    """Return the most virtual users in flight at once during `spans`; None when nobody looked."""
    bounds = [(span.start_s, span.end_s) for span in spans]
    users = users_by_second(record.readings, record.manifest.started_at_s)
    inside = (n for second, n in users.items() if any(start <= second < end for start, end in bounds))
    return max(inside, default=None)


def generator_readings(readings: Iterable[Reading], metric: str) -> Iterator[Reading]:
    """Yield what the load generators report about themselves."""
    for reading in readings:
        if reading.source == "generator" and reading.metric == metric and reading.value is not None:
            yield reading
