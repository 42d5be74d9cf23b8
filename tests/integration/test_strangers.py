"""A peer that does not belong to the cluster tries everything; nothing it does has any effect."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from zmq.utils import z85

from perfload.cluster_key import ClusterKey
from perfload.codec import encode_window
from perfload.histogram import Histogram
from perfload.model import ArrivalWindow, Window
from perfload.target.process import TargetProcess
from tests.integration.clusters import LOOK, Cluster, cluster
from tests.integration.locust_runs import AI_MODELS, LOAD_TEST, LocustProcess, free_port, locust, requests_of

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

RATE, SECONDS = 40, 30
SEED = 20_261_121
HUGE = 64 * 1024 * 1024
NO_KEY = (
    "it does not have the key of the cluster",
    "it broke off its handshake, as it may without the key of the cluster",
)
"""What is said of a peer without a key: it depends on which end finds that first."""


class Stranger:
    """Plain pyzmq, in a process that is no part of the cluster."""

    def __init__(self, port: int, name: str, key: ClusterKey | None = None) -> None:
        self._name = name
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, name.encode())
        self._socket.setsockopt(zmq.SNDHWM, 0)
        if key is not None:
            pairs = {owner: z85.encode(key.derive(f"curve {owner}")) for owner in ("server", "client")}
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, zmq.curve_public(pairs["server"]))
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, zmq.curve_public(pairs["client"]))
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, pairs["client"])
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def send(self, *frames: bytes) -> None:
        # Without a connection, which the master may have ended for good, there is nobody to send to.
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(frames, zmq.NOBLOCK)

    def say(self, kind: object, data: object = None, name: object = None) -> None:
        self.send(msgpack.packb((kind, data, name or self._name)))

    def heard(self) -> list[str]:
        """Return the types of the messages that were sent to it, up to now and half a second more."""
        types = []
        while self._socket.poll(500):
            types.append(msgpack.unpackb(self._socket.recv())[0])
        return types

    def close(self) -> None:
        self._context.destroy(linger=0)


def forged_batch(run_id: str, node: str, number: int) -> dict[str, Any]:
    latency = Histogram([1_000] * 50)
    second = SECONDS // 2
    windows = (
        Window(run_id, node, second, "Steady", "GET", "/health", latency, latency, Histogram()),
        ArrivalWindow(run_id, node, second, "Steady", Histogram([100] * 50)),
    )
    return {
        "number": number,
        "run": run_id,
        "windows": [encode_window(window) for window in windows],
        "readings": [],
        "idle": True,
        "final": True,
    }


def forged_statistics() -> dict[str, Any]:
    entry = {"name": "/health", "method": "GET", "num_requests": 10**6, "response_times": {1: 10**6}}
    return {
        "stats": [entry],
        "stats_total": entry,
        "errors": {},
        "user_classes_count": {"Look": 10**6},
        "user_count": 10**6,
    }


def forge(stranger: Stranger, run_id: str, name: str | None) -> None:
    """Say in somebody's name, or its own, whatever a worker may say, true of nothing."""
    for kind, data in (
        ("stats", forged_statistics()),
        ("spawning_complete", {"user_classes_count": {"Look": 10**6}, "user_count": 10**6}),
        ("heartbeat", {"state": "missing", "current_cpu_usage": 99.0}),
        ("exception", {"msg": "forged", "traceback": "forged"}),
        ("logs", {"worker_id": name, "logs": ["forged"]}),
        ("perfload_beat", {"sent_s": 0.0, "at_s": 0.0, "run": run_id, "version": 10**6, "users": 10**6}),
        ("perfload_rows", {"run": run_id, "feeder": "forged", "rows": [1], "total": 1}),
        *(("perfload_batch", forged_batch(run_id, f"worker-{n}", m)) for n in (0, 1) for m in (1, 5, 10**6)),
        ("client_stopped", None),
        ("quit", None),
    ):
        stranger.say(kind, data, name)


