"""Load plans as pure functions of time: which virtual user starts when, and how many run at once.

Nothing here reads a clock. The schedule depends on the phases and the time scale alone; `perfload.shares`
says who of several load generators starts which part of it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perfload.errors import UsageError
from perfload.model import Phase, PhaseSpan, span_at
from perfload.trace import Trace

_FUZZ = 1e-9
"""Products of decimal fractions fall just short of whole numbers: 0.1 s x 30/s is 2.9999999999999996."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Virtual user `number` (0-based, over the whole run) is due at `at_s` and belongs to phase `phase`."""

    number: int
    at_s: float
    phase: int


@dataclass(frozen=True, slots=True)
class Level:
    """From `at_s` on, `users` virtual users run at once (closed model)."""

    at_s: float
    users: int
    phase: int


class Plan:
    """The phases of a run, one after the other."""

    def __init__(
        self, phases: Sequence[Phase], *, time_scale: float = 1.0, trace: Trace | None = None
    ) -> None:
        """Check `phases` as a whole; `time_scale` divides durations and arrival times, rates and counts stay.

        With a `trace`, arrival k of the plan asks what the trace's request k asked.

        Raises `UsageError` for an empty plan, a repeated name, something that is no `Phase`, a bad scale.
        """
        _check(phases, time_scale)
        self.phases = tuple(phases)
        self.time_scale = time_scale
        self.trace = trace
        self.spans = tuple(_spans(self.phases, time_scale))
        self.duration_s = self.spans[-1].end_s

    def rate_at(self, t_s: float) -> float:
        """Return the planned arrivals per second at `t_s`; 0 outside open phases."""
        return self._value_at(t_s, "arrivals")

    def users_at(self, t_s: float) -> int:
        """Return the planned concurrent users at `t_s`; 0 outside closed phases."""
        return math.floor(self._value_at(t_s, "users") + _FUZZ)

    def max_users_at(self, t_s: float) -> int | None:
        """Return the cap of users in flight at `t_s` seconds; None where there is none."""
        caps = (
            phase.max_users
            for phase, span in zip(self.phases, self.spans, strict=True)
            if span.start_s <= t_s
        )
        *_, cap = (None, *caps)
        return cap

    def _value_at(self, t_s: float, model: str) -> float:
        if not 0 <= t_s < self.duration_s:
            return 0.0
        span = span_at(self.spans, t_s)
        if span.model != model:
            return 0.0
        return span.start + (span.end - span.start) * (t_s - span.start_s) / span.duration_s

    def schedule(self) -> Iterator[Arrival | Level]:
        """Yield, in order of time, everything that is to be done; it ends with a level of 0 users."""
        number = 0
        for phase_index, (phase, span) in enumerate(zip(self.phases, self.spans, strict=True)):
            for at_s, users in _levels(phase, span):
                yield Level(at_s, users, phase_index)
            if phase.model != "arrivals":
                continue
            for offset_s in _offsets(phase, span.duration_s):
                yield Arrival(number, span.start_s + offset_s, phase_index)
                number += 1
        yield Level(self.duration_s, 0, len(self.phases) - 1)


def _check(phases: Sequence[Phase], time_scale: float) -> None:
    if not phases:
        raise UsageError(
            "the plan has no phases", hint='phases = [Phase(name="Load", duration="1m", arrival_rate=10)]'
        )
    for phase in phases:
        if not isinstance(phase, Phase):
            raise UsageError(f"{phase!r} is no Phase", hint="phases is a list of perfload.Phase")
    names = [phase.name for phase in phases]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two phases are named {name!r}", hint="results are kept per phase: name each once"
            )
    if not (math.isfinite(time_scale) and time_scale > 0):
        raise UsageError(f"the time scale is {time_scale}", hint="--time-scale 60 makes an hour a minute")


