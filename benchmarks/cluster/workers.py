"""A real master and many simulated workers: what they cost it, how fast it answers, what it has recorded."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cluster import checks, intervals
from benchmarks.cluster.intervals import Interval, Look
from benchmarks.cluster.traffic import PHASE, VISIT
from benchmarks.generator import proc
from benchmarks.generator.child import Child, Failed, cores
from benchmarks.generator.perfload_record import folder_of, started_at_s
from benchmarks.generator.results import progress
from benchmarks.generator.table import render
from benchmarks.generator.tools import ROOT

LOOK_S = 10.0
PER_PROCESS = 50
"""Simulated workers in one process."""
MINUTES, MINUTES_OF_SEVERAL = 10.0, 1.0
WARM_S = 120.0
"""Growth of memory is looked at after this."""
START_S, REPORT_S, END_S = 120.0, 1800.0, 30.0

SCENARIO = """
from locust import task
from perfload.load import HttpUser, Phase, PhasedShape

class Visitor(HttpUser):
    @task
    def visit(self):
        self.client.get("/")

class Shape(PhasedShape):
    phases = (Phase(name="{phase}", duration="{seconds}s", arrival_rate={rate}),)
"""


@dataclass
class Cluster:
    """A master and its workers, as processes."""

    master: Child
    workers: list[Child]
    folder: Path

    def logs(self) -> list[Path]:
        """Return where the workers say what they see."""
        return [child.log for child in self.workers]

    def check(self) -> None:
        """Raise `Failed` if a process has ended."""
        for child in (self.master, *self.workers):
            if not child.is_running():
                raise child.failed("ended during the run")


@dataclass
class Found:
    """What one run showed."""

    workers: int
    seconds: int
    began_s: float
    looks: list[Look] = field(default_factory=list)
    said: list[intervals.Line] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    close_s: float = 0.0
    """From the end of the plan to the end of the master: last batches, report."""
    report_bytes: int = 0
    """The most memory that the process had that made the report."""

    def intervals(self) -> list[Interval]:
        """Return the time of the load, ten seconds each."""
        return intervals.intervals(self.looks, self.said, self.began_s)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run with every number of workers; print a table of each, and one over all if there are several."""
    if options.requests % VISIT:
        raise Failed(f"--requests is {options.requests}: it has to be a multiple of {VISIT}, a user's visit")
    several = len(options.workers) > 1
    minutes = options.minutes or (MINUTES_OF_SEVERAL if several else MINUTES)
    found: dict[str, Any] = {}
    for count in options.workers:
        progress(f"{count} workers, {minutes:g} min")
        one = _run(options, count, max(1, round(60 * minutes)))
        found[str(count)] = _figures(one)
        rows = intervals.together(one.intervals()) if minutes > 2 else one.intervals()
        per_s = f"{options.requests} requests/s of {options.names} names each"
        print(intervals.table(f"the master of {count} workers, {per_s}", rows))
        print(_account(found[str(count)]) + "\n")
    if several:
        print(_overview(f"masters of {minutes:g} min, {per_s}", found))
    faults = [fault for held in found.values() for fault in held["faults"]]
    if faults:
        raise Failed("the record is not what was sent:\n" + "\n".join(f"    {fault}" for fault in faults))
    return {"requests_per_s": options.requests, "names": options.names, "minutes": minutes, "runs": found}


def _run(options: argparse.Namespace, count: int, seconds: int) -> Found:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        _start(options, count, seconds, Path(name)) as cluster,
    ):
        reports = Path(name) / "reports"
        cluster.master.wait_for(lambda: folder_of(reports) is not None, "its run", START_S)
        folder = folder_of(reports)
        assert folder is not None
        found = Found(count, seconds, started_at_s(folder))
        _watch(cluster, folder, found)
        _wait_for_end(cluster, found)
        found.said = intervals.lines(cluster.logs())
        if not (folder / "summary.json").exists():
            raise cluster.master.failed("wrote no summary")
        found.summary = json.loads((folder / "summary.json").read_text("utf-8"))
    return found


