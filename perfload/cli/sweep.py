"""Find the highest load that meets the objectives: a run for each level, then a table and a page.

    perfload sweep ai_api --rates 1,2,4,8 --host http://localhost:8000
    perfload sweep ai_models --users 10..50:10 --duration 60s --warmup 10s --processes 4

SCENARIO is a file of locustfiles/ or a path. Each level is a headless Locust run of its own: a warm-up, then
the measured phase, both at that load. The objectives are the thresholds, without those that ask for load
themselves (peak_users >= 100), and --goodput where the scenario states objectives of answers. What perfload
does not know goes to Locust as it is.

It writes reports/sweep-<time>/: sweep.html, sweep.json, and for each level a folder with the record and the
report of its run.

Exit code: 0 when some level meets the objectives, 3 when none does, 4 when that could not be judged.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import perfload
from perfload.analysis.sweep import exit_code, sweep_summary
from perfload.analysis.sweep_plan import (
    VARIABLE,
    LevelModel,
    SweepPlan,
    parse_levels,
    parse_seconds,
    parse_share_percent,
    sort_rules,
)
from perfload.analysis.sweep_schema import LevelSummary, SweepEnd, SweepSummary
from perfload.cli import sweep_files
from perfload.cli.output import show
from perfload.cli.run import find, locust_command
from perfload.cli.sweep_level import Ended, Interrupts, LevelProcess
from perfload.config import Config, load_config
from perfload.errors import ExitCode, PerfloadError, RecordError, UsageError
from perfload.options import FLAG_KEYS, add_options, config_flags
from perfload.report.escape import visible
from perfload.report.layout import fitted
from perfload.report.sweep_terminal import level_line, render_sweep
from perfload.report.sweep_words import level_name, levels_in_words
from perfload.units import format_duration

SHAPE = Path(perfload.__file__).parent / "load" / "sweep" / "level.py"
"""Not imported: that would load Locust."""

GOODPUT_PERCENT = 95.0
AROUND_S = 6.0
"""What a run takes beside its load: Locust starts, the last users leave, the report is made."""

ALWAYS_ASKED = "count >= 1"
"""What a level's run is judged by when no rule is left: with none it would take those of perfload.toml."""