def malformed(count: int) -> Iterator[list[bytes]]:
    """Yield `count` messages: the worst ones that come to mind, then random ones."""
    yield from ([b""], [b"", b""], [b"\xc1"], [b"\x93"], [b"\x91" * 60_000], [b"x"] * 5, [bytes(100_000)])
    chance = random.Random(SEED)
    kinds = [
        "client_stopped",
        "quit",
        "stats",
        "heartbeat",
        "perfload_batch",
        "perfload_ack",
        "\x1b[2J",
        None,
    ]
    names = ["stranger", "\x1b]0;x\x07", "", None, 7]
    data = [
        None,
        {},
        [],
        -1,
        "x",
        1e308,
        float("nan"),
        {"windows": 1},
        {"__datetime__": 1},
        {"a": {"b": [1]}},
    ]
    for _ in range(count - 7):
        if chance.random() < 0.5:
            yield [chance.randbytes(chance.randrange(40)) for _ in range(chance.randrange(1, 4))]
        else:
            yield [msgpack.packb([chance.choice(kinds), chance.choice(data), chance.choice(names)])]


def attack(made: Cluster, run_id: str, names: list[str], key: ClusterKey | None = None) -> list[str]:
    """Try everything but to join; return what was answered."""
    stranger = Stranger(made.port, "stranger", key)
    thieves = [Stranger(made.port, name, key) for name in names]
    for name in (None, *names):
        forge(stranger, run_id, name)
    for thief in thieves:
        forge(thief, run_id, None)
    for frames in malformed(10_000):
        stranger.send(*frames)
    heard = [kind for peer in (stranger, *thieves) for kind in peer.heard()]
    stranger.send(bytes(HUGE))  # ends its connection: whatever is behind it is not read any more
    stranger.heard()
    for peer in (stranger, *thieves):
        peer.close()
    assert time.time() < made.record.manifest.started_at_s + SECONDS, "the run was over before the attack"
    return heard


def worker_names(master: LocustProcess) -> list[str]:
    return re.findall(r": (\S+) \(index \d+\) reported as ready", master.output)


def check_undisturbed(made: Cluster) -> None:
    """Hold the run against its plan and the target's truth."""
    code = made.master.wait()
    assert code == 0, made.master.output
    truth = made.target.truth()["totals"]["received"]
    assert sum(row["count"] for row in requests_of(made.summary).values()) == truth == made.planned
    assert sum(made.offered().values()) == made.planned
    assert made.nodes.keys() == {"worker-0", "worker-1"}
    assert all(node.complete for node in made.nodes.values())
    assert made.record.manifest.events == ()
    assert "forged" not in made.master.output
    assert "\x1b]" not in made.master.output
    for worker in made.workers:
        assert worker.wait(20) == 0, worker.output


def start(made: Cluster) -> tuple[str, list[str]]:
    """Start two workers and a run; return its id and the workers' names once it is under way."""
    for _ in range(2):
        made.add_worker()
    made.start("--threshold", "error_rate <= 1%")
    made.wait_until(2)
    names = worker_names(made.master)
    assert len(names) == 2, made.master.output
    return made.folder.name, names


def test_with_a_key_a_stranger_has_no_effect_whatever_it_tries(tmp_path: Path) -> None:
    with cluster(tmp_path, rate=RATE, seconds=SECONDS) as made:
        made.across("127.0.0.1", ClusterKey.generate().text)
        run_id, names = start(made)
        for key in (None, ClusterKey.generate()):
            stranger = Stranger(made.port, "joins", key)
            stranger.say("client_ready", -1)
            stranger.say("locustfile", {"version": "2.47"})
            assert attack(made, run_id, names, key) == []
            assert stranger.heard() == []
            stranger.close()
        check_undisturbed(made)
        refused = re.findall(r"refused from 'a connection': (.*)", made.master.output)
        assert len(refused) == len(set(refused)) == made.master.output.count("refused from")
        assert {"it has another key"} < set(refused) <= {"it has another key", *NO_KEY}


def test_without_a_key_a_process_of_this_machine_changes_nothing_that_others_sent(tmp_path: Path) -> None:
    with cluster(tmp_path, rate=RATE, seconds=SECONDS) as made:
        run_id, names = start(made)
        # A beat is answered with the time: workers of an earlier master notice that there is a new one.
        assert set(attack(made, run_id, names)) <= {"perfload_beat"}
        check_undisturbed(made)
        refused = re.findall(r"refused from '(\w+)': (.*)", made.master.output)
        assert ("stranger", "it is in another's name") in refused
        assert ("stranger", "it is no message of Locust's") in refused
        assert len(refused) == len(set(refused)) < 30, refused


# --- keys that differ


