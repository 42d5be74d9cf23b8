"""A cluster in simulated time: the real links, membership and dispatchers, without sockets, sleeps or users.

Processes have clocks of their own and can be killed, stopped and continued; the network between them delays,
loses, repeats and reorders. Everything that happens is decided by the caller, so every run can be repeated.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from greenlet import getcurrent, greenlet

from perfload.load import arrivals, clock
from perfload.load.arrivals import Dispatcher
from perfload.load.clock import RunClock
from perfload.load.cluster import delivery, master, worker
from perfload.load.cluster.master import MasterLink
from perfload.load.cluster.worker import WorkerLink
from perfload.load.licence import Licence
from perfload.load.node import Assignment, Batch
from perfload.model import Phase
from perfload.plan import Plan
from perfload.recorder import Recorder
from perfload.shares import Shares, evenly

WAY_S = 0.001
"""How long a message takes that nothing happens to."""
SPAWN_S = 0.01
"""Between an assignment and the spawn message of Locust, with which a worker begins."""
USERS_LEAVE_S = 3.0
LEAD_S = 1.0
APART_S = 0.137
"""Between two workers' coming: they do not beat all at once."""
STARTED_AT_S = 1_700_000_000.0


@dataclass(eq=False)
class Process:
    """One process: what it has to do next waits while it is stopped, and is forgotten when it is killed."""

    clock_ahead_s: float = 0.0
    is_dead: bool = False
    is_stopped: bool = False
    held: list[Callable[[], Any]] = field(default_factory=list)


class Scheduler:
    """Simulated time, and what happens in it. Greenlets run until they sleep."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.zero_s = 0.0
        """When the run begins; the wall clocks of all machines agree about it."""
        self.current = Process()
        self._heap: list[tuple[float, int, Process, Callable[[], Any]]] = []
        self._turn = itertools.count()
        self._main = getcurrent()

    def post(self, process: Process, delay_s: float, do: Callable[[], Any]) -> None:
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._turn), process, do))

    def spawn(self, body: Callable[..., Any], *arguments: Any) -> greenlet:
        started = greenlet(lambda: body(*arguments), self._main)
        self.post(self.current, 0.0, started.switch)
        return started

    def sleep(self, seconds: float) -> None:
        self.post(self.current, seconds, getcurrent().switch)
        self._main.switch()

    def run_until(self, until_s: float) -> None:
        while self._heap and self._heap[0][0] <= until_s:
            self.now_s, _, process, do = heapq.heappop(self._heap)
            if process.is_stopped:
                process.held.append(do)
            elif not process.is_dead:
                self.current = process
                do()
        self.now_s = until_s

    def resume(self, process: Process) -> None:
        process.is_stopped = False
        for do in process.held:
            self.post(process, 0.0, do)
        process.held = []

    def perf_counter(self) -> float:
        return self.now_s + self.current.clock_ahead_s


class Site:
    """One worker: a link, and a dispatcher as soon as it has an assignment."""

    def __init__(self, cluster: "Cluster", number: int, clock_ahead_s: float) -> None:
        self.client_id = f"host_{number}"
        self.process = Process(clock_ahead_s)
        self.index: int | None = None
        self.clock_error_s = 0.0
        """How far its clock may be from the master's, as it knew when it began."""
        self.has_left = False
        self.timer = _Timer(cluster.scheduler)
        self._cluster = cluster
        self._deliver: Callable[[Batch], None] | None = None
        self._node: Any = None
        self.handlers: dict[str, Callable[..., None]] = {}
        runner = SimpleNamespace(
            send_message=lambda kind, data: cluster.to_master(self, kind, data),
            register_message=lambda kind, handler, **_: self.handlers.update({kind: handler}),
            user_count=0,
            state="running",
        )
        cluster.scheduler.current = self.process
        self.link = WorkerLink(SimpleNamespace(runner=runner))

    def begin(self) -> None:
        """Take part in the run, as `perfload.load.worker` does."""
        terms = self.link.assignment
        if terms is None:
            return
        self.index = terms.index
        run_clock = self.link.clock(terms)
        if self.link._offset.is_known:
            self.clock_error_s = self.link._offset.error_s
        licence = Licence(Shares(terms.index, terms.eras, terms.version), terms.lease_until_s)
        self._deliver = self.link.open()
        self._node = SimpleNamespace(assignment=terms, licence=licence, clock=run_clock, left_s=None)
        self.link.attend(self._node)
        scheduler = self._cluster.scheduler
        dispatcher = self._node.dispatcher = Dispatcher(
            self._cluster.plan,
            licence=licence,
            clock=run_clock,
            timer=self.timer,
            recorder=Recorder(terms.run_id, terms.node),
            picker=SimpleNamespace(pick=self._pick),  # type: ignore[arg-type]
            environment=SimpleNamespace(runner=SimpleNamespace(user_greenlets=[])),
        )
        scheduler.spawn(dispatcher.run)

    def _pick(self, number: int) -> Callable[[Any], Any]:
        def start(_group: Any) -> Any:
            if not self.has_left:
                self._cluster.started[number].append((self.client_id, self._cluster.run_s))
            return SimpleNamespace()

        return lambda _environment: SimpleNamespace(tasks=[None], start=start)

    def leave(self) -> None:
        """Start nobody any more, say so, and hand in the last batch when the users have left."""
        self.has_left = True
        if self._node is not None:
            self._node.left_s = self._node.dispatcher.left_off_s
        self.link.say_goodbye()
        self._cluster.scheduler.post(self.process, USERS_LEAVE_S, self._finish)

    def _finish(self) -> None:
        if self._deliver is not None:
            self._deliver(Batch([], [], idle=True, final=True))


