"""Memory of a thousand users, and whether it grows while the load goes on."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.generator import proc
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Child, Failed
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.paired import slope
from benchmarks.generator.results import progress
from benchmarks.generator.starting import start
from benchmarks.generator.table import render
from benchmarks.generator.tools import TOOLS, Command, Load, Tool

SETTLE_S = 8.0
IDLE_S = 3600
"""Between two requests of an idle user, who has a connection and waits."""
SOAK_PER_S = 5000
SOAK_USERS = 1000
SAMPLE_S = 10.0
WARM_S = 120.0
"""Growth is looked at after this: caches fill, the first seconds of everything happen."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure users, then soak; print a table of each."""
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        Nginx(Path(name) / "nginx") as target,
    ):
        found["users"] = _users(options, target, Path(name))
        if options.minutes:
            found["soak"] = _soak(options, target, Path(name))
    return found


def _users(options: argparse.Namespace, target: Nginx, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rows: list[tuple[str, ...]] = []
    for name in options.tools:
        try:
            base, idle, active = (
                _bytes_of(name, kind, users, target, folder / f"{name}-{kind}-{users}")
                for kind, users in (("idle", 1), ("idle", options.users), ("active", options.users))
            )
        except Failed as error:
            progress(f"  {error}")
            rows.append((name, str(error).splitlines()[0], "", ""))
            continue
        per_idle, per_active = ((value - base) / (options.users - 1) for value in (idle, active))
        found[name] = {
            "base_bytes": base,
            "per_idle_user_bytes": per_idle,
            "per_active_user_bytes": per_active,
        }
        rows.append((name, f"{base / 1e6:.0f}", f"{per_idle / 1000:.1f}", f"{per_active / 1000:.1f}"))
    title = f"memory that only the tool has, of 1 user, and of each of {options.users:,} more"
    print(render(title, ("tool", "1 user, MB", "kB per idle user", "kB per active user"), rows))
    return found


def _bytes_of(name: str, kind: str, users: int, target: Nginx, folder: Path) -> int:
    progress(f"  {name}, {users:,} {kind}")
    tool = TOOLS[name]
    load = Load(target.base_url(CASES["get"]), CASES["get"], users, folder)
    with start(waiting(tool) if kind == "idle" else tool, load, target) as child:
        time.sleep(SETTLE_S)
        return proc.memory_bytes(child.pids)


def waiting(tool: Tool) -> Tool:
    """Return a tool whose users make one request and then wait."""

    def command(load: Load) -> Command:
        made = tool.command(load)
        return Command(made.argv, {**made.env, "BENCH_WAIT": str(IDLE_S)})

    return Tool(tool.name, command, tool.program)


def _soak(options: argparse.Namespace, target: Nginx, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rows: list[tuple[str, ...]] = []
    for name in options.soak_tools:
        load = Load(
            target.base_url(CASES["get"]),
            CASES["get"],
            SOAK_USERS,
            folder / f"{name}-soak",
            pace_per_s=SOAK_PER_S / SOAK_USERS,
        )
        with start(TOOLS[name], load, target) as child:
            samples = _samples(child, target, options.minutes * 60)
        found[name] = soak_figures(samples)
        rows.append(_soak_row(name, found[name]))
        found[name]["samples"] = samples
    title = f"soak of {options.minutes:g} min at {SOAK_PER_S:,}/s; growth after the first {WARM_S / 60:g} min"
    print(render(title, ("tool", "requests/s", "first MB", "last MB", "kB/min", "bytes/1000 requests"), rows))
    return found


Sample = tuple[float, int, int]
"""Seconds since the first sample, bytes, requests since the first sample."""


def _samples(child: Child, target: Nginx, seconds: float) -> list[Sample]:
    """Return a sample every ten seconds."""
    began_s, requests = time.monotonic(), target.requests()
    samples: list[Sample] = []
    while (at_s := time.monotonic() - began_s) < seconds:
        if not child.is_running():
            raise child.failed("ended during the soak")
        samples.append((at_s, proc.memory_bytes(child.pids), target.requests() - requests))
        progress(
            f"    {child.name}: {at_s:4.0f} s, {samples[-1][1] / 1e6:.1f} MB, {samples[-1][2]:,} requests"
        )
        time.sleep(SAMPLE_S)
    return samples


def soak_figures(samples: list[Sample], warm_s: float = WARM_S) -> dict[str, Any]:
    """Return rate and growth of a soak; short ones are looked at from their middle on."""
    warm_s = min(warm_s, samples[-1][0] / 2)
    steady = [sample for sample in samples if sample[0] >= warm_s]
    per_s = slope([(at_s, count) for at_s, _, count in steady])
    growth = slope([(at_s, size) for at_s, size, _ in steady])
    return {
        "per_s": per_s,
        "first_bytes": steady[0][1],
        "last_bytes": steady[-1][1],
        "growth_bytes_per_s": growth,
        "growth_bytes_per_request": growth / per_s,
    }


def _soak_row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        f"{figures['per_s']:,.0f}",
        f"{figures['first_bytes'] / 1e6:.1f}",
        f"{figures['last_bytes'] / 1e6:.1f}",
        f"{figures['growth_bytes_per_s'] * 60 / 1000:+.1f}",
        f"{figures['growth_bytes_per_request'] * 1000:+.1f}",
    )
