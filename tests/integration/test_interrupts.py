"""Ctrl-C, SIGTERM and SIGKILL in every state: nothing that was measured is lost, nothing is left running."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from perfload import store
from perfload.analysis.summary import summarise
from perfload.target.process import TargetProcess
from tests.integration.locust_runs import (
    AI_MODELS,
    LocustProcess,
    free_port,
    locust,
    read_summary,
    run_folders,
)

pytestmark = pytest.mark.integration

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="{duration}", arrival_rate=20),)
"""
NOWHERE = "http://127.0.0.1:9"


def files(folder: Path, duration: str = "60s") -> str:
    shape = folder / "shape.py"
    shape.write_text(SHAPE.format(duration=duration))
    return f"{AI_MODELS},{shape}"


def samplers_of(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in part for part in process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_during_the_run_the_report_is_still_written(tmp_path: Path, number: signal.Signals) -> None:
    with TargetProcess() as target:
        arguments = ("-H", target.url, "--headless", "--csv", "locust")
        with locust("-f", files(tmp_path), *arguments, cwd=tmp_path) as process:
            process.wait_for("requests/s")
            process.send(number)
            assert process.wait(30) == 130, process.output
            output = process.output
        truth = target.truth()["totals"]
    (folder,) = run_folders(tmp_path)
    summary = read_summary(folder)
    assert (summary["verdict"], summary["end_reason"]) == ("incomplete", "interrupted")
    assert "the run was interrupted before its end" in summary["reasons"]
    assert sum(row["count"] for row in summary["requests"] if row["phase"] == "all") == truth["received"] > 10
    assert (folder / "report.html").stat().st_size > 100_000
    assert "INCOMPLETE" in output
    assert "Traceback" not in output
    assert samplers_of(folder) == []


@pytest.mark.parametrize(
    "moment", ["Starting Locust", "Shape test starting", "Shape worker starting", "has started"]
)
def test_as_the_run_starts_it_never_ends_as_a_pass(tmp_path: Path, moment: str) -> None:
    with (
        TargetProcess() as target,
        locust("-f", files(tmp_path), "-H", target.url, "--headless", cwd=tmp_path) as process,
    ):
        process.wait_for(moment)
        process.send(signal.SIGINT)
        assert process.wait(30) == 130, process.output
        assert "Traceback" not in process.output
    assert all(read_summary(folder)["end_reason"] == "interrupted" for folder in run_folders(tmp_path))


def test_while_the_last_users_finish(tmp_path: Path) -> None:
    with TargetProcess("--delay", "20s") as target:
        arguments = ("-H", target.url, "--headless", "--stop-timeout", "1")
        with locust("-f", files(tmp_path, "2s"), *arguments, cwd=tmp_path) as process:
            process.wait_for("finishing")
            process.send(signal.SIGINT)
            assert process.wait(30) == 130, process.output
    (folder,) = run_folders(tmp_path)
    assert read_summary(folder)["end_reason"] == "interrupted"


def test_a_second_time_ends_at_once_and_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    arguments = ("-f", files(tmp_path), "--headless")
    with (
        TargetProcess("--delay", "30s") as target,
        locust(*arguments, "-H", target.url, cwd=tmp_path) as process,
    ):
        process.wait_for("requests/s")
        process.send(signal.SIGINT)
        process.wait_for("shutting down")  # users have 10 s to stop, and would need 30
        process.send(signal.SIGINT)
        assert process.wait(5) == 130
        assert "interrupted twice" in process.output
    (folder,) = run_folders(tmp_path)
    summary = summarise(store.load(folder))
    assert summary["verdict"] == "incomplete"
    assert summary["phases"][0]["arrivals"]["started"] > 10


def test_killed_it_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    with TargetProcess() as target:
        with locust("-f", files(tmp_path), "-H", target.url, "--headless", cwd=tmp_path) as process:
            process.wait_for("requests/s")
            process.send(signal.SIGKILL)
            process.wait(5)
        received = target.truth()["totals"]["received"]
    (folder,) = run_folders(tmp_path)
    psutil.wait_procs(samplers_of(folder), timeout=5)
    assert samplers_of(folder) == []
    summary = summarise(store.load(folder))
    assert summary["verdict"] == "incomplete"
    assert summary["end_reason"] == "running"
    counted = sum(row["count"] for row in summary["requests"] if row["phase"] == "all")
    assert 0 < counted <= received
    assert received - counted <= 60 * 2  # at most the last seconds


def test_while_it_waits_for_the_target(tmp_path: Path) -> None:
    arguments = ("-H", NOWHERE, "--headless", "--wait-for-target", "60s")
    with locust("-f", AI_MODELS, *arguments, cwd=tmp_path) as process:
        process.wait_for("waiting up to")
        process.send(signal.SIGINT)
        assert process.wait(10) == 130
        assert "Traceback" not in process.output
    assert run_folders(tmp_path) == []


def test_while_the_master_waits_for_workers_they_are_sent_home(tmp_path: Path) -> None:
    port = free_port()
    worker = LocustProcess("-f", AI_MODELS, "--worker", "--master-port", port, cwd=tmp_path)
    try:
        with TargetProcess() as target:
            arguments = ("--master", "--master-bind-port", port, "--expect-workers", "2", "--headless")
            with locust("-f", AI_MODELS, "-H", target.url, *arguments, cwd=tmp_path) as master:
                master.wait_for("reported as ready")
                master.send(signal.SIGINT)
                assert master.wait(15) == 130
                assert "Traceback" not in master.output
        assert worker.wait(15) == 0, worker.output
    finally:
        worker.close()


def test_a_master_with_workers_delivers_everything(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("-f", files(tmp_path))
    workers = [LocustProcess(*arguments, "--worker", "--master-port", port, cwd=tmp_path) for _ in range(2)]
    try:
        with TargetProcess() as target:
            options = ("--master", "--master-bind-port", port, "--expect-workers", "2", "--headless")
            with locust(*arguments, "-H", target.url, *options, cwd=tmp_path) as master:
                master.wait_for("requests/s")
                master.send(signal.SIGINT)
                assert master.wait(30) == 130, master.output
            received = target.truth()["totals"]["received"]
        for worker in workers:
            assert worker.wait(15) == 0, worker.output
    finally:
        for worker in workers:
            worker.close()
    (folder,) = run_folders(tmp_path)
    summary = read_summary(folder)
    assert summary["end_reason"] == "interrupted"
    assert all(node["complete"] for node in summary["nodes"])
    assert sum(row["count"] for row in summary["requests"] if row["phase"] == "all") == received > 10
