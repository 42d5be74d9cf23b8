import json
import math
from typing import Any

import pytest

from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.prometheus import MAX_ANSWER_BYTES, MAX_SERIES, HttpApi, PrometheusMonitor, unit_of
from perfload.readings import MAX_TEXT_CHARS

AT_S = 1_700_000_000.0


class Recorded:
    """Answers by query: (status, JSON or bytes)."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, float]] = []

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def ask(self, query: str, at_s: float) -> tuple[int, bytes]:
        self.asked.append((query, at_s))
        status, body = self.answers[query]
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()


def vector(*series: tuple[dict[str, str], str]) -> tuple[int, Any]:
    result = [{"metric": labels, "value": [AT_S, value]} for labels, value in series]
    return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}


def answer(kind: str, result: Any) -> tuple[int, Any]:
    return 200, {"status": "success", "data": {"resultType": kind, "result": result}}


def opened(api: Recorded, **queries: str) -> PrometheusMonitor:
    monitor = PrometheusMonitor(api, json.dumps(queries or {"name": "query"}))
    monitor.open()
    return monitor


def read(reply: tuple[int, Any], name: str = "name") -> list[Any]:
    return list(opened(Recorded(query=reply), **{name: "query"}).read(AT_S + 5))


def reason(reply: tuple[int, Any]) -> str:
    (found,) = read(reply)
    assert isinstance(found, Measurement)
    assert (found.metric, found.value) == ("name", None)
    return found.unavailable


def test_a_scalar_and_a_series_without_labels_have_the_name_of_the_query() -> None:
    assert read(answer("scalar", [AT_S, "7"])) == [Measurement("name", "", 7.0, at_s=AT_S)]
    assert read(vector(({}, "1.5"))) == [Measurement("name", "", 1.5, at_s=AT_S)]


def test_series_are_named_by_their_labels_and_the_largest_comes_first() -> None:
    found = read(
        vector(
            ({"__name__": "up", "job": "api", "instance": "a:1"}, "1"),
            ({"job": "db"}, "3e2"),
            ({"x": ""}, "-1"),
        ),
        "queue_ms",
    )
    assert found == [
        Measurement("queue_ms[job=db]", "ms", 300.0, at_s=AT_S),
        Measurement("queue_ms[instance=a:1,job=api]", "ms", 1.0, at_s=AT_S),
        Measurement("queue_ms[x=]", "ms", -1.0, at_s=AT_S),
    ]


def test_every_query_is_asked_for_the_time_of_the_read() -> None:
    api = Recorded(one=vector(({}, "1")), two=vector(({}, "2")))
    found = opened(api, a="one", b="two").read(AT_S)
    assert [(item.metric, item.value) for item in found if isinstance(item, Measurement)] == [
        ("a", 1),
        ("b", 2),
    ]
    assert api.asked == [("one", AT_S), ("two", AT_S)]


def test_a_bad_query_leaves_the_others_alone() -> None:
    bad = (400, {"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected end"})
    first, second = opened(Recorded(one=bad, two=vector(({}, "2"))), a="one", b="two").read(AT_S)
    assert first == Measurement(
        "a", "", None, "Prometheus refuses the query: 1:5: parse error: unexpected end"
    )
    assert isinstance(second, Measurement)
    assert second.value == 2


def test_twenty_series_are_shown_and_the_others_counted() -> None:
    many = [({"n": f"{number:02}"}, str(number)) for number in range(50)]
    monitor = opened(api := Recorded(query=vector(*many)))
    *shown, left_out = monitor.read(AT_S)
    assert [item.value for item in shown if isinstance(item, Measurement)] == list(range(49, 29, -1))
    assert left_out == Finding("series_left_out", {"query": "name", "shown": MAX_SERIES, "left_out": 30})
    # The choice stays, so that series have no gaps and a run no more than twenty; it is told once.
    api.answers["query"] = vector(*[(labels, str(-float(value))) for labels, value in many])
    assert [item.metric for item in monitor.read(AT_S + 1) if isinstance(item, Measurement)] == [
        item.metric for item in shown if isinstance(item, Measurement)
    ]
    assert not [item for item in monitor.read(AT_S + 2) if isinstance(item, Finding)]


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_what_is_no_number_is_no_value(value: str) -> None:
    (found,) = read(vector(({"a": "b"}, value)))
    assert found == Measurement("name[a=b]", "", None, f"Prometheus says {value}: a division by 0?")


def test_an_empty_answer_is_a_question() -> None:
    assert reason(vector()) == "no series: does the query match anything?"


@pytest.mark.parametrize(
    ("reply", "part"),
    [
        (answer("matrix", []), "the query gives a range, not one value"),
        (answer("string", [AT_S, "text"]), "the query gives a string, not one value"),
        (answer("vector", {"a": 1}), "an unknown form"),
        (answer("vector", [7]), "an unknown form"),
        (answer("vector", [{"metric": {}}]), "an unknown form"),
        (answer("vector", [{"metric": [], "value": [AT_S, "1"]}]), "an unknown form"),
        (answer("vector", [{"metric": {}, "value": [AT_S, True]}]), "an unknown form"),
        (answer("vector", [{"metric": {}, "value": [AT_S, "many"]}]), "an unknown form"),
        (answer("scalar", [None, "1"]), "an unknown form"),
        (answer("scalar", [-1, "1"]), "an impossible time"),
        (answer("scalar", ["nan", "1"]), "an impossible time"),
        (answer("scalar", [1e300, "1"]), "an impossible time"),
        ((200, {"status": "success"}), "an unknown form"),
        ((200, {"status": "error", "error": "out of order"}), "refuses the query: out of order"),
        ((200, []), "(HTTP 200) is not that of a Prometheus"),
        ((503, b"<html>"), "(HTTP 503) is not that of a Prometheus"),
        ((200, b"[" * 100_000), "(HTTP 200) is not that of a Prometheus"),
        ((200, b"\xff\xfe"), "(HTTP 200) is not that of a Prometheus"),
        ((422, {"status": "error", "error": 7}), "refuses the query: HTTP 422"),
        ((200, b" " * (MAX_ANSWER_BYTES + 1)), "larger than 1048576 bytes"),
    ],
)
def test_an_answer_that_cannot_be_used_is_a_reason(reply: tuple[int, Any], part: str) -> None:
    assert part in reason(reply)


def test_a_native_histogram_is_no_number() -> None:
    (found,) = read(answer("vector", [{"metric": {"a": "b"}, "histogram": [AT_S, {"count": "1"}]}]))
    assert found.metric == "name[a=b]"
    assert "histogram_quantile()" in found.unavailable


def test_hostile_labels_are_cut_and_stay_apart() -> None:
    found = read(
        vector(
            ({"a": "x" * 5000 + "1"}, "1"),
            ({"a": "x" * 5000 + "2"}, "2"),
            ({f"label{n}": "v" * 50 for n in range(100)}, "3"),
            ({"a": "b]c[d=\n\ud800"}, "4"),
            ({"a": "b)c(d:??"}, "5"),
        )
    )
    metrics = [item.metric for item in found]
    assert len(set(metrics)) == 5
    assert max(map(len, metrics)) <= MAX_TEXT_CHARS
    assert metrics[0] == "name[a=b)c(d:??]"
    assert metrics[1].startswith("name[a=b)c(d:??#")
    assert all(metric.endswith("]") and metric.count("[") == 1 and metric.isprintable() for metric in metrics)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("heap_bytes", "bytes"),
        ("received_bytes_per_s", "bytes/s"),
        ("requests_per_s", "1/s"),
        ("busy_percent", "%"),
        ("latency_ms", "ms"),
        ("latency_seconds", "s"),
        ("queue", ""),
    ],
)
def test_the_unit_is_what_the_name_ends_with(name: str, unit: str) -> None:
    assert unit_of(name) == unit


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ("", "no queries"),
        ("{}", "no queries"),
        ("[1]", "the queries are no JSON object of texts"),
        ("{", "the queries are no JSON object of texts"),
        ('{"a": 1}', "the queries are no JSON object of texts"),
        ('{"": "up"}', "the name of a query has 1 to 80 characters: ''"),
    ],
)
def test_bad_queries_are_told_when_it_is_opened(queries: str, message: str) -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        PrometheusMonitor(Recorded(), queries).open()
    assert raised.value.message == message


@pytest.mark.parametrize(
    "url",
    [
        "prometheus:9090",
        "ftp://host",
        "http://",
        "http://u:hunter2@host:port",
        "http://host?x=1",
        "http://[::1",
    ],
)
def test_a_bad_address_is_not_repeated(url: str) -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        HttpApi(url).open()
    assert raised.value.message == "prometheus.url is no address of Prometheus"
    assert "hunter2" not in str(raised.value)


def test_without_an_address_it_says_which_key_to_set() -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        PrometheusMonitor.from_environment({"PERFLOAD_PROMETHEUS_QUERIES": '{"a": "up"}'}).open()
    assert raised.value.hint == 'prometheus.url = "http://prometheus:9090"'


@pytest.mark.parametrize("token", ["hunter2\r\nX: y", "hunter2 é"])
def test_a_token_that_no_header_may_have_is_not_repeated(token: str) -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        HttpApi("http://host", token).open()
    assert "hunter2" not in str(raised.value)


def test_infinity_is_last_in_the_order_of_size_only_if_it_is_no_number() -> None:
    found = read(vector(({"a": "1"}, "NaN"), ({"a": "2"}, "-5"), ({"a": "3"}, "+Inf")))
    assert [item.metric for item in found] == ["name[a=3]", "name[a=2]", "name[a=1]"]
    assert not any(item.value is not None and math.isinf(item.value) for item in found)
