"""The session inside Locust: users in a runner, its statistics, and the end of a run."""

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from locust import User, constant, task

from perfload.load.arrivals import Dispatcher, ScenarioPicker
from perfload.load.bridge import RequestBridge
from perfload.load.clock import RunClock, SleepTimer
from perfload.load.http import HttpSession
from perfload.load.http.event import RequestEvent
from perfload.load.http.timeouts import TICK_S, Reaper
from perfload.load.licence import Licence
from perfload.load.statistics import StatisticsFeed
from perfload.model import Phase, Window
from perfload.plan import Plan
from perfload.recorder import Recorder
from perfload.shares import Shares, evenly
from tests.load.conftest import wait_for
from tests.load.http.servers import HANG, OK, PAUSE, ScriptedServer


def user_class(url: str, *, tells_user: bool = True) -> type[User]:
    class Visitor(User):
        wait_time = constant(0)
        host = url

        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            self.client = HttpSession(self.host, environment.events.request, self if tells_user else None)

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


ARRIVES_EARLY = Plan(
    [Phase(name="Early", duration=1, arrival_count=1), Phase(name="Late", duration=1, pause=True)]
)


def dispatch(environment: Any, plan: Plan, started_at_s: float) -> list[Window]:
    """Carry `plan` out, recorded as in a run; return what came of the requests."""
    clock, recorder = RunClock(started_at_s), Recorder("run", "local")
    feed = StatisticsFeed(environment, clock)
    feed.begin()  # takes Locust's listener away, so that there is a short way
    bridge = RequestBridge(recorder, clock, plan.spans, feed)
    RequestEvent.adopt(environment.events.request).record_with(bridge, bridge.on_request)
    Dispatcher(
        plan,
        licence=Licence(Shares(0, [evenly((0,), 0.0)])),
        clock=clock,
        timer=SleepTimer(),
        recorder=recorder,
        picker=ScenarioPicker(environment.user_classes, seed=1),
        environment=environment,
    ).run()
    environment.runner.user_greenlets.join()
    return [window for window in recorder.take() if isinstance(window, Window)]


@pytest.mark.parametrize("is_heard", [False, True])
@pytest.mark.parametrize(
    ("spawns", "tells_user"),
    [
        (False, True),
        (True, True),
        (False, False),
    ],
)
def test_requests_of_any_user_belong_to_its_arrival(
    server: ScriptedServer,
    make_environment: Callable[..., Any],
    *,
    is_heard: bool,
    spawns: bool,
    tells_user: bool,
) -> None:
    kind: Any = user_class(server.url, tells_user=tells_user)

    def ask(user: Any, path: str) -> None:
        if spawns:
            gevent.spawn(user.client.get, path).join()
        else:
            user.client.get(path)

    def go(user: Any) -> None:
        for path in ("/good", "/good", "/bad"):
            ask(user, path)

    kind.tasks = [go]
    for answer in (OK, OK, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"):
        server.answer(answer)
    environment = make_environment(kind)
    if is_heard:
        environment.events.request.add_listener(lambda **_: None)
    windows = dispatch(environment, ARRIVES_EARLY, started_at_s=time.time() - 5)
    assert {window.phase for window in windows} == {"Early"}
    good = [window for window in windows if window.name == "/good"]
    assert sum(window.service.count for window in good) == 2
    assert max(window.latency.max for window in good) >= 4_000_000  # the first, since it was due
    assert min(window.latency.min for window in good) < 1_000_000
    assert [window.failed.count for window in windows if window.name == "/bad"] == [1]
