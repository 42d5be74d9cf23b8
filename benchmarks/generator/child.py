"""Child processes of a benchmark: pinned to a core, paused as whole trees, and gone at the end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.generator import proc

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """A tool or target did not do what the benchmark needs; the text says what and shows its last words."""


def cores() -> tuple[int, int]:
    """Return the core of the target and the core of the generator: the same one where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


class Child:
    """A process on one core (None: on any), with its descendants; it prints to `folder/<name>.log`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        core: int | None,
        folder: Path,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.name = name
        self.log = folder / f"{name.replace(' ', '-').replace(',', '')}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**os.environ, **(env or {})},
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_prepare(core),  # noqa: PLW1509  # a benchmark has one thread
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pids(self) -> list[int]:
        """The process and its descendants."""
        return proc.tree(self.process.pid)

    def is_running(self) -> bool:
        """Return whether the process is still there."""
        return self.process.poll() is None

    def pause(self) -> None:
        """Stop the whole tree until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the whole tree go on."""
        self._signal(signal.SIGCONT)

    def interrupt(self, timeout_s: float = 30.0) -> None:
        """Ask the process to end by SIGINT, as Ctrl-C does, and wait until it has; kill it if it does not."""
        self.process.send_signal(signal.SIGINT)
        self.wait(timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Wait until the process has ended; raises `Failed` if it does not in `timeout_s`."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.failed(f"did not end in {timeout_s:.0f} s") from None

    def kill(self) -> None:
        """End the whole tree at once."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def cpu_s(self) -> float:
        """Return the CPU seconds that the tree has used."""
        return proc.cpu_s(self.pids)

    def waited_s(self) -> float:
        """Return for how many seconds the tree has waited for a core that something else had."""
        return proc.waited_s(self.pids)

    def said(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text("utf-8", "replace")

    def failed(self, what: str) -> Failed:
        """Return an error that shows the last words of this process."""
        last = "\n".join(f"    {line}" for line in self.said().splitlines()[-8:])
        return Failed(f"{self.name} {what}" + (f"; it said last:\n{last}" if last else ""))

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        """Wait until `condition()`; raises `Failed` when the process ends before that, or takes too long."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if not self.is_running():
                raise self.failed(f"ended with status {self.process.returncode} before {what}")
            if time.monotonic() > deadline_s:
                raise self.failed(f"took more than {timeout_s:.0f} s for {what}")
            time.sleep(0.02)

    def _signal(self, number: int) -> None:
        for pid in self.pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _prepare(core: int | None) -> Callable[[], None]:
    def prepare() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        # A benchmark in the background of a shell ignores Ctrl-C; its children are ended by that signal.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Should the benchmark itself be killed, this process goes with it.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare
