"""Ctrl-C and SIGTERM: the first stops the run and still writes the report, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from gevent import get_hub

from perfload.errors import ExitCode, PerfloadError


class Interrupts:
    """Handles SIGINT and SIGTERM in a Locust process.

    Python's own handler raises KeyboardInterrupt wherever the process happens to be, also in the middle of a
    user's request, whose result is lost then. This one raises it in the main greenlet, which waits. Locust's
    own SIGTERM handler is installed too late: headless, with a shape, only after the run.
    """

    def __init__(self) -> None:
        self.received = False

    def install(self) -> None:
        """Take over both signals, except where the process was told to ignore one."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def _handle(self, _signal: int, _frame: Any) -> None:
        if self.received:
            os.write(
                2,
                b"\nperfload: interrupted twice, ending at once; `perfload report` reads what there is\n",
            )
            os._exit(ExitCode.INTERRUPTED)
        self.received = True
        hub = get_hub()
        hub.loop.run_callback_threadsafe(hub.parent.throw, KeyboardInterrupt)


def install_excepthook(before_exit: Callable[[], None]) -> None:
    """Make errors that end the process readable: a `PerfloadError` in its own words and with its exit code.

    Locust imports scenario and shape files outside any handler of ours, so their errors end up here.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, PerfloadError):
            sys.stderr.write(f"perfload: {error}\n")
            raise SystemExit(int(error.exit_code))
        if isinstance(error, KeyboardInterrupt):
            before_exit()
            raise SystemExit(int(ExitCode.INTERRUPTED))
        previous(kind, error, trace)

    sys.excepthook = hook
