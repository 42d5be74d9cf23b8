"""Locust's own statistics, fed from windows: what Locust itself would have counted."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from locust import User, stats
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry

from perfload.load.bridge import RequestBridge
from perfload.load.clock import RunClock
from perfload.load.http.event import RequestEvent
from perfload.load.statistics import StatisticsFeed, bucket_response_time, keep_no_copies
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
            now_s=lambda: self.now_s,
            wall_now_s=lambda: 1e9 + self.now_s,
            zero_ns=0,
            epoch_s=lambda t_s: 1e9 + t_s,
        )
        self.recorder = Recorder("run", "local")
        self.feed = StatisticsFeed(self.environment, clock)
        self.hook = RequestEvent.adopt(self.environment.events.request)
        self.feed.begin()
        bridge = RequestBridge(self.recorder, clock, SPANS, self.feed)
        self.hook.record_with(bridge, bridge.on_request)

    def request(self, now_s: float, exception: str | None = None) -> None:
        """Finish a request at second `now_s`."""
        self.now_s = now_s
        self.hook.fire(
            request_type="GET", name="/", response_time=5.0, response_length=100, exception=exception
        )

    def tick(self, second: int, late_s: float = 0.0) -> None:
        """Tell Locust what has ended before `second`, as is done once a second."""
        self.now_s = second + late_s
        self.feed.add(self.recorder.take(before=second), before=second)

    def shown(self) -> tuple[int, int, int]:
        """Return (requests, failures, bytes) as Locust shows them."""
        total = self.environment.stats.total
        return total.num_requests, total.num_failures, total.total_content_length

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
            fed.feed.add(fed.recorder.take(before=int(fed.now_s)), before=int(fed.now_s))
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
    # Of the second that is not over yet: not in the future.
    assert fed.environment.stats.total.last_request_timestamp == 1e9 + 4.5


def test_the_event_is_given_back_as_it_was() -> None:
    fed = Fed()
    fed.hook.stop_recording()
    fed.feed.end()
    fed.hook.fire(request_type="GET", name="/", response_time=5.0, response_length=1, exception=None)
    assert fed.environment.stats.total.num_requests == 1
    assert fed.recorder.take() == []


def test_without_a_listener_of_locusts_nothing_is_counted_twice() -> None:
    environment = Environment()  # without a runner, so nobody feeds its statistics
    feed = StatisticsFeed(environment, RunClock(0.0))
    feed.begin()
    feed.tell("GET", "/", 5.0, 1, "failed")
    recorder = Recorder("run", "local")
    recorder.request(0, "Load", "GET", "/", latency_us=1, service_us=1, due_second=0)
    feed.add(recorder.take())
    assert environment.stats.total.num_requests == 0


def test_failures_are_shown_together_with_what_has_passed_meanwhile() -> None:
    fed = Fed()
    for number in range(20):
        fed.request(number / 20, "broken" if number % 10 == 0 else None)
        assert fed.shown() == (0, 0, 0)
        assert fed.environment.stats.errors == {}
    fed.tick(1)
    assert fed.shown() == (20, 2, 2000)
    fed.request(1.1, "broken")
    assert fed.shown() == (20, 2, 2000)
    assert [error.occurrences for error in fed.environment.stats.errors.values()] == [2]
    fed.finish()
    assert fed.shown() == (21, 3, 2100)


def test_a_late_tick_shows_no_failures_of_the_second_that_has_begun() -> None:
    fed = Fed()
    fed.request(0.5)
    fed.request(1.1, "broken")
    fed.request(1.2)
    fed.tick(1, late_s=0.3)
    assert fed.shown() == (1, 0, 100)
    fed.finish()
    assert fed.shown() == (3, 1, 300)


def test_what_ends_before_the_run_counts_whether_it_has_failed_or_not() -> None:
    fed = Fed()
    fed.request(-3.5)
    fed.request(-3.4, "broken")
    fed.finish()
    assert fed.shown() == (2, 1, 200)


def reset_by_hand(fed: Fed) -> None:
    """Do what the button of Locust's web UI does."""
    fed.environment.events.reset_stats.fire()
    fed.environment.stats.reset_all()


def reset_when_all_are_there(fed: Fed) -> None:
    """Do what Locust does with --reset-stats."""
    fed.environment.reset_stats = True
    fed.environment.events.spawning_complete.fire(user_count=1)
    fed.environment.stats.reset_all()


@pytest.mark.parametrize("reset", [reset_by_hand, reset_when_all_are_there])
def test_a_reset_begins_with_the_next_full_second(reset: Callable[[Fed], None]) -> None:
    fed = Fed()
    fed.request(3.1)
    fed.request(3.2, "broken")
    fed.now_s = 3.5
    reset(fed)
    fed.request(3.7)
    fed.tick(4)
    assert fed.shown() == (0, 0, 0)
    fed.request(4.1)
    fed.request(4.2, "broken")
    fed.finish()
    assert fed.shown() == (2, 1, 200)


def test_failures_in_the_rest_of_the_second_of_a_reset_do_not_count_either() -> None:
    fed = Fed()
    fed.now_s = 3.5
    reset_by_hand(fed)
    fed.request(3.7)
    fed.request(3.8, "broken")
    fed.tick(4)
    assert fed.shown() == (0, 0, 0)
    fed.request(4.1)
    fed.finish()
    assert fed.shown() == (1, 0, 100)


def test_without_reset_stats_the_end_of_spawning_resets_nothing() -> None:
    fed = Fed()
    fed.request(3.1)
    fed.request(3.2, "broken")
    fed.environment.events.spawning_complete.fire(user_count=1)
    fed.finish()
    assert fed.shown() == (2, 1, 200)


@pytest.mark.parametrize("is_history_wanted", [False, True])
def test_names_keep_their_last_seconds_only_for_a_history(*, is_history_wanted: bool) -> None:
    fed = Fed()
    fed.feed.end()
    fed.environment.parsed_options = SimpleNamespace(stats_history_enabled=is_history_wanted)
    fed.feed.begin()
    for second in range(3):
        fed.request(second + 0.5)
        fed.tick(second + 1)
    [entry] = fed.environment.stats.entries.values()
    assert (entry.response_times_cache is not None) is is_history_wanted
    assert fed.environment.stats.total.response_times_cache is not None
    fed.feed.end()
    assert fed.environment.stats.use_response_times_cache


@pytest.mark.parametrize("is_history_wanted", [False, True])
def test_a_master_keeps_the_last_seconds_of_names_only_for_a_history(*, is_history_wanted: bool) -> None:
    environment: Any = Environment(user_classes=[User])
    environment.parsed_options = SimpleNamespace(stats_history_enabled=is_history_wanted)
    keep_no_copies(environment)
    reported = StatsEntry(RequestStats(), "/a", "GET", use_response_times_cache=True)
    for _ in range(3):
        # As the listener of Locust's master adds up what a worker reports.
        environment.stats.entries["/a", "GET"] = environment.stats.entries.get(("/a", "GET"), reported)
        environment.stats.entries["/a", "GET"].log(3, 10)
        environment.events.worker_report.fire(client_id="w1", data={})
    assert (reported.response_times_cache is not None) is is_history_wanted
    assert reported.num_requests == 3
    assert environment.stats.total.response_times_cache is not None
