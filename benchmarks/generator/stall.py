"""One stall of five seconds: who reports what those felt who were to come in it.

A hundred requests a second for 20 s to a server that answers after 50 ms, and does nothing for 5 s in
between. What should be reported follows from the schedule: whoever is due in the stall waits for its end.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator import perfload_record, readers
from benchmarks.generator.arriving import Arrivals, artillery, k6, perfload
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Child, Failed, cores
from benchmarks.generator.exact import ExactServer
from benchmarks.generator.readers import NAMES, Reported
from benchmarks.generator.results import progress
from benchmarks.generator.table import render
from benchmarks.generator.tools import Command, Load, find, locust, one_core, path_of

RATE_PER_S = 100
SECONDS = 20
STALL_S = 5.0
STALL_AT_S = 5.0
DELAY_MS = 50.0
USERS = 10
"""Of the closed model; each is paced to a tenth of the rate."""


@dataclass(frozen=True)
class Way:
    """A way to make the load, and where its report is."""

    name: str
    command: Callable[[str, Path], Command]
    read: Callable[[Path], Reported]
    program: str = ""


def from_schedule(rate_per_s: int, seconds: int, stall_s: float, delay_ms: float) -> Reported:
    """Return what arrivals at every 1/rate feel of a stall: answers that are due in it go out at its end."""
    affected = round(stall_s * rate_per_s)
    waits_ms = [delay_ms + 1000 * (stall_s - (number + 0.5) / rate_per_s) for number in range(affected)]
    return readers.of_values([*waits_ms, *[delay_ms] * (seconds * rate_per_s - affected)])


def run(folder: Path) -> dict[str, Any]:
    """Measure every way; print one table."""
    expected = from_schedule(RATE_PER_S, SECONDS, STALL_S, DELAY_MS)
    found: dict[str, Any] = {"from_schedule_ms": asdict(expected), "reported_ms": {}, "problems": {}}
    rows = [_row("from the schedule", expected)]
    for way in WAYS:
        progress(f"  stall: {way.name}")
        try:
            reported = _reported(way, folder / way.name.replace(" ", "-").replace(",", ""))
        except (Failed, ValueError, KeyError, OSError, subprocess.CalledProcessError) as error:
            progress(f"  {error}")
            found["problems"][way.name] = str(error)
            rows.append((way.name, str(error).splitlines()[0], *([""] * len(NAMES))))
            continue
        found["reported_ms"][way.name] = asdict(reported)
        rows.append(_row(way.name, reported))
    title = f"stall of {STALL_S:g} s in {SECONDS} s at {RATE_PER_S}/s, {DELAY_MS:g} ms: reported, ms"
    print(render(title, ("", "requests", *NAMES), rows))
    return found


def _row(name: str, reported: Reported) -> tuple[str, ...]:
    values = (getattr(reported, key) for key in NAMES)
    return name, f"{reported.count:,}", *("-" if value is None else f"{value:,.0f}" for value in values)


def _reported(way: Way, folder: Path) -> Reported:
    if way.program and find(way.program) is None:
        raise Failed("missing: make bench-setup")
    (folder / "tool").mkdir(parents=True)
    with ExactServer(DELAY_MS, folder) as server:
        command = way.command(server.base_url, folder / "tool")
        tool = Child(way.name, command.argv, core=cores()[1], folder=folder / "tool", env=command.env)
        with tool:
            tool.wait_for(lambda: server.answered() > 0, "its first request")
            time.sleep(STALL_AT_S)
            server.stall(STALL_S)
            tool.wait(SECONDS + 60)
    return way.read(folder / "tool")


def _arrivals(command: Callable[[Arrivals], Command]) -> Callable[[str, Path], Command]:
    return lambda url, folder: command(Arrivals(url, RATE_PER_S, SECONDS, folder, has_login=False))


def _paced(client: str, *options: str) -> Callable[[str, Path], Command]:
    def command(url: str, folder: Path) -> Command:
        pace = RATE_PER_S / USERS
        load = Load(url, CASES["get"], USERS, folder, seconds=SECONDS, pace_per_s=pace)
        return locust(client, *options)(load)

    return command


def _vegeta(url: str, folder: Path) -> Command:
    targets = folder / "targets.txt"
    targets.write_text(f"GET {url}/get\n")
    argv = [path_of("vegeta"), "attack", f"-rate={RATE_PER_S}/s", f"-duration={SECONDS}s"]
    return Command([*argv, "-targets", str(targets), "-output", "results.bin"], one_core())


def _read_vegeta(folder: Path) -> Reported:
    argv = [path_of("vegeta"), "report", "-type=json", "results.bin"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    return readers.vegeta(done.stdout)


def _read_record(folder: Path) -> Reported:
    record = perfload_record.folder_of(folder / "reports")
    if record is None:
        raise Failed("perfload left no record")
    return perfload_record.response_times(record, 0, SECONDS + 60)


WAYS = (
    Way("perfload, arrivals", _arrivals(perfload), _read_record),
    Way("perfload, 10 users", _paced("perfload"), _read_record),
    Way(
        "FastHttpUser, 10 users",
        _paced("FastHttpUser", "--json-file", "stats"),
        lambda folder: readers.locust((folder / "stats.json").read_text()),
    ),
    Way(
        "artillery, arrivals",
        _arrivals(artillery),
        lambda folder: readers.artillery((folder / "report.json").read_text()),
        "artillery",
    ),
    Way(
        "k6, arrivals", _arrivals(k6), lambda folder: readers.k6((folder / "summary.json").read_text()), "k6"
    ),
    Way("vegeta, rate", _vegeta, _read_vegeta, "vegeta"),
)
