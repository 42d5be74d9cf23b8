"""Judge a run again from its record, and write its report.

Reads reports/<run-id>/, writes summary.json and report.html there, prints the verdict and exits with the
run's exit code. Works on any old record, and on what a killed run left behind.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from perfload import store
from perfload.analysis.summary import exit_code, summarise
from perfload.cli.output import show
from perfload.errors import RecordError
from perfload.report import html, terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload report`."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a run, such as reports/<run-id>")
    parser.add_argument("--json", action="store_true", help="print summary.json instead of the verdict")


def run(arguments: argparse.Namespace) -> int:
    """Write summary and report, print the verdict; returns the run's exit code."""
    folder: Path = arguments.folder
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
