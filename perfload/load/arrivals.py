"""Starts virtual users when the plan says so: one dispatcher per load generator, on one greenlet.

Locust's own spawning counts users and ticks once a second; a plan gives every virtual user a time of its
own. So the dispatcher starts users itself, in the runner's own group: Locust counts, shows and stops them.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
from locust import User
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from perfload.load.clock import RunClock, Timer
from perfload.load.licence import Licence, Upcoming
from perfload.model import PhaseSpan
from perfload.plan import Arrival, Level, Plan
from perfload.recorder import Recorder
from perfload.trace import TraceRequest

LOOK_S = 0.1
"""How often a node that waits looks whether its share has changed."""


class Visit:
    """What the requests of one virtual user need to know of its arrival; carried by the user's greenlet."""

    __slots__ = ("due_s", "is_first", "phase", "request")

    def __init__(self, phase: str, due_s: float, request: TraceRequest | None = None) -> None:
        self.phase = phase
        self.due_s = due_s
        """The intended start, in seconds of the run."""
        self.is_first = True
        """True until the first request, whose latency counts from the intended start, has ended."""
        self.request = request
        """What it is to ask, where the plan replays a trace."""


class OneVisit(Sequence[Any]):
    """The tasks of a virtual user that runs one of them, once: what is drawn next ends the user.

    Locust's task loop draws with `random.choice(user.tasks)`, so errors, think time, nested task sets and
    stopping go on working as Locust has them.
    """

    def __init__(self, tasks: Sequence[Any]) -> None:
        self._tasks = tasks
        self._drawn = False

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, index: Any) -> Any:
        if self._drawn:
            return leave
        self._drawn = True
        return self._tasks[index]


def leave(_user: User) -> None:
    """End the virtual user that runs this as its task."""
    raise StopUser


_MASK = (1 << 64) - 1


def uniform(seed: int, number: int) -> float:
    """Return the `number`-th value of a stream of uniform values in [0, 1), without going through the others.

    SplitMix64 (Steele, Lea, Flood 2014): its state after k steps is seed + k * gamma, so that step k costs no
    more than the first. Python's own generator takes 6 us to be seeded.
    """
    mixed = (seed * 0xD1342543DE82EF95 + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)


class ScenarioPicker:
    """Which scenario virtual user k runs: weighted, random, and the same for any number of workers."""

    def __init__(self, scenarios: Sequence[type[User]], seed: int) -> None:
        self._scenarios = sorted(scenarios, key=lambda scenario: scenario.__name__)
        self._bounds = list(itertools.accumulate(scenario.weight for scenario in self._scenarios))
        self._seed = seed

    def pick(self, number: int) -> type[User]:
        """Return the scenario class of virtual user `number`."""
        point = uniform(self._seed, number) * self._bounds[-1]
        return self._scenarios[bisect.bisect_right(self._bounds, point)]


