"""The Redis monitor on a real server: what it reads, with which rights, and when the server goes away."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from perfload.model import Observation, Reading
from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.process import SamplerProcess
from perfload.monitors.redis import RedisMonitor
from perfload.observations import decode_observation
from perfload.readings import decode_reading
from tests.integration.redis_server import RedisServer, redis_server

pytestmark = [pytest.mark.integration, pytest.mark.monitors]

ENOUGH_S = 20.0
OWN_COMMANDS = 7
"""What one read asks, as docs/monitors/redis.md has it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a Unix socket has at most 107 characters.
    with TemporaryDirectory(prefix="redis-") as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[RedisServer]:
    with redis_server(folder) as started:
        yield started


def opened(url: str) -> RedisMonitor:
    monitor = RedisMonitor.from_environment({"REDIS_URL": url})
    monitor.open()
    return monitor


def values(found: Sequence[Measurement | Finding]) -> dict[str, float | None]:
    return {item.metric: item.value for item in found if isinstance(item, Measurement)}


def reasons(found: Sequence[Measurement | Finding]) -> dict[str, str]:
    return {
        item.metric: item.unavailable for item in found if isinstance(item, Measurement) and item.unavailable
    }


def findings(found: Sequence[Measurement | Finding], kind: str) -> list[Finding]:
    return [item for item in found if isinstance(item, Finding) and item.kind == kind]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + ENOUGH_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {ENOUGH_S:g} s for {what}"
        time.sleep(0.02)


def test_every_field_is_read(server: RedisServer) -> None:
    monitor = opened(server.url)
    with server.client() as client:
        client.set("a", "1", ex=1000)
        client.set("b", "2")
        monitor.read(1)
        client.get("a")
        found = monitor.read(2)
    monitor.close()
    assert reasons(found) == {
        "memory_limit_percent": "this server has no maxmemory",
        "latency_events": "the latency monitor is off: CONFIG SET latency-monitor-threshold 100",
    }
    held = values(found)
    assert (held["keys"], held["keys[db0]"], held["keys_expiring[db0]"]) == (2, 2, 1)
    assert held["hit_percent"] == 100
    assert held["clients_connected"] == 2
    assert held["replicas_connected"] == held["clients_blocked"] == held["loading"] == 0
    assert held["command_calls_per_s[get]"] == 1
    assert {item.node for item in found} == {f"127.0.0.1:{server.port}"}


def test_rates_are_those_of_a_known_number_of_commands(server: RedisServer) -> None:
    monitor = opened(server.url)
    with server.client() as client:
        client.set("known", "x" * 100)
        monitor.read(1000)
        for _ in range(600):
            client.get("known")
        for _ in range(200):
            client.get("unknown")
        held = values(monitor.read(1004))
    end = findings(monitor.finish(1005), "command")
    monitor.close()
    assert held["hits_per_s"] == 150
    assert held["misses_per_s"] == 50
    assert held["hit_percent"] == 75
    assert held["command_calls_per_s[get]"] == 200
    assert held["commands_per_s"] == 200 + OWN_COMMANDS / 4
    assert held["evicted_per_s"] == held["expired_per_s"] == held["error_replies_per_s"] == 0
    # "GET known" and its answer, with the lengths that RESP puts before them.
    sent_bytes = 600 * 107 + 200 * 5
    assert sent_bytes / 4 <= (held["network_sent_bytes_per_s"] or 0) <= sent_bytes / 4 + 5000
    (get,) = [item.data for item in end if item.data["command"] == "get"]
    assert get["calls"] == 800
    assert set(get["since_start_us"]) == {"p50", "p99", "p99.9"}


