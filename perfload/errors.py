"""Every way in which perfload ends, and the errors that lead there.

    PerfloadError            1  unexpected
    ├── UsageError           2  bad configuration, plan, data or arguments
    ├── TargetUnreachable    2  the target does not answer, before the load
    └── RecordError          2  a run record that cannot be read or written

Verdicts end a process with the same table: `ExitCode`.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The exit codes of every perfload command and of `locust` with a perfload scenario."""

    PASSED = 0
    UNEXPECTED = 1
    USAGE = 2
    THRESHOLD_FAILED = 3
    INVALID = 4
    INTERRUPTED = 130


class PerfloadError(Exception):
    """An error that a person reads: what happened, and in `hint` what to do next."""

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(PerfloadError):
    """Bad configuration, plan, threshold, data file or command line."""

    exit_code = ExitCode.USAGE


class TargetUnreachable(UsageError):
    """Nothing answers at the target's address."""


class RecordError(UsageError):
    """A folder that is no run record, or a record that cannot be read or written."""
