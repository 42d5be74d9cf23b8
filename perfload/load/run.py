"""One run as the process sees it that keeps its record: the local runner, or the master of a cluster."""

from __future__ import annotations

import logging
import math
import secrets
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perfload.analysis.measures import LiveMeasures
from perfload.analysis.tally import counted_phases
from perfload.config import Config
from perfload.errors import RecordError
from perfload.load.clock import RunClock
from perfload.load.node import Batch
from perfload.load.progress import Progress
from perfload.model import ArrivalWindow, EndReason, Manifest, NodeEvent, NodeRecord
from perfload.monitors.process import SamplerProcess
from perfload.monitors.selection import sampled
from perfload.plan import Plan
from perfload.shares import Era, Seconds, given, lost
from perfload.store import OBSERVATIONS, READINGS, RunWriter
from perfload.thresholds import breaches_now

logger = logging.getLogger("perfload")

PROGRESS_S = 2.0


class ArrivalCounts:
    """Arrivals by second, in as little room as they need: a run may take days, on a hundred nodes."""

    def __init__(self) -> None:
        self._first = 0
        self._counts = array("L")

    def add(self, second: int, arrivals: int) -> None:
        """Count `arrivals` in `second`, which may come in any order."""
        if not self._counts:
            self._first = second
        if second < self._first:
            self._counts[0:0] = array("L", [0]) * (self._first - second)
            self._first = second
        self._counts.extend(array("L", [0]) * (second - self._first + 1 - len(self._counts)))
        self._counts[second - self._first] += arrivals

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield (second, arrivals) where there were any."""
        return ((second, count) for second, count in enumerate(self._counts, self._first) if count)


@dataclass(slots=True)
class NodeState:
    """What has arrived from one node, and whether it was there all the time."""

    index: int
    joined_s: float = 0.0
    last_second: int = -1
    idle: bool = False
    complete: bool = False
    is_lost: bool = False
    left_s: float | None = None
    away_since_s: float = math.inf
    """Since when it may have missed arrivals: the earliest time at which it was lost, or left."""
    note: str = ""
    clock_offset_s: float | None = None
    clock_error_s: float | None = None
    has_declined: bool = False
    """It takes no part, and has said so: nobody waits for its results."""
    dealt_with: defaultdict[str, ArrivalCounts] = field(default_factory=lambda: defaultdict(ArrivalCounts))
    """Phase -> arrivals that it started or dropped."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.complete or self.has_declined

    def dealt_with_by_second(self) -> Seconds:
        """Return the arrivals that it started or dropped."""
        return {
            (second, phase): count
            for phase, counts in self.dealt_with.items()
            for second, count in counts.items()
        }