class Dispatcher:
    """Walks the plan and starts this node's share of it."""

    def __init__(
        self,
        plan: Plan,
        *,
        licence: Licence,
        clock: RunClock,
        timer: Timer,
        recorder: Recorder,
        picker: ScenarioPicker,
        environment: Any,
    ) -> None:
        self._plan = plan
        self._licence = licence
        self._clock = clock
        self._timer = timer
        self._recorder = recorder
        self._picker = picker
        self._environment = environment
        self._users = environment.runner.user_greenlets
        self._level = 0
        """Concurrent users of the closed phase under way, over all nodes."""
        self._residents: dict[int, User] = {}
        """Those of them that are this node's, by number."""
        self._held: object = None
        """What the residents were last brought in line with."""
        self._next_s, self._taken_s = math.inf, -math.inf
        """When the next step is due, and when the last one that was taken was."""
        self.finished = False
        """True once every arrival of this node's share is started or dropped."""

    def run(self) -> None:
        """Do what the plan says until it ends; the body of the dispatcher's greenlet."""
        upcoming = Upcoming(_in_turns(self._plan.schedule()), self._licence)
        while (step := upcoming.next()) is not None:
            self._next_s = step.at_s
            if not self._is_time_for(step):
                continue  # the shares may have changed while we waited
            upcoming.take()
            self._taken_s, self._next_s = max(self._taken_s, step.at_s), math.inf
            if isinstance(step, Level):
                self._level = step.users
                self._hold()
            elif step.at_s >= self._licence.void_before_s:
                self._admit(step)
        self.finished = True

    def _is_time_for(self, step: Arrival | Level) -> bool:
        """Wait for `step`, but not so long that a change of shares would be noticed late.

        False if it is not time yet, or if `step` may have become another node's meanwhile.
        """
        version = self._licence.shares.version
        until_s = step.at_s
        if self._licence.may_lapse:
            until_s = min(until_s, self._clock.now_s() + LOOK_S)
        self._timer.wait_until(self._clock.zero_s + until_s)
        if self._level or self._residents:
            self._hold()
        if until_s < step.at_s or version != self._licence.shares.version:
            return False
        if self._has_lease():
            return True
        gevent.sleep(LOOK_S)
        return False

    def _has_lease(self) -> bool:
        return self._clock.now_s() <= self._licence.until_s

    @property
    def left_off_s(self) -> float:
        """Since when others may start what is due, if this dispatcher stops now."""
        now_s = self._clock.now_s()
        return min(now_s, self._next_s) if self._next_s > self._taken_s else now_s

    @property
    def idle(self) -> bool:
        """True once the plan is done and its last virtual user has left."""
        return self.finished and not len(self._users)

    def _admit(self, arrival: Arrival) -> None:
        span = self._plan.spans[arrival.phase]
        if self._is_full(arrival):
            self._recorder.drop(int(self._clock.now_s()), span.name)
            return
        self._start_visit(arrival, span)
        now_s = self._clock.now_s()
        self._recorder.arrival(int(now_s), span.name, round((now_s - arrival.at_s) * 1e6))

    def _is_full(self, arrival: Arrival) -> bool:
        cap = self._plan.phases[arrival.phase].max_users
        return cap is not None and len(self._users) >= self._licence.room(cap, arrival.at_s)

    def _start_visit(self, arrival: Arrival, span: PhaseSpan) -> None:
        user = self._make_user(arrival.number)
        if user is None:
            return
        user.tasks = OneVisit(user.tasks)
        trace = self._plan.trace
        visit = Visit(span.name, arrival.at_s, trace.requests[arrival.number] if trace else None)
        user.perfload_visit = visit
        user.start(self._users).perfload_visit = visit

    def _make_user(self, number: int) -> Any:
        """Return virtual user `number`; None if its class fails to make it: the plan goes on without."""
        try:
            return self._picker.pick(number)(self._environment)
        except Exception as error:
            trace = error.__traceback__
            self._environment.events.user_error.fire(user_instance=None, exception=error, tb=trace)
            return None

    def _hold(self) -> None:
        """Start and stop residents until they are this node's share of the level; none without a lease."""
        now_s = self._clock.now_s()
        shares, level = self._licence.shares, self._level if self._has_lease() else 0
        wanted = (level, shares.version, shares.era(now_s).from_s)
        if wanted == self._held:
            return
        self._held = wanted
        mine = shares.residents(level, now_s)
        for number in self._residents.keys() - set(mine):
            gevent.spawn(_stop_gracefully, self._residents.pop(number))
        for number in mine:
            resident = self._residents.get(number)
            if resident is None or resident.greenlet.dead:
                self._start_resident(number)

    def _start_resident(self, number: int) -> None:
        user = self._make_user(number)
        if user is None:
            self._residents.pop(number, None)
            return
        user.start(self._users)
        self._residents[number] = user


def _in_turns(steps: Iterator[Arrival | Level]) -> Iterator[Arrival | Level]:
    """Yield `steps`, and let others run now and then: who joins late has an hour of them to go through."""
    for count, step in enumerate(steps, start=1):
        if count % 10_000 == 0:
            gevent.sleep(0)
        yield step


def _stop_gracefully(user: User) -> None:
    """Let `user` finish its task; one that waits between tasks leaves at once."""
    if not user.greenlet.dead and user._state != LOCUST_STATE_STOPPING:
        user.tasks = [leave]  # it may wake before it is killed, and must not begin what would be cut off
        user.stop(force=False)
