from collections.abc import Sequence
from typing import Any

import pytest

from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.redis.latency import MAX_FOUND as MAX_EVENTS_FOUND
from perfload.monitors.redis.latency import LatencyEvents
from perfload.monitors.redis.slow_log import MAX_FOUND, MAX_FOUND_PER_READ, SlowLog

ON = {"slowlog-log-slower-than": "10000", "slowlog-max-len": "128"}


def entry(number: int, *words: bytes, us: int = 12_000, client: bytes = b"api") -> list[Any]:
    return [number, 1_700_000_000 + number, us, list(words or (b"GET", b"key")), b"10.0.0.1:5", client]


class Log:
    """A slow log that is asked as the server's is: the latest first."""

    def __init__(self, *entries: list[Any]) -> None:
        self.entries = list(entries)
        self.follower = SlowLog()

    def look(self, at_s: float, **settings: str) -> Sequence[Measurement | Finding]:
        latest = self.entries[-1:]
        return self.follower.look(
            at_s,
            latest,
            {**ON, **settings},
            own_name="perfload",
            fetch=lambda count: self.entries[: -count - 1 : -1],
        )


def reason_in(found: Sequence[Measurement | Finding]) -> str:
    (measurement,) = found
    assert isinstance(measurement, Measurement)
    assert measurement.value is None
    return measurement.unavailable


def test_only_what_is_new_is_told_and_only_its_shape() -> None:
    log = Log(entry(0), entry(1))
    assert log.look(100) == []
    log.entries += [entry(2, b"zrange", b"secret", b"0", b"-1", us=50_000), entry(3)]
    rate, first, second = log.look(104)
    assert rate == Measurement("slow_commands_per_s", "commands/s", 0.5)
    assert first == Finding(
        "slow_command", {"command": "ZRANGE", "arguments": 3, "duration_us": 50_000}, at_s=1_700_000_002.0
    )
    assert isinstance(second, Finding)
    assert second.data["command"] == "GET"
    assert log.look(105) == [Measurement("slow_commands_per_s", "commands/s", 0.0)]


def test_the_first_entry_of_all_is_new() -> None:
    log = Log()
    assert log.look(100) == []
    log.entries.append(entry(0))
    assert log.look(101)[0] == Measurement("slow_commands_per_s", "commands/s", 1.0)


def test_what_perfload_itself_asks_does_not_count() -> None:
    log = Log(entry(0))
    log.look(100)
    log.entries += [entry(1, b"INFO", b"all", client=b"perfload"), entry(2, b"INFO"), entry(3)]
    rate, *found = log.look(101)
    assert isinstance(rate, Measurement)
    assert rate.value == 2
    assert [item.data["command"] for item in found if isinstance(item, Finding)] == ["INFO", "GET"]


def test_an_emptied_log_goes_on_where_it_was() -> None:
    log = Log(entry(7))
    log.look(100)
    log.entries.clear()
    assert log.look(101) == [Measurement("slow_commands_per_s", "commands/s", 0.0)]
    log.entries.append(entry(8))
    assert len(log.look(102)) == 2


def test_numbers_that_begin_anew_are_a_restart() -> None:
    log = Log(entry(7))
    log.look(100)
    log.entries[:] = [entry(0)]
    assert reason_in(log.look(101)) == "the slow log begins anew: the server was restarted"
    log.entries.append(entry(1))
    assert len(log.look(102)) == 2


def test_many_arguments_are_counted_as_the_server_counts_them() -> None:
    log = Log(entry(0))
    log.look(100)
    words = [b"MSET", *[b"x"] * 30, b"... (170 more arguments)"]
    log.entries.append(entry(1, *words))
    _, found = log.look(101)
    assert isinstance(found, Finding)
    assert found.data["arguments"] == 200


def test_what_stands_in_place_of_a_command_is_not_shown() -> None:
    log = Log(entry(0))
    log.look(100)
    log.entries += [entry(1, b"\x00<script>"), entry(2, b"G" * 400)]
    assert [item.data["command"] for item in log.look(101) if isinstance(item, Finding)] == ["?", "?"]


