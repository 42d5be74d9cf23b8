"""The target as users meet it: a process, reached over loopback sockets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from perfload.errors import PerfloadError, TargetUnreachable
from perfload.histogram import Histogram
from perfload.target.process import TargetProcess

pytestmark = pytest.mark.integration

ADMIN, SECRETARY = "admin@test.com", "secretary@test.com"
PASSWORD = "testpass123"
NEW_MODEL = {"model_id": "own-1", "provider": "own", "model_name": "one", "quality_score": 70}


class Client:
    """One connection, kept open."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        self.headers: dict[str, str] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request(method, path, data, self.headers | headers)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read()), response.headers

    def status(self, method: str, path: str, body: object = None, **headers: str) -> int:
        return self.call(method, path, body, **headers)[0]

    def log_in(self, email: str) -> Client:
        _, answer, _ = self.call("POST", "/api/auth/login", {"email": email, "password": PASSWORD})
        self.headers = {"authorization": f"Bearer {answer['access_token']}"}
        return self


@pytest.fixture(scope="module")
def shared() -> Iterator[TargetProcess]:
    with TargetProcess("--no-latency", "--token-lifetime", "1h") as process:
        yield process


@pytest.fixture
def target(shared: TargetProcess) -> TargetProcess:
    shared.set_faults()
    shared.reset_truth()
    return shared


@pytest.fixture
def client(target: TargetProcess) -> Iterator[Client]:
    with Client(target.url) as client:
        yield client


def totals(target: TargetProcess) -> dict[str, Any]:
    found: dict[str, Any] = target.truth()["totals"]
    return found


# The API


def test_login(client: Client) -> None:
    status, answer, _ = client.call("POST", "/api/auth/login", {"email": ADMIN, "password": PASSWORD})
    assert (status, answer["token_type"], answer["expires_in"]) == (200, "bearer", 3600)
    assert answer["access_token"].count(".") == 2
    status, answer, headers = client.call("POST", "/api/auth/login", {"email": ADMIN, "password": "x"})
    assert (status, answer, headers["www-authenticate"]) == (
        401,
        {"detail": "wrong email or password"},
        "Bearer",
    )
    status, answer, _ = client.call("POST", "/api/auth/login", {"email": ADMIN})
    assert status == 422
    assert answer["detail"] == [{"type": "missing", "loc": ["body", "password"], "msg": "Field required"}]
    assert client.status("POST", "/api/auth/login", b"no json") == 422


def test_whoever_is_logged_in(client: Client) -> None:
    assert client.log_in(ADMIN).call("GET", "/api/auth/me")[:2] == (200, {"email": ADMIN, "role": "admin"})
    client.log_in(SECRETARY)
    assert client.call("GET", "/api/auth/me")[:2] == (200, {"email": SECRETARY, "role": "user"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/auth/me"),
        ("GET", "/api/ai-models/available"),
        ("POST", "/api/ai-models/test-connection"),
        ("GET", "/api/ai-models/performance-metrics"),
        ("POST", "/api/ai-models/create"),
        ("DELETE", "/api/ai-models/openai-gpt35-turbo"),
    ],
)
def test_what_needs_a_token(client: Client, method: str, path: str) -> None:
    assert client.call(method, path)[:2] == (401, {"detail": "not authenticated"})
    assert client.status(method, path, authorization="Basic eDp5") == 401
    assert client.call(method, path, authorization="Bearer x.y.z")[:2] == (401, {"detail": "invalid token"})


def test_models(client: Client) -> None:
    status, models, _ = client.log_in(SECRETARY).call("GET", "/api/ai-models/available")
    assert status == 200
    assert models[0] == {
        "model_id": "openai-gpt35-turbo",
        "provider": "openai",
        "model_name": "gpt-3.5-turbo",
        "display_name": "GPT-3.5 Turbo",
        "quality_score": 76,
        "speed_score": 92,
        "cost_efficiency": 90,
        "reliability_score": 95,
    }
    assert sum(model["provider"] == "anthropic" for model in models) == 3


