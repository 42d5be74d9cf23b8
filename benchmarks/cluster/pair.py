"""A worker's report and what its master does with it, part by part, in one process.

The parts are those of a real run, called one after the other: the recorder's windows, their encoding,
Locust's message, its way through a socket to another process and the acknowledgement; then, from the same
bytes, the gate, the decoding, and the run with its files. CPU is that of the whole process: ZeroMQ sends in a
thread of its own.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.rpc import Message, zmqrpc
from locust.stats import setup_distributed_stats_event_listeners

from benchmarks.cluster import traffic
from benchmarks.cluster.traffic import Traffic
from perfload.config import load_config
from perfload.load.clock import RunClock
from perfload.load.cluster.delivery import Inbox
from perfload.load.cluster.gate import Gate
from perfload.load.cluster.messages import BATCH, decode_batch, encode_batches
from perfload.load.node import Batch
from perfload.load.run import Run
from perfload.load.statistics import StatisticsFeed
from perfload.model import STAGE_WINDOW_S, AnyWindow, Manifest, Phase, Reading
from perfload.plan import Plan
from perfload.recorder import Recorder

WORKER = ("take", "encode", "pack", "send")
MASTER = ("unpack", "decode", "record")
LOCUST_REPORT_S = 3
"""How often a worker of Locust reports its statistics."""

RUN_ID, NODE, IDENTITY = "20261120-104500-bench-5f3a", "worker-0", "worker_0123456789abcdef0123456789abcdef"


@dataclass
class Cycle:
    """What the reports of ten seconds took: so often there are windows of stages."""

    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """CPU seconds by part."""
    longest_s: float = 0.0
    """CPU of the worker in the second with the most."""
    message_bytes: list[int] = field(default_factory=list)
    disk_bytes: int = 0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the CPU time of the body to part `name`."""
        before_s = time.process_time()
        yield
        self.cpu_s[name] += time.process_time() - before_s

    def sum_s(self, parts: tuple[str, ...]) -> float:
        """Return the CPU seconds of these parts."""
        return sum(self.cpu_s[name] for name in parts)


class Worker:
    """One worker's reports."""

    def __init__(self, names: int, per_s: int, port: int, identity: str) -> None:
        self._identity = identity
        self._traffic = Traffic(names, per_s)
        self._recorder = Recorder(RUN_ID, NODE)
        self._client = zmqrpc.Client("127.0.0.1", port, identity)
        self._environment = Environment()
        self._environment.create_local_runner()
        setup_distributed_stats_event_listeners(self._environment.events, self._environment.stats)
        self._feed = StatisticsFeed(self._environment, RunClock(time.time()))
        self._feed.begin()
        self._number = 0

    def second(self, cycle: Cycle, second: int) -> list[bytes]:
        """Make the load and the report of one second; return its messages."""
        for request in self._traffic.second():
            traffic.record(self._recorder, second, request)
        before_s = cycle.sum_s(WORKER)
        with cycle.part("take"):
            windows = self._recorder.take(second + 1)
        batch = Batch(windows, _readings(second), idle=False)
        with cycle.part("encode"):
            held = list(encode_batches(self._number + 1, RUN_ID, batch))
        self._number += len(held)
        with cycle.part("pack"):
            bodies = [Message(BATCH, data, self._identity).serialize() for data in held]
        with cycle.part("send"):
            self._send(bodies)
        cycle.longest_s = max(cycle.longest_s, cycle.sum_s(WORKER) - before_s)
        with cycle.part("statistics"):
            self._report_to_locust(windows, second)
        return bodies

    def _send(self, bodies: list[bytes]) -> None:
        for body in bodies:
            self._client.socket.send(body)
        for _ in bodies:
            self._client.recv()

    def _report_to_locust(self, windows: list[AnyWindow], second: int) -> None:
        self._feed.add(windows, second + 1)
        if second % LOCUST_REPORT_S == 0:
            data: dict[str, Any] = {}
            self._environment.events.report_to_master.fire(client_id=self._identity, data=data)
            Message("stats", data, self._identity).serialize()


def _readings(second: int) -> list[Reading]:
    measured = (("users", "users", 100.0), ("cpu_percent", "%", 41.5), ("loop_lag_ms", "ms", 1.234))
    at_s = time.time() + second
    return [Reading(at_s, NODE, "generator", metric, unit, value) for metric, unit, value in measured]


class Master:
    """What takes the reports of one worker into a record."""

    def __init__(self, folder: Path, identity: str) -> None:
        (folder / "perfload.toml").write_text("[monitors]\nhost = false\n")
        config = load_config(directory=folder, environ={}, flags={"run.reports_dir": str(folder / "reports")})
        plan = Plan([Phase(name=traffic.PHASE, duration="1h", arrival_rate=1)])
        manifest = Manifest(
            RUN_ID, time.time(), "http://127.0.0.1", ("Visitor",), "Shape", plan.spans, thresholds=()
        )
        self._run = Run(manifest, config, plan)
        self._run.expect(NODE, 0)
        self._inbox = Inbox()
        self._gate = Gate()
        self._address = identity.encode()
        hello = Message("client_ready", -1, identity).serialize()
        self._gate.admit([self._address, hello], hands_out_files=False)

    def take(self, cycle: Cycle, bodies: list[bytes]) -> None:
        """Take the messages of one second."""
        before_bytes = self._disk_bytes()
        for body in bodies:
            with cycle.part("unpack"):
                message = self._gate.admit([self._address, body], hands_out_files=False)
            assert message is not None
            with cycle.part("decode"):
                batch = decode_batch(message.data, run_id=RUN_ID, node=NODE)
            with cycle.part("record"):
                if self._inbox.is_new(message.data["number"], final=batch.final):
                    self._run.take(NODE, batch)
        cycle.disk_bytes += self._disk_bytes() - before_bytes

    def _disk_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._run.folder.iterdir())


class Pair:
    """A worker and its master, for one number of names."""

    def __init__(self, names: int, per_s: int, port: int, folder: Path) -> None:
        folder.mkdir()
        identity = f"{IDENTITY}-{names}"
        self._worker = Worker(names, per_s, port, identity)
        self._master = Master(folder, identity)
        self._second = 0

    def cycle(self) -> Cycle:
        """Return what the next ten seconds took."""
        cycle = Cycle()
        for _ in range(STAGE_WINDOW_S):
            bodies = self._worker.second(cycle, self._second)
            cycle.message_bytes += map(len, bodies)
            self._master.take(cycle, bodies)
            self._second += 1
        return cycle
