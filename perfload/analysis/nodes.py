"""The load generators of a run: what each did with its share, and what was lost as they came and went."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from perfload.analysis.schema import EventSummary, NodeSummary
from perfload.analysis.tally import generator_readings
from perfload.model import Manifest, NodeEvent, NodeRecord, RunRecord

MAX_LISTED = 3
"""A sentence that names more times than this cannot be read; the record has them all."""

MAX_CHANGES = 6
"""The same for a note, which is nothing but a list."""

_WENT = {"lost": "was lost at", "left": "left at"}


def summaries(record: RunRecord) -> list[NodeSummary]:
    """Return every load generator with its own account of arrivals and its own health."""
    arrivals = _arrivals(record)
    cpu, lag = _highest(record, "cpu_percent"), _highest(record, "loop_lag_ms")
    return [
        NodeSummary(
            node=node.node,
            index=node.index,
            complete=node.complete,
            joined_s=node.joined_s,
            left_s=node.left_s,
            last_second=node.last_second,
            given=node.given,
            started=arrivals[node.node]["started"],
            dropped=arrivals[node.node]["dropped"],
            lost=_lost(node),
            clock_offset_ms=node.clock_offset_ms,
            clock_error_ms=node.clock_error_ms,
            cpu_percent_max=cpu.get(node.node),
            loop_lag_ms_max=lag.get(node.node),
            note=node.note,
        )
        for node in record.manifest.nodes
    ]


def events(manifest: Manifest) -> list[EventSummary]:
    """Return who came and went, in order of time."""
    return [
        EventSummary(at_s=event.at_s, node=event.node, kind=event.kind, note=event.note)
        for event in manifest.events
    ]


def changes(manifest: Manifest) -> str:
    """Return, in words, who came and went, and when; "" if all stayed."""
    words = [f"{event.node} {event.kind} at {event.at_s:.1f} s" for event in manifest.events]
    return _listed(words, MAX_CHANGES)


def gaps(manifest: Manifest) -> Iterator[str]:
    """Yield, in words, what is missing of each load generator: one sentence for each of which anything is."""
    for node in manifest.nodes:
        seconds = _listed(_stretches(node))
        lost = f"{_lost(node):,} of the arrivals given to it, due in {seconds}" if node.lost else ""
        if not node.complete:
            more = f"; nothing was heard of {lost}" if lost else ""
            text = f"did not deliver its last results: {node.note or 'lost'}{more}"
        elif lost:
            text = f"{_absences(node, manifest.events)} and never started {lost}"
        else:
            continue
        yield f"the load generator {node.node} {text}"


def surplus(record: RunRecord) -> list[str]:
    """Return, in words, which load generators took more arrivals than they were given.

    Not of a run that was cut short: what was due after its end was given to nobody, but some of it may have
    been started before the word to stop arrived.
    """
    if record.manifest.end_reason != "finished":
        return []
    arrivals = _arrivals(record)
    more = {
        node.node: arrivals[node.node].total() - node.given
        for node in record.manifest.nodes
        if node.given is not None
    }
    return [
        f"the load generator {node} took {count:,} arrivals more than it was given: some may have come twice"
        for node, count in more.items()
        if count > 0
    ]


def _arrivals(record: RunRecord) -> defaultdict[str, Counter[str]]:
    """Return by node how many arrivals it started and dropped."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for window in record.arrivals:
        found[window.node].update(started=window.lag.count, dropped=window.dropped)
    return found


def _highest(record: RunRecord, metric: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for reading in generator_readings(record.readings, metric):
        found[reading.node] = max(found.get(reading.node, 0.0), reading.value or 0.0)
    return found


def _lost(node: NodeRecord) -> int:
    return sum(count for _, _, count in node.lost)


def _absences(node: NodeRecord, happened: Sequence[NodeEvent]) -> str:
    times: defaultdict[str, list[str]] = defaultdict(list)
    for event in happened:
        if event.node == node.node and event.kind in _WENT:
            times[_WENT[event.kind]].append(f"{event.at_s:.1f} s")
    return ", ".join(f"{went} {_listed(at)}" for went, at in times.items()) or "was away"


def _stretches(node: NodeRecord) -> list[str]:
    """Return the seconds in which its lost arrivals were due, those that follow each other as one."""
    bounds: list[tuple[int, int]] = []
    for second in sorted({second for second, _, _ in node.lost}):
        if bounds and second == bounds[-1][1] + 1:
            bounds[-1] = bounds[-1][0], second
        else:
            bounds.append((second, second))
    return [f"second {first}" if first == last else f"seconds {first} to {last}" for first, last in bounds]


def _listed(items: Sequence[str], most: int = MAX_LISTED) -> str:
    """Return `items` as one enumeration; of more than `most` the rest is a number."""
    shown = [*items[:most], *([f"{len(items) - most} more"] if len(items) > most else [])]
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
