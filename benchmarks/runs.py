"""Locust runs for the benchmarks: a scenario, perhaps a shape, a target, and back comes the summary."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from perfload.child import child_environment

LOGIN = "POST /api/auth/login"

SCENARIO = """
from locust import FastHttpUser, between, constant, constant_throughput, task
from perfload.load import HttpUser

class Login({base}):
    wait_time = {think}

    @task
    def log_in(self):
        self.client.post("/api/auth/login", json={{"email": "admin@test.com", "password": "testpass123"}})
"""

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="{duration}", arrival_rate={rate}),)
"""


def run(url: str, *options: str, think: str = "constant(0)", base: str = "HttpUser", shape: str = "") -> Any:
    """Return the summary of one run against `url`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / "login.py"]
        files[0].write_text(SCENARIO.format(think=think, base=base))
        if shape:
            files.append(folder / "shape.py")
            files[1].write_text(shape)
        command = [sys.executable, "-m", "locust", "-f", ",".join(map(str, files)), "--headless", "-H", url]
        subprocess.run(
            [*command, *options], cwd=folder, env=child_environment(), capture_output=True, check=False
        )
        (summary,) = (folder / "reports").glob("*/summary.json")
        return json.loads(summary.read_text())


def login_of(summary: Any) -> Any:
    """Return the row of the login over all phases."""
    rows = (row for row in summary["requests"] if row["phase"] == "all")
    return next(row for row in rows if f"{row['method']} {row['name']}" == LOGIN)
