"""Reasons not to believe a run: the generator was the limit, or a part of the record is missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from perfload.analysis import nodes
from perfload.analysis.tally import counted_phases, generator_readings
from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, Reading, RunRecord
from perfload.units import format_duration

MIN_ARRIVALS = 100
"""Below this a 95th percentile of lag is the luck of a few arrivals; the median has to do."""

MAX_BLURRED_PERCENT = 1.0
"""Of the first tokens; with more, the 99th percentile of the time to first token is not true."""

SUSTAINED_READINGS = 5
"""A generator is saturated when so many readings in a row are at the limit: one busy second is not."""


def saturation(record: RunRecord) -> list[str]:
    """Return, in words, every sign that the load generator could not offer the load that was asked for."""
    manifest = record.manifest
    busy = _sustained(record.readings, "cpu_percent", manifest.max_generator_cpu_percent)
    stuck = _sustained(record.readings, "loop_lag_ms", manifest.max_lag_p95_ms)
    return [
        *_late_phases(record),
        *_late_reads(record),
        *(
            f"the load generator {node} was saturated: its process used {worst:.0f} % of a core or more for "
            f"{SUSTAINED_READINGS} readings in a row (limit {manifest.max_generator_cpu_percent:.0f} %)"
            for node, worst in busy
        ),
        *(
            f"the load generator {node} was held up: its event loop was {worst:.0f} ms late or more in "
            f"{SUSTAINED_READINGS} readings in a row (limit {manifest.max_lag_p95_ms:.0f} ms)"
            for node, worst in stuck
        ),
    ]


def _late_reads(record: RunRecord) -> Iterator[str]:
    """Yield how late pieces of answers were read, if so late that for some the next ones had come meanwhile.

    Pieces that lie in a socket together are stamped as one: their gaps are lost, and a first token among them
    seems to have come with the second. Nobody sees that happen, but half of it is seen.
    """
    counted = counted_phases(record.manifest)
    delays, gaps, blurred = (
        _joined(w.values for w in record.metrics if w.phase in counted and (w.metric, w.unit) == metric)
        for metric in (("read_delay", "ms"), ("icl", "ms"), ("blurred", "%"))
    )
    late, usual = delays.percentile(99), gaps.percentile(50)
    if delays.count >= MIN_ARRIVALS and gaps.count and late > usual / 2:
        lay_ms, apart_ms = late / METRIC_SCALE, usual / METRIC_SCALE
        yield (
            f"the load generator read the pieces of answers late: 1 % of them lay {lay_ms:.0f} ms or longer "
            f"in its sockets, and they came {apart_ms:.0f} ms apart, so their times are blurred"
        )
        return
    share_percent = blurred.mean / METRIC_SCALE if blurred.count >= MIN_ARRIVALS else 0.0
    if share_percent > MAX_BLURRED_PERCENT:
        yield (
            f"the load generator read the pieces of answers late: {share_percent:.1f} % of the first tokens "
            "were read together with the second ones, and have their time"
        )


def _joined(histograms: Iterable[Histogram]) -> Histogram:
    """Return all values of `histograms`."""
    total = Histogram()
    for histogram in histograms:
        total.add(histogram)
    return total


def _late_phases(record: RunRecord) -> Iterator[str]:
    limit_s = record.manifest.max_lag_p95_ms / 1000
    lags: defaultdict[str, Histogram] = defaultdict(Histogram)
    for window in record.arrivals:
        lags[window.phase].add(window.lag)
    for span in record.manifest.phases:
        percent = 95 if lags[span.name].count >= MIN_ARRIVALS else 50
        lag_s = lags[span.name].percentile(percent) / 1e6
        if lag_s > limit_s:
            yield (
                f"the load generator was late in {span.name!r}: {100 - percent} % of its arrivals started "
                f"more than {format_duration(lag_s)} after their time (limit {format_duration(limit_s)})"
            )


def _sustained(readings: Sequence[Reading], metric: str, limit: float) -> Iterator[tuple[str, float]]:
    """Yield (node, what it never fell below) where `metric` was at `limit` for some readings in a row."""
    per_node: defaultdict[str, list[float]] = defaultdict(list)
    for reading in generator_readings(readings, metric):
        per_node[reading.node].append(reading.value or 0.0)
    for node, values in sorted(per_node.items()):
        starts = range(len(values) - SUSTAINED_READINGS + 1)
        worst = max((min(values[first : first + SUSTAINED_READINGS]) for first in starts), default=0.0)
        if worst >= limit:
            yield node, worst


def scenario_errors(record: RunRecord) -> list[str]:
    """Return, in words, what went wrong in the scenario's own code: its users did not do what was asked."""
    counts: Counter[str] = Counter()
    for window in record.arrivals:
        counts.update(dict(window.errors))
    return [f"the scenario itself failed {count:,} times: {reason}" for reason, count in counts.most_common()]


def gaps(record: RunRecord) -> list[str]:
    """Return, in words, everything that is missing from the record."""
    manifest = record.manifest
    found = [f"the record is damaged: {note}" for note in record.damage]
    if manifest.end_reason == "running":
        found.append("the run was never closed: its process was killed, or is still running")
    if manifest.end_reason == "interrupted":
        found.append("the run was interrupted before its end")
    found += nodes.gaps(manifest)
    if not record.windows and not record.arrivals:
        found.append("nothing was measured: no request finished")
    return found
