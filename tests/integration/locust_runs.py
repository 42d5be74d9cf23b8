"""Real Locust processes for the integration tests: started on loopback, watched, and always ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
AI_MODELS = ROOT / "locustfiles" / "ai_models.py"
API_FLOW = ROOT / "locustfiles" / "api_flow.py"
LOAD_TEST = ROOT / "shapes" / "load_test.py"

TIMEOUT_S = 120.0


def heed_interrupts() -> None:
    """Restore the default of SIGINT in a child that is about to run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class LocustProcess:
    """One Locust process; its output is read as it comes, so that tests wait for lines and never for time."""

    def __init__(
        self,
        *arguments: object,
        cwd: Path,
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        command = [*prefix, sys.executable, "-m", "locust", *map(str, arguments)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PERFLOAD_")}
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**clean, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Whoever starts the tests in the background has SIGINT ignored, and that is inherited.
            preexec_fn=heed_interrupts,  # noqa: PLW1509  # nothing but a system call
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """Everything written so far, standard error included."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, text: str, timeout_s: float = TIMEOUT_S) -> None:
        """Return once `text` has been written; fail if the process ends or time runs out before."""

        def seen() -> bool:
            return any(text in line for line in self._lines)

        with self._changed:
            self._changed.wait_for(lambda: seen() or self._ended, timeout_s)
            assert seen(), f"never wrote {text!r}:\n{''.join(self._lines)}"

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Return the exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this one process."""
        self.process.send_signal(number)

    def close(self) -> None:
        """End the process by its id, whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def locust(
    *arguments: object, cwd: Path, environment: dict[str, str] | None = None
) -> Iterator[LocustProcess]:
    """Run Locust for the length of a with-block."""
    process = LocustProcess(*arguments, cwd=cwd, environment=environment)
    try:
        yield process
    finally:
        process.close()


@dataclass(frozen=True)
class Finished:
    """What a Locust run left behind."""

    code: int
    output: str
    folders: list[Path]

    @property
    def folder(self) -> Path:
        """The record of the only run."""
        assert len(self.folders) == 1, self.output
        return self.folders[0]

    @property
    def summary(self) -> dict[str, Any]:
        """The summary of the only run."""
        return read_summary(self.folder)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary in `folder`."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return summary


def run_locust(*arguments: object, cwd: Path, environment: dict[str, str] | None = None) -> Finished:
    """Run Locust headless to its end."""
    with locust(*arguments, "--headless", cwd=cwd, environment=environment) as process:
        code = process.wait()
        return Finished(code, process.output, run_folders(cwd))


def run_cluster(workers: int, *arguments: object, files: Sequence[object], cwd: Path) -> Finished:
    """Run a master and `workers` workers on loopback to their end."""
    port = free_port()
    common = ("-f", ",".join(map(str, files)))
    started: list[LocustProcess] = []
    try:
        for _ in range(workers):
            started.append(LocustProcess(*common, "--worker", "--master-port", port, cwd=cwd))
        master = LocustProcess(
            *common,
            *("--master", "--master-bind-port", port, "--expect-workers", workers, "--headless"),
            *arguments,
            cwd=cwd,
        )
        started.append(master)
        code = master.wait()
        for worker in started[:-1]:
            assert worker.wait(20) == 0, worker.output
        return Finished(code, master.output, run_folders(cwd))
    finally:
        for process in started:
            process.close()


def run_folders(cwd: Path) -> list[Path]:
    """Return the records below `cwd`, oldest first."""
    return sorted(path for path in (cwd / "reports").glob("*") if path.is_dir())


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def requests_of(summary: dict[str, Any], phase: str = "all") -> dict[str, dict[str, Any]]:
    """Return the rows of `phase` by `METHOD name`."""
    rows = [row for row in summary["requests"] if row["phase"] == phase]
    return {f"{row['method']} {row['name']}": row for row in rows}
