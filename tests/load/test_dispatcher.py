"""Virtual users on a real Locust runner, without a network: every arrival is counted by hand."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.pool import Group
from locust import User, constant, task
from locust.env import Environment

from perfload.load import arrivals
from perfload.load.arrivals import Dispatcher, ScenarioPicker, _stop_gracefully
from perfload.load.bridge import RequestBridge
from perfload.load.clock import RunClock, SleepTimer, Timer, best_timer
from perfload.load.licence import Licence
from perfload.load.statistics import StatisticsFeed
from perfload.model import AnyWindow, ArrivalWindow, Phase, Window
from perfload.plan import Arrival, Plan
from perfload.recorder import Recorder
from perfload.shares import Era, Shares, evenly
from tests.load.conftest import wait_for

MakeEnvironment = Callable[..., Any]


class Visitor(User):
    """A user whose requests take no time and touch no network."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        self.environment.events.request.fire(
            request_type="GET",
            name=type(self).__name__,
            response_time=1.0,
            response_length=10,
            exception=None,
            context={},
            start_time=time.time(),
        )


class OtherVisitor(Visitor):
    weight = 2


class Site:
    """One node: a dispatcher on a real runner, and what it recorded."""

    def __init__(
        self,
        environment: Any,
        plan: Plan,
        clock: RunClock,
        *,
        index: int = 0,
        count: int = 1,
        until_s: float = math.inf,
        timer: Timer | None = None,
    ) -> None:
        self.environment = environment
        self.licence = Licence(Shares(index, [evenly(range(count), 0.0)]), until_s)
        self.clock = clock
        self.recorder = Recorder("run", f"node-{index}")
        self.timer = timer or best_timer()
        self.dispatcher = Dispatcher(
            plan,
            licence=self.licence,
            clock=clock,
            timer=self.timer,
            recorder=self.recorder,
            picker=ScenarioPicker(environment.user_classes, seed=5),
            environment=environment,
        )
        bridge = RequestBridge(self.recorder, clock, plan.spans, StatisticsFeed(environment, clock))
        environment.events.request.add_listener(bridge.on_request)

    @property
    def users(self) -> Any:
        return self.environment.runner.user_greenlets

    def run(self) -> list[AnyWindow]:
        """Carry the plan out until the last user has left; return all windows."""
        self.dispatcher.run()
        self.users.join()
        return self.recorder.take()


