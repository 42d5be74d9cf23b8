"""One load generator during one run: its clock, recorder, dispatcher and its own health."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
from gevent import Greenlet

from perfload.load import feeder
from perfload.load.arrivals import Dispatcher, ScenarioPicker
from perfload.load.bridge import RequestBridge, presentable
from perfload.load.clock import RunClock, best_timer
from perfload.load.collector import CollectorPolicy
from perfload.load.http.event import RequestEvent
from perfload.load.http.resolver import resolver
from perfload.load.licence import Licence
from perfload.load.rows import RowStock
from perfload.load.statistics import StatisticsFeed
from perfload.model import AnyWindow, PhaseSpan, Reading, span_at
from perfload.plan import Plan
from perfload.recorder import Recorder
from perfload.shares import Era, Shares

logger = logging.getLogger(__name__)

PULSE_S = 0.05
"""How often a node looks at its event loop and its users; a peak between two looks is missed."""
REPORTS_SPREAD_S = 0.8
"""The last node of a cluster reports a second so long after the first."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a node is told when a run begins: which run, its share, and the common start."""

    run_id: str
    node: str
    index: int
    count: int
    """Number of nodes when it was told."""
    started_at_s: float
    seed: int
    eras: tuple[Era, ...]
    """Who starts what; in order of time."""
    version: int = 0
    """Of the eras."""
    lease_until_s: float = math.inf
    zero_s: float | None = None
    """The run's start on the master's `perf_counter`; None on the machine that keeps the record itself."""
    time_scale: float = 1.0
    shape: str = ""
    """Name of the shape's class, which may have been picked in the web UI; "" without a shape."""
    phases: str = ""
    """Digest of the phases of that shape: who has another file of this name must not take part."""
    allow: tuple[str, ...] = ()
    """Hosts that load may go to, besides those that the node's own configuration allows."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a node hands over once a second."""

    windows: list[AnyWindow]
    readings: list[Reading]
    idle: bool
    """True once all arrivals of its share are done and gone."""
    final: bool = False


Sink = Callable[[Batch], None]


