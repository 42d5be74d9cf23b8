"""A real Prometheus on a free loopback port that scrapes itself, and what else it is told to."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.redis_server import free_port

ENOUGH_S = 20.0
_READY = "Server is ready to receive web requests"


class PrometheusServer:
    """Start it with `start`; `targets` are the addresses to scrape, by the name of the job."""

    def __init__(self, folder: Path, *, targets: Mapping[str, str], users: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._targets = {"prometheus": f"127.0.0.1:{self.port}", **targets}
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]}
                for job, target in self._targets.items()
            ],
        }
        # JSON is YAML too.
        (self._folder / "prometheus.yml").write_text(json.dumps(config))
        (self._folder / "web.yml").write_text(json.dumps({"basic_auth_users": dict(self._users)}))
        command = ["prometheus", f"--config.file={self._folder / 'prometheus.yml'}"]
        command += [
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.config.file={self._folder / 'web.yml'}",
        ]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline_s = time.monotonic() + ENOUGH_S
        while not self._is_ready():
            assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
            assert time.monotonic() < deadline_s, "Prometheus does not get ready"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                return True
        except urllib.error.HTTPError as error:
            with error:
                # Who is not let in is not told either; the log says it to everybody.
                return error.code == 401 and _READY in (self._folder / "prometheus.log").read_text()
        except OSError:
            return False

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        parameters = urllib.parse.urlencode({"query": promql})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{parameters}", timeout=5) as response:
            result: list[dict[str, Any]] = json.load(response)["data"]["result"]
            return result

    def wait_for(self, promql: str) -> None:
        """Wait until a query has an answer: the first scrape takes a moment."""
        deadline_s = time.monotonic() + ENOUGH_S
        while not self.query(promql):
            assert time.monotonic() < deadline_s, f"{promql} stays empty"
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def prometheus_server(
    folder: Path, *, targets: Mapping[str, str] | None = None, users: Mapping[str, str] | None = None
) -> Iterator[PrometheusServer]:
    """Run a server with its data in `folder`; `users` have the bcrypt hashes of their passwords."""
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on PATH: the Prometheus monitor is not tested against a real one")
    server = PrometheusServer(folder, targets=targets or {}, users=users or {})
    try:
        server.start()
        yield server
    finally:
        server.kill()
