"""What watching costs those who are watched, and the load generator beside the sampler.

    python -m benchmarks.monitors [--seconds 10] [--repetitions 7] [--interval 1s]

A mongod has one core. Clients and the sampler, with the monitors `host` and `mongodb`, share the other one.
Three cases, each without and with the sampler in turn. In `idle` nobody else asks the mongod for anything:
the difference of its CPU is what watching costs it, exactly, and on a noisy machine too. In `mongod` the
mongod is the limit (half of the operations are finds that look at every document), so that what is lost is
what watching costs it. In `clients` they are (finds by `_id`), so that what is lost is what the sampler
takes from a generator.

Operations are those that the mongod itself counts, CPU is the kernel's. Ratios are medians of the ratios of
each repetition. A window in which others had more than 5 % of the two cores is taken again, a limited
number of times; the rest is counted in the title, and says little.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from pymongo import MongoClient

from benchmarks.generator.results import progress, write
from benchmarks.generator.table import render
from perfload.monitors.process import SamplerProcess
from perfload.units import parse_duration_s
from tests.integration.mongod import mongod_path, running_mongod

DOCUMENTS = 1000
THREADS = 4
SETTLE_S = 2.0
"""Until the mongod and its clients are past their start."""

READY_AFTER = 150
"""Readings after which the sampler is past its start: that is the second tick of both monitors."""

MOST_OF_OTHERS = 0.05
GOALS = {"idle": 0.02, "mongod": 0.02, "clients": 0.01}
ABOUT = {
    "idle": "nobody asks the mongod for anything; CPU of one core",
    "mongod": "mongod is the limit: insert_one, find_one over 1,000 documents",
    "clients": "the clients are the limit: find_one by _id",
}


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in one stretch of time."""

    operations_per_s: float
    mongod_cpu: float
    """Of one core."""
    sampler_cpu: float
    others_cpu: float
    """Of both cores."""


class Watched:
    """The mongod, the clients, and the sampler while there is one."""

    def __init__(self, url: str, mongod_pid: int, clients_pid: int | None) -> None:
        self.url = url
        self.mongod = psutil.Process(mongod_pid)
        self.clients = psutil.Process(clients_pid) if clients_pid is not None else None
        self._client: MongoClient[dict[str, object]] = MongoClient(url)

    def operations(self) -> int:
        """Return how many inserts and finds the mongod has counted."""
        counters = self._client.admin.command("serverStatus")["opcounters"]
        return int(counters["insert"] + counters["query"])

    def window(self, seconds: float, sampler: psutil.Process | None) -> Window:
        """Look at one stretch of `seconds`."""
        known = (self.mongod, sampler, psutil.Process(), self.clients)
        processes = [process for process in known if process is not None]
        before_s, before = time.perf_counter(), self.operations()
        cpu_before, busy_before = [_cpu_s(process) for process in processes], _busy_s()
        time.sleep(seconds)
        cpu = [_cpu_s(process) - old_s for process, old_s in zip(processes, cpu_before, strict=True)]
        busy_s, done = _busy_s() - busy_before, self.operations() - before
        passed_s = time.perf_counter() - before_s
        return Window(
            operations_per_s=done / passed_s,
            mongod_cpu=cpu[0] / passed_s,
            sampler_cpu=cpu[1] / passed_s if sampler else 0.0,
            others_cpu=max(0.0, busy_s - sum(cpu)) / passed_s / 2,
        )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    times = psutil.cpu_times(percpu=True)
    return sum(core.user + core.nice + core.system + core.irq + core.softirq for core in times[:2])


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Let what is started inside run on `core` alone: a process passes this on to its threads."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def _sampling(url: str, folder: Path, interval_s: float) -> Iterator[psutil.Process]:
    with _on_core(1):
        readings = folder / "readings.jsonl"
        readings.unlink(missing_ok=True)
        sampler = SamplerProcess.start(
            readings,
            observations=folder / "observations.jsonl",
            node="benchmark",
            interval_s=interval_s,
            monitors=("host", "mongodb"),
            environment={"MONGODB_URL": url},
        )
    try:
        while not readings.exists() or readings.read_bytes().count(b"\n") < READY_AFTER:
            if not sampler.is_alive():
                raise SystemExit(f"the sampler ended: {sampler.log.read_text()}")
            time.sleep(0.1)
        yield psutil.Process(sampler.pid)
    finally:
        sampler.stop()


@contextlib.contextmanager
def _loading(url: str, mix: str) -> Iterator[int | None]:
    if mix == "idle":
        yield None
        return
    command = [sys.executable, "-m", "benchmarks.monitors", "load", "--url", url, "--mix", mix]
    with _on_core(1):
        clients = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield clients.pid
    finally:
        clients.kill()
        clients.wait()