class Node:
    """Runs this process's part of a run and hands every closed second to `sink`."""

    def __init__(
        self,
        environment: Any,
        assignment: Assignment,
        plan: Plan | None,
        spans: tuple[PhaseSpan, ...],
        sink: Sink,
        *,
        clock: RunClock,
        freezes_objects: bool = True,
        lend: Callable[[str, int], RowStock] | None = None,
    ) -> None:
        """Take part in a run; `lend` gets unique rows from the master, all are this node's without it."""
        self.assignment = assignment
        self.clock = clock
        shares = Shares(assignment.index, assignment.eras, assignment.version)
        self.licence = Licence(shares, assignment.lease_until_s)
        self.recorder = Recorder(assignment.run_id, assignment.node)
        self._environment = environment
        self._sink = sink
        self._lend = lend
        self._stocks: dict[str, RowStock] = {}
        self._feed = StatisticsFeed(environment, self.clock)
        self._bridge = RequestBridge(self.recorder, self.clock, spans, self._feed)
        self._requests = RequestEvent.adopt(environment.events.request)
        self._spans = spans
        self._timer = best_timer()
        self._dispatcher = self._make_dispatcher(plan) if plan else None
        self._greenlets: list[Greenlet] = []
        self._dispatching: Greenlet | None = None
        self.left_s: float | None = None
        """Since when this node starts nobody any more; None while it does."""
        self._pulse = _Pulse(environment)
        self._collector = CollectorPolicy(environment.events, freezes=freezes_objects)

    def _make_dispatcher(self, plan: Plan) -> Dispatcher:
        return Dispatcher(
            plan,
            licence=self.licence,
            clock=self.clock,
            timer=self._timer,
            recorder=self.recorder,
            picker=ScenarioPicker(self._environment.runner.user_classes, self.assignment.seed),
            environment=self._environment,
        )

    def start(self) -> None:
        """Begin: record requests, start virtual users by the plan, report once a second."""
        resolver.forget()  # addresses are looked up once per run
        if self._environment.host:
            # As Locust does, but only when it spawns users: a node that is late has started some by then.
            for user_class in self._environment.runner.user_classes:
                user_class.host = self._environment.host
        feeder.prepare(self)
        self._collector.begin()
        self._feed.begin()
        self._requests.record_with(self._bridge, self._bridge.on_request)
        self._environment.events.user_error.add_listener(self._bridge.on_user_error)
        self._spawn(self._pulse.run)
        self._spawn(self._report_seconds)
        if self._dispatcher is not None:
            self._dispatching = self._spawn(self._dispatcher.run)

    def lend(self, feeder: str, total: int) -> RowStock:
        """Return the unique rows of `feeder`, which has `total`, that this node may hand out."""
        if self._lend is not None:
            return self._lend(feeder, total)
        # Two feeders of one file share its rows.
        return self._stocks.setdefault(feeder, RowStock(range(total)))

    def _spawn(self, body: Callable[[], None]) -> Greenlet:
        greenlet = gevent.spawn(body)
        greenlet.link_exception(self._note_death)
        self._greenlets.append(greenlet)
        return greenlet

    def _note_death(self, greenlet: Greenlet) -> None:
        """Make the run invalid when a part of the generator fails: its load is not what was asked for."""
        logger.critical("a part of the load generator failed", exc_info=greenlet.exc_info)
        now_s = self.clock.now_s()
        reason = f"a part of the load generator failed: {greenlet.exception!r}"
        self.recorder.scenario_error(
            max(0, int(now_s)), span_at(self._spans, now_s).name, presentable(reason)
        )

    def stop_arrivals(self) -> None:
        """Start no more virtual users; those in flight go on."""
        if self._dispatching is not None:
            self._dispatching.kill()
        if self.left_s is None:
            self.left_s = self._dispatcher.left_off_s if self._dispatcher else self.clock.now_s()

    def finish(self) -> None:
        """Stop, and hand over everything that is left as the final batch."""
        self._requests.stop_recording()
        self._environment.events.user_error.remove_listener(self._bridge.on_user_error)
        gevent.killall(self._greenlets)
        self._timer.close()
        self._collector.end()
        self._hand_over(None, self.clock.now_s(), idle=True, final=True)
        self._feed.end()

    def record(self, metric: str, value: float, unit: str) -> None:
        """Record a scenario author's metric, in the phase of the virtual user that calls."""
        self.record_values(metric, (value,), unit)

    def record_values(self, metric: str, values: Sequence[float], unit: str) -> None:
        """Record many values of a metric at once."""
        if not values:
            return  # or there would be a window with nothing in it
        visit = getattr(gevent.getcurrent(), "perfload_visit", None)
        now_s = self.clock.now_s()
        phase = visit.phase if visit is not None else span_at(self._spans, now_s).name
        self.recorder.metrics(max(0, int(now_s)), phase, presentable(metric), presentable(unit), values)

    def _report_seconds(self) -> None:
        # Not all nodes at once: whoever beats meanwhile waits until the master has taken all their batches.
        after_s = REPORTS_SPREAD_S * self.assignment.index / self.assignment.count
        second = 0
        while True:
            second = max(second, int(self.clock.now_s() - after_s)) + 1
            while (rest_s := second + after_s - self.clock.now_s()) > 0:
                gevent.sleep(rest_s)
            idle = self._dispatcher is not None and self._dispatcher.idle
            self._hand_over(second, second - 0.5, idle=idle)

    def _hand_over(self, before: int | None, at_s: float, *, idle: bool, final: bool = False) -> None:
        windows = self.recorder.take(before)
        self._feed.add(windows, before)
        self._sink(Batch(windows, self._readings(at_s), idle=idle, final=final))

    def _readings(self, t_s: float) -> list[Reading]:
        """Return what was seen since the last call, as of second `t_s`: that of every node is the same."""
        at_s = self.clock.epoch_s(t_s)
        measured = self._pulse.take()
        return [
            Reading(at_s, self.assignment.node, "generator", metric, unit, value)
            for metric, unit, value in measured
        ]


class _Pulse:
    """Looks at this process many times a second: users in flight, lateness of the event loop, CPU."""

    def __init__(self, environment: Any) -> None:
        self._users = environment.runner.user_greenlets
        self._peak_users = 0
        self._loop_lag_s = 0.0
        self._cpu_s = time.process_time()
        self._taken_s = time.perf_counter()

    def run(self) -> None:
        while True:
            before_s = time.perf_counter()
            gevent.sleep(PULSE_S)
            self._loop_lag_s = max(self._loop_lag_s, time.perf_counter() - before_s - PULSE_S)
            self._peak_users = max(self._peak_users, len(self._users))

    def take(self) -> list[tuple[str, str, float]]:
        """Return (metric, unit, value) since the last call."""
        now_s, cpu_s = time.perf_counter(), time.process_time()
        passed_s = max(now_s - self._taken_s, 1e-6)
        values = [
            ("users", "users", float(max(self._peak_users, len(self._users)))),
            ("cpu_percent", "%", round(100 * (cpu_s - self._cpu_s) / passed_s, 1)),
            ("loop_lag_ms", "ms", round(1000 * self._loop_lag_s, 3)),
        ]
        self._taken_s, self._cpu_s = now_s, cpu_s
        self._peak_users, self._loop_lag_s = 0, 0.0
        return values
