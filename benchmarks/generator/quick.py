"""The figures that the README quotes: perfload beside FastHttpUser and wrk, and how true it is."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.generator import truth_run
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Failed
from benchmarks.generator.comparison import COLUMNS, Figures, ratios, table
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.readers import NAMES
from benchmarks.generator.results import progress
from benchmarks.generator.starting import started
from benchmarks.generator.table import render
from benchmarks.generator.truth_run import Truth, users_for
from benchmarks.generator.window import Patience, disturbed_note, interleave

OURS, STOCK = "perfload", "FastHttpUser"
CASE_NAMES = ("get", "post")
USERS = (32, 250, 1000)
DELAY_MS = 50.0
FRACTION = 0.5
"""Of its own limit: the load of each tool when its latencies are looked at."""
PATIENCE = 30
"""Disturbed windows that are taken again: so many seconds more, at most."""
TRUTH_SECONDS = 6
TRUTH_RUNS = 3
TRUTH_PATIENCE = 2
"""Disturbed runs that are taken again."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the cases and the truth; print a table of each."""
    found: dict[str, Any] = {"ratios": {}, "cpu_ratios": {}, "cases": {}, "problems": {}}
    patience = Patience(PATIENCE)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with Nginx(folder / "nginx") as target:
            for case in CASE_NAMES:
                for users in USERS:
                    _measure(options, case, users, target, folder=folder, patience=patience, found=found)
        limits = {name: found["cases"]["get_1000"][name]["per_s"]["median"] for name in (OURS, STOCK)}
        found["truth"] = _truth(limits, folder)
    return found


def _measure(
    options: argparse.Namespace,
    case: str,
    users: int,
    target: Nginx,
    *,
    folder: Path,
    patience: Patience,
    found: dict[str, Any],
) -> None:
    key = f"{case}_{users}"
    progress(f"{CASES[case].about}, {users} users")
    names = [*(["wrk"] if key == "get_32" else []), STOCK, OURS]
    with started(names, CASES[case], users, target, folder / key) as tools:
        for name in (OURS, STOCK):
            if name in tools.problems:
                raise Failed(f"without {name} there is nothing to compare: {tools.problems[name]}")
        windows = interleave(
            tools.children, target, rounds=options.rounds, seconds=options.seconds, patience=patience
        )
    found["problems"] |= {f"{key}/{name}": problem for name, problem in tools.problems.items()}
    found["cases"][key] = {name: Figures.of(seen).as_json() for name, seen in windows.items()}
    for name, value in ratios(windows).items():
        found["ratios"][f"{key}/{name}"] = round(value["rate"], 3)
        found["cpu_ratios"][f"{key}/{name}"] = round(value["cpu"], 3)
    title = f"{CASES[case].about}, {users} users; median of {options.rounds} windows of {options.seconds:g} s"
    title += disturbed_note(windows)
    print(render(title, COLUMNS, table(names, windows, tools.problems)))


def _truth(limits: dict[str, float], folder: Path) -> dict[str, Any]:
    users = {name: users_for(limit, FRACTION, DELAY_MS) for name, limit in limits.items()}
    runs: dict[str, list[Truth]] = {name: [] for name in limits}
    patience = Patience(TRUTH_PATIENCE)
    for number in range(TRUTH_RUNS):
        progress(f"truth at {DELAY_MS:g} ms, run {number + 1} of {TRUTH_RUNS}")
        for name, seen in runs.items():
            seen.append(_one_truth(name, users[name], folder, patience))
    errors = {name: truth_run.medians_ms(seen) for name, seen in runs.items()}
    rows = [_truth_row(name, users[name], runs[name], errors[name]) for name in runs]
    title = f"reported - true, ms: answers after {DELAY_MS:g} ms, half of each limit; {TRUTH_RUNS} runs"
    if count := sum(one.is_disturbed for seen in runs.values() for one in seen):
        title += f"; {count} of {TRUTH_RUNS * len(runs)} were disturbed by other processes"
    print(render(title, ("tool", "users", "requests/s", *NAMES), rows))
    return {
        "p99_error_ms": errors[OURS]["p99"],
        "p99_9_error_ms": errors[OURS]["p99_9"],
        "p99_error_ms_FastHttpUser": errors[STOCK]["p99"],
        "p99_9_error_ms_FastHttpUser": errors[STOCK]["p99_9"],
        "users": users,
        "runs": {name: [one.as_json() for one in seen] for name, seen in runs.items()},
    }


def _one_truth(name: str, users: int, folder: Path, patience: Patience) -> Truth:
    """Return a run that nobody disturbed, or the last one that there was patience for."""
    while True:
        place = Path(tempfile.mkdtemp(dir=folder))
        found = truth_run.measure(name, delay_ms=DELAY_MS, users=users, seconds=TRUTH_SECONDS, folder=place)
        if not found.is_disturbed or not patience.lasts():
            return found


def _truth_row(name: str, users: int, runs: list[Truth], errors: dict[str, float | None]) -> tuple[str, ...]:
    rate = statistics.median(one.rate_per_s for one in runs)
    return name, f"{users:,}", f"{rate:,.0f}", *(truth_run.cell(errors[key]) for key in NAMES)
