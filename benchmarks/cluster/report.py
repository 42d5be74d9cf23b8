"""What the report of every second costs: the worker that makes it, and the master that takes it."""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from locust.rpc import Message

from benchmarks.cluster.pair import IDENTITY, MASTER, RUN_ID, WORKER, Cycle, Pair
from benchmarks.generator.child import Child
from benchmarks.generator.paired import Spread
from benchmarks.generator.results import progress
from benchmarks.generator.table import render, with_range
from benchmarks.generator.tools import ROOT
from perfload.load.cluster.messages import ACK
from perfload.model import STAGE_WINDOW_S


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every number of names in turn; print a table for the worker and one for the master."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        _sink(Path(name)) as sink,
    ):
        port = int(sink.said())
        pairs = {
            count: Pair(count, options.requests, port, Path(name) / str(count)) for count in options.names
        }
        cycles = _cycles(pairs, options.rounds)
    found = {count: _figures(held) for count, held in cycles.items()}
    after = f"{options.requests:,} requests/s; medians of {options.rounds} x {STAGE_WINDOW_S} s"
    print(_worker_table(f"one worker, a report of every second, {after}", found))
    print(_master_table(f"its master, {after}", found))
    return {
        "requests_per_s": options.requests,
        "rounds": options.rounds,
        "names": {str(count): held for count, held in found.items()},
    }


def _sink(folder: Path) -> Child:
    acknowledgement = Message(ACK, {"number": 1000, "run": RUN_ID}, IDENTITY).serialize()
    argv = [sys.executable, "-m", "benchmarks.cluster.sink", acknowledgement.hex()]
    sink = Child("sink", argv, core=None, folder=folder, env={"PYTHONPATH": str(ROOT)})
    sink.wait_for(lambda: sink.said().endswith("\n"), "its port")
    return sink


def _cycles(pairs: dict[int, Pair], rounds: int) -> dict[int, list[Cycle]]:
    cycles: dict[int, list[Cycle]] = {count: [] for count in pairs}
    for pair in pairs.values():
        pair.cycle()
    gc.collect()
    gc.freeze()  # as a load generator does
    for number in range(rounds):
        progress(f"  round {number + 1} of {rounds}")
        for count, pair in pairs.items():
            cycles[count].append(pair.cycle())
    return cycles


Figures = dict[str, Any]


def _figures(cycles: list[Cycle]) -> Figures:
    """Return what one second costs: CPU in ms, messages and bytes."""

    def of(values: list[float]) -> Figures:
        return vars(Spread.of(values))

    def per_s_ms(*parts: str) -> Figures:
        return of([1000 * cycle.sum_s(parts) / STAGE_WINDOW_S for cycle in cycles])

    sizes = [size for cycle in cycles for size in cycle.message_bytes]
    seconds = STAGE_WINDOW_S * len(cycles)
    return {
        "parts_ms": {part: per_s_ms(part) for part in (*WORKER, *MASTER, "statistics")},
        "worker_ms": per_s_ms(*WORKER),
        "master_ms": per_s_ms(*MASTER),
        "longest_ms": of([1000 * cycle.longest_s for cycle in cycles]),
        "messages_per_s": len(sizes) / seconds,
        "message_bytes_per_s": sum(sizes) / seconds,
        "largest_message_bytes": max(sizes),
        "record_bytes_per_s": statistics.fmean(cycle.disk_bytes for cycle in cycles) / STAGE_WINDOW_S,
    }


def _parts(held: Figures, names: tuple[str, ...]) -> list[str]:
    return [f"{held['parts_ms'][name]['median']:.2f}" for name in names]


def _percent(figures: Figures) -> str:
    """Return milliseconds of each second as percent of a core."""
    return with_range(Spread(**{name: value / 10 for name, value in figures.items()}), ".2f")


def _worker_table(title: str, found: dict[int, Figures]) -> str:
    header = ["names", *(f"{part} ms" for part in WORKER), "% of a core", "longest second ms"]
    header += ["messages/s", "kB/s", "largest kB", "Locust's statistics ms"]
    rows = [
        (
            f"{names:,}",
            *_parts(held, WORKER),
            _percent(held["worker_ms"]),
            f"{held['longest_ms']['median']:.1f}",
            f"{held['messages_per_s']:.1f}",
            f"{held['message_bytes_per_s'] / 1000:.0f}",
            f"{held['largest_message_bytes'] / 1000:.0f}",
            *_parts(held, ("statistics",)),
        )
        for names, held in found.items()
    ]
    return render(title, header, rows)


def _master_table(title: str, found: dict[int, Figures]) -> str:
    header = ("names", *(f"{part} ms" for part in MASTER), "% of a core", "record kB/s")
    rows = [
        (
            f"{names:,}",
            *_parts(held, MASTER),
            _percent(held["master_ms"]),
            f"{held['record_bytes_per_s'] / 1000:.0f}",
        )
        for names, held in found.items()
    ]
    return render(title, header, rows)