def load(url: str, mix: str) -> None:
    """Send operations from a few threads until standard input ends."""
    with MongoClient(url) as client:
        collection = client.bench.documents

        def send(thread: int) -> None:
            for number in itertools.count():
                if mix == "clients":
                    collection.find_one({"_id": number % DOCUMENTS})
                elif number % 2:
                    collection.find_one({"nowhere": number})
                else:
                    client.bench.inserted.insert_one({"thread": thread, "number": number, "text": "x" * 100})

        for thread in range(THREADS):
            threading.Thread(target=send, args=(thread,), daemon=True).start()
        sys.stdin.read()


def measure(mix: str, options: argparse.Namespace) -> tuple[list[tuple[Window, Window]], int]:
    """Return (without, with the sampler) of each repetition, and how many of them were disturbed."""
    pairs: list[tuple[Window, Window]] = []
    retries, disturbed = options.patience, 0
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        with _on_core(0):
            server = running.enter_context(running_mongod(folder))
        with server.client() as client:
            client.bench.documents.insert_many([{"_id": n, "text": "x" * 200} for n in range(DOCUMENTS)])
        with _loading(server.url, mix) as clients_pid:
            watched = Watched(server.url, server.pid, clients_pid)
            time.sleep(SETTLE_S)
            while len(pairs) < options.repetitions:
                pair = _pair(watched, folder, options, with_first=len(pairs) % 2 == 1)
                others = max(window.others_cpu for window in pair)
                progress(
                    f"  {mix}: {pair[0].operations_per_s:,.0f}/s without, "
                    f"{pair[1].operations_per_s:,.0f}/s with; others had {others:.1%}"
                )
                if others > MOST_OF_OTHERS and retries and mix != "idle":
                    retries -= 1
                    continue
                disturbed += others > MOST_OF_OTHERS and mix != "idle"
                pairs.append(pair)
    return pairs, disturbed


def _pair(
    watched: Watched, folder: Path, options: argparse.Namespace, *, with_first: bool
) -> tuple[Window, Window]:
    """Take both windows; each second time the other way round, so that no drift counts for one of them."""

    def with_sampler() -> Window:
        with _sampling(watched.url, folder, options.interval_s) as sampler:
            return watched.window(options.seconds, sampler)

    if with_first:
        watching = with_sampler()
        return watched.window(options.seconds, None), watching
    without = watched.window(options.seconds, None)
    return without, with_sampler()


def table(mix: str, pairs: Sequence[tuple[Window, Window]], disturbed: int) -> str:
    """Return the figures of one load as text."""
    rows = [
        (
            name,
            f"{statistics.median(window.operations_per_s for window in windows):,.0f}",
            f"{statistics.median(window.mongod_cpu for window in windows):.2%}",
            f"{statistics.median(window.sampler_cpu for window in windows):.2%}",
        )
        for name, windows in zip(("without", "with the sampler"), zip(*pairs, strict=True), strict=True)
    ]
    losses = _spread(lost(mix, pairs))
    rows.append(("lost", "", losses, "") if mix == "idle" else ("lost", losses, "", ""))
    title = f"{ABOUT[mix]}; {len(pairs)} pairs, {disturbed} disturbed; goal: at most {GOALS[mix]:.0%} lost"
    return render(title, ("", "operations/s", "CPU of mongod", "CPU of sampler"), rows)


def lost(mix: str, pairs: Sequence[tuple[Window, Window]]) -> list[float]:
    """Return what each repetition lost with the sampler: of a core, or of the operations."""
    if mix == "idle":
        return [watched.mongod_cpu - without.mongod_cpu for without, watched in pairs]
    return [1 - watched.operations_per_s / without.operations_per_s for without, watched in pairs]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2%} ({min(values):.2%} .. {max(values):.2%})"


def main() -> int:
    """Measure, print the tables, keep the figures; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("run", "load"), default="run", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--mix", choices=tuple(GOALS), help="one of the three cases only")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each window (default: 10)")
    parser.add_argument("--repetitions", type=int, default=7, help="pairs of windows (default: 7)")
    parser.add_argument("--patience", type=int, default=10, help="disturbed pairs taken again (default: 10)")
    parser.add_argument("--interval", default="1s", help="of the sampler (default: 1s)")
    options = parser.parse_args()
    if options.what == "load":
        load(options.url, options.mix)
        return 0
    if mongod_path() is None or (os.cpu_count() or 1) < 2 or not hasattr(os, "sched_setaffinity"):
        progress("this needs a mongod (scripts/install-test-servers), Linux and two cores")
        return 1
    # Everything that was started ends with this process, also when it is told to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options.interval_s = parse_duration_s(options.interval, "--interval")
    found = {}
    for mix in [options.mix] if options.mix else GOALS:
        pairs, disturbed = measure(mix, options)
        print(table(mix, pairs, disturbed))
        losses = lost(mix, pairs)
        sampler_cpu = statistics.median(watched.sampler_cpu for _, watched in pairs)
        found[mix] = {
            "lost": losses,
            "median": statistics.median(losses),
            "sampler_cpu": sampler_cpu,
            "disturbed": disturbed,
        }
    progress(f"written to {write('monitors', {'cases': found})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