def test_a_flood_is_counted_in_full_and_shown_in_part() -> None:
    log = Log(entry(0))
    log.look(0)
    shown = 0
    for tick in range(1, 100):
        start = len(log.entries)
        log.entries += [entry(start + n, us=20_000 + n) for n in range(200)]
        rate, *found = log.look(tick)
        assert isinstance(rate, Measurement)
        assert rate.value == 200
        assert len(found) <= MAX_FOUND_PER_READ
        shown += len(found)
    assert shown == MAX_FOUND


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"slowlog-log-slower-than": "-1"}, "the slow log is off: CONFIG SET slowlog-log-slower-than 10000"),
        ({"slowlog-max-len": "0"}, "the slow log keeps nothing: CONFIG SET slowlog-max-len 128"),
    ],
)
def test_a_log_that_is_off_is_no_rate_of_zero(settings: dict[str, str], reason: str) -> None:
    log = Log()
    assert reason_in(log.look(100, **settings)) == reason


@pytest.mark.parametrize(
    "answer",
    [7, [7], [[]], [[1, 2, 3, []]], [[1, 2, 3, "text"]], [[b"x", 2, 3, [b"GET"]]], [[1, -5, 3, [b"GET"]]]],
)
def test_an_answer_of_another_form_is_a_reason(answer: Any) -> None:
    found = SlowLog().look(1, answer, ON, own_name="", fetch=lambda count: [])
    assert "SLOWLOG GET" in reason_in(found)


def test_a_refusal_is_the_reason() -> None:
    refused = MonitorUnavailable("the user lacks the right +slowlog|get")
    found = SlowLog().look(1, refused, ON, own_name="", fetch=lambda count: [])
    assert reason_in(found) == "the user lacks the right +slowlog|get"


WATCHED = {"latency-monitor-threshold": "100"}


def test_a_latency_event_is_told_when_it_is_new() -> None:
    events = LatencyEvents()
    assert events.look([[b"fork", 1_700_000_000, 120, 300]], WATCHED) == []
    count, event = events.look(
        [[b"command", 1_700_000_009, 150, 200], [b"fork", 1_700_000_000, 120, 300]], WATCHED
    )
    assert count == Measurement("latency_events", "events", 1.0)
    assert event == Finding(
        "latency_event", {"event": "command", "latest_ms": 150, "longest_ms": 200}, at_s=1_700_000_009.0
    )
    assert events.look([[b"fork", 1_700_000_000, 120, 300]], WATCHED) == [
        Measurement("latency_events", "events", 0.0)
    ]


def test_no_event_means_something_only_where_somebody_looks() -> None:
    refused = MonitorUnavailable("the user lacks the right +config|get")
    events = LatencyEvents()
    assert reason_in(events.look([], {"latency-monitor-threshold": "0"})).startswith(
        "the latency monitor is off: CONFIG SET"
    )
    assert reason_in(events.look([], refused)).endswith("is on: the user lacks the right +config|get")
    assert events.look([], WATCHED) == [Measurement("latency_events", "events", 0.0)]


def test_events_are_bounded_over_a_run() -> None:
    events = LatencyEvents()
    events.look([], WATCHED)
    shown = 0
    for tick in range(200):
        answer = [[b"e%d" % n, 1_700_000_000 + tick, 1, 1] for n in range(100)]
        count, *found = events.look(answer, WATCHED)
        assert isinstance(count, Measurement)
        assert count.value == 50
        shown += len(found)
    assert shown == MAX_EVENTS_FOUND


@pytest.mark.parametrize("answer", [7, [7], [[b"fork"]], [[b"fork", -1, 1, 1]], [["fork", 1, 1, 1]]])
def test_events_of_another_form_are_a_reason(answer: Any) -> None:
    assert "unknown form" in reason_in(LatencyEvents().look(answer, WATCHED))
