"""Connections that run out: from what MongoDB says of them once a second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from perfload.analysis.database_schema import Advice
from perfload.model import RunRecord, span_at

SOURCE = "mongodb"
IN_USE, FREE = "connections[current]", "connections[available]"

FULL_PERCENT = 90.0
READINGS = 3
"""In a row: one peak is no exhaustion."""


def pool_exhaustion(record: RunRecord) -> Iterator[Advice]:
    """Yield the servers whose connections were nearly used up for a while."""
    for node, counts in sorted(_counts(record).items()):
        longest = _longest(counts)
        if len(longest) < READINGS:
            continue
        at_s, in_use, free = max(longest, key=lambda reading: reading[1] / (reading[1] + reading[2]))
        yield Advice(
            kind="pool_exhaustion",
            severity="high",
            ns="",
            title=f"MongoDB at {node} was running out of connections",
            evidence=[
                f"{in_use:,.0f} of {in_use + free:,.0f} connections were in use, and {FULL_PERCENT:.0f} % or "
                f"more in {len(longest)} readings in a row. Whoever needs one more is refused.",
                "Look at maxPoolSize of the clients first: together they ask for more than the server has.",
            ],
            phase=span_at(record.manifest.phases, max(0.0, at_s)).name,
            command="db.serverStatus().connections",
            operations=[],
        )


def _counts(record: RunRecord) -> dict[str, list[tuple[float, float, float]]]:
    """Return (second of the run, in use, free) per server, in order of time."""
    found: defaultdict[str, dict[float, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for reading in record.readings:
        is_wanted = reading.source == SOURCE and reading.metric in (IN_USE, FREE)
        if is_wanted and reading.value is not None:
            found[reading.node][reading.at_s - record.manifest.started_at_s][reading.metric] = reading.value
    return {
        node: [
            (at_s, values[IN_USE], values[FREE])
            for at_s, values in sorted(by_time.items())
            if len(values) == 2 and sum(values.values()) > 0
        ]
        for node, by_time in found.items()
    }


def _longest(counts: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Return the longest stretch of readings with nearly all connections in use."""
    best: list[tuple[float, float, float]] = []
    now: list[tuple[float, float, float]] = []
    for reading in counts:
        _, in_use, free = reading
        now = [*now, reading] if 100 * in_use >= FULL_PERCENT * (in_use + free) else []
        best = max(best, now, key=len)
    return best
