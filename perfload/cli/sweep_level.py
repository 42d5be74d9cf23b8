"""The run of one level of a sweep: a Locust process of its own, whose output goes into a file."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from perfload.child import child_environment
from perfload.cli.output import discard
from perfload.errors import ExitCode
from perfload.report.escape import visible

LOG = "locust.log"
"""In the folder of a level: everything that its Locust process wrote."""

TICK_S = 0.2
_LOOK_BACK_BYTES = 4096
_PROGRESS = re.compile(r"/INFO/perfload: (\d+:\d\d.*)")
_COMPLAINT = re.compile(r"^(?:\[[^\]]*\] \S*/(?:ERROR|CRITICAL)/[\w.]+: |perfload: |Traceback )")
_LINE_HEAD = re.compile(r"^\[[^\]]*\] \S*/[A-Z]+/[\w.]+: |^perfload: ")
_COMPLAINT_LINES = 12
_BY_ITSELF = (ExitCode.PASSED, ExitCode.THRESHOLD_FAILED, ExitCode.INVALID)


def find_run(folder: Path) -> Path | None:
    """Return the folder of the run of a level that is kept in `folder`; None where it came to no record."""
    return next((found.parent for found in folder.glob("*/run.json")), None)


class Interrupts:
    """Ctrl-C, SIGTERM and a closed terminal, each handed on to the run under way while a sweep goes on.

    A level's run is in a session of its own, so that a Ctrl-C at the terminal reaches it once and not twice.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.received = False
        self._at_terminal = sys.stdout.isatty()
        self._process: subprocess.Popen[bytes] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in self.NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's `&` ask for
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received = True
        if number == signal.SIGHUP and self._at_terminal:
            discard()  # a word to a terminal that is gone is an error
        self._hand_on()

    def _hand_on(self) -> None:
        if self._process is not None:
            # What ignores SIGINT here is ignored there too.
            self._process.send_signal(signal.SIGINT if signal.SIGINT in self._previous else signal.SIGTERM)

    def watch(self, process: subprocess.Popen[bytes] | None) -> None:
        """Hand signals on to `process` from now on, also one that came while it was being started."""
        self._process = process
        if process is not None and self.received:
            self._hand_on()

    def pause(self, seconds: float) -> None:
        """Wait; a signal ends it."""
        for _ in range(round(seconds / TICK_S)):
            if self.received:
                return
            time.sleep(TICK_S)


@dataclass(frozen=True, slots=True)
class Ended:
    """A level's process that has ended."""

    code: int
    """Its exit code; negative where a signal ended it."""
    run: Path | None
    """The folder of its record; None where it came to none."""
    log: Path

    def complaint(self) -> str:
        """Return what the process said was wrong: from its first error on, else its last words.

        A traceback is its last words: what went wrong stands at its end.
        """
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        first = next((at for at, line in enumerate(lines) if _COMPLAINT.match(line)), None)
        if first is None or lines[first].startswith("Traceback "):
            found = lines[first:][-_COMPLAINT_LINES:]
        else:
            found = lines[first:][:_COMPLAINT_LINES]
        words = [visible(_LINE_HEAD.sub("", line)) for line in found if line.strip()]
        return "\n".join(words) or "it said nothing"


class LevelProcess:
    """A level's Locust process, for the length of a with-block; its output and record go into `folder`."""

    def __init__(self, command: Sequence[str], folder: Path, added: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / LOG
        folder.mkdir()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=child_environment(added),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End what is left: all of it after an error here, workers whose master was ended at once.

        A run that ends by itself waits for its workers.
        """
        if self.process.poll() in _BY_ITSELF:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, show: Callable[[str], None]) -> Ended:
        """Return how it ended; until then `show` is called with the latest line about its progress."""
        while True:
            try:
                code = self.process.wait(TICK_S)
            except subprocess.TimeoutExpired:
                show(self.progress())
            else:
                return Ended(code, find_run(self.folder), self.log)

    def progress(self) -> str:
        """Return the latest line about the run's progress, as Locust with perfload prints it; "" before."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOOK_BACK_BYTES))
            text = log.read().decode("utf-8", errors="replace")
        found = _PROGRESS.findall(text)
        return visible(found[-1]) if found else ""