@pytest.fixture
def make_site(make_environment: MakeEnvironment) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a `Site` for a list of user classes."""
    made: list[Site] = []

    def make(user_classes: list[type[User]], plan: Plan, clock: RunClock, **options: Any) -> Site:
        made.append(Site(make_environment(*user_classes), plan, clock, **options))
        return made[-1]

    yield make
    for site in made:
        site.timer.close()


MakeSite = Callable[..., Site]


def started(windows: list[AnyWindow]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for window in windows:
        if isinstance(window, ArrivalWindow):
            counts[window.phase] += window.lag.count
    return counts


def dropped(windows: list[AnyWindow]) -> int:
    return sum(window.dropped for window in windows if isinstance(window, ArrivalWindow))


def asked(windows: list[AnyWindow], key: Callable[[Window], str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for window in windows:
        if isinstance(window, Window):
            counts[key(window)] += window.count
    return counts


def soon() -> RunClock:
    return RunClock(time.time() + 0.05)


OPEN = Plan(
    [
        Phase(name="Steady", duration=0.15, arrival_rate=100),
        Phase(name="Rest", duration=0.05, pause=True),
        Phase(name="Burst", duration=0.1, arrival_count=40),
    ]
)


def test_every_arrival_of_the_plan_is_started_in_its_phase(make_site: MakeSite) -> None:
    site = make_site([Visitor], OPEN, soon())
    windows = site.run()
    assert started(windows) == {"Steady": 15, "Burst": 40}
    assert asked(windows, lambda window: window.phase) == {"Steady": 15, "Burst": 40}
    assert dropped(windows) == 0
    assert site.dispatcher.idle


def test_no_arrival_is_early_and_each_knows_when_it_was_due(make_site: MakeSite) -> None:
    starts_s: list[float] = []
    visits: list[Any] = []
    clock = soon()

    class Punctual(User):
        wait_time = constant(0)

        @task
        def note(self) -> None:
            starts_s.append(clock.now_s())
            visits.append(self.greenlet.perfload_visit)

    site = make_site([Punctual], OPEN, clock)
    site.run()
    due = [step for step in OPEN.schedule() if isinstance(step, Arrival)]
    assert all(at_s >= arrival.at_s for at_s, arrival in zip(starts_s, due, strict=True))
    for arrival, noted in zip(due, visits, strict=True):
        assert noted.phase == OPEN.spans[arrival.phase].name
        assert noted.due_s == arrival.at_s


def test_late_arrivals_are_all_started_and_their_lag_is_recorded(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=0.2, arrival_count=20)])
    site = make_site([Visitor], plan, RunClock(time.time() - 1.0))  # as after a stall of a second
    windows = site.run()
    assert started(windows) == {"Load": 20}
    lags = [window.lag for window in windows if isinstance(window, ArrivalWindow)]
    assert min(lag.min for lag in lags) >= 800_000
    latencies = [window.latency for window in windows if isinstance(window, Window)]
    assert min(latency.min for latency in latencies) >= 800_000  # seen by everyone who should have come then


def test_nodes_share_the_arrivals_and_together_they_are_the_plan(make_site: MakeSite) -> None:
    clock, count = soon(), 3
    sites = [
        make_site([Visitor, OtherVisitor], OPEN, clock, index=index, count=count) for index in range(count)
    ]
    jobs = [gevent.spawn(site.run) for site in sites]
    parts = [job.get() for job in jobs]
    assert [started(part).total() for part in parts] == [
        len(range(index, 55, count)) for index in range(count)
    ]
    together = [window for part in parts for window in part]
    assert started(together) == {"Steady": 15, "Burst": 40}
    picker = ScenarioPicker([Visitor, OtherVisitor], seed=5)
    expected = Counter(picker.pick(number).__name__ for number in range(55))
    assert asked(together, lambda window: window.name) == expected


class Staying(User):
    """A user who stays until `gate` opens."""

    wait_time = constant(0)
    gate = Event()

    @task
    def stay(self) -> None:
        self.gate.wait()


@pytest.mark.parametrize(("count", "admitted"), [(1, [3]), (2, [2, 1])])
def test_arrivals_above_max_users_are_dropped_and_counted(
    make_site: MakeSite, count: int, admitted: list[int]
) -> None:
    plan = Plan([Phase(name="Load", duration=0.1, arrival_count=20, max_users=3)])
    Staying.gate.clear()
    clock = soon()
    sites = [make_site([Staying], plan, clock, index=index, count=count) for index in range(count)]
    gevent.joinall([gevent.spawn(site.dispatcher.run) for site in sites], raise_error=True)
    assert [len(site.users) for site in sites] == admitted
    assert [site.dispatcher.finished for site in sites] == [True] * count
    assert [site.dispatcher.idle for site in sites] == [False] * count
    windows = [window for site in sites for window in site.recorder.take()]
    assert started(windows) == {"Load": 3}
    assert dropped(windows) == 17
    Staying.gate.set()
    for site in sites:
        site.users.join()
    assert [site.dispatcher.idle for site in sites] == [True] * count


class Resident(User):
    """A user of a closed phase, who notes whether each of its tasks ran to the end."""

    wait_time = constant(0.001)
    begun = 0
    ended = 0
    made = 0

    def on_start(self) -> None:
        Resident.made += 1

    @task
    def work(self) -> None:
        Resident.begun += 1
        gevent.sleep(0.002)
        Resident.ended += 1


@pytest.fixture
def _fresh_residents() -> None:
    Resident.begun = Resident.ended = Resident.made = 0


@pytest.mark.usefixtures("_fresh_residents")
def test_a_closed_phase_holds_its_level_and_lets_everyone_finish(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Closed", duration=0.4, users=3)])
    site = make_site([Resident], plan, soon())
    dispatching = gevent.spawn(site.dispatcher.run)
    wait_for(lambda: Resident.ended >= 9)
    assert not dispatching.ready()
    assert len(site.users) == 3
    dispatching.get()
    site.users.join()
    assert Resident.made == 3
    assert Resident.begun == Resident.ended
    assert site.dispatcher.idle


@pytest.mark.usefixtures("_fresh_residents")
def test_a_closed_ramp_goes_through_its_levels(make_site: MakeSite) -> None:
    plan = Plan(
        [
            Phase(name="Up", duration=0.2, users=1, ramp_to_users=4),
            Phase(name="Down", duration=0.2, users=4, ramp_to_users=2),
            Phase(name="Again", duration=0.1, users=5),
        ]
    )
    site = make_site([Resident], plan, soon())
    levels: list[int] = []
    hold = site.dispatcher._hold

    def noting() -> None:
        hold()
        users = site.dispatcher._level
        levels.append(users)
        wait_for(lambda: len(site.users) == users)  # those who leave finish their task first

    site.dispatcher._hold = noting  # type: ignore[method-assign]
    site.run()
    assert [users for users, _ in itertools.groupby(levels)] == [1, 2, 3, 4, 3, 2, 5, 0]
    assert Resident.made == 4 + 3
    assert Resident.begun == Resident.ended


@pytest.mark.usefixtures("_fresh_residents")
def test_a_user_that_wakes_as_it_is_stopped_begins_no_other_task() -> None:
    class Waking(Resident):
        def wait_time(self) -> float:
            gevent.spawn(_stop_gracefully, self)  # gets its turn before this user does again
            return 0

    user = Waking(Environment(user_classes=[Waking]))
    user.start(Group())
    gevent.joinall([user.greenlet], timeout=5)
    assert user.greenlet.dead
    assert Resident.begun == Resident.ended == 1


def test_a_closed_phase_is_shared_between_nodes(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Closed", duration=0.1, users=5)])
    clock = soon()
    Staying.gate.clear()
    sites = [make_site([Staying], plan, clock, index=index, count=2) for index in range(2)]
    jobs = [gevent.spawn(site.dispatcher.run) for site in sites]
    wait_for(lambda: [len(site.users) for site in sites] == [3, 2])
    gevent.joinall(jobs, raise_error=True)
    Staying.gate.set()
    for site in sites:
        site.users.join()


def test_an_open_phase_begins_when_the_closed_one_before_it_has_ended(
    make_site: MakeSite,
) -> None:
    plan = Plan(
        [Phase(name="Closed", duration=0.1, users=2), Phase(name="Open", duration=0.1, arrival_count=5)]
    )
    windows = make_site([Visitor], plan, soon()).run()
    assert started(windows) == {"Open": 5}
    asked_by_phase = asked(windows, lambda window: window.phase)
    assert asked_by_phase["Open"] >= 5
    assert asked_by_phase["Closed"] > 0


def test_another_timer_changes_nothing(make_site: MakeSite) -> None:
    site = make_site([Visitor], OPEN, soon(), timer=SleepTimer())
    assert started(site.run()) == {"Steady": 15, "Burst": 40}


# --- while shares move


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "LOOK_S", 0.01)


@pytest.mark.usefixtures("_looks_often")
def test_without_a_lease_nobody_starts_and_with_the_next_one_all_start_late(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=0.2, arrival_count=20)])
    clock = soon()
    site = make_site([Visitor], plan, clock, until_s=0.1)
    running = gevent.spawn(site.run)
    wait_for(lambda: clock.now_s() > 0.25)
    windows = site.recorder.take()
    assert 1 <= started(windows)["Load"] <= 10
    assert not running.ready()
    site.licence.until_s = 60.0
    windows += running.get()
    assert started(windows) == {"Load": 20}
    lags = [window.lag for window in windows if isinstance(window, ArrivalWindow)]
    assert max(lag.max for lag in lags) >= 140_000


@pytest.mark.usefixtures("_looks_often")
def test_what_was_due_before_a_node_returned_is_not_started(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=0.2, arrival_count=20)])
    clock = soon()
    site = make_site([Visitor], plan, clock, until_s=0.0)
    running = gevent.spawn(site.run)
    wait_for(lambda: clock.now_s() > 0.1)
    site.licence.void_before_s = 0.15
    site.licence.until_s = 60.0
    windows = running.get()
    assert started(windows) == {"Load": 6}
    assert dropped(windows) == 0
    assert site.dispatcher.idle


@pytest.mark.usefixtures("_looks_often")
def test_a_node_takes_over_from_another(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=0.3, arrival_count=30)])
    clock = soon()
    site = make_site([Visitor], plan, clock, count=2, until_s=60.0)
    running = gevent.spawn(site.run)
    wait_for(lambda: clock.now_s() > 0.1)
    site.licence.shares.update(1, [evenly([0, 1], 0.0), evenly([0], 0.201)])
    assert started(running.get()) == {"Load": 10 + 10}


def test_a_step_that_becomes_another_s_while_it_is_waited_for_is_left_to_it(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "LOOK_S", 60.0)
    plan = Plan([Phase(name="Load", duration=0.3, arrival_count=1)])
    clock = soon()
    site = make_site([Visitor], plan, clock, until_s=60.0)
    running = gevent.spawn(site.run)
    wait_for(lambda: clock.now_s() > 0)  # it waits for its only arrival
    site.licence.shares.update(1, [evenly([0], 0.0), evenly([1], 0.2)])
    assert started(running.get()) == {}


def test_the_room_of_a_node_leaves_some_for_users_that_lost_ones_may_have(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=0.1, arrival_count=20, max_users=7)])
    Staying.gate.clear()
    site = make_site([Staying], plan, soon())
    site.licence.shares.update(1, [Era(0.0, (0,), reserved_users=3)])
    site.dispatcher.run()
    assert len(site.users) == 4
    assert dropped(site.recorder.take()) == 16
    Staying.gate.set()
    site.users.join()


@pytest.mark.usefixtures("_looks_often")
def test_residents_come_and_go_with_the_share_and_the_lease(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Closed", duration=60, users=6)])
    clock = soon()
    site = make_site([Resident], plan, clock, count=3, until_s=60.0)
    dispatching = gevent.spawn(site.dispatcher.run)
    for version, eras, users in [
        (0, [], 2),
        (1, [evenly([0, 1, 2], 0.0), evenly([0, 1], 0.05)], 3),
        (2, [evenly([0], 0.0)], 6),
        (3, [evenly([0], 0.0), Era(clock.now_s(), (1, 0, 1))], 2),
        (4, [evenly([1], 0.0)], 0),
        (5, [evenly([0, 1], 0.0)], 3),
    ]:
        if eras:
            site.licence.shares.update(version, eras)
        wait_for(lambda users=users: len(site.users) == users)  # type: ignore[misc]
    site.licence.until_s = 0.0
    wait_for(lambda: len(site.users) == 0)
    site.licence.until_s = 60.0
    wait_for(lambda: len(site.users) == 3)
    dispatching.kill()


@pytest.mark.usefixtures("_looks_often", "_fresh_residents")
def test_residents_that_stay_are_not_made_anew(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Closed", duration=0.3, users=6)])
    site = make_site([Resident], plan, soon(), count=2, until_s=60.0)
    running = gevent.spawn(site.run)
    wait_for(lambda: len(site.users) == 3)
    site.licence.shares.update(1, [evenly([0, 1], 0.0), Era(0.05, (0, 0, 0, 1))])
    wait_for(lambda: len(site.users) == 5)
    running.get()
    assert Resident.made == 5
    assert Resident.begun == Resident.ended


def test_a_walk_through_a_long_past_lets_others_run(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=1_000, arrival_rate=50)])
    site = make_site([Visitor], plan, RunClock(time.time() - 999.9), until_s=1e6)
    site.licence.void_before_s = 999.8
    turns: list[bool] = []

    def count() -> None:
        while True:
            turns.append(site.dispatcher.finished)
            gevent.sleep(0)

    counting = gevent.spawn(count)
    site.run()
    counting.kill()
    assert turns.count(False) >= 4


def test_others_may_start_what_was_waited_for_when_a_dispatcher_stops(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=1, arrival_count=2)])  # due at 0.5 and 1 s
    clock = soon()
    site = make_site([Visitor], plan, clock)
    dispatching = gevent.spawn(site.dispatcher.run)
    gevent.sleep(0)
    due_s = next(step.at_s for step in plan.schedule() if isinstance(step, Arrival))
    wait_for(lambda: clock.now_s() > 0.1)  # it waits for the first arrival
    assert site.dispatcher.left_off_s == pytest.approx(clock.now_s(), abs=0.02)
    while clock.now_s() < due_s + 0.05:
        pass  # something else keeps the process busy: what is waited for is late
    assert site.dispatcher.left_off_s == due_s
    dispatching.kill()
    # It may have had its turn before it was killed.
    is_started = started(site.recorder.take()).total() == 1
    assert (site.dispatcher.left_off_s > due_s) is is_started


def test_nobody_else_may_start_what_a_dispatcher_has_started(make_site: MakeSite) -> None:
    plan = Plan([Phase(name="Load", duration=0.1, arrival_count=2)])
    clock = soon()
    site = make_site([Visitor], plan, clock)
    site.run()
    assert site.dispatcher.left_off_s == pytest.approx(clock.now_s(), abs=0.02)