@contextmanager
def _start(options: argparse.Namespace, count: int, seconds: int, folder: Path) -> Iterator[Cluster]:
    """Start workers and master. The target is a socket: a master only asks whether it accepts connections."""
    scenario = folder / "cluster.py"
    rate = count * options.requests // VISIT
    scenario.write_text(SCENARIO.format(phase=PHASE, seconds=seconds, rate=rate))
    env = {"PYTHONPATH": str(ROOT), "PERFLOAD_CLUSTER_KEY": ""}
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as target:
        port = _free_port()
        # The target's core, as the benchmarks of load generators have it: here it is that of the workers.
        apart, masters = cores()
        children = [
            stack.enter_context(Child(f"workers {argv[0]}", argv[1:], core=apart, folder=folder, env=env))
            for argv in _worker_commands(options, count, seconds, port)
        ]
        argv = _master_command(scenario, port, count, target.getsockname()[1])
        master = stack.enter_context(Child("master", argv, core=masters, folder=folder, env=env))
        yield Cluster(master, children, folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _worker_commands(options: argparse.Namespace, count: int, seconds: int, port: int) -> Iterator[list[str]]:
    """Yield the first worker's number and the command of each process."""
    for first in range(0, count, PER_PROCESS):
        given = {"port": port, "first": first, "count": min(PER_PROCESS, count - first), "of": count}
        given |= {"names": options.names, "requests": options.requests, "seconds": seconds}
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        yield [str(first), sys.executable, "-m", "benchmarks.cluster.simulated", *flags]


def _master_command(scenario: Path, port: int, workers: int, target_port: int) -> list[str]:
    argv = [sys.executable, "-m", "locust", "-f", str(scenario), "--headless", "--master"]
    argv += ["--master-bind-port", str(port), "--expect-workers", str(workers)]
    return [*argv, "-H", f"http://127.0.0.1:{target_port}", "--threshold", "error_rate < 50%"]


def _watch(cluster: Cluster, folder: Path, found: Found) -> None:
    """Look at the master every ten seconds until the plan ends."""
    time.sleep(max(0.0, found.began_s - time.time()))
    while True:
        found.looks.append(_look(cluster.master, folder))
        at_s = found.looks[-1].at_s - found.began_s
        _say(found, at_s)
        if at_s >= found.seconds - 0.5:
            return
        cluster.check()
        time.sleep(min(LOOK_S, found.seconds - at_s))


def _look(master: Child, folder: Path) -> Look:
    pid = [master.process.pid]
    return Look(
        at_s=time.time(),
        cpu_s=proc.cpu_s(pid),
        memory_bytes=proc.memory_bytes(pid),
        record_bytes=sum(path.stat().st_size for path in folder.iterdir()),
    )


def _say(found: Found, at_s: float) -> None:
    if len(found.looks) > 1:
        one, other = found.looks[-2:]
        cpu_percent = 100 * (other.cpu_s - one.cpu_s) / (other.at_s - one.at_s)
        progress(f"  {at_s:4.0f} s: CPU {cpu_percent:.0f} %, {other.memory_bytes / 1e6:.0f} MB")


def _wait_for_end(cluster: Cluster, found: Found) -> None:
    """Wait until the master has ended, its report included, and the workers have said what they sent."""
    progress("  waiting for the report")
    master = cluster.master
    deadline_s = time.monotonic() + REPORT_S
    while master.is_running():
        found.report_bytes = max(found.report_bytes, _largest_bytes(master.pids[1:]))
        if time.monotonic() > deadline_s:
            raise master.failed(f"took more than {REPORT_S:.0f} s to end")
        time.sleep(0.2)
    found.close_s = time.time() - found.began_s - found.seconds
    for child in cluster.workers:
        child.wait_for(partial(_has_told_all, child), "all is acknowledged", END_S)
    if master.process.returncode != 0:
        progress(f"  the master ended with status {master.process.returncode}")


def _has_told_all(workers: Child) -> bool:
    return '"sent"' in workers.said()


def _largest_bytes(pids: list[int]) -> int:
    return max((proc.memory_bytes([pid]) for pid in pids), default=0)


def _figures(found: Found) -> dict[str, Any]:
    held = found.intervals()
    whole = intervals.together(held, found.seconds)[0]
    sent = checks.sent_in_all(found.said)
    return {
        "whole": whole.figures(),
        "peak_cpu_percent": max(one.cpu_percent for one in held),
        "growth_bytes_per_min": intervals.growth_bytes_per_min(held, WARM_S),
        "close_s": found.close_s,
        "report_memory_bytes": found.report_bytes,
        "requests_sent": sum(count for count, _ in sent["requests"].values()),
        "faults": checks.faults(found.summary, sent, found.workers),
        "intervals": [one.figures() for one in held],
    }


def _account(held: dict[str, Any]) -> str:
    """Return in words how the run ended."""
    counts = held["whole"]
    odd = {name: counts.get(name, 0) for name in ("repeated", "lapsed leases", "changed shares")}
    outcome = "with faults in the record" if held["faults"] else "all of them recorded, all workers complete"
    growth = held["growth_bytes_per_min"]
    lines = [
        f"  {held['requests_sent']:,} requests sent, {outcome}",
        "  too short to tell whether memory grows"
        if growth is None
        else f"  memory grows by {growth / 1000:+.0f} kB/min after the first {WARM_S / 60:g} min",
        f"  from the plan's end to the master's: {held['close_s']:.0f} s; "
        f"its report took up to {held['report_memory_bytes'] / 1e6:.0f} MB",
        "  " + ", ".join(f"{name}: {count}" for name, count in odd.items()),
    ]
    return "\n".join(lines)


def _overview(title: str, found: dict[str, Any]) -> str:
    header = ["workers", "CPU %", "at most", "memory MB", "round trip p50 ms", "p99 ms"]
    header += ["batches/s", "close s"]
    rows = []
    for workers, held in found.items():
        whole = held["whole"]
        seconds = whole["until_s"] - whole["from_s"]
        rows.append(
            (
                workers,
                f"{whole['cpu_percent']:.1f}",
                f"{held['peak_cpu_percent']:.1f}",
                f"{whole['memory_bytes'] / 1e6:.1f}",
                f"{whole['round_trip_p50_ms']:.1f}",
                f"{whole['round_trip_p99_ms']:.1f}",
                f"{whole['batches'] / seconds:.1f}",
                f"{held['close_s']:.0f}",
            )
        )
    return render(title, header, rows)
