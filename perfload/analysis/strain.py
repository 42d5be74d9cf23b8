"""Where the system struggled with the load: the phases that explanations are looked for.

A phase is strained if its requests took much longer than in the calmest part of the run, failed, fell behind
what was due, or missed a goal. Without strain there is nothing to explain.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from perfload.analysis.tally import Tally, load_end_s
from perfload.model import PhaseSpan, RunRecord, Window

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

Key = tuple[str, str]
"""(method, name) of a request."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the run, all requests together: `p95_ms` is NaN where too few succeeded."""

    start_s: float
    end_s: float
    p95_ms: float
    error_percent: float
    finished: int
    due: int

    @property
    def is_behind(self) -> bool:
        """Whether clearly less was finished than was due."""
        return self.due >= MIN_REQUESTS and self.finished < BEHIND * self.due


@dataclass(frozen=True, slots=True)
class Strain:
    """How one phase stood: `since_s` is when the strain began, infinite if it did not."""

    phase: str
    since_s: float
    words: str
    """What shows it; empty without strain."""


def parts(record: RunRecord) -> list[Part]:
    """Return the run cut into at most `MAX_PARTS` equal stretches of whole seconds."""
    end_s = max(1, math.ceil(load_end_s(record)))
    width_s = max(1, math.ceil(end_s / MAX_PARTS))
    tallies: defaultdict[int, Tally] = defaultdict(Tally)
    due: Counter[int] = Counter()
    for window in record.windows:
        tallies[window.second // width_s].add(window)
        for second, ok, failed in window.due:
            due[second // width_s] += ok + failed
    return [
        _part(tallies[index], index * width_s, min(end_s, (index + 1) * width_s), due[index])
        for index in range(math.ceil(end_s / width_s))
    ]


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


def calm_p95_ms(found: list[Part]) -> float:
    """Return the p95 of the calmest tenth of the parts; NaN when none has one."""
    values = sorted(part.p95_ms for part in found if not math.isnan(part.p95_ms))
    return values[len(values) // 10] if values else math.nan


def strains(record: RunRecord, missed_goals: Mapping[str, str]) -> list[Strain]:
    """Return every phase that ran, in order, with its strain.

    `missed_goals`: phase (or `all`) -> in words, a goal on response times or failures that it missed.
    """
    found = parts(record)
    calm_ms = calm_p95_ms(found)
    return [
        _strain(span, [part for part in found if _overlaps(part, span)], calm_ms, missed_goals)
        for span in record.manifest.phases
        if span.start_s < load_end_s(record)
    ]


def _overlaps(part: Part, span: PhaseSpan) -> bool:
    middle_s = (part.start_s + part.end_s) / 2
    return span.start_s <= middle_s < (span.end_s if span.duration_s else math.inf)


def _strain(span: PhaseSpan, found: list[Part], calm_ms: float, missed_goals: Mapping[str, str]) -> Strain:
    for part in found:
        words = _signs(part, calm_ms)
        if words:
            return Strain(span.name, part.start_s, words)
    goal = missed_goals.get(span.name) or ("" if span.warmup else missed_goals.get("all", ""))
    return Strain(span.name, span.start_s if goal else math.inf, goal)


def _signs(part: Part, calm_ms: float) -> str:
    if part.p95_ms > calm_ms * SLOWER and part.p95_ms > calm_ms + SLOWER_BY_MS:
        return f"p95 rose to {part.p95_ms:,.0f} ms, from {calm_ms:,.0f} ms in the calmest part of the run"
    if part.finished >= MIN_REQUESTS and part.error_percent > FAILING_PERCENT:
        return f"{part.error_percent:.1f} % of the requests failed"
    if part.is_behind:
        per_s = part.end_s - part.start_s
        finished, due = part.finished / per_s, part.due / per_s
        return f"{finished:,.1f} requests/s were finished where {due:,.1f}/s were due"
    return ""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A request of which the system finished no more however many were in flight."""

    method: str
    name: str
    rate_per_s: float
    due_per_s: float
    in_flight: tuple[float, float]
    """Mean number in flight when there were fewest and when there were most."""


def ceilings(record: RunRecord, since_s: float, until_s: float) -> list[Ceiling]:
    """Return the requests whose rate stood still from `since_s` to `until_s` while more were in flight.

    The number in flight comes from Little's law: rate times time, in each of four equal stretches.
    """
    by_name: defaultdict[Key, list[Window]] = defaultdict(list)
    for window in record.windows:
        if since_s <= window.second < until_s:
            by_name[window.method, window.name].append(window)
    found = (_ceiling(key, windows, since_s, until_s) for key, windows in by_name.items())
    return sorted(filter(None, found), key=lambda ceiling: ceiling.rate_per_s / ceiling.due_per_s)


STRETCHES = 4
STEADY = 0.25
"""The rates of the stretches differ by no more than this part of their mean."""
GROWN = 1.5
"""So many times more are in flight in the end than in the beginning."""


def _ceiling(key: Key, windows: list[Window], since_s: float, until_s: float) -> Ceiling | None:
    width_s = (until_s - since_s) / STRETCHES
    if width_s < 1:
        return None
    finished, time_us, due = [0] * STRETCHES, [0.0] * STRETCHES, 0
    for window in windows:
        place = min(STRETCHES - 1, int((window.second - since_s) / width_s))
        finished[place] += window.latency.count + window.failed.count
        time_us[place] += window.latency.sum + window.failed.sum
        due += sum(ok + failed for second, ok, failed in window.due if since_s <= second < until_s)
    rates = [count / width_s for count in finished]
    mean = sum(rates) / STRETCHES
    if min(finished) < MIN_REQUESTS / STRETCHES or max(rates) - min(rates) > STEADY * mean:
        return None
    in_flight = [us / 1e6 / width_s for us in time_us]
    if in_flight[-1] < GROWN * in_flight[0] or in_flight[0] < 1:
        return None
    return Ceiling(*key, mean, max(mean, due / (until_s - since_s)), (in_flight[0], in_flight[-1]))
