"""Windows of tools that cannot be stopped and resumed: each repetition starts each tool anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.generator.cases import Case
from benchmarks.generator.child import Failed
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.results import progress
from benchmarks.generator.starting import missing, start
from benchmarks.generator.tools import TOOLS, Load
from benchmarks.generator.window import Patience, Window, measure


def take_turns(
    names: Sequence[str],
    case: Case,
    users: int,
    target: Nginx,
    *,
    folder: Path,
    pace_per_s: float,
    rounds: int,
    seconds: float,
    settle_s: float,
) -> tuple[dict[str, list[Window]], dict[str, str]]:
    """Return `rounds` windows of each tool, and why others have none."""
    problems = missing(names)
    windows: dict[str, list[Window]] = {name: [] for name in names if name not in problems}
    patience = Patience(rounds)
    for number in range(rounds):
        progress(f"    round {number + 1} of {rounds}")
        for name in list(windows):
            place = folder / f"{name.replace(' ', '-').replace(',', '')}-{number}"
            load = Load(target.base_url(case), case, users, place, pace_per_s=pace_per_s)
            try:
                with start(TOOLS[name], load, target) as child:
                    time.sleep(settle_s)
                    window = measure(child, target, seconds)
                    while window.is_disturbed and patience.lasts():
                        window = measure(child, target, seconds)
            except Failed as error:
                progress(f"    {error}")
                problems[name] = str(error)
                del windows[name]
                continue
            windows[name].append(window)
    return windows, problems
