"""The folder of a sweep: `sweep.json` and `sweep.html`, and below it a folder for each level with its run."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import cast, get_args

from perfload import store
from perfload.analysis.summary import summarise
from perfload.analysis.sweep import level_summary, sweep_summary
from perfload.analysis.sweep_plan import SweepPlan, decode_plan, level_text
from perfload.analysis.sweep_schema import LevelSummary, SweepEnd, SweepSummary
from perfload.cli.sweep_level import find_run
from perfload.errors import RecordError
from perfload.report import sweep as page

SUMMARY = "sweep.json"
PAGE = "sweep.html"


def is_sweep(folder: Path) -> bool:
    """Return whether `folder` is that of a sweep."""
    return (folder / SUMMARY).is_file()


def level_folder(sweep: Path, level: float) -> Path:
    """Return where the run of one level is kept."""
    return sweep / f"level-{level_text(level)}"


def judge_level(sweep: Path, plan: SweepPlan, level: float, run: Path) -> tuple[LevelSummary, str]:
    """Return what the record of one level says, and the host that it was run against."""
    record = store.load(run)
    name = run.relative_to(sweep).as_posix()
    return level_summary(record, summarise(record), plan, level=level, run=name), record.manifest.host


def encode(summary: SweepSummary) -> str:
    """Return `sweep.json`."""
    return json.dumps(summary, indent=2) + "\n"


def write(folder: Path, summary: SweepSummary) -> None:
    """Write both files; raises `RecordError` if that cannot be done."""
    write_summary(folder, summary)
    _write(folder / PAGE, page.render(summary))


def write_summary(folder: Path, summary: SweepSummary) -> None:
    """Write `sweep.json`; raises `RecordError` if that cannot be done."""
    _write(folder / SUMMARY, encode(summary))


def _write(path: Path, text: str) -> None:
    try:
        store.write_text(path, text)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written: {error.strerror}",
            hint="free space or fix permissions; perfload report writes it from the runs",
        ) from error


def judge_again(folder: Path) -> SweepSummary:
    """Return the sweep in `folder`, its levels judged anew from their records, of killed runs too.

    Raises `RecordError` if it is none, or if the record of a level cannot be read.
    """
    path = folder / SUMMARY
    try:
        value = json.loads(path.read_text("utf-8"))
        plan = decode_plan(value)
        end, note = _ending(value["end"], value["end_note"])
        runs = {_level(plan, row["level"]): _run(folder, row["run"]) for row in value["levels"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(
            f"{path} cannot be read: {error}", hint="restore the file, or sweep again"
        ) from error
    for level in plan.levels:  # one under way when the sweep was killed has a record, and stands nowhere
        found = find_run(level_folder(folder, level))
        if found is not None:
            runs.setdefault(level, found)
    judged = [judge_level(folder, plan, level, run) for level, run in sorted(runs.items())]
    host = judged[0][1] if judged else ""
    return sweep_summary(plan, [level for level, _ in judged], host=host, end=end, end_note=note)


def _level(plan: SweepPlan, value: object) -> float:
    for level in plan.levels:
        if level == value:
            return level
    raise ValueError(f"{value!r} is none of its levels")


def _run(folder: Path, name: object) -> Path:
    """Return the folder of a run below that of its sweep, and nowhere else."""
    if not isinstance(name, str) or not name or PurePosixPath(name).is_absolute():
        raise ValueError(f"{name!r} is no folder of a run")
    if ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name!r} is not below the sweep")
    return folder / name


def _ending(end: object, note: object) -> tuple[SweepEnd, str]:
    if end in get_args(SweepEnd) and isinstance(note, str):
        return cast(SweepEnd, end), note
    raise ValueError(f"it ended as {end!r}")
