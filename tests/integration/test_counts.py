"""The counts agree three ways: the target's own, perfload's summary, Locust's CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import (
    AI_MODELS,
    API_FLOW,
    LOAD_TEST,
    Finished,
    requests_of,
    run_cluster,
    run_locust,
)

pytestmark = pytest.mark.integration

SHAPE = """
from perfload.load import Phase, PhasedShape

class Short(PhasedShape):
    phases = (
        Phase(name="Calm", duration="2s", arrival_rate=10),
        Phase(name="Ramp", duration="2s", arrival_rate=10, ramp_to=40),
    )
"""
ARRIVALS = {"Calm": 20, "Ramp": 50}
FAULTS = ("--error-rate", "10%", "--delay", "20ms", "--throttle-rate", "3%", "--seed", "5")


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "short.py"
    path.write_text(SHAPE)
    return path


def check_three_ways(finished: Finished, truth: dict[str, Any], csv_rows: dict[str, dict[str, str]]) -> None:
    rows = requests_of(finished.summary)
    assert sum(row["count"] for row in rows.values()) == truth["totals"]["received"]
    assert sum(row["failures"] for row in rows.values()) == truth["totals"]["failed"] > 0
    for endpoint, seen in truth["endpoints"].items():
        name = endpoint.replace("{model_id}", "[id]").replace("{id}", "[id]")
        row, theirs = rows[name], csv_rows[name]
        assert row["count"] == seen["received"] == int(theirs["Request Count"]), endpoint
        assert row["failures"] == seen["failed"] == int(theirs["Failure Count"]), endpoint


def check_arrivals(summary: dict[str, Any]) -> None:
    arrivals = {phase["name"]: phase["arrivals"] for phase in summary["phases"]}
    assert {name: row["planned"] for name, row in arrivals.items()} == ARRIVALS
    assert {name: row["started"] for name, row in arrivals.items()} == ARRIVALS
    assert all(row["dropped"] == row["missed"] == 0 for row in arrivals.values())


def read_csv(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {f"{row['Type']} {row['Name']}": row for row in csv.DictReader(file)}


def test_alone(tmp_path: Path, shape: Path) -> None:
    with TargetProcess(*FAULTS) as target:
        finished = run_locust("-f", f"{API_FLOW},{shape}", "-H", target.url, "--csv", "locust", cwd=tmp_path)
        truth = target.truth()
    rows = read_csv(tmp_path / "locust_stats.csv")
    check_three_ways(finished, truth, rows)
    check_arrivals(finished.summary)
    check_locust_percentiles(finished.summary, rows)
    assert finished.summary["verdict"] in ("failed", "invalid")  # invalid where the machine is too busy
    assert all(node["complete"] for node in finished.summary["nodes"])


def check_locust_percentiles(summary: dict[str, Any], csv_rows: dict[str, dict[str, str]]) -> None:
    """Locust counts failures into its times and cuts them to whole milliseconds."""
    for name, row in requests_of(summary).items():
        service, theirs = row["service_time_ms"], csv_rows[name]
        assert float(theirs["Max Response Time"]) >= service["max"] - 0.001
        assert float(theirs["50%"]) == pytest.approx(service["p50"], rel=0.05, abs=1.5)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_cluster(tmp_path: Path, shape: Path, workers: int) -> None:
    with TargetProcess(*FAULTS) as target:
        arguments = ("-H", target.url, "--csv", "locust")
        finished = run_cluster(workers, *arguments, files=(API_FLOW, shape), cwd=tmp_path)
        truth = target.truth()
    check_three_ways(finished, truth, read_csv(tmp_path / "locust_stats.csv"))
    check_arrivals(finished.summary)
    nodes = finished.summary["nodes"]
    assert [node["index"] for node in nodes] == list(range(workers))
    assert all(node["complete"] for node in nodes)


def test_a_closed_load(tmp_path: Path) -> None:
    with TargetProcess(*FAULTS) as target:
        arguments = ("-u", "5", "-r", "5", "-t", "4s", "--csv", "locust")
        finished = run_locust("-f", API_FLOW, "-H", target.url, *arguments, cwd=tmp_path)
        truth = target.truth()
    check_three_ways(finished, truth, read_csv(tmp_path / "locust_stats.csv"))
    (phase,) = finished.summary["phases"]
    assert (phase["name"], phase["model"], phase["peak_users"]) == ("Closed load", "users", 5)
    assert phase["duration_s"] == pytest.approx(4, abs=1)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_start_the_load_tests_own_counts(tmp_path: Path, workers: int) -> None:
    """The five phases, their durations divided by 300: 1, 2, 6, 3 and 1 s at the true rates."""
    with TargetProcess("--no-latency") as target:
        options = ("-H", target.url, "--time-scale", "300", "--stop-timeout", "1")
        finished = run_cluster(workers, *options, files=(AI_MODELS, LOAD_TEST), cwd=tmp_path)
    arrivals = [phase["arrivals"] for phase in finished.summary["phases"]]
    assert [row["planned"] for row in arrivals] == [5, 60, 300, 300, 150]
    assert [row["started"] for row in arrivals] == [5, 60, 300, 300, 150]