def test_a_small_memory_evicts(folder: Path) -> None:
    with redis_server(folder, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru") as server:
        monitor = opened(server.url)
        with server.client() as client:
            monitor.read(1)
            for number in range(40):
                client.set(f"k{number}", "x" * 100_000)
            found = monitor.read(2)
            held = values(found)
            gone = 40 - client.dbsize()
        monitor.close()
    assert gone > 10
    assert held["evicted_per_s"] == gone
    assert held["memory_limit_percent"] == pytest.approx(100, abs=10)


def test_clients_that_wait_and_clients_that_are_turned_away(server: RedisServer) -> None:
    monitor = opened(server.url)
    with server.client() as client:
        waiting = [server.client() for _ in range(3)]
        threads = [threading.Thread(target=one.blpop, args=(["nothing"], 30)) for one in waiting]
        for thread in threads:
            thread.start()
        wait_until(lambda: client.info()["blocked_clients"] == 3, "three blocked clients")
        assert values(monitor.read(1))["clients_blocked"] == 3
        client.rpush("nothing", 1, 2, 3)
        for thread in threads:
            thread.join(ENOUGH_S)
        client.config_set("maxclients", 5)
        with socket.create_connection(("127.0.0.1", server.port), ENOUGH_S) as late:
            assert late.recv(100).startswith(b"-ERR max number of clients reached")
        held = values(monitor.read(2))
    for one in waiting:
        one.close()
    monitor.close()
    assert held["clients_blocked"] == 0
    assert held["clients_max"] == 5
    assert held["connections_rejected_per_s"] == 1


def test_slow_commands_are_told_without_what_they_were_called_with(server: RedisServer) -> None:
    monitor = opened(server.url)
    with server.client() as client:
        client.execute_command("DEBUG", "SLEEP", "0.02")  # before the run: none of its business
        monitor.read(1)
        before_s = int(time.time())
        client.execute_command("DEBUG", "SLEEP", "0.05")
        client.config_set("slowlog-log-slower-than", 0)
        client.mset({f"secret-{number}": "hunter2" for number in range(50)})
        client.config_set("slowlog-log-slower-than", 10_000)
        found = monitor.read(2)
    monitor.close()
    slow = {item.data["command"]: item for item in findings(found, "slow_command")}
    assert slow.keys() == {"DEBUG", "MSET", "CONFIG"}
    assert values(found)["slow_commands_per_s"] == 3
    assert slow["DEBUG"].data["duration_us"] >= 50_000
    assert slow["MSET"].data["arguments"] == 100
    assert before_s <= (slow["DEBUG"].at_s or 0) <= time.time()
    assert "hunter2" not in str(found)
    assert "secret" not in str(found)


def test_latency_events_are_told(server: RedisServer) -> None:
    monitor = opened(server.url)
    with server.client() as client:
        client.config_set("latency-monitor-threshold", 10)
        monitor.read(1)
        client.execute_command("DEBUG", "SLEEP", "0.03")
        found = monitor.read(2)
    monitor.close()
    events = {item.data["event"]: item.data for item in findings(found, "latency_event")}
    assert events["command"]["latest_ms"] >= 30
    assert values(found)["latency_events"] == len(events)


def test_a_fork_is_seen(server: RedisServer) -> None:
    monitor = opened(server.url)
    with server.client() as client:
        client.set("a", "1")
        assert values(monitor.read(1))["rdb_changes_since_save"] == 1
        client.config_set("rdb-key-save-delay", 2_000_000)
        client.bgsave()
        held = values(monitor.read(2))
    monitor.close()
    assert held["rdb_save_in_progress"] == 1
    assert (held["last_fork_us"] or 0) > 0


def test_a_replica_and_its_master_are_told_apart(server: RedisServer) -> None:
    with TemporaryDirectory(prefix="redis-") as other:
        options = ("--replicaof", f"127.0.0.1 {server.port}", "--repl-diskless-sync-delay", "0")
        with redis_server(Path(other), *options) as replica:
            of_master, of_replica = opened(server.url), opened(replica.url)
            wait_until(lambda: replica.client().info()["master_link_status"] == "up", "the replica's link")
            (named,) = findings(of_replica.read(1), "server")
            assert named.data["role"] == "slave"
            assert values(of_replica.read(2))["replication_link_up"] == 1
            shown = f"127.0.0.1:{replica.port}"
            assert values(of_master.read(1))[f"replica_behind_bytes[{shown}]"] is not None
            server.kill()
            wait_until(lambda: replica.client().info()["master_link_status"] == "down", "the broken link")
            held = values(of_replica.read(3))
            assert held["replication_link_up"] == 0
            assert (held["replication_silent_s"] or 0) >= 0


RIGHTS = "+info +slowlog|get +latency|latest +config|get +client|setname"
REFUSED = {
    "+info": {"info": "the user lacks the right +info"},
    "+slowlog|get": {"slow_commands_per_s": "the user lacks the right +slowlog|get"},
    "+latency|latest": {"latency_events": "the user lacks the right +latency|latest"},
    "+config|get": {
        "latency_events": "it cannot be told whether the latency monitor is on: "
        "the user lacks the right +config|get"
    },
    "+client|setname": {},
}


@pytest.mark.parametrize("taken", REFUSED)
def test_each_right_that_is_taken_away_is_named_and_the_rest_works(server: RedisServer, taken: str) -> None:
    with server.client() as client:
        client.config_set("latency-monitor-threshold", 100)
        kept = RIGHTS.replace(taken, "")
        client.execute_command("ACL", "SETUSER", "watcher", "on", ">s3cret", *kept.split())
        monitor = opened(server.url.replace("://", "://watcher:s3cret@"))
        monitor.read(1)
        client.get("key")
        found = monitor.read(2)
    monitor.close()
    assert reasons(found) == {
        **({} if taken == "+info" else {"memory_limit_percent": "this server has no maxmemory"}),
        **REFUSED[taken],
    }
    held = values(found)
    assert taken == "+info" or held["command_calls_per_s[get]"] == 1
    assert taken == "+slowlog|get" or held["slow_commands_per_s"] == 0
    assert taken in ("+latency|latest", "+config|get") or held["latency_events"] == 0


def test_a_server_without_these_commands_is_read_as_far_as_it_goes(folder: Path) -> None:
    hidden = [word for name in ("SLOWLOG", "LATENCY", "CONFIG") for word in ("--rename-command", name, "")]
    with redis_server(folder, *hidden) as server:
        monitor = opened(server.url)
        monitor.read(1)
        found = monitor.read(2)
        monitor.close()
    assert reasons(found) == {
        "hit_percent": "no key was looked up between two reads",
        "memory_limit_percent": "this server has no maxmemory",
        "slow_commands_per_s": "this server has no SLOWLOG: hosted ones often leave it out",
        "latency_events": "this server has no LATENCY: hosted ones often leave it out",
    }
    assert values(found)["commands_per_s"] == 1  # INFO: what is unknown does not count


@pytest.mark.parametrize("login", ["default:hunter2@", "nobody:hunter2@", ""])
def test_a_wrong_login_says_what_to_do_and_keeps_the_secret(folder: Path, login: str) -> None:
    with (
        redis_server(folder, "--requirepass", "another") as server,
        pytest.raises(MonitorUnavailable) as raised,
    ):
        opened(server.url.replace("://", f"://{login}"))
    assert raised.value.message.startswith("Redis refuses the login: ")
    assert "hunter2" not in str(raised.value)


def test_a_socket_and_options_of_an_address(server: RedisServer) -> None:
    monitor = opened(f"unix://{server.socket}?db=3&protocol=3&socket_timeout=99&decode_responses=yes")
    found = monitor.read(1)
    with server.client() as client:
        names = [one["name"] for one in client.client_list()]
    monitor.close()
    assert values(found)["clients_connected"] == 1
    assert {item.node for item in found} == {""}
    assert names.count("perfload") == 1


class Run:
    """A sampler that watches `server` while a test does something to it."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self._readings = folder / "readings.jsonl"
        self._observations = folder / "observations.jsonl"
        self.sampler = SamplerProcess.start(
            self._readings,
            observations=self._observations,
            node="here",
            interval_s=0.1,
            timeout_s=1.5,
            monitors=["redis", "host"],
            environment={"REDIS_URL": server.url.replace("://", "://default:hunter2@")},
        )

    def readings(self, metric: str = "") -> list[Reading]:
        if not self._readings.exists():
            return []
        lines = self._readings.read_text().splitlines(keepends=True)
        found = [decode_reading(line) for line in lines if line.endswith("\n")]
        return [one for one in found if one.source == "redis" and metric in ("", one.metric)]

    def observations(self, kind: str) -> list[Observation]:
        lines = self._observations.read_text().splitlines()
        return [one for one in map(decode_observation, lines) if one.kind == kind]

    def wait_for(self, what: str, count: int, chosen: Callable[[Reading], bool]) -> None:
        """Wait for `count` more readings that are `chosen`."""
        before = sum(map(chosen, self.readings()))
        wait_until(lambda: sum(map(chosen, self.readings())) >= before + count, what)

    def text(self) -> str:
        return self._readings.read_text() + self._observations.read_text()


@pytest.fixture
def run(tmp_path: Path, folder: Path) -> Iterator[tuple[Run, RedisServer]]:
    with redis_server(folder, "--requirepass", "hunter2") as server:
        run = Run(tmp_path, server)
        try:
            yield run, server
        finally:
            run.sampler.stop()


def has_rate(reading: Reading) -> bool:
    return reading.metric == "commands_per_s" and reading.value is not None


def has_failed(reading: Reading) -> bool:
    return reading.metric == "*"


def test_a_server_that_is_killed_and_comes_back_leaves_a_gap_and_no_lie(run: tuple[Run, RedisServer]) -> None:
    watched, server = run
    watched.wait_for("rates", 5, has_rate)
    server.kill()
    watched.wait_for("a failure", 2, has_failed)
    server.start()
    watched.wait_for("rates again", 5, has_rate)
    assert watched.sampler.stop() == 0
    rates = watched.readings("commands_per_s")
    assert all(0 <= one.value < 1000 for one in rates if one.value is not None)
    failures = watched.readings("*")
    assert {one.value for one in failures} == {None}
    assert all("ConnectionError" in one.unavailable for one in failures)
    assert {one.node for one in rates} == {f"127.0.0.1:{server.port}"}
    assert [one.data["redis_mode"] for one in watched.observations("server")] == ["standalone"] * 2
    assert "hunter2" not in watched.text()


def test_a_server_that_hangs_is_named_as_such_and_read_again_later(run: tuple[Run, RedisServer]) -> None:
    watched, server = run
    watched.wait_for("rates", 5, has_rate)
    server.send(signal.SIGSTOP)
    watched.wait_for("a failure", 2, has_failed)
    server.send(signal.SIGCONT)
    watched.wait_for("rates again", 5, has_rate)
    assert watched.sampler.stop() == 0
    assert all("Timeout" in one.unavailable for one in watched.readings("*"))
    # What the run brought is told at its end.
    assert "info" in {one.data["command"] for one in watched.observations("command")}
