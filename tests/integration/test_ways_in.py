"""The commands around a run: `perfload run`, `perfload demo`, `perfload report`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import ROOT, read_summary, run_folders

pytestmark = pytest.mark.integration


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of what a user of perfload has: scenarios, shapes, data, configuration."""
    for name in ("locustfiles", "shapes", "data"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "perfload.toml", tmp_path)
    return tmp_path


def perfload(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "perfload.cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timing
def test_the_demo_meets_every_goal_and_starts_every_arrival(project: Path) -> None:
    """Shorter than the real one, at the same arrival rates."""
    finished = perfload("demo", "--time-scale", "240", cwd=project)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (folder,) = run_folders(project)
    summary = read_summary(folder)
    arrivals = [phase["arrivals"] for phase in summary["phases"]]
    assert [row["started"] for row in arrivals] == [6, 85, 375, 375, 187]
    assert [row["planned"] for row in arrivals] == [6, 85, 375, 375, 187]
    assert [rule["status"] for rule in summary["thresholds"]] == ["pass"] * 5
    assert "PASSED" in finished.stdout
    assert str(folder / "report.html") in finished.stdout
    host = [json.loads(line) for line in (folder / "readings.jsonl").read_text().splitlines()]
    assert {"cpu_percent", "memory_percent"} <= {row["metric"] for row in host if row["source"] == "host"}


@pytest.mark.timing
@pytest.mark.ai
def test_the_demo_of_language_models_meets_its_goals_and_sends_no_key(project: Path) -> None:
    key = "sk-live-0123456789"
    (project / ".env.performance").write_text(f"OPENAI_TEST_API_KEY={key}\nANTHROPIC_TEST_API_KEY={key}\n")
    finished = perfload("demo", "ai", "--time-scale", "120", cwd=project)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (folder,) = run_folders(project)
    summary = read_summary(folder)
    assert [phase["arrivals"]["started"] for phase in summary["phases"]] == [4, 32, 40]
    assert [rule["status"] for rule in summary["thresholds"]] == ["pass"] * 4
    # The emulator refuses a key that is not its own: nobody sent it one.
    assert summary["totals"]["failures"] == 0
    written = finished.stdout + finished.stderr + "".join(path.read_text() for path in folder.glob("*.js*"))
    assert key not in written


def test_run_finds_files_by_name_and_ends_with_the_verdicts_code(project: Path) -> None:
    with TargetProcess() as target:
        options = ("--host", target.url, "--time-scale", "30", "--threshold", "p95 < 1us")
        finished = perfload("run", "api_flow", "api_performance", *options, cwd=project)
    assert finished.returncode in (3, 4), finished.stdout + finished.stderr  # 4 where the machine is too busy
    summary = read_summary(run_folders(project)[0])
    assert [rule["status"] for rule in summary["thresholds"]] == ["fail"]
    metrics = {row["metric"]: row for row in summary["metrics"]}
    requests = summary["totals"]["requests"]
    assert metrics["api_response_time"]["count"] == metrics["api_status_code"]["count"] == requests
    assert metrics["api_status_code"]["spread"]["max"] == 201
    names = {f"{row['method']} {row['name']}" for row in summary["requests"]}
    assert names == {
        "POST /api/auth/login",
        "GET /api/auth/me",
        "GET /api/ai-models/available",
        "POST /api/ai-models/create",
        "DELETE /api/ai-models/[id]",
    }


def test_an_abort_rule_ends_the_run_early(project: Path) -> None:
    with TargetProcess("--error-rate", "50%") as target:
        options = ("--host", target.url, "--threshold", "error_rate <= 5% for 3s abort")
        finished = perfload("run", "api_flow", "api_performance", *options, cwd=project)
    assert finished.returncode in (3, 4), finished.stdout + finished.stderr
    summary = read_summary(run_folders(project)[0])
    assert summary["end_reason"] == "aborted"
    assert summary["duration_s"] < 20
    assert "aborting the run: error_rate <= 5% for 3s abort" in finished.stderr


def test_a_report_can_be_made_again(project: Path) -> None:
    with TargetProcess() as target:
        perfload("run", "ai_models", "-u", "2", "-t", "2s", "--host", target.url, cwd=project)
    (folder,) = run_folders(project)
    first = read_summary(folder)
    (folder / "summary.json").unlink()
    (folder / "report.html").unlink()
    again = perfload("report", folder, cwd=project)
    assert again.returncode == 3  # two users are no hundred
    assert read_summary(folder) == first
    assert (folder / "report.html").exists()


def test_a_folder_that_is_no_run(project: Path) -> None:
    finished = perfload("report", project / "data", cwd=project)
    assert finished.returncode == 2
    assert "is no run record: it has no run.json" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_target_of_the_settings_is_used_when_no_host_is_named(project: Path) -> None:
    with TargetProcess() as target:
        (project / ".env.performance").write_text(
            f"BACKEND_URL={target.url}\nTEST_ADMIN_EMAIL=admin2@test.com\n"
        )
        finished = perfload("run", "api_flow", "-u", "1", "-t", "2s", cwd=project)
        assert target.truth()["totals"]["received"] > 0
    assert finished.returncode == 3  # one user is no hundred
    assert read_summary(run_folders(project)[0])["target"]["host"] == target.url
