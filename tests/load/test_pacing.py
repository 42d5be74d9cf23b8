"""Paced users do not fire together."""

import itertools
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from locust import between, constant, constant_pacing, constant_throughput, task

from perfload.load import HttpUser
from perfload.load.pacing import dephase

pytestmark = pytest.mark.usefixtures("default_configuration")


class Clock:
    """Stands in for `time.perf_counter` of Locust's pacing."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("locust.user.wait_time.perf_counter", clock)
    return clock


def cycles(user: Any, clock: Clock, count: int, task_s: float = 0.1) -> list[float]:
    """Return when each of `count` tasks of `user` begins, counted from the first."""
    began_s = clock.now_s
    starts: list[float] = []
    for _ in range(count):
        starts.append(clock.now_s - began_s)
        clock.now_s += task_s
        clock.now_s += user.wait_time()
    return starts


def make(make_environment: Callable[..., Any], wait: Any) -> Any:
    class Paced(HttpUser):
        host = "http://127.0.0.1:1"
        wait_time = wait

        @task
        def work(self) -> None: ...

    return Paced(make_environment(Paced))


@pytest.mark.parametrize("wait", [constant_pacing(2), constant_throughput(0.5)])
def test_only_the_first_wait_is_shorter(
    make_environment: Callable[..., Any], clock: Clock, wait: Any
) -> None:
    user = make(make_environment, wait)
    dephase(user)
    user._cp_last_run = clock.now_s
    starts = cycles(user, clock, 5)[1:]
    assert 0.1 <= starts[0] <= 2.0
    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == pytest.approx(
        [2.0, 2.0, 2.0]
    )


def test_users_that_start_together_drift_apart(make_environment: Callable[..., Any], clock: Clock) -> None:
    phases = []
    for _ in range(200):
        clock.now_s = 1000.0
        user = make(make_environment, constant_pacing(2))
        dephase(user)
        user._cp_last_run = clock.now_s
        phases.append(cycles(user, clock, 3, task_s=0.0)[2] % 2)
    # Of a uniform distribution over 2 s: mean 1, standard deviation 0.577.
    assert statistics.mean(phases) == pytest.approx(1.0, abs=0.25)
    assert statistics.stdev(phases) == pytest.approx(0.577, abs=0.12)


@pytest.mark.parametrize("wait", [constant(3), between(3, 3)])
def test_other_waits_are_left_alone(make_environment: Callable[..., Any], wait: Any) -> None:
    user = make(make_environment, wait)
    dephase(user)
    assert [user.wait_time(), user.wait_time()] == [3, 3]


def test_a_wait_of_another_kind_is_left_alone() -> None:
    class Plain:
        wait_time = staticmethod(lambda: 1.0)

    plain = Plain()
    dephase(plain)
    assert plain.wait_time() == 1.0


@pytest.mark.parametrize("visit", [None, "an arrival"])
def test_residents_are_put_out_of_step_and_visitors_are_not(
    make_environment: Callable[..., Any], visit: Any
) -> None:
    user = make(make_environment, constant_pacing(60))
    user.perfload_visit = visit
    user.start(user.environment.runner.user_greenlets)
    assert ("wait_time" in vars(user)) is (visit is None)
    user.stop(force=True)
