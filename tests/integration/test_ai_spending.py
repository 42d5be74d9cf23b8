"""A spending cap in a real cluster: it ends the run, and what was really sent is never far above it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perfload import store
from perfload.model import RunRecord
from perfload.target.process import TargetProcess
from tests.integration.locust_runs import LocustProcess, free_port, run_folders

pytestmark = [pytest.mark.integration, pytest.mark.ai, pytest.mark.cluster]

FAST = ("--ai-ttft", "50ms", "--ai-gap", "60ms", "--ai-tokens", "8")
QUIET = "[thresholds]\nrules = []\n[monitors]\nhost = false\n"
ASKER = """
from locust import constant, task
from perfload.load import OpenAIUser

class Asker(OpenAIUser):
    wait_time = constant(0)
    model, default_key, max_tokens_total = "m", "sk-test", {cap}

    @task
    def ask(self):
        self.chat("Hello " * 40, stream=False)
"""
SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="120s", arrival_rate={rate}),)
"""
SET_ASIDE = 1 / 4
"""How much of the cap may at most be left with workers that have no use for it."""
MOST_OF_AN_ANSWER = 60
"""Tokens of a question and its answer. Nothing is streamed: a busy machine would read pieces too late."""


class Spending:
    """A master, two workers, and the emulator that counts what they really spend."""

    def __init__(self, cwd: Path, target: TargetProcess, cap: int) -> None:
        (cwd / "perfload.toml").write_text(QUIET)
        (cwd / "asker.py").write_text(ASKER.format(cap=cap))
        self.cwd, self.target, self.cap = cwd, target, cap
        self.files = [cwd / "asker.py"]
        self.port = free_port()
        self.processes: list[LocustProcess] = []

    def with_shape(self, rate: int) -> None:
        (self.cwd / "shape.py").write_text(SHAPE.format(rate=rate))
        self.files.append(self.cwd / "shape.py")

    def add_worker(self) -> LocustProcess:
        return self._start("--worker", "--master-port", self.port)

    def start(self, *options: object, workers: int = 2) -> LocustProcess:
        for _ in range(workers):
            self.add_worker()
        return self._start(
            *("--master", "--master-bind-port", self.port, "--expect-workers", workers, "--headless"),
            *("-H", self.target.url, *options),
        )

    def _start(self, *options: object) -> LocustProcess:
        files = ",".join(map(str, self.files))
        self.processes.append(LocustProcess("-f", files, *options, cwd=self.cwd))
        return self.processes[-1]

    def spent(self) -> int:
        """Return the tokens that the emulator has counted."""
        truth = self.target.truth()["ai"].get("openai", {})
        return int(truth.get("input_tokens", 0) + truth.get("output_tokens", 0))

    def record(self) -> RunRecord:
        (folder,) = run_folders(self.cwd)
        return store.load(folder, by_node=True)

    def check_end(self, master: LocustProcess, *, users: int, codes: tuple[int, ...] = (3,)) -> RunRecord:
        """Hold the end of the run against what a cap promises."""
        assert master.wait() in codes, master.output
        record = self.record()
        assert record.manifest.end_reason == "aborted"
        assert "the spending cap is reached: " in record.manifest.end_note
        assert f"aborting the run: {record.manifest.end_note}" in master.output
        assert self.cap * (1 - SET_ASIDE) < self.spent() < self.cap + users * MOST_OF_AN_ANSWER
        assert all(node.complete for node in record.manifest.nodes), record.manifest.nodes
        # What was in flight came to its end and is in the record.
        counted = sum(window.count for window in record.windows)
        assert counted == self.target.truth()["ai"]["openai"]["answers"]
        return record


@contextmanager
def spending(cwd: Path, *, cap: int) -> Iterator[Spending]:
    with TargetProcess(*FAST) as target:
        made = Spending(cwd, target, cap)
        try:
            yield made
        finally:
            for process in made.processes:
                process.close()


def test_the_cap_ends_the_run_of_a_cluster(tmp_path: Path) -> None:
    with spending(tmp_path, cap=2000) as made:
        master = made.start("-u", "4", "-r", "4", "-t", "120s")
        made.check_end(master, users=4)
        assert made.spent() > 0.9 * made.cap  # both spend alike
        for worker in made.processes[:2]:
            assert worker.wait(20) == 0, worker.output


def test_the_cap_ends_a_plan(tmp_path: Path) -> None:
    with spending(tmp_path, cap=2000) as made:
        made.with_shape(rate=20)
        master = made.start()
        record = made.check_end(master, users=20)
        assert max(window.second for window in record.windows) < 60


def test_a_worker_without_users_keeps_little_of_the_cap_to_itself(tmp_path: Path) -> None:
    with spending(tmp_path, cap=600) as made:
        made.check_end(made.start("-u", "1", "-r", "1", "-t", "120s"), users=1)


def test_nothing_is_spent_above_the_cap_while_the_master_is_away(tmp_path: Path) -> None:
    with spending(tmp_path, cap=4000) as made:
        master = made.start("-u", "8", "-r", "8", "-t", "120s")
        master.wait_for("has started")
        while made.spent() < 400:
            time.sleep(0.05)
        master.send(signal.SIGSTOP)
        before, after = -1, made.spent()
        while after > before:  # each worker comes to the end of what it was granted
            time.sleep(1.5)
            before, after = after, made.spent()
        assert after < made.cap
        master.send(signal.SIGCONT)
        made.check_end(master, users=8)


def test_who_joins_spends_of_the_same_cap(tmp_path: Path) -> None:
    with spending(tmp_path, cap=3000) as made:
        made.with_shape(rate=20)
        master = made.start()
        master.wait_for("has started")
        made.add_worker()
        # A process that begins may hold the others up so much that the load is not what was asked for.
        record = made.check_end(master, users=30, codes=(3, 4))
        assert len(record.manifest.nodes) in {2, 3}  # it may take longer to begin than the money lasts
