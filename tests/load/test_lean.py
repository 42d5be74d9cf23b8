"""Users in perfload's own loop live, fail and stop as those in Locust's."""

import logging
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from locust import TaskSet, constant, task
from locust.exception import (
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    StopTest,
    StopUser,
)

from perfload.load import HttpUser
from perfload.load.arrivals import OneVisit
from tests.load.conftest import wait_for

pytestmark = pytest.mark.usefixtures("default_configuration")

MakeEnvironment = Callable[..., Any]


class Base(HttpUser):
    """Notes what happens to it."""

    abstract = True
    host = "http://127.0.0.1:1"
    wait_time = constant(0)

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.log: list[str] = []

    def on_start(self) -> None:
        self.log.append("start")

    def on_stop(self) -> None:
        self.log.append("stop")


@pytest.fixture(params=[True, False], ids=["lean", "locust"])
def live(request: pytest.FixtureRequest, make_environment: MakeEnvironment) -> Any:
    """Return a function that starts one user of a class, in each of the two loops."""

    def start(user_class: type[Base], **attributes: Any) -> Any:
        kind = type(user_class.__name__, (user_class,), {"lean": request.param, **attributes})
        environment = make_environment(kind)
        user = kind(environment)
        user.errors = []
        environment.events.user_error.add_listener(lambda exception, **_: user.errors.append(exception))
        user.start(environment.runner.user_greenlets)
        return user

    return start


class Worker(Base):
    @task
    def work(self) -> None:
        self.log.append("work")
        if self.log.count("work") == 3:
            raise StopUser


def test_tasks_run_until_the_user_leaves(live: Any) -> None:
    user = live(Worker)
    user.greenlet.join(5)
    assert user.log == ["start", "work", "work", "work", "stop"]
    assert user.errors == []


def test_an_error_of_a_task_is_reported_and_the_user_goes_on(
    live: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Base):
        @task
        def work(self) -> None:
            self.log.append("work")
            raise [KeyError("token"), RescheduleTask(), StopUser()][self.log.count("work") - 1]

    with caplog.at_level(logging.CRITICAL):
        user = live(Failing)
        user.greenlet.join(5)
    assert user.log == ["start", "work", "work", "work", "stop"]
    assert [repr(error) for error in user.errors] == ["KeyError('token')"]


def test_an_error_at_the_start_ends_the_user(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Worker):
        def on_start(self) -> None:
            raise KeyError("login")

    with caplog.at_level(logging.CRITICAL):
        user = live(Broken)
        user.greenlet.join(5)
    assert user.log == []
    assert [repr(error) for error in user.errors] == ["KeyError('login')"]


@pytest.mark.parametrize("end", [StopUser, StopTest])
def test_a_user_may_leave_at_its_start(live: Any, end: type[Exception]) -> None:
    class Leaving(Worker):
        def on_start(self) -> None:
            raise end

    user = live(Leaving)
    user.greenlet.join(5)
    assert (user.log, user.errors) == (["stop"], [])


def test_a_waiting_user_is_stopped_at_once_and_a_busy_one_after_its_task(live: Any) -> None:
    class Slow(Base):
        @task
        def work(self) -> None:
            self.log.append("begun")
            gevent.sleep(self.takes_s)
            self.log.append("done")

    waiting = live(Slow, wait_time=constant(60), takes_s=0)
    wait_for(lambda: "done" in waiting.log and waiting._state == "waiting")
    assert waiting.stop() is True
    waiting.greenlet.join(5)
    assert waiting.log == ["start", "begun", "done", "stop"]

    busy = live(Slow, takes_s=0.05)
    wait_for(lambda: "begun" in busy.log)
    assert busy.stop() is False
    busy.greenlet.join(5)
    assert busy.log == ["start", "begun", "done", "stop"]


def test_a_user_without_requests_lets_others_run(live: Any) -> None:
    class Idle(Base):
        @task
        def work(self) -> None:
            self.log.append("work")

    user = live(Idle)
    gevent.sleep(0.01)  # would never return
    user.stop(force=True)
    assert user.log.count("work") > 1


def test_a_visitor_of_the_open_model_runs_one_task(live: Any, make_environment: MakeEnvironment) -> None:
    kind = type("Visitor", (Worker,), {"lean": True})
    environment = make_environment(kind)
    user: Any = kind(environment)
    user.tasks = OneVisit(user.tasks)
    user.start(environment.runner.user_greenlets).join(5)
    assert user.log == ["start", "work", "stop"]


def test_a_task_may_ask_for_the_next_at_once(live: Any) -> None:
    class Eager(Base):
        wait_time = constant(60)

        @task
        def work(self) -> None:
            self.log.append("work")
            raise StopUser if self.log.count("work") == 3 else RescheduleTaskImmediately

    user = live(Eager)
    user.greenlet.join(5)
    assert user.log == ["start", "work", "work", "work", "stop"]
    assert user.errors == []


def test_a_task_may_wait_itself(live: Any) -> None:
    class Patient(Base):
        def wait_time(self) -> float:
            self.log.append("waits")
            return 60 if self.log.count("waits") == 2 else 0

        @task
        def work(self) -> None:
            self.log.append("work")
            self.wait()
            self.log.append("goes on")
            self.wait()

    user = live(Patient)
    wait_for(lambda: user.log.count("waits") == 2 and user._state == "waiting")
    assert user.stop() is True
    user.greenlet.join(5)
    assert user.log == ["start", "work", "waits", "goes on", "waits", "stop"]
    assert user.errors == []


def test_a_task_that_interrupts_its_task_set_ends_the_user(live: Any) -> None:
    class Interrupting(Base):
        @task
        def work(self) -> None:
            self.log.append("work")
            raise InterruptTaskSet

    user = live(Interrupting)
    user.greenlet.join(5)
    assert user.greenlet.dead
    assert (user.log, user.errors) == (["start", "work"], [])


def test_task_sets_are_refused(make_environment: MakeEnvironment) -> None:
    class Nested(Base):
        lean = True

        @task
        class Group(TaskSet):
            @task
            def work(self) -> None: ...

    with pytest.raises(StopTest, match="plain tasks"):
        Nested(make_environment(Nested))