_MODELS: dict[str, LevelModel] = {"rates": "arrivals", "users": "users"}
_OF_THE_SWEEP = {
    **dict.fromkeys(("-u", "-r", "--spawn-rate"), "--rates or --users says the load of each level"),
    **dict.fromkeys(("-t", "--run-time"), "--duration says how long each level is measured"),
    **dict.fromkeys(("-f", "--locustfile"), "the scenario is named behind sweep"),
}
_OF_A_CLUSTER = ("--master", "--worker", "--expect-workers")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload sweep`."""
    parser.add_argument("scenario", metavar="SCENARIO", help="locustfiles/SCENARIO.py, or a path")
    levels = parser.add_mutually_exclusive_group(required=True)
    levels.add_argument(
        "--rates", metavar="LEVELS", help="virtual users per second (open model): 1,2,4,8 or 10..50:10"
    )
    levels.add_argument("--users", metavar="LEVELS", help="users at once (closed model), written the same")
    add = parser.add_argument
    add("--duration", default="60s", metavar="DURATION", help="of the measured phase (default: 60s)")
    add("--warmup", default="10s", metavar="DURATION", help="before it, in no figure (default: 10s)")
    add("--pause", default="5s", metavar="DURATION", help="between two levels (default: 5s)")
    add(
        "--goodput",
        metavar="SHARE",
        help="the least share of answers that meet all objectives of the scenario, where it states any "
        f"(default: {GOODPUT_PERCENT:g}%%, unless a threshold asks for goodput)",
    )
    add(
        "--keep-going",
        action="store_true",
        help="go on after a level at which the load generator was the limit",
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run all levels, write and print what they came to; returns the exit code."""
    scenario = find(arguments.scenario, Path("locustfiles"))
    _check_rest(arguments.rest)
    flags = config_flags(vars(arguments))
    config = load_config(directory=Path.cwd(), environ=os.environ, flags=flags)
    plan = _plan(arguments, config)
    folder = _make_folder(config.reports_dir, plan.sweep_id)
    plan = replace(plan, sweep_id=folder.name)
    command = locust_command(scenario, SHAPE, [*_passed_on(arguments, plan), *arguments.rest])
    show(_announcement(plan))
    with Interrupts() as interrupts:
        sweep = _Sweep(plan, command, folder, interrupts, keeps_going=arguments.keep_going)
        sweep_files.write_summary(folder, sweep.summary())
        sweep.run()
        summary = sweep.summary()
        if summary["levels"]:
            sweep_files.write(folder, summary)
            show_result(folder, summary)
        else:
            sweep_files.write_summary(folder, summary)
    if sweep.error is not None:
        raise sweep.error
    return int(exit_code(summary))


def show_result(folder: Path, summary: SweepSummary) -> None:
    """Print the table, the answer, and where the page is."""
    width = shutil.get_terminal_size((100, 24)).columns
    show(f"\n{render_sweep(summary, width=width)}\nReport: {_shown(folder / sweep_files.PAGE)}")


def _shown(path: Path) -> Path:
    """Return `path` as it is reached from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# --- before the load


def _check_rest(rest: list[str]) -> None:
    """Refuse options of Locust that a sweep sets itself or cannot do, and a shape."""
    for before, word in zip(["", *rest], rest, strict=False):
        option = word.partition("=")[0]
        short = option[:2] if option[:1] == "-" and option[1:2] != "-" else option
        if short in _OF_THE_SWEEP:
            raise UsageError(f"a sweep does not take {short}", hint=_OF_THE_SWEEP[short])
        if option.startswith(_OF_A_CLUSTER):
            raise UsageError(
                f"a sweep does not take {option}: it runs on the processes of one machine",
                hint="--processes N uses N cores; in a cluster, run each level with perfload run",
            )
        is_value = before.startswith("-") and "=" not in before
        if not is_value and (word.endswith(".py") or Path("shapes", f"{word}.py").is_file()):
            raise UsageError(f"a sweep makes its own shape, not {word!r}", hint="leave the shape out")


def _plan(arguments: argparse.Namespace, config: Config) -> SweepPlan:
    option = "rates" if arguments.rates is not None else "users"
    model = _MODELS[option]
    rules, left_out = sort_rules(config.rules)
    goodput = None if any(rule.metric == "goodput" for rule in rules) else GOODPUT_PERCENT
    if arguments.goodput is not None:
        goodput = parse_share_percent(arguments.goodput, "--goodput")
    now = time.gmtime()
    return SweepPlan(
        sweep_id=f"sweep-{time.strftime('%Y%m%d-%H%M%S', now)}",
        started_at=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", now),
        scenario=arguments.scenario,
        model=model,
        levels=parse_levels(getattr(arguments, option), model, f"--{option}"),
        warmup_s=parse_seconds(arguments.warmup, "--warmup", zero=True),
        duration_s=parse_seconds(arguments.duration, "--duration", zero=False),
        pause_s=parse_seconds(arguments.pause, "--pause", zero=True),
        time_scale=config.time_scale,
        goodput_percent=goodput,
        rules=tuple(rule.text for rule in rules),
        left_out=left_out,
    )


def _passed_on(arguments: argparse.Namespace, plan: SweepPlan) -> Iterator[str]:
    """Yield perfload's own options for the run of a level; its rules are those that are left."""
    for option in FLAG_KEYS:
        if option in ("threshold", "reports_dir"):
            continue
        value = getattr(arguments, option)
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield f"--{option.replace('_', '-')}={one}"
    for rule in plan.rules or (ALWAYS_ASKED,):
        yield f"--threshold={rule}"


def _make_folder(reports_dir: Path, sweep_id: str) -> Path:
    """Make the folder of a sweep; a second one in the same second gets a longer name."""
    folder = reports_dir / sweep_id
    try:
        reports_dir.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            folder = reports_dir / f"{sweep_id}-{secrets.token_hex(2)}"
            folder.mkdir()
    except OSError as error:
        raise RecordError(
            f"{folder} cannot be made: {error.strerror}",
            hint="choose another place with --reports-dir, or free space",
        ) from error
    return folder.absolute()


def _announcement(plan: SweepPlan) -> str:
    lasts_s = plan.lasts_s + len(plan.levels) * AROUND_S
    lines = [
        f"Sweep of {visible(plan.scenario)}: {levels_in_words(list(plan.levels), plan.model)}; "
        f"about {format_duration(round(lasts_s))} in all, longer where answers take long."
    ]
    lines += [f"Left out: {visible(left.rule)} ({visible(left.why)})" for left in plan.left_out]
    return "\n".join([*lines, ""])


# --- the levels


@dataclass(slots=True)
class _Sweep:
    """A sweep under way."""

    plan: SweepPlan
    command: list[str]
    folder: Path
    interrupts: Interrupts
    keeps_going: bool
    levels: list[LevelSummary] = field(default_factory=list)
    host: str = ""
    end: SweepEnd = "running"
    note: str = "The sweep was never closed: its process was killed, or is still running."
    error: PerfloadError | None = None
    """Why it could not go on, to be raised once what there is has been written."""

    def run(self) -> None:
        """Run the levels, until one ends the sweep."""
        for number, level in enumerate(self.plan.levels, 1):
            if number > 1:
                self.interrupts.pause(self.plan.pause_s)
            if self.interrupts.received:
                self._end("interrupted", f"The sweep was interrupted before {self._name(level)}.")
                return
            ended = self._run_level(number, level)
            if ended.run is not None:
                self._judge(number, level, ended.run)
            self._look_at(level, ended)
            if self.end != "running":
                return
        self._end("finished", "")

    def summary(self) -> SweepSummary:
        """Return what there is so far."""
        return sweep_summary(self.plan, self.levels, host=self.host, end=self.end, end_note=self.note)

    def _name(self, level: float) -> str:
        return level_name(level, self.plan.model)

    def _end(self, end: SweepEnd, note: str) -> None:
        self.end, self.note = end, note

    def _run_level(self, number: int, level: float) -> Ended:
        place = sweep_files.level_folder(self.folder, level)
        command = [*self.command, f"--reports-dir={place}"]
        head = self._head(number, level)
        with LevelProcess(command, place, {VARIABLE: self.plan.level(level).encode()}) as process:
            self.interrupts.watch(process.process)
            try:
                return process.wait(lambda line: _show_live(head + self._doing(line)))
            finally:
                self.interrupts.watch(None)
                _show_live("")

    def _doing(self, progress: str) -> str:
        """Return what a level's run is at, given the latest line about its progress."""
        if self.interrupts.received:
            return "stopping; interrupt again to end it at once"
        return progress or "starting"

    def _head(self, number: int, level: float) -> str:
        """Return what stands before everything about a level, of the same width for all."""
        total = str(len(self.plan.levels))
        width = max(len(self._name(each)) for each in self.plan.levels)
        return f"{number:>{len(total)}}/{total}  {self._name(level):>{width}}  "

    def _judge(self, number: int, level: float, run: Path) -> None:
        summary, self.host = sweep_files.judge_level(self.folder, self.plan, level, run)
        self.levels.append(summary)
        show(self._head(number, level) + level_line(summary))
        sweep_files.write_summary(self.folder, self.summary())

    def _look_at(self, level: float, ended: Ended) -> None:
        """Decide whether the sweep goes on after a level."""
        name = self._name(level)
        if self.interrupts.received:
            self._end("interrupted", f"The sweep was interrupted at {name}.")
        elif ended.run is None or ended.code == ExitCode.USAGE:
            self._end("failed", f"The run of {name} did not start.")
            self.error = UsageError(
                f"the run of {name} did not start: {ended.complaint()}",
                hint=f"its whole output: {_shown(ended.log)}",
            )
        elif ended.code == ExitCode.INTERRUPTED:
            self._end("interrupted", f"The run of {name} was stopped by a signal to it.")
        elif ended.code not in (ExitCode.PASSED, ExitCode.THRESHOLD_FAILED, ExitCode.INVALID):
            self._end("failed", f"The run of {name} broke off with exit code {ended.code}.")
            self.error = PerfloadError(
                f"the run of {name} broke off with exit code {ended.code}: {ended.complaint()}",
                hint=f"its whole output: {_shown(ended.log)}",
            )
        elif self.levels[-1]["verdict"] == "invalid" and not self._may_go_on(level):
            self._end(
                "stopped",
                f"Stopped after {name}: where the load generator is the limit, more load tells nothing more. "
                "--keep-going goes on, --processes N takes more cores.",
            )

    def _may_go_on(self, level: float) -> bool:
        return self.keeps_going or level == self.plan.levels[-1]


def _show_live(text: str) -> None:
    """Write over the line at which the terminal stands; nothing where there is no terminal."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size((100, 24)).columns
        print(f"\r\x1b[K{fitted(text, width - 1)}", end="", flush=True)
