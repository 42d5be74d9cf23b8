"""As many requests as each tool can make on one core, over connections that are kept."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.generator import paced
from benchmarks.generator.cases import CASES, Case
from benchmarks.generator.comparison import COLUMNS, Figures, ratios, table
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.results import progress
from benchmarks.generator.starting import started
from benchmarks.generator.table import render
from benchmarks.generator.window import Patience, disturbed_note, interleave

PACED = "paced"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every case with every number of users; print a table for each."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with Nginx(folder / "nginx") as target:
            for case in (CASES[case] for case in options.cases if case != PACED):
                for users in options.users:
                    key = f"{case.name}_{users}"
                    progress(f"{case.about}, {users} users")
                    found[key] = measure(options, case, users, target, folder / key)
            if PACED in options.cases:
                found[PACED] = paced.measure(options, target, folder / PACED)
    return {"cases": found}


def measure(
    options: argparse.Namespace, case: Case, users: int, target: Nginx, folder: Path
) -> dict[str, Any]:
    """Measure one case; print its table and return its results."""
    with started(options.tools, case, users, target, folder) as tools:
        windows = interleave(
            tools.children,
            target,
            rounds=options.rounds,
            seconds=options.seconds,
            patience=Patience(),
            problems=tools.problems,
            on_round=lambda number: progress(f"    round {number + 1} of {options.rounds}"),
        )
    title = f"{case.about}, {users} users; median of {options.rounds} windows of {options.seconds:g} s"
    title += disturbed_note(windows)
    print(render(title, COLUMNS, table(options.tools, windows, tools.problems)))
    return {
        "tools": {name: Figures.of(found).as_json() for name, found in windows.items()},
        "ratios": ratios(windows),
        "problems": tools.problems,
    }
