"""One run of a tool against a server that knows its latencies."""

from __future__ import annotations

import dataclasses
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator import perfload_record, readers
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Child, cores
from benchmarks.generator.core import Watches
from benchmarks.generator.exact import ExactServer
from benchmarks.generator.readers import Reported
from benchmarks.generator.tools import TOOLS, Command, Load, artillery_loop, hey_csv, locust, path_of
from benchmarks.generator.window import DISTURBED

STEADY_AFTER_S = 2
"""Users are all there, and out of step, so long after the start of a run."""


@dataclass(frozen=True)
class Truth:
    """One run: what a tool reported of some requests, and what the server knows of the same ones."""

    rate_per_s: float
    reported: Reported
    truth: dict[str, float]
    others: float | None = None
    """Share of the busier of both cores that somebody else had; None where it was not looked at."""

    @property
    def is_disturbed(self) -> bool:
        """Whether others had so much of a core that it shows."""
        return self.others is not None and self.others > DISTURBED

    @property
    def errors_ms(self) -> dict[str, float | None]:
        """Reported - true."""
        return self.reported.errors_ms(self.truth)

    def as_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        reported = dataclasses.asdict(self.reported)
        return {
            "rate_per_s": self.rate_per_s,
            "reported_ms": reported,
            "true_ms": self.truth,
            "others": self.others,
        }


Run = Callable[[Load, ExactServer, int], Truth]
"""Runs a tool against the server, in a steady state for so many seconds."""


def users_for(limit_per_s: float, fraction: float, delay_ms: float) -> int:
    """Return how many users without think time make this fraction of a limit, by Little's law."""
    return max(1, round(limit_per_s * fraction * delay_ms / 1000))


def measure(name: str, *, delay_ms: float, users: int, seconds: int, folder: Path) -> Truth:
    """Return what one run of a tool reports and what is true of it."""
    with ExactServer(delay_ms, folder / "server") as server:
        load = Load(server.base_url, CASES["get"], users, folder / "tool", seconds=seconds)
        load.folder.mkdir(parents=True)
        return RUNS[name](load, server, seconds)


def perfload(client: str) -> Run:
    """Return a run of perfload: its record is cut to steady seconds, on the record's own clock."""

    def run(load: Load, server: ExactServer, seconds: int) -> Truth:
        command = locust(client)(dataclasses.replace(load, seconds=seconds + 60))
        reports = load.folder / "reports"
        with _child("perfload", command, load) as child:
            child.wait_for(lambda: perfload_record.folder_of(reports) is not None, "its record")
            folder = perfload_record.folder_of(reports)
            assert folder is not None
            zero_s = perfload_record.started_at_s(folder)
            first = math.ceil(time.time() - zero_s) + STEADY_AFTER_S
            _sleep_until(zero_s + first)
            watch = Watches(child, server.child)
            server.begin()
            _sleep_until(zero_s + first + seconds)
            server.end()
            others = watch.others()
            # What was finished in the last second is written in the next one.
            time.sleep(0.5)
            child.interrupt()
        truth = server.report()
        reported = perfload_record.service_times(folder, first, first + seconds)
        return Truth(truth["count"] / seconds, reported, truth, others)

    return run


def stock_locust(client: str) -> Run:
    """Return a run of Locust, whose statistics begin anew when its users are there: `--reset-stats`."""

    def run(load: Load, server: ExactServer, seconds: int) -> Truth:
        options = ("--reset-stats", "--json-file", "stats")
        command = locust(client, *options)(dataclasses.replace(load, seconds=seconds + 60))
        with _child(client, command, load) as child:
            child.wait_for(lambda: "Resetting stats" in child.said(), "all users")
            watch = Watches(child, server.child)
            server.begin()
            time.sleep(seconds)
            server.end()
            others = watch.others()
            child.interrupt()
        truth = server.report()
        return Truth(
            truth["count"] / seconds, readers.locust((load.folder / "stats.json").read_text()), truth, others
        )

    return run


def whole(
    name: str, read: Callable[[Child, Load], Reported], command: Callable[[Load], Command] | None = None
) -> Run:
    """Return a run of a tool that cannot leave out its start: truth is that of all of its requests, too.

    The time to connect is not the server's, so where a tool counts it in, its highest percentiles hold it.
    """

    def run(load: Load, server: ExactServer, seconds: int) -> Truth:
        server.begin()
        with _child(name, (command or TOOLS[name].command)(load), load) as child:
            child.wait(seconds + 60)
            server.end()
            return Truth((truth := server.report())["count"] / seconds, read(child, load), truth)

    return run


def _child(name: str, command: Command, load: Load) -> Child:
    return Child(name, command.argv, core=cores()[1], folder=load.folder, env=command.env)


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.time()))


def _artillery(load: Load, server: ExactServer, seconds: int) -> Truth:
    """Run Artillery's virtual users, each of which makes as many requests as go into the time."""
    count = math.ceil(seconds * 1000 / server.delay_ms)
    read = _written("report.json", readers.artillery)
    return whole("artillery loop", read, lambda load: artillery_loop(load, count))(load, server, seconds)


def _wrk(load: Load) -> Command:
    command = TOOLS["wrk"].command(load)
    script = load.write("done.lua", readers.WRK_DONE)
    return Command([*command.argv[:-1], "-s", script, command.argv[-1]], command.env)


def _vegeta_report(_: Child, load: Load) -> Reported:
    argv = [path_of("vegeta"), "report", "-type=json", "results.bin"]
    done = subprocess.run(argv, cwd=load.folder, capture_output=True, text=True, check=True)
    return readers.vegeta(done.stdout)


def _printed(read: Callable[[str], Reported]) -> Callable[[Child, Load], Reported]:
    return lambda child, _: read(child.said())


def _written(name: str, read: Callable[[str], Reported]) -> Callable[[Child, Load], Reported]:
    return lambda _, load: read((load.folder / name).read_text("utf-8"))


RUNS: dict[str, Run] = {
    "wrk": whole("wrk", _printed(readers.wrk), _wrk),
    "hey": whole("hey", _printed(readers.hey), hey_csv),
    "oha": whole("oha", _printed(readers.oha)),
    "k6": whole("k6", _written("summary.json", readers.k6)),
    "vegeta": whole("vegeta", _vegeta_report),
    "autocannon": whole("autocannon", _printed(readers.autocannon)),
    "artillery loop": _artillery,
    "HttpUser": stock_locust("HttpUser"),
    "FastHttpUser": stock_locust("FastHttpUser"),
    "perfload": perfload("perfload"),
    "perfload, lean loop": perfload("perfload-lean"),
}


def medians_ms(runs: Sequence[Truth]) -> dict[str, float | None]:
    """Return the median error of each percentile over several runs."""
    found: dict[str, float | None] = {}
    for name in readers.NAMES:
        values = [error for run in runs if (error := run.errors_ms[name]) is not None]
        found[name] = statistics.median(values) if values else None
    return found


def cell(error_ms: float | None) -> str:
    """Return an error as it stands in a table; "-" for what a tool does not report."""
    return "-" if error_ms is None else f"{error_ms:+.2f}"
