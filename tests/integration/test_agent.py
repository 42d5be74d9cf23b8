"""`perfload agent` as a process of its own, and its master's side, over real sockets."""

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from perfload.agent.command import Agent, AgentOptions
from perfload.agent.server import MAX_CONNECTIONS
from perfload.errors import ExitCode, UsageError
from perfload.model import Reading
from perfload.monitors.agent import AgentMonitor
from perfload.monitors.base import Measurement, MonitorUnavailable
from perfload.monitors.process import SamplerProcess
from perfload.monitors.sampler import parse_plans, steady_clock
from perfload.readings import decode_reading

pytestmark = [pytest.mark.integration, pytest.mark.monitors]

ENOUGH_S = 15.0
TOKEN = "sesame-open-1234"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll another process, which sends no event."""
    deadline_s = time.monotonic() + ENOUGH_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {ENOUGH_S:g} s for {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def agent_process(
    folder: Path, *arguments: str, token: str = TOKEN
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start an agent as a person would; yield it and its URL. Whatever a test finds, it does not stay."""
    command = [
        sys.executable,
        "-m",
        "perfload.cli.main",
        "agent",
        "--node=box",
        "--interval=100ms",
        *arguments,
    ]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PERFLOAD_AGENT_TOKEN": token, "PERFLOAD_MONITOR_GPU": "off"},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"perfload agent: listening on (http://\S+) \(box: .*\)\n", line)
            assert found, f"{line!r} {process.poll()}"
            yield process, found[1]
        finally:
            process.kill()
            process.communicate()


def get(url: str, *, token: str = TOKEN, **headers: str) -> tuple[int, bytes]:
    host = url.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(host, timeout=ENOUGH_S)
    try:
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", url.removeprefix(f"http://{host}"), headers=authorization | headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextlib.contextmanager
def agent_here(
    *, token: str = "", clock: Callable[[], float] | None = None, monitors: tuple[str, ...] = ("host",)
) -> Iterator[str]:
    """Run an agent in a thread of this process, with a clock of the test's choice; yield its URL."""
    options = AgentOptions(
        bind="127.0.0.1",
        port=0,
        node="box",
        token=token,
        plans=parse_plans(monitors, interval_s=0.1, timeout_s=2.0),
        environment={},
    )
    agent = Agent(options, clock=clock or steady_clock(), tell=lambda line: None)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield agent.url
    finally:
        agent.stop()
        thread.join(ENOUGH_S)
        assert not thread.is_alive()


def handed_on(monitor: AgentMonitor, clock: Callable[[], float], metric: str) -> list[Measurement]:
    """Read until the agent's `metric` has come at least three times."""
    found: list[Measurement] = []

    def has_come() -> bool:
        found.extend(item for item in monitor.read(clock()) if isinstance(item, Measurement) and item.source)
        return sum(item.metric == metric for item in found) >= 3

    wait_until(has_come, metric)
    return [item for item in found if item.metric == metric]


# --- readings


@pytest.mark.parametrize("shift_s", [0.0, 3600.0, -7200.5])
def test_readings_of_an_agent_whose_clock_is_wrong_have_our_times(shift_s: float) -> None:
    ours = steady_clock()
    with agent_here(clock=lambda: ours() + shift_s) as url:
        monitor = AgentMonitor("db-1", url, "")
        monitor.open()
        began_s = ours()
        found = handed_on(monitor, ours, "memory_percent")
        ended_s = ours()
        estimate = {item.metric: item.value for item in monitor.read(ours()) if isinstance(item, Measurement)}
        monitor.close()
    assert {(item.node, item.source) for item in found} == {("db-1", "host")}
    times = [item.at_s for item in found if item.at_s is not None]
    assert len(times) == len(found)
    error_ms = estimate["clock_error_ms"]
    assert error_ms is not None
    assert 0 <= error_ms < 250
    assert estimate["clock_offset_ms"] == pytest.approx(1000 * shift_s, abs=error_ms + 0.1)
    assert all(began_s - error_ms / 1000 <= at_s <= ended_s + error_ms / 1000 for at_s in times)
    # The agent's ticks are 100 ms apart: nothing came twice.
    assert all(later - earlier > 0.05 for earlier, later in itertools.pairwise(times))


def readings_in(out: Path) -> list[Reading]:
    return [decode_reading(line) for line in out.read_text().splitlines()] if out.exists() else []


def test_an_agent_that_is_killed_and_started_again_leaves_a_gap(tmp_path: Path) -> None:
    out, port = tmp_path / "readings.jsonl", free_port()
    agents = json.dumps([{"name": "db-1", "url": f"http://127.0.0.1:{port}"}])
    sampler = SamplerProcess.start(
        out,
        node="master",
        interval_s=0.1,
        monitors=["host", "agent.db-1"],
        environment={"PERFLOAD_AGENTS": agents, "PERFLOAD_AGENT_TOKEN": TOKEN},
    )

    def memory_at() -> list[float]:
        return [
            reading.at_s
            for reading in readings_in(out)
            if (reading.node, reading.source, reading.metric) == ("db-1", "host", "memory_percent")
        ]

    def has_reason_after(at_s: float) -> bool:
        return any(
            reading.at_s > at_s and "Connection refused" in reading.unavailable
            for reading in readings_in(out)
            if (reading.node, reading.source, reading.metric) == ("db-1", "agent.db-1", "*")
        )

    try:
        with agent_process(tmp_path, f"--port={port}") as (process, _):
            wait_until(lambda: len(memory_at()) >= 5, "readings of the agent")
            process.kill()
        killed_at_s = time.time()
        wait_until(lambda: has_reason_after(killed_at_s), "the reason of the gap")
        with agent_process(tmp_path, f"--port={port}"):
            back_at_s = time.time()
            wait_until(lambda: max(memory_at()) > back_at_s + 0.3, "readings of the agent that is back")
    finally:
        sampler.stop()
    times = memory_at()
    assert len(times) == len(set(times))
    gap = [at_s for at_s in times if killed_at_s < at_s < back_at_s - 2]
    assert gap == []
    ours = [reading for reading in readings_in(out) if (reading.node, reading.source) == ("master", "host")]
    assert any(reading.at_s > killed_at_s for reading in ours)


def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    with agent_here() as url:
        monitor, clock = AgentMonitor("db-1", url, ""), steady_clock()
        monitor.read(clock())
        connection = monitor._link._connection
        assert connection is not None
        connection.sock.shutdown(socket.SHUT_RDWR)
        found = [item.metric for item in monitor.read(clock()) if isinstance(item, Measurement)]
        monitor.close()
    assert found[:3] == ["clock_offset_ms", "clock_error_ms", "agent_entries"]


# --- the token


def test_a_wrong_or_missing_token_is_refused_everywhere() -> None:
    with agent_here(token=TOKEN) as url:
        for path in ("/readings", "/metrics", "/health", "/"):
            for token in ("", "sesame", TOKEN + "x", TOKEN.upper()):
                assert get(url + path, token=token)[0] == 401
        assert get(f"{url}/health")[0] == 200
        monitor = AgentMonitor("db-1", url, "sesame")
        with pytest.raises(MonitorUnavailable, match=f"the agent at {url} refuses the token") as caught:
            monitor.read(1000.0)
        assert "PERFLOAD_AGENT_TOKEN" in caught.value.hint
        assert "sesame" not in str(caught.value)


def test_without_a_token_only_this_machine_is_served() -> None:
    with agent_here() as url:
        assert get(f"{url}/health", token="")[0] == 200
        assert get(f"{url}/health", token="", Host="localhost:80")[0] == 200
        # A page in a browser whose name was made to point here.
        assert get(f"{url}/health", token="", Host="evil.example")[0] == 403


def test_it_refuses_to_listen_for_others_without_a_token(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perfload.cli.main", "agent", "--bind", "0.0.0.0", "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PERFLOAD_AGENT_TOKEN"},
    )
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("perfload: --bind 0.0.0.0: other machines could read along\n")


def test_a_port_that_is_taken_is_a_usage_error() -> None:
    with agent_here() as url:
        port = int(url.rpartition(":")[2])
        options = AgentOptions(
            bind="127.0.0.1",
            port=port,
            node="box",
            token="",
            plans=parse_plans(["host"], interval_s=1.0, timeout_s=2.0),
            environment={},
        )
        with pytest.raises(
            UsageError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"
        ):
            Agent(options, clock=steady_clock(), tell=lambda line: None)


# --- requests that are not as they should be


def test_what_is_not_there_and_what_cannot_be_read() -> None:
    with agent_here() as url:
        assert get(f"{url}/nothing")[0] == 404
        for query in ("after=x", "after=-1", "after=1&wait=x", "after=1&wait=nan", "after=" + "9" * 30):
            assert get(f"{url}/readings?{query}")[0] == 400
        assert get(f"{url}/readings?" + "&".join(f"a{n}=1" for n in range(20)))[0] == 400
        status, body = get(f"{url}/readings?after=0&wait=5")
        assert status == 200
        assert json.loads(body)["entries"]


def test_a_body_is_not_taken_for_the_next_request() -> None:
    with (
        agent_here() as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as stranger,
    ):
        stranger.settimeout(ENOUGH_S)
        smuggled = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        head = f"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(smuggled)}\r\n\r\n"
        stranger.sendall(head.encode() + smuggled)
        answer = b""
        while piece := stranger.recv(65_536):
            answer += piece
        assert answer.count(b"HTTP/1.1 ") == 1


def test_connections_are_bounded() -> None:
    with agent_here() as url:
        port = int(url.rpartition(":")[2])
        with contextlib.ExitStack() as held:
            for _ in range(MAX_CONNECTIONS):
                held.enter_context(socket.create_connection(("127.0.0.1", port)))
            one_more = held.enter_context(socket.create_connection(("127.0.0.1", port)))
            one_more.settimeout(ENOUGH_S)
            assert one_more.recv(1000).startswith(b"HTTP/1.1 503 ")
        wait_until(lambda: get(f"{url}/health")[0] == 200, "a place after the others have left")


# --- answers that are not as they should be


@contextlib.contextmanager
def impostor(
    answer: bytes, *, then: Callable[[socket.socket], None] = lambda connection: None
) -> Iterator[str]:
    """Answer every connection with the same bytes; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(65_536)
                        connection.sendall(answer)
                        then(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(ENOUGH_S)
    assert not thread.is_alive()


def reply(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply("200 OK", b"<html>"), "is no perfload agent: "),
        (reply("200 OK", b'{"format":1}'), "is no perfload agent: "),
        (reply("302 Found", b"", "Location: http://169.254.169.254/"), "is no perfload agent: status 302"),
        (reply("500 Oops", b"x" * 100), "is no perfload agent: status 500"),
        (reply("503 Busy", b""), "has too many readers"),
    ],
)
def test_what_is_no_agent_is_told(answer: bytes, reason: str) -> None:
    with impostor(answer) as url, pytest.raises(MonitorUnavailable, match=reason):
        AgentMonitor("db-1", url, "").read(1000.0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "BadStatusLine"),
        (b"", "RemoteDisconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200, "HTTPException|got more than 100 headers"),
    ],
)
def test_an_answer_that_breaks_off_is_a_failed_attempt(answer: bytes, reason: str) -> None:
    with impostor(answer) as url:
        (found,) = AgentMonitor("db-1", url, "").read(1000.0)
    assert isinstance(found, Measurement)
    assert (found.metric, found.node, found.value) == ("*", "db-1", None)
    assert re.search(f"cannot reach the agent at {url}: .*({reason})", found.unavailable)


def test_an_answer_without_end_is_given_up() -> None:
    def pour(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 1_000_000)

    endless = impostor(b"HTTP/1.1 200 OK\r\n\r\n", then=pour)
    with endless as url, pytest.raises(MonitorUnavailable, match="its answer has no end"):
        AgentMonitor("db-1", url, "").read(1000.0)


def test_an_answer_that_drips_is_given_up_before_the_read_is_overdue() -> None:
    gone = threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not gone.wait(0.05):
                connection.sendall(b"x")

    with impostor(b"HTTP/1.1 200 OK\r\n\r\n", then=drip) as url:
        before_s = time.monotonic()
        (found,) = AgentMonitor("db-1", url, "").read(1000.0)
        assert time.monotonic() - before_s < 2
        gone.set()
    assert isinstance(found, Measurement)
    assert "no answer within 1.5 s" in found.unavailable


# --- Prometheus


def exposed(body: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["source"], sample.labels["metric"]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if family.name == "perfload_reading"
    }


def test_the_newest_values_in_prometheus_own_format() -> None:
    with agent_here() as url:
        wait_until(lambda: ("host", "cpu_percent") in exposed(get(f"{url}/metrics")[1]), "a rate")
        values = exposed(get(f"{url}/metrics")[1])
    assert 0 < values["host", "memory_percent"] <= 100
    assert 0 <= values["host", "cpu_percent"] <= 100


def test_without_the_client_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with agent_here() as url:
        status, body = get(f"{url}/metrics")
    assert (status, "pip install 'perfload[prometheus]'" in body.decode()) == (501, True)


@pytest.mark.skipif(
    not shutil.which("prometheus"), reason="no prometheus on PATH: apt-get install prometheus"
)
def test_a_real_prometheus_reads_it(tmp_path: Path) -> None:
    port = free_port()
    with agent_process(tmp_path, "--port=0") as (_, url):
        (tmp_path / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
                    "scrape_configs": [
                        {
                            "job_name": "agent",
                            "authorization": {"credentials": TOKEN},
                            "static_configs": [{"targets": [url.removeprefix("http://")]}],
                        }
                    ],
                }
            )
        )
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            answered: dict[str, Any] = {}

            def has_answered() -> bool:
                with contextlib.suppress(OSError):
                    query = f"http://127.0.0.1:{port}/api/v1/query?query=perfload_reading"
                    with urllib.request.urlopen(query, timeout=5) as response:
                        answered.update(json.load(response)["data"])
                return bool(answered.get("result"))

            wait_until(has_answered, "Prometheus to have scraped the agent")
        finally:
            server.terminate()
            server.wait(ENOUGH_S)
    memory = [row for row in answered["result"] if row["metric"]["metric"] == "memory_percent"]
    (row,) = memory
    assert (row["metric"]["node"], row["metric"]["source"], row["metric"]["unit"]) == ("box", "host", "%")
    assert 0 < float(row["value"][1]) <= 100


# --- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with agent_process(tmp_path, "--port=0") as (process, url):
        assert get(f"{url}/readings")[0] == 200
        process.send_signal(number)
        _, stderr = process.communicate(timeout=ENOUGH_S)
        assert process.returncode == 0
    assert stderr == "perfload agent: readings go to 127.0.0.1\n"


def test_it_tells_when_a_monitor_fails(tmp_path: Path) -> None:
    (tmp_path / "perfload.toml").write_text('[[agents]]\nname = "x"\nurl = "http://x"\n')
    with agent_process(tmp_path, "--port=0", "--monitor=host", "--monitor=processes") as (process, _):
        assert process.stderr is not None
        line = process.stderr.readline()
    assert line.startswith("perfload agent: processes: no processes were chosen; ")
