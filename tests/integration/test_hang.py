"""A system that stops answering must not pass, however the run ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import API_FLOW, requests_of, run_cluster, run_locust

pytestmark = pytest.mark.integration

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="4s", arrival_rate=10),)
"""
REASON = "no response when the run ended"


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    (tmp_path / "perfload.toml").write_text('[run]\ndrain = "1s"\n')
    path = tmp_path / "shape.py"
    path.write_text(SHAPE)
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_requests_without_an_answer_are_failures(tmp_path: Path, shape: Path, workers: int) -> None:
    with TargetProcess("--stall", "120s@2s", "--delay", "10ms") as target:
        options = ("-H", target.url, "--stop-timeout", "1")
        if workers:
            finished = run_cluster(workers, *options, files=(API_FLOW, shape), cwd=tmp_path)
        else:
            finished = run_locust("-f", f"{API_FLOW},{shape}", *options, cwd=tmp_path)
        received = target.truth()["totals"]["received"]
    summary = finished.summary
    unanswered = sum(row["count"] for row in summary["failures"] if row["reason"] == REASON)
    assert unanswered >= 15
    assert summary["phases"][0]["arrivals"]["started"] == 40
    assert sum(row["count"] for row in requests_of(summary).values()) == received
    assert summary["verdict"] != "passed"
    assert finished.code in (3, 4)
    assert "Traceback" not in finished.output
