"""Locust's own statistics, fed from windows: what Locust itself would have counted."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from locust import stats
from locust.env import Environment
from locust.stats import RequestStats

from perfload.load.bridge import RequestBridge
from perfload.load.clock import RunClock
from perfload.load.http.event import RequestEvent
from perfload.load.statistics import StatisticsFeed, bucket_response_time
from perfload.model import PhaseSpan
from perfload.recorder import Recorder

SPANS = (PhaseSpan("Load", 0.0, 0.0, "users", 1.0, 1.0, 0),)


@pytest.fixture(autouse=True)
def our_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "bucket_response_time", bucket_response_time)


class Fed:
    """A Locust environment whose statistics are fed by perfload, second by second."""

    def __init__(self) -> None:
        self.environment = Environment()
        self.environment.create_local_runner()
        self.now_s = 0.0
        clock: Any = SimpleNamespace(
            now_s=lambda: self.now_s, wall_now_s=lambda: self.now_s, zero_ns=0, epoch_s=lambda t_s: 1e9 + t_s
        )
        self.recorder = Recorder("run", "local")
        self.feed = StatisticsFeed(self.environment.stats, clock)
        self.hook = RequestEvent.adopt(self.environment.events.request)
        self.feed.replace_listener(self.hook)
        bridge = RequestBridge(self.recorder, clock, SPANS, self.feed)
        self.hook.record_with(bridge, bridge.on_request)

    def finish(self) -> RequestStats:
        self.feed.add(self.recorder.take())
        return self.environment.stats


def events(seed: int, count: int) -> list[dict[str, Any]]:
    """Return request events of all kinds: passed, failed, without a time."""
    drawn = random.Random(seed)
    outcomes = [None, None, None, ValueError("broken"), "text"]
    return [
        {
            "request_type": drawn.choice(["GET", "POST"]),
            "name": drawn.choice(["/a", "/b"]),
            "response_time": None if drawn.random() < 0.1 else drawn.randrange(1, 5_000_000) / 1000,
            "response_length": drawn.randrange(10_000),
            "exception": drawn.choice(outcomes),
        }
        for _ in range(count)
    ]


def numbers(entry: Any) -> tuple[Any, ...]:
    percentiles = [entry.get_response_time_percentile(share) for share in (0.5, 0.9, 0.99, 1.0)]
    return (
        entry.num_requests,
        entry.num_none_requests,
        entry.num_failures,
        entry.total_content_length,
        entry.min_response_time,
        entry.max_response_time,
        dict(entry.response_times),
        percentiles,
        pytest.approx(entry.total_response_time),
    )


def test_fed_statistics_are_those_of_locust() -> None:
    own = Environment()
    own.create_local_runner()
    fed = Fed()
    for index, event in enumerate(events(seed=1, count=3000)):
        own.events.request.fire(**event)
        fed.now_s = 10 + index / 500
        fed.hook.fire(**event)
        if index % 700 == 0:
            fed.feed.add(fed.recorder.take(before=int(fed.now_s)))
    statistics = fed.finish()
    assert numbers(statistics.total) == numbers(own.stats.total)
    assert statistics.entries.keys() == own.stats.entries.keys()
    for key, entry in own.stats.entries.items():
        assert numbers(statistics.entries[key]) == numbers(entry)
    assert {key: error.occurrences for key, error in statistics.errors.items()} == {
        key: error.occurrences for key, error in own.stats.errors.items()
    }


def test_requests_are_counted_in_the_second_in_which_they_ended() -> None:
    fed = Fed()
    for now_s, count in ((3.5, 2), (4.5, 3)):
        fed.now_s = now_s
        for _ in range(count):
            fed.hook.fire(request_type="GET", name="/", response_time=5.0, response_length=1)
    assert dict(fed.finish().total.num_reqs_per_sec) == {1_000_000_003: 2, 1_000_000_004: 3}
    assert fed.environment.stats.total.last_request_timestamp == pytest.approx(1e9 + 5)


def test_the_event_is_given_back_as_it_was() -> None:
    fed = Fed()
    fed.hook.stop_recording()
    fed.feed.restore_listener()
    fed.hook.fire(request_type="GET", name="/", response_time=5.0, response_length=1, exception=None)
    assert fed.environment.stats.total.num_requests == 1
    assert fed.recorder.take() == []


def test_without_a_listener_of_locusts_nothing_is_counted_twice() -> None:
    environment = Environment()  # without a runner, so nobody feeds its statistics
    feed = StatisticsFeed(environment.stats, RunClock(0.0))
    feed.replace_listener(RequestEvent.adopt(environment.events.request))
    feed.tell("GET", "/", 5.0, 1, "failed")
    recorder = Recorder("run", "local")
    recorder.request(0, "Load", "GET", "/", latency_us=1, service_us=1, due_second=0)
    feed.add(recorder.take())
    assert environment.stats.total.num_requests == 0