class Run:
    """Keeps the record of one run: takes what nodes deliver, watches abort rules, knows when it is over."""

    def __init__(self, manifest: Manifest, config: Config, plan: Plan | None) -> None:
        """Make the record's folder and start the monitors; raises `RecordError` if it cannot be written."""
        self.clock = RunClock(manifest.started_at_s)
        self.nodes: dict[str, NodeState] = {}
        self.finished = False
        """True once the plan has been carried out."""
        self.breach = ""
        """Why an abort rule ended the run, in words."""
        self._load_ended_at_s: float | None = None
        self._plan = plan
        self.drain_s = config.drain_s
        """How long virtual users may go on after the plan's end."""
        self._rules = [rule for rule in config.rules if rule.abort]
        self._live = LiveMeasures(self._rules, counted_phases(manifest))
        self._writer = RunWriter(config.reports_dir / manifest.run_id, manifest)
        self._progress = Progress(manifest.phases)
        self._next_line_s = PROGRESS_S
        self._problem = ""
        self._given: dict[int, Seconds] | None = None
        self.watch: Callable[[Batch], None] | None = None
        """Told of everything that nodes deliver."""
        self._sampler = self._start_sampler(config)

    @property
    def folder(self) -> Path:
        """Where the record is."""
        return self._writer.folder

    def _start_sampler(self, config: Config) -> SamplerProcess | None:
        monitors = sampled(config.monitoring, config.settings)
        if not monitors:
            return None
        return SamplerProcess.start(
            self.folder / READINGS,
            observations=self.folder / OBSERVATIONS,
            node="generator-host",
            interval_s=config.monitoring.interval_s,
            timeout_s=config.monitoring.timeout_s,
            monitors=monitors,
            environment=config.monitoring.environment(config.settings),
        )

    def expect(self, node: str, index: int, joined_s: float = 0.0) -> None:
        """Name a node whose results this run waits for; once is enough."""
        if node not in self.nodes:
            self.nodes[node] = NodeState(index, joined_s)

    def take(self, node: str, batch: Batch) -> None:
        """Add what `node`, which is expected, delivers."""
        state = self.nodes[node]
        state.idle = batch.idle
        if batch.final:
            state.complete, state.is_lost = True, False
            if not self.has_ended:
                self._leave(state, self.clock.now_s())
        state.last_second = max([state.last_second, *(window.second for window in batch.windows)])
        for window in batch.windows:
            if isinstance(window, ArrivalWindow):
                state.dealt_with[window.phase].add(window.second, window.lag.count + window.dropped)
        self._live.add(batch.windows)
        self._progress.add(batch.windows, batch.readings)
        if self.watch is not None:
            self.watch(batch)
        self._report_problem(self._writer.append(batch.windows, batch.readings))

    def _leave(self, state: NodeState, now_s: float) -> None:
        state.left_s = now_s if state.left_s is None else state.left_s
        state.away_since_s = min(state.away_since_s, now_s - 1)

    def lose(self, node: str, now_s: float, silent_s: float) -> None:
        """Note that `node` was not heard of for `silent_s`; nobody waits for it to finish any more."""
        state = self.nodes[node]
        state.is_lost = True
        self._leave(state, now_s - silent_s)

    def decline(self, node: str, why: str) -> None:
        """Note that `node` takes no part in this run, which is incomplete without it."""
        state = self.nodes[node]
        state.has_declined, state.note = True, why

    def find(self, node: str, offset_s: float, error_s: float) -> None:
        """Note a sign of life of `node`, and what it knows of its clock by now."""
        state = self.nodes[node]
        if state.is_lost:
            state.is_lost, state.left_s = False, None
        state.clock_offset_s, state.clock_error_s = offset_s, error_s

    def note(self, events: Sequence[NodeEvent]) -> None:
        """Take `events`, all so far, into the record: it tells the story even if this process is killed."""
        for event in events[len(self._writer.manifest.events) :]:
            logger.warning("%s %s at %.1f s: %s", event.node, event.kind, event.at_s, event.note)
        if len(events) > len(self._writer.manifest.events):
            self._report_problem(self._writer.note(tuple(events)))

    def _report_problem(self, problem: str) -> None:
        if problem and problem != self._problem:
            logger.error("the record cannot be written, it will be tried again every second: %s", problem)
        self._problem = problem

    def tick(self) -> str:
        """Look after the run; called once a second. Return the line to show, or ""."""
        now_s = self.clock.now_s()
        if not self.breach:
            reasons = (breaches_now(rule, self._live, int(now_s)) for rule in self._rules)
            self.breach = next(filter(None, reasons), "")
        if now_s < self._next_line_s:
            return ""
        self._next_line_s = now_s + PROGRESS_S - 0.5
        return self._progress.line(now_s)

    def is_over(self) -> bool:
        """Say whether the plan is done and every arrival has left, or had the time to (`run.drain`)."""
        if self.breach:
            return True
        if self._plan is None:
            return False
        after_s = self.clock.now_s() - self._plan.duration_s
        nodes = self.nodes.values()
        waiting = [state for state in nodes if not (state.idle or state.is_lost or state.is_done)]
        self.finished = after_s >= 0 and (not waiting or after_s >= self.drain_s)
        return self.finished

    @property
    def is_complete(self) -> bool:
        """Whether every node has delivered its last results."""
        return all(state.is_done for state in self.nodes.values())

    @property
    def waits_for_present(self) -> bool:
        """Whether a node that is there has still to deliver its last results."""
        return any(not (state.is_done or state.is_lost) for state in self.nodes.values())

    @property
    def has_plan(self) -> bool:
        """Whether there is a plan to carry out; without one, the load goes on until somebody ends it."""
        return self._plan is not None

    @property
    def has_ended(self) -> bool:
        """Whether the load is over, though users may still be stopping."""
        return self._load_ended_at_s is not None

    def end_load(self) -> None:
        """Note that the load ends now; users may take a while to stop, and their time is not the load's."""
        if self._load_ended_at_s is None:
            self._load_ended_at_s = time.time()

    def close(self, reason: EndReason, note: str = "") -> None:
        """Stop the monitors and complete the record. A disk that is still full is reported, not raised."""
        self.end_load()
        ended_at_s = self._load_ended_at_s or time.time()
        if self._sampler is not None:
            self._sampler.stop()
        try:
            self._writer.close(reason, ended_at_s=ended_at_s, nodes=self.node_records(), note=note)
        except RecordError as error:
            logger.error("%s", error)

    def settle(self, eras: Sequence[Era]) -> None:
        """Work out from the eras of a cluster's run what each node was given, and what was lost of it."""
        if self._plan is None:
            return
        phases = [span.name for span in self._plan.spans]
        self._given = given(self._plan.schedule(), eras, phases, self._load_end_s())
        for state in self.nodes.values():
            if not state.complete:  # what it did after its last report is lost, whatever became of it
                state.away_since_s = min(state.away_since_s, state.last_second + 1)

    def _load_end_s(self) -> float:
        """Return the second of the run at which its load ended; infinite if its plan was carried out."""
        if self.finished or self._load_ended_at_s is None:
            return math.inf
        return self._load_ended_at_s - self.clock.started_at_s

    def node_records(self) -> Sequence[NodeRecord]:
        """Return what is known by now of every load generator."""
        return [self._node_record(name, state) for name, state in self.nodes.items()]

    def _node_record(self, name: str, state: NodeState) -> NodeRecord:
        its = (self._given or {}).get(state.index, {})
        return NodeRecord(
            name,
            state.index,
            state.complete and not state.is_lost,
            state.last_second,
            state.note or self._what_is_missing(state),
            joined_s=round(state.joined_s, 3),
            left_s=None if state.left_s is None else round(state.left_s, 3),
            given=None if self._given is None else sum(its.values()),
            lost=self._lost(state, its),
            clock_offset_ms=_milliseconds(state.clock_offset_s),
            clock_error_ms=_milliseconds(state.clock_error_s),
        )

    def _lost(self, state: NodeState, its: Seconds) -> tuple[tuple[int, str, int], ...]:
        """Return what was lost while the node was away; the second in which a run is stopped is left out."""
        end_s = self._load_end_s()
        own, dealt = (
            {key: count for key, count in counts.items() if key[0] + 1 <= end_s}
            for counts in (its, state.dealt_with_by_second())
        )
        missing = lost(own, dealt).items() if state.away_since_s < math.inf else ()
        return tuple((at, phase, count) for (at, phase), count in missing if at >= int(state.away_since_s))

    def _what_is_missing(self, state: NodeState) -> str:
        if state.complete:
            return ""
        since = f"everything after second {state.last_second}" if state.last_second >= 0 else "everything"
        if state.is_lost:
            return f"it was last heard of at {state.left_s or 0:.1f} s and did not return: {since} is missing"
        return f"its final results did not arrive in time: {since} is missing"


def _milliseconds(value_s: float | None) -> float | None:
    return None if value_s is None else round(1000 * value_s, 3)


def new_run_id(name: str) -> str:
    """Return an id that sorts by time, names what is run and is unique: `20261120-104500-load_test-5f3a`."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    word = "".join(character if character.isalnum() else "_" for character in name)[:40]
    return f"{stamp}-{word or 'run'}-{secrets.token_hex(2)}"
