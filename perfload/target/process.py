"""The target as a process of its own, for tests and demos. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO, Any, Self

from perfload.errors import PerfloadError, TargetUnreachable

READY_PREFIX = "perfload target: listening on "
"""What the target prints on standard output, followed by its URL, when it accepts connections."""

_COMMAND = (sys.executable, "-m", "perfload.target")
_CALL_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 5.0
_TAIL_LINES = 20


class TargetProcess:
    """A target on a free loopback port, stopped at the end of the `with` block.

    `arguments` go to `perfload target`, such as `"--error-rate", "5%"`, and `environment` is added to that of
    this process. It stops too when this process dies.
    """

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, start_timeout_s: float = 15.0
    ) -> None:
        self._arguments = arguments
        self._environment = {**os.environ, **environment} if environment else None
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[str] | None = None
        self._log = ""
        # Loopback never goes through the proxy of the environment.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.url = ""
        """The target's address, such as `http://127.0.0.1:40123`; empty until it is started."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the running target; raises `PerfloadError` when it is not running."""
        return self._running().pid

    @property
    def log(self) -> str:
        """What the target has written to standard error; after `stop`, with the table of what it saw."""
        if self._stderr is not None:
            self._stderr.seek(0)
            self._log = self._stderr.read()
        return self._log

    def start(self) -> None:
        """Start the target and wait until it accepts connections.

        Raises `PerfloadError`, with the end of its standard error, when it ends or is not ready in time.
        """
        # Opened to append: the two processes share its position, and reading it here moves that.
        self._stderr = tempfile.TemporaryFile("a+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*_COMMAND, "--port", "0", "--stop-with-stdin", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=self._environment,
            text=True,
        )
        line = self._first_line(self._process)
        if not line.startswith(READY_PREFIX):
            code = self._process.poll()
            self.stop()
            ended = "is not ready" if code is None else f"ended with exit code {code}"
            raise PerfloadError(f"the target {ended}; its last words:\n{self._tail()}")
        self.url = line.removeprefix(READY_PREFIX).strip()

    def stop(self) -> int | None:
        """Stop the target and return its exit code: SIGTERM, then SIGKILL. None when it was never started."""
        process = self._process
        if process is None:
            return None
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._stderr is not None:
            self._log = self.log
            self._stderr.close()
            self._stderr = None
        return process.returncode

    def wait(self, timeout_s: float) -> int:
        """Return the exit code once the target has ended by itself; raises `PerfloadError` if it does not."""
        try:
            return self._running().wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise PerfloadError(
                f"the target still runs after {timeout_s:g} s", hint="stop() ends it"
            ) from error

    def truth(self) -> dict[str, Any]:
        """Return what the target saw: `GET /_truth`."""
        return self._call("GET", "/_truth")

    def truth_of(self, part: str) -> dict[str, Any]:
        """Return what one part of the target saw in detail: `GET /_truth/ai`."""
        return self._call("GET", f"/_truth/{part}")

    def reset_truth(self) -> None:
        """Start the truth anew."""
        self._call("DELETE", "/_truth")

    def set_faults(self, **faults: str | float) -> dict[str, Any]:
        """Put `faults` in force, in place of all others, and return them: `set_faults(error_rate="5%")`.

        No faults: clear them. Raises `PerfloadError` with the target's own message for a bad one.
        """
        return self._call("POST", "/_faults", faults)

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        """Return the first line that the process prints, or "" when it ends or the time is up."""
        found: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            found.append(process.stdout.readline())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(self._start_timeout_s)
        if reader.is_alive():
            process.kill()
            reader.join()
            return ""
        if not found[0]:
            process.wait(_STOP_TIMEOUT_S)
        return found[0]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self._running()
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the URL is the target's own
            self.url + path, data=data, method=method, headers={"content-type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=_CALL_TIMEOUT_S) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise PerfloadError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        except OSError as error:
            raise TargetUnreachable(
                f"the target at {self.url} does not answer: {error}",
                hint="it accepts no connections while the fault 'refuse' is in force",
            ) from error

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or not self.url:
            raise PerfloadError(
                "the target is not running", hint="use it in a with block: with TargetProcess() as t"
            )
        return self._process

    def _tail(self) -> str:
        return "\n".join(self.log.splitlines()[-_TAIL_LINES:])
