"""perfload with one process and with several: what they reach together, and what the master costs.

The processes may use every core, so where there are two in all, they share them with the target: this shows
what a second process brings and costs there, not what it would bring on a core of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator import proc
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Child
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.paired import Spread
from benchmarks.generator.results import progress
from benchmarks.generator.table import render, with_range
from benchmarks.generator.tools import Load, locust
from benchmarks.generator.window import measure

SETTLE_S = 3.0


@dataclass(frozen=True)
class Run:
    """What one run reached."""

    per_s: float
    cpu_us: float
    cpu_percent: float
    master_percent: float
    """CPU of the process that leads, of one core; it generates no load when there are workers."""
    target_percent: float


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every number of processes; print one table. 0 is a run without workers."""
    runs: dict[int, list[Run]] = {count: [] for count in options.processes}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        Nginx(Path(name) / "nginx") as target,
    ):
        for number in range(options.rounds):
            for count, found in runs.items():
                progress(f"  round {number + 1} of {options.rounds}, {_label(count)}")
                found.append(_run(options, count, target, Path(name) / f"{count}-{number}"))
    rows = [_row(count, found) for count, found in runs.items()]
    shared = f"{len(os.sched_getaffinity(0))} cores, shared with the target"
    title = f"GET, 300 B, {options.users} users, {shared}; median of {options.rounds} runs"
    header = ("perfload", "requests/s (range)", "CPU us/request", "CPU %", "master CPU %", "target CPU %")
    print(render(title, header, rows))
    return {"runs": {_label(count): [vars(one) for one in found] for count, found in runs.items()}}


def _label(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''} and a master" if count else "one process"


def _run(options: argparse.Namespace, count: int, target: Nginx, folder: Path) -> Run:
    folder.mkdir()
    load = Load(target.base_url(CASES["get"]), CASES["get"], options.users, folder)
    command = locust("perfload", *(["--processes", str(count)] if count else []))(load)
    before = target.settled_connections()
    with Child("perfload", command.argv, core=None, folder=folder, env=command.env) as child:
        child.wait_for(
            lambda: target.connections() >= before + options.users, f"{options.users} connections", 60.0
        )
        time.sleep(SETTLE_S)
        master_s = proc.cpu_s([child.process.pid])
        window = measure(child, target, options.seconds)
        master_s = proc.cpu_s([child.process.pid]) - master_s
    return Run(
        per_s=window.per_s,
        cpu_us=window.cpu_us,
        cpu_percent=window.cpu_percent,
        master_percent=100 * master_s / window.seconds if count else 0.0,
        target_percent=window.target_percent,
    )


def _row(count: int, runs: list[Run]) -> tuple[str, ...]:
    def median(name: str) -> float:
        return statistics.median(float(getattr(one, name)) for one in runs)

    return (
        _label(count),
        with_range(Spread.of([one.per_s for one in runs])),
        f"{median('cpu_us'):.1f}",
        f"{median('cpu_percent'):.0f}",
        f"{median('master_percent'):.1f}" if count else "-",
        f"{median('target_percent'):.0f}",
    )
