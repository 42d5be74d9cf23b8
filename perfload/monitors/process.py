"""The sampler as a child process, seen from the load test that starts and stops it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from perfload.child import child_environment
from perfload.errors import RecordError
from perfload.monitors.sampler import FINISH_WAIT_S, check_node, parse_plans

LOG_NAME = "sampler.log"
"""Beside the readings: what the sampler had to say to a person. Removed at the end if that was nothing."""


class SamplerProcess:
    """A running sampler, made by `start`. Starts no thread: safe in a process that gevent has patched."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    def start(
        cls,
        out: Path,
        *,
        observations: Path | None = None,
        node: str,
        interval_s: float = 1.0,
        timeout_s: float = 2.0,
        monitors: Sequence[str] = ("host",),
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start sampling into `out` and `observations`, whose folder exists, and return at once.

        `monitors` are names, or `name@interval`. `environment` is added to this process's own: addresses and
        secrets of databases go there, since a command line is seen by every user of the machine. Raises
        `UsageError` for a bad name or interval, before anything is started, and `RecordError` when the
        folder cannot be written to.
        """
        parse_plans(monitors, interval_s=interval_s, timeout_s=timeout_s)
        command = [sys.executable, "-P", "-m", "perfload.monitors.sampler", "--out", str(out)]
        command += [f"--node={check_node(node)}", f"--interval={interval_s!r}", f"--timeout={timeout_s!r}"]
        command += [f"--monitor={monitor}" for monitor in monitors]
        if observations is not None:
            command += ["--observations", str(observations)]
        log = out.with_name(LOG_NAME)
        try:
            # Not the terminal, whose progress view it would garble, and not nothing: a sampler that cannot
            # start has a reason to give.
            with log.open("ab") as stderr:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    bufsize=0,
                    env=child_environment(environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise RecordError(
                f"cannot start the sampler beside {out}: {error}",
                hint="the folder of the run must exist and be writable, or turn the monitors off",
            ) from error
        return cls(process, log)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """The file with the sampler's own messages; it may not exist once the sampler has stopped."""
        return self._log

    def is_alive(self) -> bool:
        """Say whether it still samples; once False, `log` says why."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = FINISH_WAIT_S + 2.0) -> int:
        """End the sampler and return its exit code, negative for a signal; killed if it takes longer.

        When this returns, every reading is in the file. May be called again.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            if not self._log.stat().st_size:
                self._log.unlink()
        return self._process.returncode
