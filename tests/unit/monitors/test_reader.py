import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from perfload.model import Observation, Reading
from perfload.monitors.base import Finding, Found, Measurement, Monitor, MonitorUnavailable
from perfload.monitors.reader import Answer, MonitorReader, observation_of, reading_of, reason_of
from perfload.observations import MAX_LINE_CHARS
from perfload.readings import MAX_TEXT_CHARS


class ScriptedMonitor:
    """Does what `script` says at each read; notes every call and the thread it came in."""

    def __init__(self, script: Iterator[Callable[[], Sequence[Measurement]]], calls: list[str]) -> None:
        self._script = script
        self._calls = calls

    def open(self) -> None:
        self._note("open")

    def read(self, at_s: float) -> Sequence[Measurement]:
        self._note(f"read {at_s}")
        return next(self._script)()

    def close(self) -> None:
        self._note("close")
        raise OSError("already closed")

    def _note(self, call: str) -> None:
        assert threading.current_thread().name == "monitor scripted"
        self._calls.append(call)


def answers_of(
    *script: Callable[[], Sequence[Measurement]], make: Callable[[], None] = lambda: None
) -> tuple[list[Answer], list[str]]:
    calls: list[str] = []
    steps = iter(script)

    def factory(environment: object) -> Monitor:
        assert environment == {"PERFLOAD_URL": "redis://cache"}
        calls.append("make")
        make()
        return ScriptedMonitor(steps, calls)

    inbox: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    reader = MonitorReader(
        "scripted", factory, node="db-1", environment={"PERFLOAD_URL": "redis://cache"}, answer=inbox.put
    )
    answers = []
    for number in range(len(script)):
        reader.ask(1000.0 + number)
        answers.append(inbox.get(timeout=5))
    reader.close(2000.0)
    reader.join(5)
    # Once for the end, too, of a monitor that has nothing to finish.
    assert inbox.get(timeout=5) == Answer("scripted", [], is_last=True)
    return answers, calls


def one_value() -> list[Measurement]:
    return [Measurement("hits", "/s", 3.0)]


def refuse() -> list[Measurement]:
    raise ConnectionError("refused")


def test_a_monitor_is_made_and_opened_once_and_read_and_closed_in_its_thread() -> None:
    answers, calls = answers_of(one_value, one_value)
    assert [answer.entries for answer in answers] == [
        [Reading(1000.0, "db-1", "scripted", "hits", "/s", 3.0)],
        [Reading(1001.0, "db-1", "scripted", "hits", "/s", 3.0)],
    ]
    assert calls == ["make", "open", "read 1000.0", "read 1001.0", "close"]


def test_a_failure_is_an_answer_and_leads_to_a_new_monitor() -> None:
    answers, calls = answers_of(refuse, one_value)
    reason = "ConnectionError: refused"
    assert answers[0] == Answer(
        "scripted", [Reading(1000.0, "db-1", "scripted", "*", "", None, reason)], reason
    )
    assert answers[1].failure == ""
    assert calls == ["make", "open", "read 1000.0", "close", "make", "open", "read 1001.0", "close"]


def test_a_factory_that_fails_is_a_failure() -> None:
    def make() -> None:
        raise MonitorUnavailable("redis client not installed", hint="pip install 'perfload[redis]'")

    answers, calls = answers_of(one_value, make=make)
    assert answers[0].failure == "redis client not installed; pip install 'perfload[redis]'"
    assert calls == ["make"]


def test_a_client_that_exits_does_not_end_the_thread() -> None:
    answers, _ = answers_of(lambda: sys.exit(3), one_value)
    assert answers[0].failure == "SystemExit: 3"
    assert answers[1].entries[0].value == 3.0


def test_no_values_at_all_is_told() -> None:
    answers, _ = answers_of(list)
    reason = "no values in this read"
    assert answers == [Answer("scripted", [Reading(1000.0, "db-1", "scripted", "*", "", None, reason)])]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (None, "TypeError: 'NoneType' object is not iterable"),
        ([Measurement("", "s", 1.0)], "ValueError: metric is empty"),
        ([Measurement("m", "s", None)], "ValueError: neither a value nor the reason why there is none"),
        ([Measurement("m", "s", "1")], "TypeError: must be real number, not str"),
    ],
)
def test_a_monitor_that_breaks_its_contract_fails_by_itself(wrong: list[Measurement], reason: str) -> None:
    answers, _ = answers_of(lambda: wrong)
    assert answers[0].failure == reason


def test_a_value_that_is_not_finite_becomes_a_reason() -> None:
    reading = reading_of(Measurement("m", "s", float("nan")), at_s=1.0, node="n", source="s")
    assert reading == Reading(1.0, "n", "s", "m", "s", None, "the source says nan")


def test_a_measurement_may_name_its_own_node_and_times_are_in_milliseconds() -> None:
    measurement = Measurement("m", "s", 1.0, node="redis-1:6379")
    reading = reading_of(measurement, at_s=1000.123456, node="n", source="s")
    assert (reading.node, reading.at_s) == ("redis-1:6379", 1000.123)


