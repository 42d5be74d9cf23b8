"""The exact server as a child process."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.generator.child import Child, cores

SCRIPT = Path(__file__).with_name("exact_server.py")


class ExactServer:
    """A running exact server: `begin`, let a tool work, `end`, `report`."""

    def __init__(self, delay_ms: float, folder: Path) -> None:
        self.delay_ms = delay_ms
        folder.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, str(SCRIPT), str(delay_ms)]
        self.child = Child("exact server", argv, core=cores()[0], folder=folder)
        self.child.wait_for(lambda: self.child.said().endswith("\n"), "listening")
        port, control = map(int, self.child.said().split())
        self.base_url = f"http://127.0.0.1:{port}"
        self._control = socket.create_connection(("127.0.0.1", control), timeout=60)
        self._lines = self._control.makefile("r", encoding="utf-8")

    def __enter__(self) -> ExactServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()
        self.child.kill()

    def begin(self) -> None:
        """Forget what was answered so far."""
        self._ask("begin")

    def end(self) -> None:
        """Keep what was answered since `begin`."""
        self._ask("end")

    def answered(self) -> int:
        """Return how many answers there were since `begin`."""
        return int(self._ask("count")["count"])

    def stall(self, seconds: float) -> None:
        """Do nothing for so long; returns when that is over."""
        self._ask(f"stall {seconds}")

    def report(self) -> dict[str, Any]:
        """Return `count`, `p50`, `p95`, `p99`, `p99_9` and `max` in milliseconds of what was answered."""
        return self._ask("report")

    def _ask(self, line: str) -> dict[str, Any]:
        self._control.sendall(f"{line}\n".encode())
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer
