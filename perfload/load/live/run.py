"""The run under way, or the last one, as whoever watches it from outside sees it."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from perfload.histogram import Histogram
from perfload.load.live.latest import LatestReadings
from perfload.load.live.rules import LiveRules
from perfload.load.live.totals import LATE_AFTER_US, Totals
from perfload.load.node import Batch
from perfload.model import ArrivalWindow, Manifest, NodeRecord, Phase, PhaseSpan, Reading, Window, span_at
from perfload.plan import Plan
from perfload.store import READINGS
from perfload.thresholds import Rule

RECENT_S = 5
"""Rates are means over so many seconds."""
FRESH_S = 5.0
"""What a node says of itself is of now for so long."""
MAX_NODES = 200
"""Load generators that are told apart."""


class WatchedRun(Protocol):
    """What is looked at of `perfload.load.run.Run`."""

    clock: Any
    nodes: Any
    """Node -> its state."""

    @property
    def folder(self) -> Path:
        """Where the record is."""

    @property
    def has_ended(self) -> bool:
        """Whether the load is over."""


@dataclass(slots=True)
class NodeHealth:
    """What one load generator last said of itself."""

    at_s: float = -math.inf
    users: float = 0.0
    cpu_percent: float = 0.0
    loop_lag_ms: float = 0.0


@dataclass(slots=True)
class Second:
    """What was done in one second of the run."""

    requests: int = 0
    failures: int = 0
    started: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """What was done lately, per second."""

    requests: float
    failures: float
    started: float


class LiveRun:
    """One run: what was done so far, how its generators are, how its thresholds stand."""

    def __init__(
        self, run: WatchedRun, manifest: Manifest, rules: Sequence[Rule], plan: Plan | None = None
    ) -> None:
        self.manifest = manifest
        self.rules = LiveRules(rules, manifest)
        self.readings = LatestReadings(run.folder / READINGS)
        self.health: dict[str, NodeHealth] = {}
        self.lag = Histogram()
        self.started = self.late = self.dropped = self.requests = self.failures = 0
        self.is_over = False
        self._run = run
        self._phases = plan.phases if plan else (None,) * len(manifest.phases)
        self._seconds: dict[int, Second] = {}
        self._ended_s: float | None = None

    def take(self, batch: Batch) -> None:
        """Take in what one node has delivered."""
        self.now_s()
        for window in batch.windows:
            if isinstance(window, Window):
                self._add_requests(window)
            elif isinstance(window, ArrivalWindow):
                self._add_arrivals(window)
        for reading in batch.readings:
            self._add_health(reading)
        self.rules.add(batch.windows, batch.readings)
        newest = max(self._seconds, default=0)
        for second in [second for second in self._seconds if second < newest - 2 * RECENT_S]:
            del self._seconds[second]

    def _add_requests(self, window: Window) -> None:
        second = self._seconds.setdefault(window.second, Second())
        second.requests += window.count
        second.failures += window.failed.count
        self.requests += window.count
        self.failures += window.failed.count

    def _add_arrivals(self, window: ArrivalWindow) -> None:
        self._seconds.setdefault(window.second, Second()).started += window.lag.count
        self.started += window.lag.count
        self.late += window.lag.count_above(LATE_AFTER_US)
        self.dropped += window.dropped
        self.lag.add(window.lag)

    def _add_health(self, reading: Reading) -> None:
        if reading.source != "generator" or reading.value is None:
            return
        if reading.node not in self.health and len(self.health) >= MAX_NODES:
            return
        health = self.health.setdefault(reading.node, NodeHealth())
        if reading.metric in ("users", "cpu_percent", "loop_lag_ms"):
            health.at_s = max(health.at_s, reading.at_s)
            setattr(health, reading.metric, reading.value)

    def now_s(self) -> float:
        """Return the second of the run; it stands still once the load has ended."""
        if self._ended_s is not None:
            return self._ended_s
        now_s = float(self._run.clock.now_s())
        if self._run.has_ended:
            self._ended_s = now_s
        return now_s

    def epoch_now_s(self) -> float:
        """Return the time of the clock on the wall that goes with the run's, also after its end."""
        return float(self.manifest.started_at_s + self._run.clock.now_s())

    @property
    def has_ended(self) -> bool:
        """Whether the load is over, though users may still be stopping."""
        return self.is_over or self._run.has_ended

    @property
    def span(self) -> PhaseSpan | None:
        """The phase; None before the first, after the last and once the load has ended."""
        now_s = self.now_s()
        if self.has_ended or not 0 <= now_s < self.manifest.phases[-1].end_s:
            return None
        return span_at(self.manifest.phases, now_s)

    def fresh_health(self) -> dict[str, NodeHealth]:
        """Return the health of the generators that were heard of lately."""
        now_s = self.epoch_now_s()
        return {
            node: health for node, health in sorted(self.health.items()) if now_s - health.at_s <= FRESH_S
        }

    def generators(self) -> dict[str, int]:
        """Return how many load generators take part, are done, and are lost."""
        counts = {"running": 0, "done": 0, "lost": 0}
        for state in self._run.nodes.values():
            counts["lost" if state.is_lost else "done" if state.is_done else "running"] += 1
        return counts

    def rates(self) -> Rates:
        """Return what was done per second lately; the newest second may still lack what some nodes did."""
        newest = max(self._seconds, default=0)
        last = max(0, newest - 1)
        first = max(0, last - RECENT_S + 1)
        recent = [found for second, found in self._seconds.items() if first <= second <= last]
        length_s = last - first + 1
        return Rates(
            sum(second.requests for second in recent) / length_s,
            sum(second.failures for second in recent) / length_s,
            sum(second.started for second in recent) / length_s,
        )

    def planned(self) -> dict[str, int]:
        """Return the arrivals that were due by now, by phase."""
        now_s = self.now_s()
        return {
            span.name: due(span, now_s, phase)
            for span, phase in zip(self.manifest.phases, self._phases, strict=True)
            if span.model == "arrivals"
        }


def due(span: PhaseSpan, now_s: float, phase: Phase | None = None) -> int:
    """Return how many of the arrivals of a phase were due by second `now_s`.

    Going by the phase's rate, or by its arrival times, where it has them.
    """
    passed_s = now_s - span.start_s
    if passed_s <= 0 or not span.planned:
        return 0
    if passed_s >= span.duration_s:
        return span.planned
    if phase is not None and phase.arrival_times is not None:
        return bisect.bisect_right(phase.arrival_times, passed_s * phase.duration_s / span.duration_s)
    by_now = span.start * passed_s + (span.end - span.start) * passed_s**2 / (2 * span.duration_s)
    in_all = (span.start + span.end) / 2 * span.duration_s
    return int(span.planned * by_now / in_all)


class Live:
    """What all runs of this process add up to, and the one under way."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.run: LiveRun | None = None
        """The run under way, or the last one."""

    def begin(
        self, run: WatchedRun, manifest: Manifest, rules: Sequence[Rule], plan: Plan | None = None
    ) -> None:
        """Watch `run`, which is about to start."""
        self.run = LiveRun(run, manifest, rules, plan)

    def take(self, batch: Batch) -> None:
        """Take in what a node has delivered for the run under way."""
        if self.run is not None:
            self.totals.add(batch.windows)
            self.run.take(batch)

    def end(self, nodes: Iterable[NodeRecord]) -> None:
        """Note that the run's record is closed, and what was lost of its load with its `nodes`."""
        if self.run is None or self.run.is_over:
            return
        for phase, planned in self.run.planned().items():
            self.totals.arrivals[self.totals.phase(phase)].planned += planned
        lost = Counter[str]()
        for node in nodes:
            for _, phase, arrivals in node.lost:
                lost[self.totals.phase(phase)] += arrivals
        for phase, arrivals in lost.items():
            self.totals.arrivals[phase].lost += arrivals
        self.run.is_over = True

    def planned(self) -> Mapping[str, int]:
        """Return the arrivals that were due by now in all runs, by phase."""
        planned = Counter({phase: totals.planned for phase, totals in self.totals.arrivals.items()})
        if self.run is not None and not self.run.is_over:
            for phase, arrivals in self.run.planned().items():
                planned[self.totals.phase(phase)] += arrivals
        return planned
