"""Reasons not to believe a run: the generator was the limit, or a part of the record is missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from perfload.analysis.tally import generator_readings
from perfload.histogram import Histogram
from perfload.model import Reading, RunRecord
from perfload.units import format_duration

MIN_ARRIVALS = 100
"""Below this a 95th percentile of lag is the luck of a few arrivals."""

SUSTAINED_READINGS = 5
"""A generator is saturated when so many readings in a row are at the limit: one busy second is not."""


def saturation(record: RunRecord) -> list[str]:
    """Return, in words, every sign that the load generator could not offer the load that was asked for."""
    return [*_late_phases(record), *_busy_nodes(record.readings, record.manifest.max_generator_cpu_percent)]


def _late_phases(record: RunRecord) -> Iterator[str]:
    limit_s = record.manifest.max_lag_p95_ms / 1000
    lags: defaultdict[str, Histogram] = defaultdict(Histogram)
    for window in record.arrivals:
        lags[window.phase].add(window.lag)
    for span in record.manifest.phases:
        lag = lags[span.name]
        p95_s = lag.percentile(95) / 1e6
        if lag.count >= MIN_ARRIVALS and p95_s > limit_s:
            yield (
                f"the load generator was late in {span.name!r}: 5 % of its arrivals started more than "
                f"{format_duration(p95_s)} after their time (limit {format_duration(limit_s)})"
            )


def _busy_nodes(readings: Sequence[Reading], limit_percent: float) -> Iterator[str]:
    per_node: defaultdict[str, list[float]] = defaultdict(list)
    for reading in generator_readings(readings, "cpu_percent"):
        per_node[reading.node].append(reading.value or 0.0)
    for node, values in sorted(per_node.items()):
        runs = (
            values[first : first + SUSTAINED_READINGS]
            for first in range(len(values) - SUSTAINED_READINGS + 1)
        )
        worst = max((min(run) for run in runs), default=0.0)
        if worst >= limit_percent:
            yield (
                f"the load generator {node} was saturated: its process used {worst:.0f} % of a core or more "
                f"for {SUSTAINED_READINGS} readings in a row (limit {limit_percent:.0f} %)"
            )


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
    for node in manifest.nodes:
        if not node.complete:
            found.append(
                f"the load generator {node.node} did not deliver its last results: {node.note or 'lost'}"
            )
    if not record.windows and not record.arrivals:
        found.append("nothing was measured: no request finished")
    return found
