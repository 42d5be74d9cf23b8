"""The Prometheus monitor on a real Prometheus that scrapes itself, and on servers that answer badly."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from perfload.model import Reading
from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.process import SamplerProcess
from perfload.monitors.prometheus import TOKEN, PrometheusMonitor
from perfload.readings import decode_reading
from tests.integration.prometheus_server import PrometheusServer, prometheus_server
from tests.integration.redis_server import free_port

pytestmark = [pytest.mark.integration, pytest.mark.monitors]

ENOUGH_S = 20.0
HASH_OF_HUNTER2 = "$2b$04$LFynrCtKNNZtJRRt7Qs2gOF/0hnibEn/QPDYHuBLr3gyGsSWjAB9K"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with prometheus_server(tmp_path_factory.mktemp("prometheus")) as started:
        started.wait_for("rate(prometheus_http_requests_total[2s])")
        yield started


def opened(url: str, queries: Mapping[str, str], token: str = "") -> PrometheusMonitor:
    environment = {
        "PERFLOAD_PROMETHEUS_URL": url,
        "PERFLOAD_PROMETHEUS_QUERIES": json.dumps(queries),
        TOKEN: token,
    }
    monitor = PrometheusMonitor.from_environment(environment)
    monitor.open()
    return monitor


def read(url: str, queries: Mapping[str, str], token: str = "") -> Sequence[Measurement | Finding]:
    monitor = opened(url, queries, token)
    try:
        return monitor.read(time.time())
    finally:
        monitor.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + ENOUGH_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {ENOUGH_S:g} s for {what}"
        time.sleep(0.02)


def test_each_query_becomes_a_series(server: PrometheusServer) -> None:
    before_s = time.time()
    found = read(
        server.url,
        {
            "answer": "42",
            "up": "up",
            "sum_up": "sum(up)",
            "heap_bytes": "go_memstats_heap_alloc_bytes",
            "requests_per_s": 'sum by (code) (rate(prometheus_http_requests_total{code="200"}[2s]))',
        },
    )
    values = {item.metric: item for item in found if isinstance(item, Measurement)}
    instance = f"instance=127.0.0.1:{server.port},job=prometheus"
    assert values.keys() == {
        "answer",
        "sum_up",
        f"up[{instance}]",
        f"heap_bytes[{instance}]",
        "requests_per_s[code=200]",
    }
    assert values["answer"].value == 42
    assert values["sum_up"].value == values[f"up[{instance}]"].value == 1
    assert (values[f"heap_bytes[{instance}]"].value or 0) > 1_000_000
    assert values[f"heap_bytes[{instance}]"].unit == "bytes"
    assert (values["requests_per_s[code=200]"].value or 0) > 0
    for item in values.values():
        assert item.at_s is not None
        assert before_s - 0.001 <= item.at_s <= time.time()


def test_what_prometheus_refuses_or_does_not_have_is_named(server: PrometheusServer) -> None:
    found = read(
        server.url,
        {
            "bad": "rate(up",
            "none": 'up{job="nobody"}',
            "range": "up[1m]",
            "text": '"text"',
            "undefined": "0 / 0",
            "clash": "up * on (nothing) group_left prometheus_http_requests_total",
            "good": "1",
        },
    )
    reasons = {item.metric: item.unavailable for item in found if isinstance(item, Measurement)}
    assert reasons.pop("good") == ""
    assert reasons.pop("clash").startswith("Prometheus refuses the query: ")
    assert reasons == {
        "bad": 'Prometheus refuses the query: invalid parameter "query": 1:8: parse error: '
        "unclosed left parenthesis",
        "none": "no series: does the query match anything?",
        "range": "the query gives a range, not one value for a time",
        "text": "the query gives a string, not one value for a time",
        "undefined": "Prometheus says NaN: a division by 0?",
    }


def test_many_series_are_cut_to_the_largest(server: PrometheusServer) -> None:
    buckets = "prometheus_http_request_duration_seconds_bucket"
    *shown, left_out = read(server.url, {"buckets": buckets})
    values = [item.value for item in shown if isinstance(item, Measurement)]
    assert len(values) == 20
    assert values == sorted(values, key=lambda value: -(value or 0))
    assert isinstance(left_out, Finding)
    assert left_out.data["left_out"] == len(server.query(buckets)) - 20 > 0
    assert len({item.metric for item in shown if isinstance(item, Measurement)}) == 20


def test_user_and_password_of_the_address(tmp_path: Path) -> None:
    with prometheus_server(tmp_path, users={"reader": HASH_OF_HUNTER2}) as server:
        right = server.url.replace("://", "://reader:hunter2@")
        (found,) = read(right, {"answer": "42"})
        assert isinstance(found, Measurement)
        assert found.value == 42
        with pytest.raises(MonitorUnavailable) as raised:
            read(server.url.replace("://", "://reader:hunter3@"), {"answer": "42"})
    assert raised.value.message == f"{server.url} refuses the login (HTTP 401)"


@contextmanager
def answering(
    status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Serve one answer to every request; yield the address and the requests' authorizations."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # Whoever reads only a part of it closes the connection.
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}", seen
        finally:
            made.shutdown()
            thread.join()


SCALAR = json.dumps(
    {"status": "success", "data": {"resultType": "scalar", "result": [1_700_000_000, "7"]}}
).encode()


def test_a_token_goes_into_the_header_and_only_there() -> None:
    with answering(200, SCALAR) as (url, seen):
        (found,) = read(url, {"seven": "7"}, token="s3cret")
    assert found == Measurement("seven", "", 7.0, at_s=1_700_000_000)
    assert seen == ["Bearer s3cret"]
    with answering(403, b"no") as (url, seen), pytest.raises(MonitorUnavailable) as raised:
        read(url, {"seven": "7"}, token="s3cret")
    assert raised.value.message == f"{url} refuses the login (HTTP 403)"
    assert TOKEN in raised.value.hint
    assert "s3cret" not in str(raised.value)


def test_a_redirect_is_not_followed() -> None:
    with (
        answering(200, SCALAR) as (elsewhere, seen),
        answering(302, b"", {"Location": elsewhere}) as (url, _),
        pytest.raises(MonitorUnavailable) as raised,
    ):
        read(url, {"seven": "7"}, token="s3cret")
    assert raised.value.message == f"{url} redirects (HTTP 302)"
    assert seen == []


def test_what_is_no_prometheus_says_so() -> None:
    with answering(404, b"<html>") as (url, _), pytest.raises(MonitorUnavailable) as raised:
        read(f"{url}/wrong/path", {"seven": "7"})
    assert raised.value.message == f"{url}/wrong/path has no query API (HTTP 404)"


def test_a_huge_answer_is_not_read_and_the_next_question_has_its_own() -> None:
    with answering(200, b" " * 3_000_000) as (url, seen):
        monitor = opened(url, {"a": "1", "b": "2"})
        found = monitor.read(1)
        monitor.close()
    assert len(seen) == 2
    assert ["larger than" in item.unavailable for item in found if isinstance(item, Measurement)] == [
        True
    ] * 2


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
)
def test_a_stranger_on_the_port_is_a_reason(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=talk)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(MonitorUnavailable, match="cannot be reached"):
            read(url, {"seven": "7"})
        thread.join()


def test_nobody_there_is_a_reason() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(MonitorUnavailable, match=f"{url} cannot be reached: .*refused"):
        read(url.replace("://", "://u:hunter2@"), {"seven": "7"})


def test_a_server_that_is_stopped_killed_and_started_again_in_mid_run(tmp_path: Path) -> None:
    out = tmp_path / "readings.jsonl"
    folder = tmp_path / "prometheus"
    folder.mkdir()

    def readings() -> list[Reading]:
        lines = out.read_text().splitlines(keepends=True) if out.exists() else []
        return [decode_reading(line) for line in lines if line.endswith("\n")]

    def wait_for(count: int, *, failures: bool) -> None:
        def seen() -> int:
            return sum((one.metric == "*") == failures for one in readings())

        before = seen()
        wait_until(lambda: seen() >= before + count, "failures" if failures else "values")

    with prometheus_server(folder) as server:
        server.wait_for("up")
        environment = {
            "PERFLOAD_PROMETHEUS_URL": server.url.replace("://", "://u:hunter2@"),
            "PERFLOAD_PROMETHEUS_QUERIES": '{"alive": "sum(up)"}',
        }
        sampler = SamplerProcess.start(
            out, node="n", interval_s=0.1, monitors=["prometheus"], environment=environment
        )
        try:
            wait_for(5, failures=False)
            server.send(signal.SIGSTOP)
            wait_for(2, failures=True)
            server.send(signal.SIGCONT)
            wait_for(5, failures=False)
            server.kill()
            wait_for(2, failures=True)
            server.start()
            wait_for(5, failures=False)
        finally:
            assert sampler.stop() == 0
        reasons = {one.unavailable for one in readings() if one.metric == "*"}
        assert {one.value for one in readings() if one.metric == "alive"} <= {1.0, None}
    assert f"{server.url} does not answer within 1 s" in reasons
    assert any("cannot be reached" in reason for reason in reasons)
    assert "hunter2" not in out.read_text()
