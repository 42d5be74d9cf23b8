"""Arrivals of a login and a GET on connections of their own: what they cost, and how many a tool can start.

A rate is sustained when 99 to 103 % of it reached the target: a tool that is behind makes less, one that was
behind before makes more. Where a tool says how late it started its arrivals, the 99th percentile of that must
be below 10 ms too. CPU does not decide: Artillery keeps its core busy between arrivals.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator import perfload_record
from benchmarks.generator.arriving import ARRIVING, PROGRAMS, Arrivals
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Child, Failed, cores
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.results import progress
from benchmarks.generator.table import render
from benchmarks.generator.tools import find
from benchmarks.generator.window import DISTURBED, Patience, measure

MAX_LAG_MS = 10.0
MIN_SHARE, MAX_SHARE = 0.99, 1.03
SETTLE_S = 3.0
REQUESTS_PER_ARRIVAL = 2


@dataclass(frozen=True)
class Step:
    """What a tool did when it was asked for a rate."""

    asked_per_s: int
    achieved_per_s: float
    cpu_us: float
    """Per arrival."""
    cpu_percent: float
    lag_p99_ms: float | None
    """None where the tool does not say."""
    others: float = 0.0
    """Share of the tool's core that somebody else had."""

    def __str__(self) -> str:
        lag = "" if self.lag_p99_ms is None else f", lag p99 {self.lag_p99_ms:.1f} ms"
        cpu = (
            f"{self.cpu_percent:.0f} % CPU (others had {100 * self.others:.0f} %), {self.cpu_us:.0f} us each"
        )
        return f"{self.asked_per_s}/s asked, {self.achieved_per_s:.0f} came, {cpu}{lag}"

    @property
    def is_sustained(self) -> bool:
        """Whether the tool kept up."""
        share = self.achieved_per_s / self.asked_per_s
        is_on_time = self.lag_p99_ms is None or self.lag_p99_ms < MAX_LAG_MS
        return MIN_SHARE <= share <= MAX_SHARE and is_on_time


def highest(sustains: Callable[[int], bool], known: int, failing: int, steps: int) -> int:
    """Return the highest rate that is sustained, by bisection between one that is and one that is not."""
    for _ in range(steps):
        middle = (known + failing) // 2
        if middle in {known, failing}:
            break
        if sustains(middle):
            known = middle
        else:
            failing = middle
    return known


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every tool; print one table."""
    rows: list[tuple[str, ...]] = []
    found: dict[str, Any] = {"tools": {}, "problems": {}}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        Nginx(Path(name) / "nginx") as target,
    ):
        for tool in options.tools:
            if tool in PROGRAMS and find(PROGRAMS[tool]) is None:
                problem = "missing: make bench-setup"
            else:
                search = _Search(tool, target, Path(name), options)
                try:
                    limit, steps = search.run(options.rates)
                except Failed as error:
                    problem = str(error)
                else:
                    found["tools"][tool] = {"highest_per_s": limit, "steps": [asdict(step) for step in steps]}
                    rows.append(_row(tool, limit, steps, options.rates))
                    continue
            progress(f"  {tool}: {problem}")
            found["problems"][tool] = problem
            rows.append((tool, problem.splitlines()[0], *([""] * (len(options.rates) + 2))))
    costs = [f"CPU us at {rate:,}/s" for rate in options.rates]
    title = "arrivals of POST login + GET, a fresh connection each"
    print(render(title, ("tool", "highest sustained/s", "CPU % there", "lag p99 ms there", *costs), rows))
    return found


def _row(tool: str, limit: int, steps: list[Step], rates: list[int]) -> tuple[str, ...]:
    at = {step.asked_per_s: step for step in steps}
    costs = [
        f"{at[rate].cpu_us:,.0f}" + ("" if at[rate].is_sustained else " (not sustained)") for rate in rates
    ]
    if not limit:
        return (tool, "none of these", "", "", *costs)
    lag = at[limit].lag_p99_ms
    return (tool, f"{limit:,}", f"{at[limit].cpu_percent:.0f}", "-" if lag is None else f"{lag:.1f}", *costs)


class _Search:
    """Runs one tool at one rate after another."""

    def __init__(self, tool: str, target: Nginx, folder: Path, options: argparse.Namespace) -> None:
        self._tool = tool
        self._target = target
        self._folder = folder
        self._seconds: int = options.seconds
        self._steps_left: int = options.steps
        self._patience = Patience(6)
        self._runs = 0
        self.steps: list[Step] = []

    def run(self, rates: list[int]) -> tuple[int, list[Step]]:
        """Return the highest sustained rate, 0 if none was, and all steps."""
        known, failing = 0, 0
        for rate in sorted(rates):
            if self._sustains(rate):
                known, failing = rate, 0
            else:
                failing = failing or rate
        while not failing:
            # What its CPU at this rate allows, and a little more, so that it is too much.
            guess = int(1.3 * known * 100 / max(10.0, self.steps[-1].cpu_percent))
            if self._sustains(guess := max(guess, int(known * 1.25))):
                known = guess
            else:
                failing = guess
        return highest(self._sustains, known, failing, self._steps_left), self.steps

    def _sustains(self, rate: int) -> bool:
        step = self._step(rate)
        while not step.is_sustained and step.others > DISTURBED and self._patience.lasts():
            step = self._step(rate)
        self.steps.append(step)
        progress(f"  {self._tool}: {step}")
        return step.is_sustained

    def _step(self, rate: int) -> Step:
        self._runs += 1
        folder = self._folder / f"{self._tool}-{self._runs}-{rate}"
        folder.mkdir()
        arrivals = Arrivals(self._target.base_url(CASES["get"]), rate, self._seconds + 8, folder)
        command = ARRIVING[self._tool](arrivals)
        before = self._target.requests()
        with Child(self._tool, command.argv, core=cores()[1], folder=folder, env=command.env) as child:
            child.wait_for(lambda: self._target.requests() > before, "its first request", 60.0)
            time.sleep(SETTLE_S)
            began_s = time.time()
            window = measure(child, self._target, self._seconds)
            if self._tool == "perfload":
                time.sleep(1.5)  # until the last of these seconds is on the disk
        return Step(
            asked_per_s=rate,
            achieved_per_s=window.per_s / REQUESTS_PER_ARRIVAL,
            cpu_us=window.cpu_us * REQUESTS_PER_ARRIVAL,
            cpu_percent=window.cpu_percent,
            others=window.others,
            lag_p99_ms=_lag_ms(folder, began_s, self._seconds) if self._tool == "perfload" else None,
        )


def _lag_ms(folder: Path, began_s: float, seconds: int) -> float:
    record = perfload_record.folder_of(folder / "reports")
    if record is None:
        raise Failed(f"perfload left no record in {folder}")
    first = round(began_s - perfload_record.started_at_s(record))
    return perfload_record.arrival_lag_ms(record, first, first + seconds)[1]