def test_a_worker_with_another_key_says_so_and_the_master_does_too(tmp_path: Path) -> None:
    port = free_port()
    keys = [{"PERFLOAD_CLUSTER_KEY": ClusterKey.generate().text} for _ in range(2)]
    options = ("--master", "--master-bind-port", port, "--headless", "--expect-workers", 1)
    with (
        TargetProcess() as target,
        locust("-f", AI_MODELS, *options, "-H", target.url, cwd=tmp_path, environment=keys[0]) as master,
        locust(
            "-f", AI_MODELS, "--worker", "--master-port", port, cwd=tmp_path, environment=keys[1]
        ) as worker,
    ):
        worker.wait_for("refuses this worker, as it does when their keys differ")
        worker.wait_for("perfload cluster keygen makes one")
        master.wait_for("refused from 'a connection': it has another key")
        for process in (master, worker):
            assert not any(key["PERFLOAD_CLUSTER_KEY"][5:] in process.output for key in keys)


@pytest.mark.parametrize("key", [ClusterKey.generate().text, ""], ids=["a key", "no key"])
def test_the_scenario_can_be_asked_for_on_loopback_without_a_key_only(tmp_path: Path, key: str) -> None:
    """Locust asks for it before anything of ours is loaded, with a socket that knows no keys."""
    look = tmp_path / "look.py"
    look.write_text(LOOK)
    port, environment = free_port(), {"PERFLOAD_CLUSTER_KEY": key}
    options = ("--master", "--master-bind-port", port, "--headless", "--expect-workers", 1)
    worker_options = ("-f", "-", "--worker", "--master-port", port)
    with (
        TargetProcess() as target,
        locust("-f", look, *options, "-H", target.url, cwd=tmp_path, environment=environment) as master,
        locust(*worker_options, cwd=tmp_path, environment=environment) as worker,
    ):
        if key:
            master.wait_for("refused from 'a connection': it ")
            assert any(f"'a connection': {reason}" in master.output for reason in NO_KEY), master.output
            worker.wait_for("Waiting to connect to master to receive locustfile")
            assert "reported as ready" not in master.output
        else:
            master.wait_for("reported as ready")


# --- where a master listens


def ways_to_listen_everywhere(folder: Path) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    yield ("--master-bind-host", "0.0.0.0"), {}
    yield ("--master-bind-host", "*"), {}
    yield (), {"LOCUST_MASTER_BIND_HOST": "0.0.0.0"}
    (folder / "locust.conf").write_text("master-bind-host = 0.0.0.0\n")
    yield (), {}


def test_a_master_without_a_key_ends_before_it_listens_elsewhere(tmp_path: Path) -> None:
    for number, (options, environment) in enumerate(ways_to_listen_everywhere(tmp_path)):
        port = free_port()
        arguments = ("-f", AI_MODELS, "--master", "--master-bind-port", port, *options)
        with locust(*arguments, "--headless", cwd=tmp_path, environment=environment) as master:
            while master.process.poll() is None:
                with socket.socket() as probe:
                    assert probe.connect_ex(("127.0.0.1", port)) != 0, "it listens"
                time.sleep(0.01)
            assert master.wait() == 2, (number, master.output)
            assert "a master without a key may not listen on" in master.output
            assert "PERFLOAD_CLUSTER_KEY" in master.output
            assert "--insecure-cluster" in master.output
            assert "Traceback" not in master.output


@pytest.mark.parametrize("way", ["option", "locust.conf"])
def test_insecure_clusters_are_possible_where_that_is_asked_for(tmp_path: Path, way: str) -> None:
    options: tuple[object, ...] = ("--insecure-cluster",)
    if way == "locust.conf":
        (tmp_path / "locust.conf").write_text("insecure-cluster = true\n")
        options = ()
    port = free_port()
    files = ("-f", f"{AI_MODELS},{LOAD_TEST}")
    with TargetProcess() as target:
        master_options = ("--master", "--master-bind-host", "0.0.0.0", "--master-bind-port", port, *options)
        run_options = ("--headless", "--expect-workers", 1, "--time-scale", 3900, "-H", target.url)
        with (
            locust(*files, *master_options, *run_options, cwd=tmp_path) as master,
            locust(*files, "--worker", "--master-port", port, cwd=tmp_path) as worker,
        ):
            master.wait_for("the master listens on 0.0.0.0 without a key")
            master.wait_for("reported as ready")
            stranger = Stranger(port, "stranger")
            stranger.say("locustfile", {"version": "2.47"})
            assert stranger.heard() == []
            stranger.close()
            master.wait_for("has started")
            master.wait()
            assert worker.wait(20) == 0, worker.output
        assert "it asks for the scenario" in master.output
        assert target.truth()["totals"]["received"] > 0