def test_connection_tests_show_in_the_metrics(client: Client) -> None:
    client.log_in(SECRETARY)

    def tests_so_far() -> int:
        status, answer, _ = client.call("GET", "/api/ai-models/performance-metrics")
        assert (status, answer["total_models"]) == (200, len(answer["models"]))
        return next(m["connection_tests"] for m in answer["models"] if m["model_id"] == "openai-gpt4o")

    before = tests_so_far()
    path = "/api/ai-models/test-connection"
    assert client.call("POST", path, {"model_id": "openai-gpt4o"})[:2] == (
        200,
        {"model_id": "openai-gpt4o", "provider": "openai", "status": "connected"},
    )
    assert client.status("POST", path, {"model_id": "none"}) == 404
    assert client.status("POST", path, {"model": "openai-gpt4o"}) == 422
    assert tests_so_far() == before + 1


def test_administrators_create_and_delete(client: Client) -> None:
    client.log_in(ADMIN)
    status, answer, _ = client.call("POST", "/api/ai-models/create", NEW_MODEL)
    assert status == 201
    assert answer == NEW_MODEL | {
        "display_name": "one",
        "speed_score": 50.0,
        "cost_efficiency": 50.0,
        "reliability_score": 50.0,
    }
    assert client.status("POST", "/api/ai-models/create", NEW_MODEL) == 409
    assert client.status("POST", "/api/ai-models/create", NEW_MODEL | {"quality_score": 101}) == 422
    assert client.status("POST", "/api/ai-models/create", NEW_MODEL | {"model_id": "a/b"}) == 422
    assert client.call("DELETE", "/api/ai-models/own-1")[:2] == (200, {"model_id": "own-1", "deleted": True})
    assert client.status("DELETE", "/api/ai-models/own-1") == 404


def test_others_do_not(client: Client) -> None:
    client.log_in(SECRETARY)
    assert client.status("POST", "/api/ai-models/create", NEW_MODEL) == 403
    assert client.status("DELETE", "/api/ai-models/openai-gpt4o") == 403


def test_what_no_route_answers(client: Client) -> None:
    assert client.call("GET", "/health")[:2] == (200, {"status": "ok"})
    assert client.status("GET", "/api/none") == 404
    status, _, headers = client.call("GET", "/api/auth/login")
    assert (status, headers["allow"]) == (405, "POST")
    assert client.status("POST", "/api/auth/login", b" " * ((1 << 20) + 1)) == 413


def test_tokens_expire() -> None:
    with TargetProcess("--no-latency", "--token-lifetime", "1s") as target, Client(target.url) as client:
        client.log_in(ADMIN)
        first = client.status("GET", "/api/auth/me")
        deadline_s = time.monotonic() + 5
        while (answer := client.call("GET", "/api/auth/me"))[0] == 200:
            assert time.monotonic() < deadline_s
    assert first == 200
    assert answer[:2] == (401, {"detail": "token has expired"})


# Faults, seen from a socket


def test_a_fixed_delay(target: TargetProcess, client: Client) -> None:
    assert target.set_faults(delay="50ms") == {"delay": "50ms"}
    for _ in range(3):
        client.status("GET", "/api/auth/me")
    client.status("GET", "/health")
    rows = target.truth()["endpoints"]
    assert 50 <= rows["GET /api/auth/me"]["failed_latency"]["min_ms"] < 500
    assert rows["GET /health"]["latency"]["max_ms"] < 50


def test_the_error_rate_is_a_share_of_api_requests_only(target: TargetProcess, client: Client) -> None:
    target.set_faults(error_rate="20%")
    found = Counter(client.status("GET", "/api/auth/me") for _ in range(300))
    assert found.keys() == {401, 500}
    assert 40 <= found[500] <= 80
    assert {client.status("GET", "/health") for _ in range(50)} == {200}
    assert totals(target)["by_status"] == {"200": 50, "401": found[401], "500": found[500]}
    target.set_faults(error_rate="20%")
    assert Counter(client.status("GET", "/api/auth/me") for _ in range(300)) == found


def test_throttling_says_when_to_come_back(target: TargetProcess, client: Client) -> None:
    assert target.set_faults(throttle_rate="100%", retry_after="2s", delay="10s") == {
        "delay": "10s",
        "throttle_rate": "100%",
        "retry_after": "2s",
    }
    status, answer, headers = client.call("POST", "/api/auth/login", {})
    assert (status, answer, headers["retry-after"]) == (429, {"detail": "too many requests"}, "2")


