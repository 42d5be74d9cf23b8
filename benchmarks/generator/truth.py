"""Reported latencies against those of a server that knows them, at several delays and loads.

The load of each tool is a fraction of what it can do itself, made by the number of users without think time.
The server answers about 80,000 requests a second in all, so no load is above half of that.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.generator import stall, truth_run
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Failed
from benchmarks.generator.comparison import Figures
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.readers import NAMES
from benchmarks.generator.results import progress
from benchmarks.generator.starting import missing, started
from benchmarks.generator.table import render
from benchmarks.generator.truth_run import Truth, users_for
from benchmarks.generator.window import interleave

LIMIT_USERS = 250
MAX_PER_S = 40_000
MAX_USERS = 10_000
"""Files that a process may have open by default: about twice that."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every delay and fraction, then the stall; print a table for each."""
    found: dict[str, Any] = {"problems": missing(options.tools)}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if options.delays:
            found["limits"] = _limits(options.tools, folder)
            found["cells"] = [
                _measure(options, delay_ms, fraction, found["limits"], folder)
                for delay_ms in options.delays
                for fraction in options.fractions
            ]
        if options.stall:
            found["stall"] = stall.run(folder)
    return found


def _limits(names: list[str], folder: Path) -> dict[str, float]:
    """Return the requests per second that each tool can make, against nginx."""
    progress("what each tool can do")
    with (
        Nginx(folder / "nginx") as target,
        started(names, CASES["get"], LIMIT_USERS, target, folder / "limits") as tools,
    ):
        windows = interleave(tools.children, target, rounds=3, seconds=1.0)
    return {name: Figures.of(seen).per_s.median for name, seen in windows.items()}


def _measure(
    options: argparse.Namespace, delay_ms: float, fraction: float, limits: dict[str, float], folder: Path
) -> dict[str, Any]:
    rows: list[tuple[str, ...]] = []
    runs: dict[str, list[Truth]] = {}
    for name in options.tools:
        if name not in limits:
            rows.append((name, "missing or not started", *([""] * (len(NAMES) + 2))))
            continue
        rate = min(MAX_PER_S, limits[name] * fraction)
        users = min(MAX_USERS, users_for(rate, 1.0, delay_ms))
        progress(f"  {delay_ms:g} ms, {fraction:.0%}: {name}, {users:,} users")
        place = folder / f"{delay_ms:g}-{fraction:g}-{name.replace(' ', '-').replace(',', '')}"
        try:
            runs[name] = [
                truth_run.measure(
                    name, delay_ms=delay_ms, users=users, seconds=options.seconds, folder=place / str(number)
                )
                for number in range(options.rounds)
            ]
        except (Failed, ValueError, KeyError, OSError, subprocess.CalledProcessError) as error:
            progress(f"  {error}")
            rows.append((name, str(error).splitlines()[0], *([""] * (len(NAMES) + 2))))
            continue
        rows.append(_row(name, users, runs[name]))
    title = f"reported - true, ms: answers after {delay_ms:g} ms, {fraction:.0%} of what each tool can do"
    title += f"; median of {options.rounds} runs of {options.seconds} s"
    print(render(title, ("tool", "users", "requests/s", "true p99", *NAMES), rows))
    return {
        "delay_ms": delay_ms,
        "fraction": fraction,
        "errors_ms": {name: truth_run.medians_ms(seen) for name, seen in runs.items()},
        "runs": {name: [one.as_json() for one in seen] for name, seen in runs.items()},
    }


def _row(name: str, users: int, runs: list[Truth]) -> tuple[str, ...]:
    rate = statistics.median(one.rate_per_s for one in runs)
    true_ms = statistics.median(one.truth["p99"] for one in runs)
    errors = truth_run.medians_ms(runs)
    cells = (truth_run.cell(errors[key]) for key in NAMES)
    return name, f"{users:,}", f"{rate:,.0f}", f"{true_ms:.2f}", *cells
