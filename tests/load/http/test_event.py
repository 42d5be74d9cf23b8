"""The short way past Locust's request event, and when it must not be taken."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from locust.event import EventHook
from locust.exception import StopUser

from perfload.load.bridge import RequestBridge
from perfload.load.clock import RunClock
from perfload.load.http import HttpSession
from perfload.load.http.event import RequestEvent
from perfload.load.statistics import StatisticsFeed
from perfload.model import PhaseSpan, StageWindow, Window
from perfload.recorder import Recorder
from tests.load.http.servers import ScriptedServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Recording:
    """A session whose requests are recorded, and a look at how."""

    def __init__(self, url: str, started_at_s: float = 0.0) -> None:
        self.fired: list[dict[str, Any]] = []
        self.short = 0
        self.recorder = Recorder("run", "local")
        clock = RunClock(started_at_s)
        environment: Any = SimpleNamespace(stats=None)
        self.bridge = RequestBridge(
            self.recorder,
            clock,
            (PhaseSpan("Load", 0.0, 0.0, "users", 1.0, 1.0, 0),),
            StatisticsFeed(environment, clock),
        )
        self.event = RequestEvent.adopt(EventHook())
        self.event.record_with(self, self.on_request)
        self.session = HttpSession(url, self.event)

    def passed(self, *arguments: Any) -> None:
        self.short += 1
        self.bridge.passed(*arguments)

    def on_request(self, **event: Any) -> None:
        self.fired.append(event)
        self.bridge.on_request(**event)

    def windows(self) -> list[Window]:
        return [window for window in self.recorder.take() if isinstance(window, Window)]


@pytest.fixture
def recording(server: ScriptedServer) -> Any:
    recording = Recording(server.url)
    yield recording
    recording.session.close()


def test_a_request_that_passes_takes_the_short_way(recording: Recording, server: ScriptedServer) -> None:
    server.answer(OK)
    server.answer(OK)
    reply = recording.session.get("/a", name="a")
    with recording.session.get("/b", catch_response=True) as second:
        second.success()
    assert (recording.short, recording.fired) == (2, [])
    first, other = recording.windows()
    assert (first.method, first.name, first.count, first.received_bytes) == ("GET", "a", 1, 2)
    assert other.name == "/b"
    assert reply.request_meta["response_time"] == pytest.approx(first.service.max / 1000, abs=0.001)


def test_whoever_else_listens_is_called_for_each(recording: Recording, server: ScriptedServer) -> None:
    heard: list[str] = []

    def listen(*, name: str, **_: Any) -> None:
        heard.append(name)

    recording.event.add_listener(listen)
    for _ in range(3):
        server.answer(OK)
    recording.session.get("/a")
    recording.session.get("/b")
    recording.event.remove_listener(listen)
    recording.session.get("/c")
    assert heard == ["/a", "/b"]
    assert (recording.short, len(recording.fired)) == (1, 2)
    assert sum(window.count for window in recording.windows()) == 3


def test_failures_and_changed_requests_are_fired(recording: Recording, server: ScriptedServer) -> None:
    for answer in (NOT_FOUND, OK, OK, NOT_FOUND):
        server.answer(answer)
    recording.session.get("/missing")
    with recording.session.get("/", catch_response=True) as reply:
        reply.failure("not good")
    with recording.session.get("/", catch_response=True) as reply:
        reply.request_meta["name"] = "renamed"
    with recording.session.get("/gone", catch_response=True) as reply:
        reply.success()
    assert [event["name"] for event in recording.fired] == ["/missing", "/", "renamed"]
    assert [event["exception"] is None for event in recording.fired] == [False, False, True]
    assert recording.short == 1
    assert {window.name: window.failed.count for window in recording.windows()} == {
        "/missing": 1,
        "/": 1,
        "renamed": 0,
        "/gone": 0,
    }


def test_both_ways_record_the_same_stages(recording: Recording, server: ScriptedServer) -> None:
    for _ in range(3):
        server.answer(OK)
    recording.session.get("/")
    recording.event.add_listener(lambda **_: None)
    recording.session.get("/")
    recording.session.get("/")
    [window] = [item for item in recording.recorder.take() if isinstance(item, StageWindow)]
    counts = {stage: histogram.count for stage, histogram in window.stages}
    assert counts == {"connect": 1, "send": 3, "wait": 3, "receive": 3}


def test_redirects_are_counted_among_the_stages(recording: Recording, server: ScriptedServer) -> None:
    server.answer(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")
    server.answer(OK)
    recording.session.get("/")
    windows = recording.recorder.take()
    [stages] = [dict(item.stages) for item in windows if isinstance(item, StageWindow)]
    [request] = [item for item in windows if isinstance(item, Window)]
    assert (request.count, stages["wait"].count) == (1, 2)
    assert sum(histogram.sum for histogram in stages.values()) <= request.service.sum + 10


def test_the_recorder_leaves_an_event_as_it_was() -> None:
    hook = EventHook()
    event = RequestEvent.adopt(hook)
    assert event is hook
    assert RequestEvent.adopt(hook) is hook
    sink: Any = object()
    event.record_with(sink, print)
    assert event.sole is sink
    event.stop_recording()
    assert (event.sole, event._handlers) == (None, [])


def test_the_recorder_may_be_taken_away_twice() -> None:
    event = RequestEvent.adopt(EventHook())
    sink: Any = object()
    event.record_with(sink, print)
    event.stop_recording()
    event.add_listener(repr)
    event.stop_recording()
    assert (event.sole, event._handlers) == (None, [repr])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_listener_that_ends_the_user_hides_no_request(
    recording: Recording, server: ScriptedServer, when: str
) -> None:
    def leave(**_: Any) -> None:
        raise StopUser

    event = recording.event
    if when == "before":
        event.stop_recording()
    event.add_listener(leave)
    if when == "before":
        event.record_with(recording, recording.on_request)
    server.answer(OK)
    server.answer(NOT_FOUND)
    for _ in range(2):
        with pytest.raises(StopUser):
            recording.session.get("/")
    (window,) = recording.windows()
    assert (window.service.count, window.failed.count) == (1, 1)


def test_what_ends_before_the_run_is_in_its_first_second(server: ScriptedServer) -> None:
    recording = Recording(server.url, started_at_s=time.time() + 60)
    for answer in (OK, OK, NOT_FOUND):
        server.answer(answer)
    recording.session.get("/")
    assert recording.short == 1
    recording.event.add_listener(lambda **_: None)
    for _ in range(2):
        recording.session.get("/")
    window, stages = recording.recorder.take()
    assert isinstance(window, Window)
    assert isinstance(stages, StageWindow)
    assert (window.second, window.due, window.service.count, window.failed.count) == (0, ((0, 2, 1),), 2, 1)
    assert (stages.second, dict(stages.stages)["wait"].count) == (0, 3)
    recording.session.close()
