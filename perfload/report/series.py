"""A run record as series over time: counts, histograms and readings per second of the run, over all nodes.

A second in which nothing was measured is None, a gap in a chart; zero stands only where zero was counted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perfload.histogram import Histogram
from perfload.model import AnyWindow, PhaseSpan, Reading, RunRecord

MAX_BINS = 5_000
"""A chart has about 1,100 pixels; more points than this cost time and show nothing."""

LATE_US = 5_000
"""An arrival that starts later than this after its intended time counts as late."""

HOLD_S = 3
"""A reading stands for at most this long, so that one slow tick of a monitor is no dip in a sum."""

_BIN_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)

Series = list[float | None]


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Seconds 0 to `end_s` of a run in bins of `bin_s` seconds; histograms are added within a bin."""

    end_s: int
    bin_s: int = 1

    @property
    def bins(self) -> int:
        """How many bins there are; at least one."""
        return math.ceil(self.end_s / self.bin_s)

    def bin_of(self, second: float) -> int | None:
        """Return the bin that `second` of the run falls in; None if that is outside the run."""
        return int(second // self.bin_s) if 0 <= second < self.end_s else None

    def bounds_s(self, index: int) -> tuple[int, int]:
        """Return where bin `index` begins and ends; the last one may be shorter than the others."""
        start_s = index * self.bin_s
        return start_s, min(start_s + self.bin_s, self.end_s)

    def width_s(self, index: int) -> int:
        """Return the seconds in bin `index`."""
        start_s, end_s = self.bounds_s(index)
        return end_s - start_s

    def empty(self) -> Series:
        """Return a series with nothing in it."""
        return [None] * self.bins


def time_axis(record: RunRecord, *, max_bins: int = MAX_BINS) -> TimeAxis:
    """Return the axis that holds all of `record`: to its last window or end, else to the end of its plan."""
    manifest = record.manifest
    everything: tuple[AnyWindow, ...] = (*record.windows, *record.arrivals, *record.metrics)
    seconds = [window.second for window in everything]
    end_s = float(max(seconds, default=-1) + 1)
    if manifest.ended_at_s is not None:
        end_s = max(end_s, manifest.ended_at_s - manifest.started_at_s)
    if end_s <= 0:
        end_s = max((span.end_s for span in manifest.phases), default=1.0)
    whole_s = max(1, math.ceil(round(end_s, 3)))
    least_s = math.ceil(whole_s / max_bins)
    return TimeAxis(whole_s, next((width_s for width_s in _BIN_WIDTHS_S if width_s >= least_s), least_s))


@dataclass(frozen=True, slots=True)
class Requests:
    """What finished, per bin: successes and failures per second, response times of the successes."""

    succeeded_per_s: Series
    failed_per_s: Series
    latency: list[Histogram]


def requests(record: RunRecord, axis: TimeAxis) -> Requests:
    """Return the requests of all nodes and names; None after the last bin in which any finished."""
    latency = [Histogram() for _ in range(axis.bins)]
    failed = [0] * axis.bins
    last = -1
    for window in record.windows:
        index = axis.bin_of(window.second)
        if index is None:
            continue
        latency[index].add(window.latency)
        failed[index] += window.failed.count
        last = max(last, index)
    succeeded = [merged.count for merged in latency]
    return Requests(_per_second(succeeded, axis, last), _per_second(failed, axis, last), latency)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What the open model did, per bin: arrivals per second, and how late they started.

    Those that were lost with a load generator count in the second in which they were due.
    """

    started_per_s: Series
    late_per_s: Series
    dropped_per_s: Series
    lost_per_s: Series
    lag: list[Histogram]


def arrivals(record: RunRecord, axis: TimeAxis) -> Arrivals:
    """Return the arrivals of all nodes; None after the last bin in which anything became of any."""
    lag = [Histogram() for _ in range(axis.bins)]
    dropped = [0] * axis.bins
    lost = [0] * axis.bins
    last = -1
    for second, _, count in (row for node in record.manifest.nodes for row in node.lost):
        index = axis.bin_of(second)
        if index is not None:
            lost[index] += count
            last = max(last, index)
    for window in record.arrivals:
        index = axis.bin_of(window.second)
        if index is None:
            continue
        lag[index].add(window.lag)
        dropped[index] += window.dropped
        last = max(last, index)
    started = [merged.count for merged in lag]
    late = [merged.count_above(LATE_US) for merged in lag]
    return Arrivals(
        started_per_s=_per_second(started, axis, last),
        late_per_s=_per_second(late, axis, last),
        dropped_per_s=_per_second(dropped, axis, last),
        lost_per_s=_per_second(lost, axis, last),
        lag=lag,
    )


def _per_second(counts: Sequence[int], axis: TimeAxis, last: int) -> Series:
    return [count / axis.width_s(index) if index <= last else None for index, count in enumerate(counts)]


def percentile_ms(histograms: Iterable[Histogram], percent: float) -> Series:
    """Return one percentile of each of `histograms` (microseconds) in milliseconds; None where empty."""
    return [merged.percentile(percent) / 1000 if merged.count else None for merged in histograms]


def planned_per_s(phases: Sequence[PhaseSpan], axis: TimeAxis) -> Series:
    """Return the planned arrivals of each bin, per second; None where no phase plans any.

    A rate changes linearly over its phase, so a bin's mean rate is that in the middle of their overlap.
    """
    planned = axis.empty()
    for span in phases:
        if span.model == "users":
            continue
        for index, overlap_s, middle_s in _overlaps(span, axis):
            planned[index] = (planned[index] or 0.0) + _at(span, middle_s) * overlap_s / axis.width_s(index)
    return planned


def planned_users(phases: Sequence[PhaseSpan], axis: TimeAxis) -> Series:
    """Return the concurrent users that closed phases plan for each bin; None where none does."""
    planned = axis.empty()
    for span in phases:
        if span.model != "users":
            continue
        for index, _, middle_s in _overlaps(span, axis):
            planned[index] = _at(span, middle_s)
    return planned


def _overlaps(span: PhaseSpan, axis: TimeAxis) -> Iterable[tuple[int, float, float]]:
    """Yield (bin, seconds in both, their middle in seconds of the run) for each bin that `span` touches."""
    first = max(0, int(span.start_s // axis.bin_s))
    last = min(axis.bins, math.ceil(span.end_s / axis.bin_s))
    for index in range(first, last):
        bin_start_s, bin_end_s = axis.bounds_s(index)
        start_s, end_s = max(bin_start_s, span.start_s), min(bin_end_s, span.end_s)
        if end_s > start_s:
            yield index, end_s - start_s, (start_s + end_s) / 2


def _at(span: PhaseSpan, t_s: float) -> float:
    return span.start + (span.end - span.start) * (t_s - span.start_s) / span.duration_s


def readings_by_node(record: RunRecord, axis: TimeAxis, source: str, metric: str) -> dict[str, Series]:
    """Return the readings of one metric, the highest of each bin, by node; nodes without any are left out."""
    by_node: dict[str, Series] = {}
    for reading in record.readings:
        if reading.source != source or reading.metric != metric or not is_measured(reading):
            continue
        index = axis.bin_of(reading.at_s - record.manifest.started_at_s)
        if index is None or reading.value is None:
            continue
        series = by_node.setdefault(reading.node, axis.empty())
        held = series[index]
        series[index] = reading.value if held is None else max(held, reading.value)
    return dict(sorted(by_node.items()))


def is_measured(reading: Reading) -> bool:
    """Return whether `reading` holds a number that can be drawn."""
    return reading.value is not None and math.isfinite(reading.value) and math.isfinite(reading.at_s)


def summed(by_node: dict[str, Series], axis: TimeAxis) -> Series:
    """Return the sum over all nodes; a node's value stands for up to `HOLD_S` until its next one."""
    total = axis.empty()
    hold_bins = HOLD_S // axis.bin_s
    for series in by_node.values():
        held: float | None = None
        age = 0
        for index, value in enumerate(series):
            held, age = (held, age + 1) if value is None else (value, 0)
            if held is not None and age <= hold_bins:
                total[index] = (total[index] or 0.0) + held
    return total


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a monitor could not read: why, how often, and which metrics it concerns."""

    source: str
    node: str
    reason: str
    metrics: tuple[str, ...]
    count: int


def gaps(record: RunRecord) -> list[Gap]:
    """Return what could not be read, one entry per source, node and reason."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    metrics: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for reading in record.readings:
        if reading.value is None:
            key = (reading.source, reading.node, reading.unavailable or "no reason given")
            counts[key] += 1
            metrics[key].add(reading.metric)
    return [Gap(*key, tuple(sorted(metrics[key] - {""})), counts[key]) for key in sorted(counts)]


@dataclass(frozen=True, slots=True)
class ReadingSpread:
    """The lowest, mean and highest value of one metric of one node over the run."""

    source: str
    node: str
    metric: str
    unit: str
    count: int
    lowest: float
    mean: float
    highest: float


def reading_spreads(record: RunRecord) -> list[ReadingSpread]:
    """Return one entry per source, node and metric that was read at least once."""
    values: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for reading in record.readings:
        if is_measured(reading) and reading.value is not None:
            values[reading.source, reading.node, reading.metric, reading.unit].append(reading.value)
    return [
        ReadingSpread(*key, len(found), min(found), math.fsum(found) / len(found), max(found))
        for key, found in sorted(values.items())
    ]


def total_latencies(record: RunRecord) -> tuple[Histogram, Histogram, Histogram]:
    """Return response, service and failure times of the whole run without its warm-up phases."""
    warmup = {span.name for span in record.manifest.phases if span.warmup}
    response, service, failed = Histogram(), Histogram(), Histogram()
    for window in record.windows:
        if window.phase in warmup:
            continue
        response.add(window.latency)
        service.add(window.service)
        failed.add(window.failed)
    return response, service, failed