def test_truncated_bodies(target: TargetProcess) -> None:
    target.set_faults(truncate_rate="100%")
    for _ in range(2):
        with Client(target.url) as client:
            client.connection.request("GET", "/api/auth/me")
            response = client.connection.getresponse()
            declared = int(response.headers["content-length"])
            with pytest.raises(http.client.IncompleteRead) as caught:
                response.read()
            assert len(caught.value.partial) == declared // 2
            assert caught.value.expected == declared - declared // 2
    row = totals(target)
    assert (row["received"], row["by_status"], row["truncated"], row["failed"]) == (2, {"401": 2}, 2, 2)
    assert "ASGI" not in target.log


def test_slow_bodies(target: TargetProcess, client: Client) -> None:
    target.set_faults(slow_body="300ms")
    start_s = time.monotonic()
    client.connection.request("GET", "/api/auth/me")
    response = client.connection.getresponse()
    headers_s = time.monotonic() - start_s
    first = response.read(1)
    first_s = time.monotonic() - start_s
    body = first + response.read()
    whole_s = time.monotonic() - start_s
    assert json.loads(body) == {"detail": "not authenticated"}
    assert headers_s <= first_s < 0.3 <= whole_s
    assert totals(target)["failed_latency"]["min_ms"] >= 300


def test_in_a_stall_all_wait_for_its_end(target: TargetProcess) -> None:
    """One request sets the clock, four are in progress when the stall begins, four arrive during it."""
    target.set_faults(delay="200ms", stall="500ms@100ms")

    def request(wait_s: float) -> float:
        with Client(target.url) as client:
            client.connection.connect()
            # The point in time is what is under test: nothing tells a client that a stall has begun.
            time.sleep(wait_s)
            client.status("GET", "/api/auth/me")
            return time.monotonic()

    start_s = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        in_progress = list(pool.map(request, [0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]))
    ends_s = [end_s - start_s for end_s in in_progress]
    assert min(ends_s) >= 0.6
    assert max(ends_s[:4]) < min(ends_s[4:])
    assert min(ends_s[4:]) >= 0.8
    with Client(target.url) as client:
        start_s = time.monotonic()
        client.status("GET", "/api/auth/me")
        assert 0.2 <= time.monotonic() - start_s < 0.6


def test_refused_connections_then_accepted_again(target: TargetProcess, client: Client) -> None:
    client.status("GET", "/health")
    target.set_faults(refuse="500ms")
    start_s = time.monotonic()
    assert client.status("GET", "/api/auth/me") == 401
    address = (urlsplit(target.url).hostname, urlsplit(target.url).port)
    refused = 0
    while True:
        try:
            with socket.create_connection(address, timeout=2):
                break
        except ConnectionRefusedError:
            refused += 1
            assert client.status("GET", "/health") == 200
    assert refused > 3
    assert 0.5 <= time.monotonic() - start_s < 2
    with Client(target.url) as other:
        assert other.status("GET", "/api/auth/me") == 401


def test_clearing_the_faults_ends_a_refusal(target: TargetProcess, client: Client) -> None:
    target.set_faults(refuse="60s")
    client.status("GET", "/api/auth/me")
    deadline_s = time.monotonic() + 5
    while True:
        try:
            target.truth()
        except TargetUnreachable as error:
            hint = error.hint
            break
        assert time.monotonic() < deadline_s
    assert "'refuse' is in force" in hint
    assert client.call("POST", "/_faults", {})[:2] == (200, {})
    while True:
        try:
            target.truth()
            break
        except TargetUnreachable:
            assert time.monotonic() < deadline_s


def test_a_bad_fault_is_answered_with_the_valid_names(target: TargetProcess) -> None:
    with pytest.raises(PerfloadError, match=r"POST /_faults: 422 .*valid names: delay, error_rate"):
        target.set_faults(error="5%")


# The truth


