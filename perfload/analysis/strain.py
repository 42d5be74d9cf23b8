"""Where the system struggled with the load: the phases that explanations are looked for.

A phase is strained if its requests took much longer than in the calmest part of the run, failed, fell behind
what was due, or missed a goal. Without strain there is nothing to explain.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from perfload.analysis.tally import Tally, load_end_s
from perfload.model import PhaseSpan, RunRecord

SLOWER = 2.0
"""Times the p95 of the calmest part: less is what any system does under load."""
SLOWER_BY_MS = 20.0
"""And by at least so much: twice 3 ms is nobody's problem."""
FAILING_PERCENT = 1.0
BEHIND = 0.9
"""Finished per due: below, the system takes less than it is offered."""
MIN_REQUESTS = 20
"""A part of the run with fewer says nothing of its p95."""
MAX_PARTS = 60
HELD_S = 3.0
"""For so long the signs have to last: one bad second is no strain, and the first second of a higher load is
behind by what is in flight."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the run, all requests together: `p95_ms` is NaN where too few succeeded."""

    start_s: float
    end_s: float
    p95_ms: float
    error_percent: float
    finished: int
    due: int

    def is_behind(self, calm_ms: float) -> bool:
        """Say whether clearly less was finished than was due, but for what takes `calm_ms` even in calm."""
        under_way = 0.0 if math.isnan(calm_ms) else min(1.0, calm_ms / 1000 / (self.end_s - self.start_s))
        return self.due >= MIN_REQUESTS and self.finished < BEHIND * self.due * (1 - under_way)


@dataclass(frozen=True, slots=True)
class Strain:
    """How one phase stood: `since_s` is when the strain began, infinite if it did not."""

    phase: str
    words: str
    """What shows it; empty without strain."""
    since_s: float = math.inf
    seen_s: float = math.inf
    """The end of the first part that shows it: how exactly the beginning is known."""
    until_s: float = math.inf
    """The end of the last part that shows it, or of the phase."""


def parts(record: RunRecord) -> list[Part]:
    """Return the run cut into at most `MAX_PARTS` stretches of whole seconds in each of its phases.

    Where there are few requests a stretch lasts until it has `MIN_REQUESTS`; none goes over into another
    phase.
    """
    end_s = max(1, math.ceil(load_end_s(record)))
    least_s = max(1, math.ceil(end_s / MAX_PARTS))
    tallies: defaultdict[int, Tally] = defaultdict(Tally)
    due: Counter[int] = Counter()
    for window in record.windows:
        tallies[window.second].add(window)
        for second, ok, failed in window.due:
            due[second] += ok + failed
    starts = {round(span.start_s) for span in record.manifest.phases} | {end_s}
    found = []
    part, begun_s, due_count = Tally(), 0, 0
    for second in range(end_s):
        if second in tallies:
            _join(part, tallies[second])
        due_count += due[second]
        is_full = second + 1 - begun_s >= least_s and max(part.count, due_count) >= MIN_REQUESTS
        if is_full or second + 1 in starts:
            found.append(_part(part, begun_s, second + 1, due_count))
            part, begun_s, due_count = Tally(), second + 1, 0
    return found


def _join(tally: Tally, other: Tally) -> None:
    tally.latency.add(other.latency)
    tally.failed.add(other.failed)


def _part(tally: Tally, start_s: float, end_s: float, due: int) -> Part:
    has_p95 = tally.latency.count >= MIN_REQUESTS
    return Part(
        start_s,
        end_s,
        tally.latency.percentile(95) / 1000 if has_p95 else math.nan,
        tally.error_rate_percent or 0.0,
        tally.count,
        due,
    )


def calm_p95_ms(found: Sequence[Part]) -> float:
    """Return the p95 of the calmest tenth of the parts; NaN when none has one."""
    values = sorted(part.p95_ms for part in found if not math.isnan(part.p95_ms))
    return values[len(values) // 10] if values else math.nan


def strains(record: RunRecord, missed_goals: Mapping[str, str]) -> list[Strain]:
    """Return every phase that ran, in order, with its strain.

    `missed_goals`: phase (or `all`) -> in words, a goal on response times or failures that it missed. One
    that the whole run missed says nothing of where, so it counts only if nothing else does.
    """
    found = parts(record)
    calm_ms = calm_p95_ms(found)
    spans = [span for span in record.manifest.phases if span.start_s < load_end_s(record)]
    shown = [
        _shown(span, [part for part in found if _overlaps(part, span)], calm_ms)
        or _missed(span, missed_goals.get(span.name, ""))
        for span in spans
    ]
    if not any(strain.words for strain in shown) and "all" in missed_goals:
        return [_missed(span, "" if span.warmup else missed_goals["all"]) for span in spans]
    return shown


def _overlaps(part: Part, span: PhaseSpan) -> bool:
    middle_s = (part.start_s + part.end_s) / 2
    return span.start_s <= middle_s < (span.end_s if span.duration_s else math.inf)


def _missed(span: PhaseSpan, goal: str) -> Strain:
    if not goal:
        return Strain(span.name, "")
    return Strain(span.name, goal, span.start_s, span.start_s, span.end_s)


def _shown(span: PhaseSpan, found: Sequence[Part], calm_ms: float) -> Strain | None:
    """Return the strain that the parts of a phase show, if they do for long enough."""
    lasting = [run for run in _runs(found, calm_ms) if run[-1].end_s - run[0].start_s >= HELD_S]
    if not lasting:
        return None
    first = lasting[0][0]
    words = _signs(first, calm_ms)
    return Strain(span.name, words, first.start_s, first.end_s, lasting[-1][-1].end_s)


def _runs(found: Sequence[Part], calm_ms: float) -> Iterator[list[Part]]:
    """Yield the stretches of parts in a row that show strain."""
    run: list[Part] = []
    for part in found:
        if _signs(part, calm_ms):
            run.append(part)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _signs(part: Part, calm_ms: float) -> str:
    if part.p95_ms > calm_ms * SLOWER and part.p95_ms > calm_ms + SLOWER_BY_MS:
        return f"p95 rose to {part.p95_ms:,.0f} ms, from {calm_ms:,.0f} ms in the calmest part of the run"
    if part.finished >= MIN_REQUESTS and part.error_percent > FAILING_PERCENT:
        return f"{part.error_percent:.1f} % of the requests failed"
    if part.is_behind(calm_ms):
        per_s = part.end_s - part.start_s
        finished, due = part.finished / per_s, part.due / per_s
        return f"{finished:,.1f} requests/s were finished where {due:,.1f}/s were due"
    return ""