def _spans(phases: Sequence[Phase], time_scale: float) -> Iterator[PhaseSpan]:
    start_s = 0.0
    for phase in phases:
        duration_s = phase.duration_s / time_scale
        is_counted = phase.arrival_count is not None or phase.arrival_times is not None
        stretched = duration_s / phase.duration_s if is_counted else 1.0
        yield PhaseSpan(
            name=phase.name,
            start_s=start_s,
            duration_s=duration_s,
            model=phase.model,
            start=phase.start / stretched,
            end=phase.end / stretched,
            planned=_planned(phase, duration_s),
            warmup=phase.warmup,
        )
        start_s += duration_s


def _planned(phase: Phase, duration_s: float) -> int:
    if phase.model != "arrivals":
        return 0
    if phase.arrival_count is not None:
        return phase.arrival_count
    if phase.arrival_times is not None:
        return len(phase.arrival_times)
    if phase.poisson_seed is not None:
        return sum(1 for _ in _poisson(phase, duration_s))
    if phase.ramp_to is not None:
        return sum(arrivals for _, _, arrivals in _stairs(phase, duration_s))
    return math.floor(duration_s * phase.start + _FUZZ)


def _offsets(phase: Phase, duration_s: float) -> Iterator[float]:
    """Yield the seconds into the phase at which its arrivals are due."""
    if phase.arrival_times is not None:
        stretched = duration_s / phase.duration_s
        yield from (time_s * stretched for time_s in phase.arrival_times)
    elif phase.poisson_seed is not None:
        yield from _poisson(phase, duration_s)
    elif phase.ramp_to is not None:
        for begin_s, length_s, arrivals in _stairs(phase, duration_s):
            for n in range(1, arrivals + 1):
                yield begin_s + length_s * n / arrivals
    else:
        planned = _planned(phase, duration_s)
        gap_s = duration_s / planned if phase.arrival_count is not None and planned else 0.0
        for n in range(1, planned + 1):
            yield n * gap_s if gap_s else n / phase.start


def _stairs(phase: Phase, duration_s: float) -> Iterator[tuple[float, float, int]]:
    """Yield (begin_s, length_s, arrivals) of each step of a ramp: Artillery's staircase of one-second steps.

    rate(i) = a + (b - a) / (D - 1) x i for i = 0..D-1, rounded half up. A last step shorter than a second
    gets its share of the final rate.
    """
    whole = math.floor(duration_s + _FUZZ)
    slope = (phase.end - phase.start) / (whole - 1) if whole > 1 else 0.0
    for second in range(whole):
        yield float(second), 1.0, _round_half_up(phase.start + slope * second)
    rest_s = duration_s - whole
    if rest_s > _FUZZ:
        yield float(whole), rest_s, _round_half_up(phase.end * rest_s)


def _round_half_up(value: float) -> int:
    return math.floor(value + 0.5 + _FUZZ)


def _poisson(phase: Phase, duration_s: float) -> Iterator[float]:
    """Yield Poisson arrivals: a fixed count is spread at random; a rate gives random gaps.

    A ramp's times are those of a unit-rate process mapped through the inverse of its cumulative rate
    L(t) = a t + (b - a) t^2 / 2D (time rescaling).
    """
    source = random.Random(phase.poisson_seed)
    if phase.arrival_count is not None:
        yield from sorted(source.random() * duration_s for _ in range(phase.arrival_count))
        return
    a, b = phase.start, phase.end
    total = (a + b) / 2 * duration_s
    passed = 0.0
    while total > 0 and (passed := passed + source.expovariate(1.0)) <= total:
        bend = (b - a) / duration_s
        yield min(duration_s, passed / a if not bend else (math.sqrt(a * a + 2 * bend * passed) - a) / bend)


def _levels(phase: Phase, span: PhaseSpan) -> Iterator[tuple[float, int]]:
    """Yield (at_s, users) of each change of the number of concurrent users in one phase."""
    first, last = int(span.start), int(span.end)
    if phase.model != "users":
        yield span.start_s, 0
        return
    yield span.start_s, first
    steps = abs(last - first)
    for n in range(1, steps + 1):
        yield span.start_s + span.duration_s * n / steps, first + (n if last > first else -n)