def test_the_truth_equals_what_was_sent_under_concurrency(target: TargetProcess) -> None:
    target.set_faults(error_rate="10%", throttle_rate="5%", truncate_rate="5%", delay="2ms")

    def send(count: int) -> Counter[tuple[str, str]]:
        seen: Counter[tuple[str, str]] = Counter()
        with Client(target.url) as client:
            for index in range(count):
                method, path = (
                    ("GET", "/api/auth/me") if index % 2 else ("DELETE", f"/api/ai-models/m{index}")
                )
                name = path if index % 2 else "/api/ai-models/{id}"
                client.connection.request(method, path)
                response = client.connection.getresponse()
                try:
                    response.read()
                except http.client.IncompleteRead:
                    seen[f"{method} {name}", "truncated"] += 1
                    client.connection.close()
                seen[f"{method} {name}", str(response.status)] += 1
        return seen

    with ThreadPoolExecutor(10) as pool:
        seen = sum(pool.map(send, [60] * 10), Counter())
    truth = target.truth()
    told = Counter()
    for name, row in truth["endpoints"].items():
        told.update({(name, status): count for status, count in row["by_status"].items()})
        told[name, "truncated"] += row["truncated"]
        assert row["received"] == 300
        assert Histogram.decode(row["failed_latency"]["encoded"]).count == 300
    assert told == seen
    assert {status for _, status in seen} == {"401", "429", "500", "truncated"}
    assert (truth["totals"]["received"], truth["totals"]["failed"], truth["totals"]["in_progress"]) == (
        600,
        600,
        0,
    )


def test_requests_whose_client_leaves_are_counted(target: TargetProcess, client: Client) -> None:
    target.set_faults(delay="100ms")
    for _ in range(3):
        with Client(target.url) as hasty:
            hasty.connection.request("GET", "/api/auth/me")
    client.status("GET", "/api/auth/me")
    deadline_s = time.monotonic() + 5
    while (row := totals(target))["in_progress"]:
        assert time.monotonic() < deadline_s
    assert (row["received"], row["aborted"], row["by_status"]) == (4, 3, {"401": 1})


def test_control_requests_are_not_counted(target: TargetProcess) -> None:
    target.set_faults()
    target.truth()
    assert target.truth()["endpoints"] == {}


# The process


def run_target(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perfload.target", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )


def test_a_port_in_use(target: TargetProcess) -> None:
    port = urlsplit(target.url).port
    found = run_target("--port", str(port))
    assert found.returncode == 2
    assert found.stdout == ""
    assert f"port {port} on 127.0.0.1 is in use" in found.stderr
    assert "--port (0 takes any free one)" in found.stderr


def test_another_interface_is_warned_about_and_end_of_stdin_stops() -> None:
    found = run_target("--port", "0", "--bind", "0.0.0.0", "--stop-with-stdin")
    assert found.returncode == 0
    assert "the target listens on 0.0.0.0, where other machines can reach it" in found.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_two_seconds_with_the_table(number: signal.Signals) -> None:
    with TargetProcess("--delay", "30s") as target, Client(target.url) as waiting, Client(target.url) as done:
        assert done.status("GET", "/health") == 200
        waiting.connection.request("GET", "/api/auth/me")
        while totals(target)["in_progress"] == 0:
            pass
        start_s = time.monotonic()
        os.kill(target.pid, number)
        code = target.wait(5)
        assert time.monotonic() - start_s < 2
        log = target.log.splitlines()
    assert code == 0
    assert "Traceback" not in "".join(log)
    assert log[-5].startswith("What the target saw")
    assert [line.split()[:4] for line in log[-3:]] == [
        ["GET", "/api/auth/me", "1", "0"],
        ["GET", "/health", "1", "0"],
        ["total", "2", "0", "1"],
    ]


def test_the_target_ends_when_its_parent_does() -> None:
    script = (
        "import os; from perfload.target.process import TargetProcess; "
        "target = TargetProcess(); target.start(); print(target.url, flush=True); os._exit(0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=15, check=True
    )
    parts = urlsplit(found.stdout.strip())
    deadline_s = time.monotonic() + 5
    while True:
        try:
            with socket.create_connection((parts.hostname, parts.port), timeout=2):
                assert time.monotonic() < deadline_s
        except ConnectionResetError:
            continue  # it was closing just then
        except ConnectionRefusedError:
            break


def test_a_target_that_cannot_start_says_why() -> None:
    with pytest.raises(PerfloadError, match=r"ended with exit code 2; .*\n.*no endpoint is called 'logn'"):
        TargetProcess("--latency", "logn=1ms").start()
