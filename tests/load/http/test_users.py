"""The session inside Locust: users in a runner, its statistics, and the end of a run."""

from collections.abc import Callable
from typing import Any

import gevent
from locust import User, constant, task

from perfload.load.http import HttpSession
from perfload.load.http.timeouts import TICK_S, Reaper
from tests.load.conftest import wait_for
from tests.load.http.servers import HANG, OK, PAUSE, ScriptedServer


def user_class(url: str) -> type[User]:
    class Visitor(User):
        wait_time = constant(0)
        host = url

        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            self.client = HttpSession(self.host, environment.events.request, self)

        def context(self) -> dict[str, Any]:
            return {"user": "visitor"}

        def on_stop(self) -> None:
            self.client.close()

        @task
        def go(self) -> None:
            self.client.get("/", context={"step": 1})

    return Visitor


def test_users_count_in_locusts_statistics(
    server: ScriptedServer, make_environment: Callable[..., Any]
) -> None:
    server.answer(PAUSE, OK)
    environment = make_environment(user_class(server.url))
    events: list[dict[str, Any]] = []
    environment.events.request.add_listener(lambda **event: events.append(event))
    environment.runner.start(5, spawn_rate=5)
    wait_for(lambda: environment.stats.total.num_requests >= 50)
    environment.runner.stop()
    total = environment.stats.total
    assert total.num_requests == len(events)
    cut_off = [event for event in events if event["exception"]]
    assert {repr(event["exception"]) for event in cut_off} <= {"no response when the run ended"}
    assert total.num_requests - len(cut_off) <= len(server.asked) <= total.num_requests
    assert (server.connections, total.num_failures) == (5, len(cut_off))
    assert events[0]["context"] == {"user": "visitor", "step": 1}
    assert environment.stats.get("/", "GET").num_requests == total.num_requests


def test_users_that_wait_are_failures_when_the_run_ends(
    server: ScriptedServer, make_environment: Callable[..., Any]
) -> None:
    server.answer(HANG)
    environment = make_environment(user_class(server.url))
    environment.runner.start(3, spawn_rate=3)
    wait_for(lambda: len(server.asked) == 3)
    environment.runner.stop()
    assert (environment.stats.total.num_requests, environment.stats.total.num_failures) == (3, 3)
    (error,) = environment.stats.errors.values()
    assert (error.occurrences, repr(error.error)) == (3, "no response when the run ended")


class Waiting:
    """Something with a deadline, which notes that it has passed."""

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1
        self.deadline_ns = 1 << 62


def test_the_reaper_looks_at_those_that_it_watches() -> None:
    reaper = Reaper.current()
    late, early, forgotten = Waiting(0), Waiting(1 << 62), Waiting(0)
    for item in (late, early, forgotten):
        reaper.watch(item)
    reaper.forget(forgotten)
    gevent.sleep(3 * TICK_S)
    assert [late.expired, early.expired, forgotten.expired] == [1, 0, 0]
    reaper.forget(late)
    reaper.forget(early)
