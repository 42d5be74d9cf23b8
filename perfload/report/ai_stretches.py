"""A run cut into stretches of its phases, each long enough for figures to plot against its load."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from perfload.analysis.tally import load_end_s, ran_s, users_by_second
from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, PhaseSpan, RunRecord
from perfload.report.ai_metrics import Recorded, scaled_sum

MIN_ANSWERS = 20
"""A share of fewer tells nothing: of 20, one answer is 5 %."""

MIN_WIDTH_S = 5
MAX_PER_PHASE = 60
_ENDS_PER_STRETCH = 3
"""A stretch lasts this many times the median answer, so that most that end in it began in it."""


@dataclass(slots=True)
class Stretch:
    """Seconds `start_s` to `end_s` of the run, all in one phase, and what was counted in them."""

    start_s: float
    end_s: float
    arrivals: int = 0
    """Virtual users that were due: started, dropped or lost."""
    good: Histogram = field(default_factory=Histogram)
    """100 or 0 for each answer to a virtual user of the phase, times `METRIC_SCALE`."""
    ended: int = 0
    """Answers that ended in it, to whomever."""
    output_tokens: float = 0.0
    users: list[int] = field(default_factory=list)
    """Virtual users in flight, of each second."""

    @property
    def width_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s

    @property
    def good_percent(self) -> float:
        """The share of good answers; only where there are answers."""
        return self.good.mean / METRIC_SCALE


@dataclass(frozen=True, slots=True)
class PhaseStretches:
    """A phase that counts, cut into stretches without gaps."""

    span: PhaseSpan
    stretches: Sequence[Stretch]

    def at(self, second: int) -> Stretch:
        """Return the stretch of `second`; what comes after the phase's end belongs to its last one."""
        return self.stretches[max(0, bisect_right(self.stretches, float(second), key=_start_s) - 1)]

    def whole(self) -> Stretch:
        """Return all of the phase as one stretch."""
        merged = Stretch(self.stretches[0].start_s, self.stretches[-1].end_s)
        for part in self.stretches:
            merged.arrivals += part.arrivals
            merged.good.add(part.good)
            merged.ended += part.ended
            merged.output_tokens += part.output_tokens
            merged.users += part.users
        return merged

    def holds(self, second: int) -> bool:
        """Return whether most of `second` lies in the phase."""
        return self.stretches[0].start_s <= second + 0.5 < self.stretches[-1].end_s


def _start_s(stretch: Stretch) -> float:
    return stretch.start_s


def cut(record: RunRecord, recorded: Recorded) -> list[PhaseStretches]:
    """Return the phases that count and lasted, cut; stretches are longer where answers are rare or slow."""
    ended_s = load_end_s(record)
    ends = recorded.windows("good") or recorded.windows("e2e")  # without objectives none is good
    answer_s = recorded.total("e2e").percentile(50) / METRIC_SCALE / 1000
    phases = {}
    for span in record.manifest.phases:
        lasted_s = ran_s(span, ended_s)
        if span.warmup or lasted_s <= 0:
            continue
        answers = sum(w.values.count for w in ends if w.phase == span.name)
        width_s = _width_s(lasted_s, answers, answer_s)
        phases[span.name] = PhaseStretches(span, _stretches(span.start_s, span.start_s + lasted_s, width_s))
    _count_by_phase(record, recorded, phases)
    _count_by_time(record, recorded, phases.values())
    return list(phases.values())


def _width_s(lasted_s: float, answers: int, answer_s: float) -> int:
    """Return whole seconds: enough for `MIN_ANSWERS` on average, with half as many in reserve."""
    for_answers_s = 1.5 * MIN_ANSWERS * lasted_s / answers if answers else 0.0
    return math.ceil(max(MIN_WIDTH_S, for_answers_s, _ENDS_PER_STRETCH * answer_s, lasted_s / MAX_PER_PHASE))


def _stretches(start_s: float, end_s: float, width_s: int) -> list[Stretch]:
    """Cut into equal parts of at least `width_s`, at whole seconds: what is recorded has no finer time."""
    parts = max(1, int((end_s - start_s) // width_s))
    cuts = (math.ceil(start_s + (end_s - start_s) * index / parts) for index in range(1, parts))
    bounds = [start_s, *cuts, end_s]
    return [Stretch(*pair) for pair in itertools.pairwise(bounds)]


def _count_by_phase(record: RunRecord, recorded: Recorded, phases: dict[str, PhaseStretches]) -> None:
    """Count what carries the phase of its virtual user, however late it ended."""
    for window in recorded.windows("good"):
        if window.phase in phases:
            phases[window.phase].at(window.second).good.add(window.values)
    for arrival in record.arrivals:
        if arrival.phase in phases:
            phases[arrival.phase].at(arrival.second).arrivals += arrival.lag.count + arrival.dropped
    for second, phase, lost in (row for node in record.manifest.nodes for row in node.lost):
        if phase in phases:
            phases[phase].at(second).arrivals += lost


def _count_by_time(record: RunRecord, recorded: Recorded, phases: Collection[PhaseStretches]) -> None:
    """Count what is of the time in which it came, for whichever phase it was asked."""

    def at(second: int) -> Stretch | None:
        return next((phase.at(second) for phase in phases if phase.holds(second)), None)

    for window in recorded.windows("good"):
        if stretch := at(window.second):
            stretch.ended += window.values.count
    for window in recorded.windows("output_tokens"):
        if stretch := at(window.second):
            stretch.output_tokens += scaled_sum(window.values)
    for second, users in users_by_second(record.readings, record.manifest.started_at_s).items():
        if stretch := at(second):
            stretch.users.append(users)