class _Timer:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.busy_until_s = 0.0

    def wait_until(self, perf_s: float) -> None:
        rest_s = max(perf_s - self._scheduler.perf_counter(), self.busy_until_s - self._scheduler.now_s)
        if rest_s > 0:
            # A little later, as every timer: rounding must not make it early.
            self._scheduler.sleep(rest_s + 1e-6)

    def close(self) -> None:
        """Nothing to free."""


class _Event:
    """As much of gevent's as an outbox and a beat need, in simulated time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout_s: float) -> bool:
        until_s = self._scheduler.now_s + timeout_s
        while not self._is_set and self._scheduler.now_s < until_s:
            self._scheduler.sleep(min(0.05, until_s - self._scheduler.now_s))
        return self._is_set


class Cluster:
    """A master and workers that carry out one plan."""

    def __init__(
        self, scheduler: Scheduler, sites: int, duration_s: int, rate: float, ahead_s: Sequence[float]
    ) -> None:
        self.scheduler = scheduler
        self.plan = Plan([Phase(name="Load", duration=duration_s, arrival_rate=rate)])
        self.started: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)
        """Number of a virtual user -> which worker started it, and in which second of the run."""
        self.copies: dict[int, list[float]] = {}
        """What happens to the n-th message of the run: how long each of its copies takes."""
        self._cut: set[str] = set()
        """Workers that nothing gets to or from."""
        self._deaf: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        """What is on its way to workers that hear nothing for a while."""
        self.quiet_s = 0.0
        """Second of the run from which on nothing has happened to any message."""
        self.touched: set[str] = set()
        """Workers that had a message delayed, lost or repeated."""
        self._messages: Iterator[int] | None = None
        self._ahead_s = itertools.cycle(ahead_s)
        self._master = Process(clock_ahead_s=1e5)
        self._handlers: dict[str, Callable[..., None]] = {}
        self._runner = SimpleNamespace(
            clients=SimpleNamespace(ready=[], spawning=[], running=[], missing=[]),
            get_worker_index=lambda client_id: int(client_id.removeprefix("host_")),
            send_message=self._to_worker,
            register_message=lambda kind, handler, **_: self._handlers.update({kind: handler}),
        )
        self.link = MasterLink(self._runner)
        self.sites: list[Site] = []
        for _ in range(sites):
            self._connect()
            self.scheduler.run_until(self.scheduler.now_s + APART_S)
        self.run: Any = None

    def _connect(self) -> Site:
        site = Site(self, len(self.sites), next(self._ahead_s))
        self.sites.append(site)
        self._runner.clients.ready.append(SimpleNamespace(id=site.client_id))
        return site

    @property
    def run_s(self) -> float:
        """Seconds of the run by the true time."""
        return self.scheduler.now_s - self.scheduler.zero_s

    @property
    def membership(self) -> Any:
        return self.link._cluster._membership  # type: ignore[union-attr]

    @property
    def refused(self) -> list[object]:
        """What anybody has refused: nothing, among themselves."""
        return [*self.link._refused, *(kind for site in self.sites for kind in site.link._refused)]

    def begin(self) -> None:
        """Start the run, of workers that know the master's clock."""
        self.scheduler.run_until(self.scheduler.now_s + LEAD_S)
        self.scheduler.current = self._master
        self.scheduler.zero_s = self.scheduler.now_s + LEAD_S
        zero_s = self.scheduler.perf_counter() + LEAD_S
        done = SimpleNamespace(complete=False)
        self.run = SimpleNamespace(
            clock=RunClock(STARTED_AT_S, zero_s),
            drain_s=5.0,
            has_ended=False,
            is_complete=False,
            **dict.fromkeys(("expect", "find", "lose", "note", "take"), lambda *_, **__: done),
        )
        terms = Assignment("run", "", 0, 1, STARTED_AT_S, 1, (evenly((0,), 0.0),), zero_s=zero_s)
        self._messages = itertools.count()
        self.link.begin(self.run, terms, self.plan)

    def go_on_until(self, run_s: float) -> None:
        self.scheduler.run_until(self.scheduler.now_s + run_s - self.run_s)

    # --- what happens to workers

    def freeze(self, _site: Site) -> None:
        """Hold the master up."""
        self._master.is_stopped = True

    def thaw(self, site: Site) -> None:
        """Let it go on, with what was said to it meanwhile first or last."""
        self._master.held.sort(key=lambda do: (do.__name__ == "arrive") == bool(site.index))
        self.scheduler.resume(self._master)

    def join(self) -> None:
        """Have a new worker connect."""
        site = self._connect()
        self.scheduler.post(self._master, WAY_S, lambda: self.link.join(site.client_id))

    def kill(self, site: Site) -> None:
        site.process.is_dead = True

    def stop(self, site: Site) -> None:
        site.process.is_stopped = True

    def resume(self, site: Site) -> None:
        self.scheduler.resume(site.process)

    def cut_off(self, site: Site) -> None:
        self._cut.add(site.client_id)

    def reconnect(self, site: Site) -> None:
        self._cut.discard(site.client_id)

    def deafen(self, site: Site) -> None:
        self._deaf[site.client_id] = []

    def undeafen(self, site: Site) -> None:
        for arrive in self._deaf.pop(site.client_id, ()):
            self.scheduler.post(site.process, WAY_S, arrive)

    def busy(self, site: Site, length_s: float) -> None:
        """Have the dispatcher, and nothing else of the worker, wake up late."""
        site.timer.busy_until_s = self.scheduler.now_s + length_s

    def leave(self, site: Site) -> None:
        if not site.process.is_dead:
            self.scheduler.current = site.process
            site.leave()

    # --- the network

    def to_master(self, site: Site, kind: str, data: Any) -> None:
        self._send(site, self._master, lambda: self._handlers, kind, data)

    def _to_worker(self, kind: str, data: Any, client_id: str) -> None:
        (site,) = (site for site in self.sites if site.client_id == client_id)
        self._send(site, site.process, lambda: site.handlers, kind, data)

    def _send(
        self, site: Site, to: Process, handlers: Callable[[], dict[str, Any]], kind: str, data: Any
    ) -> None:
        if site.client_id in self._cut:
            return
        body = msgpack.packb(data)  # as it is when it is sent: the sender may change it later

        def arrive() -> None:
            if kind in handlers():
                handlers()[kind](msg=SimpleNamespace(data=msgpack.unpackb(body), node_id=site.client_id))
            if kind == "perfload_start":
                self.scheduler.post(to, SPAWN_S, site.begin)

        if to is site.process and site.client_id in self._deaf:
            self._deaf[site.client_id].append(arrive)
            return
        for delay_s in self._ways(site, kind):
            self.scheduler.post(to, delay_s, arrive)

    def _ways(self, site: Site, kind: str) -> list[float]:
        if self._messages is None:
            return [WAY_S]
        ways = self.copies.get(next(self._messages))
        if ways is None or kind == "perfload_start":  # without one a worker takes no part
            return [WAY_S]
        self.touched.add(site.client_id)
        self.quiet_s = max([self.quiet_s, self.run_s, *(self.run_s + way_s for way_s in ways)])
        return [max(WAY_S, way_s) for way_s in ways]


@contextmanager
def simulated(
    sites: int, *, duration_s: int, rate: float, ahead_s: Sequence[float] = (5.0, -7.0)
) -> Iterator[Cluster]:
    """Make a cluster in which the clocks, sleeps and greenlets of perfload are simulated ones."""
    scheduler = Scheduler()
    times = SimpleNamespace(
        perf_counter=scheduler.perf_counter,
        monotonic=scheduler.perf_counter,
        time=lambda: STARTED_AT_S + scheduler.now_s - scheduler.zero_s,
    )
    greenlets = SimpleNamespace(sleep=scheduler.sleep, spawn=scheduler.spawn)
    with pytest.MonkeyPatch.context() as patch:
        for module in (worker, master, delivery, clock):
            patch.setattr(module, "time", times)
        for module in (worker, master, arrivals):
            patch.setattr(module, "gevent", greenlets)
        for module in (worker, delivery):
            patch.setattr(module, "Event", partial(_Event, scheduler))
        yield Cluster(scheduler, sites, duration_s, rate, ahead_s)
