import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from perfload.model import Reading
from perfload.monitors.base import Measurement, Monitor, MonitorUnavailable
from perfload.monitors.reader import Answer, MonitorReader, reading_of, reason_of
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
    reader.close()
    reader.join(5)
    return answers, calls


def one_value() -> list[Measurement]:
    return [Measurement("hits", "/s", 3.0)]


def refuse() -> list[Measurement]:
    raise ConnectionError("refused")


def test_a_monitor_is_made_and_opened_once_and_read_and_closed_in_its_thread() -> None:
    answers, calls = answers_of(one_value, one_value)
    assert [answer.readings for answer in answers] == [
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
    assert answers[1].readings[0].value == 3.0


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
