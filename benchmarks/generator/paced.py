"""CPU per request of many users who are told how often to send: what a load test mostly is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.generator.apart import take_turns
from benchmarks.generator.cases import CASES
from benchmarks.generator.comparison import COLUMNS, Figures, ratios, table
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.results import progress
from benchmarks.generator.table import render
from benchmarks.generator.window import disturbed_note

USERS = 1000
PACE_PER_S = 2.0
SECONDS = 4.0
SETTLE_S = 4.0
TOOLS = ("HttpUser", "FastHttpUser", "perfload", "perfload, lean loop")
"""Those whose users can be paced."""


def measure(options: argparse.Namespace, target: Nginx, folder: Path) -> dict[str, Any]:
    """Measure those of the tools that can be paced; print a table."""
    names = [name for name in options.tools if name in TOOLS]
    about = f"GET, 300 B, {USERS:,} users at {PACE_PER_S:g}/s each"
    progress(about)
    windows, problems = take_turns(
        names,
        CASES["get"],
        USERS,
        target,
        folder=folder,
        pace_per_s=PACE_PER_S,
        rounds=options.rounds,
        seconds=SECONDS,
        settle_s=SETTLE_S,
    )
    title = f"{about}; median of {options.rounds} windows of {SECONDS:g} s{disturbed_note(windows)}"
    print(render(title, COLUMNS, table(names, windows, problems)))
    return {
        "tools": {name: Figures.of(found).as_json() for name, found in windows.items()},
        "ratios": ratios(windows),
        "problems": problems,
    }
