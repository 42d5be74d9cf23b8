"""Virtual users on a real Locust runner, without a network: every arrival is counted by hand."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st
from locust import SequentialTaskSet, TaskSet, User, constant, task

from perfload.load.arrivals import Dispatcher, OneVisit, ScenarioPicker, uniform
from perfload.load.bridge import RequestBridge
from perfload.load.clock import RunClock, SleepTimer, Timer, best_timer
from perfload.load.statistics import StatisticsFeed
from perfload.model import AnyWindow, ArrivalWindow, Phase, Window
from perfload.plan import Arrival, Plan
from perfload.recorder import Recorder
from tests.load.conftest import wait_for

MakeEnvironment = Callable[..., Any]


# --- one visit


def visit(environment: Any, scenario: type[User]) -> list[Any]:
    """Run one virtual user of `scenario` until it leaves; return what it noted in its `log`."""
    user: Any = scenario(environment)
    user.tasks = OneVisit(user.tasks)
    user.log = []
    user.start(environment.runner.user_greenlets)
    environment.runner.user_greenlets.join()
    log: list[Any] = user.log
    return log


class Logging(User):
    abstract = True
    log: list[Any]

    def on_stop(self) -> None:
        self.log.append("left")


def test_a_visit_runs_one_of_the_tasks_thinks_and_leaves(make_environment: MakeEnvironment) -> None:
    class Visitor(Logging):
        def wait_time(self) -> float:
            self.log.append("thinks")
            return 0

        @task
        def a(self) -> None:
            self.log.append("a")

        @task
        def b(self) -> None:
            self.log.append("b")

    environment = make_environment(Visitor)
    logs = [visit(environment, Visitor) for _ in range(40)]
    assert {tuple(log) for log in logs} == {("a", "thinks", "left"), ("b", "thinks", "left")}


def test_the_weights_of_tasks_stay_locusts(make_environment: MakeEnvironment) -> None:
    class Visitor(Logging):
        wait_time = constant(0)

        @task(9)
        def often(self) -> None:
            self.log.append("often")

        @task(1)
        def rarely(self) -> None:
            self.log.append("rarely")

    environment = make_environment(Visitor)
    drawn = Counter(visit(environment, Visitor)[0] for _ in range(400))
    assert drawn.total() == 400
    assert 330 <= drawn["often"] <= 388  # 360, within five standard deviations of 6


def test_a_nested_task_set_is_run_until_it_is_left(make_environment: MakeEnvironment) -> None:
    class Visitor(Logging):
        wait_time = constant(0)

        @task
        class Chain(SequentialTaskSet):
            def on_start(self) -> None:
                self.user.log.append("enters")

            @task
            def first(self) -> None:
                self.user.log.append("first")

            @task
            def second(self) -> None:
                self.user.log.append("second")

            @task
            def end(self) -> None:
                self.interrupt()

    assert visit(make_environment(Visitor), Visitor) == ["enters", "first", "second", "left"]


def test_a_task_set_that_is_left_without_waiting_ends_the_visit_too(
    make_environment: MakeEnvironment,
) -> None:
    class Visitor(Logging):
        wait_time = constant(0)

        @task
        class Inner(TaskSet):
            @task
            def only(self) -> None:
                self.user.log.append("inner")
                self.interrupt(reschedule=False)

    assert visit(make_environment(Visitor), Visitor) == ["inner", "left"]


def test_a_task_that_raises_is_one_error_and_ends_the_visit(make_environment: MakeEnvironment) -> None:
    class Visitor(Logging):
        wait_time = constant(0)

        @task
        def broken(self) -> None:
            self.log.append("tried")
            raise RuntimeError("broken on purpose")

    environment = make_environment(Visitor)
    errors = []
    environment.events.user_error.add_listener(lambda exception, **_: errors.append(str(exception)))
    assert visit(environment, Visitor) == ["tried", "left"]
    assert errors == ["broken on purpose"]


def test_one_visit_leaves_the_tasks_of_the_class_alone(make_environment: MakeEnvironment) -> None:
    class Visitor(Logging):
        wait_time = constant(0)

        @task
        def only(self) -> None:
            self.log.append("only")

    environment = make_environment(Visitor)
    before = list(Visitor.tasks)
    visit(environment, Visitor)
    assert Visitor.tasks == before
    assert len(OneVisit(before)) == 1


# --- which scenario


def scenario(name: str, weight: int) -> type[User]:
    return type(name, (User,), {"weight": weight, "abstract": False})


A, B, C = scenario("A", 1), scenario("B", 3), scenario("C", 6)


def test_the_stream_of_random_numbers() -> None:
    # The first outputs of the reference implementation of SplitMix64 from the state 0, as fractions of 2^64.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [uniform(0, number) for number in range(3)] == pytest.approx([value / 2**64 for value in expected])
    drawn = [uniform(seed, number) for seed in range(20) for number in range(500)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.015)
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_scenarios_are_picked_by_their_weights(seed: int) -> None:
    count = 20_000
    picker = ScenarioPicker([A, B, C], seed)
    picked = Counter(picker.pick(number) for number in range(count))
    for each, share in ((A, 0.1), (B, 0.3), (C, 0.6)):
        deviation = (count * share * (1 - share)) ** 0.5
        assert abs(picked[each] - count * share) < 5 * deviation


@given(st.integers(0, 2**40), st.integers(0, 10**9), st.permutations([A, B, C]))
def test_the_pick_depends_on_seed_and_number_alone(seed: int, number: int, order: list[type[User]]) -> None:
    assert ScenarioPicker(order, seed).pick(number) is ScenarioPicker([A, B, C], seed).pick(number)


def test_another_seed_is_another_mix() -> None:
    one, other = ScenarioPicker([A, B, C], 1), ScenarioPicker([A, B, C], 2)
    assert [one.pick(n) for n in range(50)] != [other.pick(n) for n in range(50)]


def test_a_scenario_of_weight_zero_is_never_picked() -> None:
    picker = ScenarioPicker([scenario("Zero", 0), A], 3)
    assert {picker.pick(number) for number in range(500)} == {A}


# --- the dispatcher


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
        timer: Timer | None = None,
    ) -> None:
        self.environment = environment
        self.clock = clock
        self.recorder = Recorder("run", f"node-{index}")
        self.timer = timer or best_timer()
        self.dispatcher = Dispatcher(
            plan,
            index=index,
            count=count,
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
    arrivals = [step for step in OPEN.schedule() if isinstance(step, Arrival)]
    assert all(at_s >= arrival.at_s for at_s, arrival in zip(starts_s, arrivals, strict=True))
    for arrival, noted in zip(arrivals, visits, strict=True):
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

    def noting(level: Any) -> None:
        hold(level)
        levels.append(level.users)
        wait_for(lambda: len(site.users) == level.users)  # those who leave finish their task first

    site.dispatcher._hold = noting  # type: ignore[method-assign]
    site.run()
    assert levels == [1, 2, 3, 4, 4, 3, 2, 5, 0]
    assert Resident.made == 4 + 3
    assert Resident.begun == Resident.ended


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
