"""Judge a run or a sweep again from its record, and write its report.

Reads reports/<run-id>/, writes summary.json and report.html there, prints the verdict and exits with the
run's exit code. Works on any old record, and on what a killed run left behind. Of reports/sweep-<time>/ it
judges the records of all levels, and writes sweep.json and sweep.html.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from perfload import store
from perfload.analysis.summary import exit_code, summarise
from perfload.analysis.sweep import exit_code as sweep_exit_code
from perfload.cli import sweep_files
from perfload.cli.output import show
from perfload.cli.sweep import show_result
from perfload.errors import RecordError
from perfload.report import html, terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload report`."""
    parser.add_argument(
        "folder", type=Path, metavar="RUN", help="folder of a run or a sweep, such as reports/<run-id>"
    )
    parser.add_argument(
        "--json", action="store_true", help="print summary.json (sweep.json) instead of the verdict"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write summary and report, print the verdict; returns the run's exit code."""
    folder: Path = arguments.folder
    if sweep_files.is_sweep(folder):
        return _sweep(folder, as_json=arguments.json)
    record = store.load(folder)
    summary = summarise(record)
    summary_text = json.dumps(summary, indent=2) + "\n"
    try:
        store.write_text(folder / store.SUMMARY, summary_text)
        store.write_text(folder / store.REPORT, html.render(record, summary))
    except OSError as error:
        raise RecordError(
            f"the report cannot be written to {folder}: {error.strerror}",
            hint="free space or fix permissions",
        ) from error
    if arguments.json:
        show(summary_text.rstrip())
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        show(terminal.render_verdict(summary, width=width, color=sys.stdout.isatty()))
        show(f"\nReport: {folder / store.REPORT}")
    return int(exit_code(summary))


def _sweep(folder: Path, *, as_json: bool) -> int:
    """Do the same for a sweep."""
    summary = sweep_files.judge_again(folder)
    sweep_files.write(folder, summary)
    if as_json:
        show(sweep_files.encode(summary).rstrip())
    else:
        show_result(folder, summary)
    return int(sweep_exit_code(summary))
