"""Locust's `--processes`: one command, several generators, and a terminal that interrupts them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import API_FLOW, ROOT, heed_interrupts, read_summary, run_folders

pytestmark = pytest.mark.integration

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="{duration}", arrival_rate=20),)
"""


def start(folder: Path, url: str, duration: str) -> subprocess.Popen[str]:
    """Start a master and two workers as one process group, as a shell does."""
    (folder / "shape.py").write_text(SHAPE.format(duration=duration))
    files = f"{API_FLOW},{folder / 'shape.py'}"
    command = [sys.executable, "-m", "locust", "-f", files, "--headless", "--processes", "2", "-H", url]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509  # nothing but a system call
    )


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"never wrote {text!r}")


def count(folder: Path) -> int:
    rows = read_summary(folder)["requests"]
    return sum(row["count"] for row in rows if row["phase"] == "all")


def test_two_processes_share_the_arrivals(tmp_path: Path) -> None:
    with TargetProcess("--delay", "10ms") as target, start(tmp_path, target.url, "3s") as process:
        output, _ = process.communicate(timeout=60)
        truth = target.truth()["totals"]
    (folder,) = run_folders(tmp_path)
    summary = read_summary(folder)
    assert summary["phases"][0]["arrivals"]["started"] == 60, output
    assert [node["complete"] for node in summary["nodes"]] == [True, True]
    assert count(folder) == truth["received"] == 300


def test_ctrl_c_in_a_terminal_reaches_all_of_them_and_loses_nothing(tmp_path: Path) -> None:
    with TargetProcess("--delay", "10ms") as target, start(tmp_path, target.url, "60s") as process:
        read_until(process, "requests/s")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        truth = target.truth()["totals"]
    (folder,) = run_folders(tmp_path)
    assert process.returncode == 130
    assert read_summary(folder)["end_reason"] == "interrupted"
    assert count(folder) == truth["received"] > 50
