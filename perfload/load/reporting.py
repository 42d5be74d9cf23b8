"""The report of a finished run, made by `perfload report` in a process of its own.

It needs nothing but the record, so it is made as it would be made next month; a web UI goes on meanwhile.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import gevent
from gevent import subprocess

from perfload.child import child_environment
from perfload.errors import ExitCode

logger = logging.getLogger("perfload")


class Reporting:
    """Starts reports and collects their exit codes, which are those of the runs."""

    def __init__(self) -> None:
        self._jobs: list[gevent.Greenlet] = []

    def start(self, folder: Path) -> None:
        """Begin the report of the record in `folder`."""
        self._jobs.append(gevent.spawn(_report, folder))

    def wait(self) -> int | None:
        """Wait for all reports; return the exit code of the last run, None if there was none."""
        codes = [job.get() for job in self._jobs]
        return codes[-1] if codes else None


def _report(folder: Path) -> int:
    command = [sys.executable, "-P", "-m", "perfload.cli.main", "report", str(folder)]
    try:
        # A session of its own: the Ctrl-C that ends the run must not end its report.
        process = subprocess.Popen(command, env=child_environment(), start_new_session=True)
        return int(process.wait())
    except OSError as error:
        logger.error("the report could not be made: %s; try: perfload report %s", error, folder)
        return ExitCode.UNEXPECTED
