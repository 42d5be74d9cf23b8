"""What one virtual user does, and which scenario it runs."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust import SequentialTaskSet, TaskSet, User, constant, task

from perfload.load.arrivals import OneVisit, ScenarioPicker, uniform

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
