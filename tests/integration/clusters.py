"""A master, its workers and a target, of which a test loses some on purpose."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perfload import store
from perfload.model import NodeRecord, RunRecord
from perfload.target.process import TargetProcess
from tests.integration.locust_runs import LocustProcess, free_port, read_summary, run_folders

LOOK = """
from locust import task
from perfload.load import HttpUser

class Look(HttpUser):
    @task
    def look(self):
        self.client.get("/health")
"""

STEADY = """
from perfload.load import Phase, PhasedShape

class Steady(PhasedShape):
    phases = (Phase(name="Steady", duration="{seconds}s", arrival_rate={rate}, max_users={max_users}),)
"""


class Cluster:
    """One request a visit, at a steady rate, from workers that come and go."""

    def __init__(
        self, cwd: Path, target: TargetProcess, *, rate: int, seconds: int, max_users: int | None
    ) -> None:
        self.cwd = cwd
        self.target = target
        self.planned = rate * seconds
        self.workers: list[LocustProcess] = []
        self.port = free_port()
        self.masters: list[LocustProcess] = []
        self._files: tuple[Path, ...] = (cwd / "look.py", cwd / "steady.py")
        self._files[0].write_text(LOOK)
        self._files[1].write_text(STEADY.format(rate=rate, seconds=seconds, max_users=max_users))
        self._environment: dict[str, str] = {}
        self._master_options: tuple[str, ...] = ()

    def without_plan(self) -> None:
        """Leave the users to Locust: so many at once (`-u`), until somebody ends the load.

        They ask for what `--delay` slows down, unlike `/health`; that it is not there is all the same.
        """
        self._files = self._files[:1]
        self._files[0].write_text(LOOK.replace("/health", "/api/v1/nothing"))

    def across(self, address: str, key: str) -> None:
        """Have the master listen at `address`, for those who have `key`."""
        self._environment = {"PERFLOAD_CLUSTER_KEY": key}
        self._master_options = ("--master-bind-host", address)

    def add_worker(
        self, *options: object, prefix: Sequence[str] = (), first: Path | None = None
    ) -> LocustProcess:
        """Start one more worker, which reads the file `first` before the others, if there is one."""
        files = self._files if first is None else (first, *self._files)
        worker = LocustProcess(
            *("-f", ",".join(map(str, files)), "--worker", "--master-port", self.port, *options),
            cwd=self.cwd,
            environment=self._environment,
            prefix=prefix,
        )
        self.workers.append(worker)
        return worker

    def start(self, *options: object, host: str = "", mode: str = "--headless") -> None:
        """Start the master, and with it the run, once all workers are there."""
        master = LocustProcess(
            *("-f", ",".join(map(str, self._files)), "--master", "--master-bind-port", self.port),
            *("--expect-workers", len(self.workers), "-H", host or self.target.url, *filter(None, (mode,))),
            *(*self._master_options, *options),
            cwd=self.cwd,
            environment=self._environment,
        )
        self.masters.append(master)

    @property
    def master(self) -> LocustProcess:
        """The master that was started last."""
        return self.masters[-1]

    def wait_until(self, second: float) -> None:
        """Return at second `second` of the run."""
        self.master.wait_for("has started")
        begun_s = store.load(self.folder).manifest.started_at_s
        time.sleep(max(0.0, begun_s + second - time.time()))

    @property
    def folder(self) -> Path:
        """The record of the latest run."""
        return run_folders(self.cwd)[-1]

    @property
    def record(self) -> RunRecord:
        """The latest run, as it is on disk."""
        return store.load(self.folder, by_node=True)

    @property
    def summary(self) -> dict[str, Any]:
        """The summary of the latest run."""
        return read_summary(self.folder)

    @property
    def nodes(self) -> dict[str, NodeRecord]:
        """The workers of the latest run by name."""
        return {node.node: node for node in self.record.manifest.nodes}

    def offered(self) -> Counter[int]:
        """Return the arrivals that were started in each second of the run."""
        started: Counter[int] = Counter()
        for window in self.record.arrivals:
            started[window.second] += window.lag.count
        return started

    def started_by_node(self) -> Counter[str]:
        """Return the arrivals that each worker has started."""
        started: Counter[str] = Counter()
        for window in self.record.arrivals:
            started[window.node] += window.lag.count
        return started

    def requests_by_node(self) -> Counter[str]:
        """Return the requests that each worker has reported."""
        requests: Counter[str] = Counter()
        for window in self.record.windows:
            requests[window.node] += window.count
        return requests

    def close(self) -> None:
        """End every process by its id."""
        for process in (*self.workers, *self.masters):
            process.close()


@contextmanager
def cluster(
    cwd: Path,
    *,
    rate: int,
    seconds: int,
    bind: str = "",
    latency: Sequence[str] = ("--no-latency",),
    max_users: int | None = None,
) -> Iterator[Cluster]:
    """Run a target, and a cluster that loads it for the length of a with-block."""
    with TargetProcess(*latency, *(("--bind", bind) if bind else ())) as target:
        made = Cluster(cwd, target, rate=rate, seconds=seconds, max_users=max_users)
        try:
            yield made
        finally:
            made.close()


def lost_of(node: NodeRecord) -> int:
    """Return the arrivals that a node was given and of which nothing was heard."""
    return sum(count for _, _, count in node.lost)