def test_a_reason_is_one_line_of_bounded_length() -> None:
    reason = reason_of(ValueError("a\n  b\t" + "c" * 500))
    assert reason.startswith("ValueError: a b ccc")
    assert reason.endswith("c…")
    assert len(reason) == MAX_TEXT_CHARS


def test_a_reason_has_no_credentials() -> None:
    error = ConnectionError("cannot reach redis://admin:hunter2@cache:6379/0 or http://plain/")
    assert reason_of(error) == "ConnectionError: cannot reach redis://***@cache:6379/0 or http://plain/"


def test_an_error_without_a_text_is_named() -> None:
    assert reason_of(TimeoutError()) == "TimeoutError"
    assert reason_of(MonitorUnavailable("")) == "MonitorUnavailable"
    assert reason_of(OSError("\udcff")) == "OSError: ?"


# --- findings


def test_a_finding_becomes_an_observation_beside_the_readings() -> None:
    finding = Finding("slow_operation", {"ns": "app.models", "ms": 812})
    answers, _ = answers_of(lambda: [Measurement("hits", "/s", 3.0), finding])
    assert answers[0].entries == [
        Reading(1000.0, "db-1", "scripted", "hits", "/s", 3.0),
        Observation(1000.0, "db-1", "scripted", "slow_operation", {"ns": "app.models", "ms": 812}),
    ]


def test_a_finding_alone_is_an_answer() -> None:
    answers, _ = answers_of(lambda: [Finding("index", {})])
    assert answers[0].entries == [Observation(1000.0, "db-1", "scripted", "index", {})]


def test_a_finding_may_name_its_own_node_source_and_time() -> None:
    finding = Finding("index", {}, node="rs0-1", at_s=999.98765, source="mongodb")
    observation = observation_of(finding, at_s=1000.0, node="n", source="s")
    assert observation == Observation(999.988, "rs0-1", "mongodb", "index", {})


@pytest.mark.parametrize(
    "finding",
    [Finding("", {}), Finding("k", {"huge": "x" * MAX_LINE_CHARS}), Finding("k", {"no json": object()})],
)
def test_a_finding_that_could_not_be_read_back_is_a_failure(finding: Finding) -> None:
    answers, _ = answers_of(lambda: [finding])
    assert answers[0].failure.startswith("ValueError: ")


# --- the end


class FinishingMonitorDouble:
    """Reads one value, and does what `at_end` says when it is to finish."""

    def __init__(self, at_end: Callable[[], Found], calls: list[str], *, fails: bool = False) -> None:
        self._at_end = at_end
        self._calls = calls
        self._fails = fails

    def open(self) -> None:
        pass

    def read(self, at_s: float) -> Found:
        if self._fails:
            raise ConnectionError("refused")
        return [Measurement("hits", "/s", 3.0)]

    def finish(self, at_s: float) -> Found:
        self._calls.append(f"finish {at_s}")
        return self._at_end()

    def close(self) -> None:
        self._calls.append("close")


def finished(at_end: Callable[[], Found], *, reads: int = 1, fails: bool = False) -> tuple[Answer, list[str]]:
    calls: list[str] = []
    inbox: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    reader = MonitorReader(
        "end",
        lambda environment: FinishingMonitorDouble(at_end, calls, fails=fails),
        node="db-1",
        environment={},
        answer=inbox.put,
    )
    for number in range(reads):
        reader.ask(1000.0 + number)
        inbox.get(timeout=5)
    assert reader.has_to_finish is (reads > 0 and not fails)
    reader.close(2000.0)
    last = inbox.get(timeout=5)
    reader.join(5)
    assert inbox.empty()
    assert last.is_last
    return last, calls


def test_a_monitor_finishes_once_before_it_is_closed() -> None:
    last, calls = finished(lambda: [Measurement("left_over", "1", 7.0), Finding("advice", {"n": 1})], reads=3)
    assert last.entries == [
        Reading(2000.0, "db-1", "end", "left_over", "1", 7.0),
        Observation(2000.0, "db-1", "end", "advice", {"n": 1}),
    ]
    assert calls == ["finish 2000.0", "close"]


def test_a_monitor_that_fails_at_its_end_says_so_and_is_closed() -> None:
    def fail() -> Found:
        raise MonitorUnavailable("the profiler level was not restored", hint="perfload doctor")

    last, calls = finished(fail)
    reason = "at its end: the profiler level was not restored; perfload doctor"
    assert last.entries == [Reading(2000.0, "db-1", "end", "*", "", None, reason)]
    assert calls == ["finish 2000.0", "close"]


def test_after_a_failed_read_there_is_nothing_to_finish() -> None:
    last, calls = finished(list, fails=True)
    assert last.entries == []
    assert calls == ["close"]


def test_a_monitor_that_was_never_read_has_nothing_to_finish() -> None:
    assert finished(list, reads=0) == (Answer("end", [], is_last=True), [])
