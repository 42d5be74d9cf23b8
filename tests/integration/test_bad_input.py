"""Bad input: each says what is wrong and what to do, in words, before any load, and with its exit code."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import (
    AI_MODELS,
    LOAD_TEST,
    Finished,
    free_port,
    read_summary,
    run_folders,
    run_locust,
)

pytestmark = pytest.mark.integration

NOWHERE = "http://127.0.0.1:9"

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = ({phase},)
"""

FEEDER = """
from pathlib import Path
from locust import task
from perfload.load import DataFeeder, HttpUser

ROWS = DataFeeder(Path(__file__).parent / "rows.csv", columns=("email", "password"))

class User(HttpUser):
    @task
    def take(self):
        ROWS.take(self)
"""


def refused(finished: Finished, *texts: str) -> None:
    """Check that nothing ran, and that the output says `texts` without a traceback."""
    assert finished.code == 2, finished.output
    for text in texts:
        assert text in finished.output
    assert "Traceback" not in finished.output
    assert finished.folders == []


def test_no_host(tmp_path: Path) -> None:
    refused(run_locust("-f", AI_MODELS, cwd=tmp_path), "no host to test", "pass --host")


@pytest.mark.parametrize(
    ("host", "texts"),
    [
        ("http://example.com", ("load may not go to example.com", "--allow-host example.com")),
        ("localhost:8000", ("localhost:8000", "has no scheme", "http://localhost:8000")),
        ("ftp://localhost", ("has the scheme 'ftp'", "http:// or https://")),
    ],
)
def test_a_host_that_load_may_not_go_to(tmp_path: Path, host: str, texts: tuple[str, ...]) -> None:
    refused(run_locust("-f", AI_MODELS, "--host", host, cwd=tmp_path), *texts)


def test_an_unreachable_target_fails_within_seconds(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    finished = run_locust("-f", f"{AI_MODELS},{LOAD_TEST}", "--host", NOWHERE, cwd=tmp_path)
    refused(finished, f"nothing answers at {NOWHERE}: connection refused", "--wait-for-target")
    assert time.monotonic() - begun_s < 15


def test_waiting_for_the_target_ends_when_it_answers(tmp_path: Path) -> None:
    port = free_port()
    from tests.integration.locust_runs import locust

    arguments = ("--wait-for-target", "60s", "-u", "1", "-t", "1s", "--headless")
    with locust("-f", AI_MODELS, "-H", f"http://127.0.0.1:{port}", *arguments, cwd=tmp_path) as process:
        process.wait_for("waiting up to 60 s")
        assert run_folders(tmp_path) == []
        with TargetProcess("--port", str(port)):
            assert process.wait() == 3  # one user is no hundred
        assert len(run_folders(tmp_path)) == 1


@pytest.mark.parametrize(
    ("phase", "texts"),
    [
        ("Phase(name='a', duration=5, arrival_rate=-1)", ("phase 'a' arrival_rate is -1", "at least 0")),
        ("Phase(name='a', duration=0, arrival_rate=1)", ("phase 'a' has no duration",)),
        (
            "Phase(name='a', duration=5, arival_rate=1)",
            ("unknown option 'arival_rate'", "did you mean arrival"),
        ),
        ("{'duration': 5}", ("is no Phase",)),
    ],
)
def test_a_malformed_plan(tmp_path: Path, phase: str, texts: tuple[str, ...]) -> None:
    shape = tmp_path / "shape.py"
    shape.write_text(SHAPE.format(phase=phase))
    refused(run_locust("-f", f"{AI_MODELS},{shape}", "-H", NOWHERE, cwd=tmp_path), *texts)


@pytest.mark.parametrize(
    ("toml", "texts"),
    [
        ("[run\n", ("perfload.toml", "line 1")),
        ("[runs]\n", ("perfload.toml: unknown table [runs]", "did you mean run?")),
        ("[run]\ndrain = true\n", ("perfload.toml: run.drain: True is not a duration",)),
        ('[thresholds]\nrules = ["p95 < 5"]\n', ("the limit has no unit", "^")),
    ],
)
def test_a_malformed_configuration(tmp_path: Path, toml: str, texts: tuple[str, ...]) -> None:
    (tmp_path / "perfload.toml").write_text(toml)
    refused(run_locust("-f", AI_MODELS, "-H", NOWHERE, cwd=tmp_path), *texts)


NO_AUTHORITIES = """
from locust import task
from perfload.load import HttpUser, Phase, PhasedShape

class User(HttpUser):
    ca_file = "missing.pem"

    @task
    def nothing(self):
        self.client.get("/health")

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="3s", arrival_rate=5),)
"""


def test_users_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(NO_AUTHORITIES)
    with TargetProcess() as target:
        finished = run_locust("-f", tmp_path / "user.py", "-H", target.url, cwd=tmp_path)
    refused(finished, "ca_file missing.pem cannot be read: no such file", "correct the path")


def test_an_unknown_threshold_points_at_the_mistake(tmp_path: Path) -> None:
    finished = run_locust("-f", AI_MODELS, "-H", NOWHERE, "--threshold", "eror_rate <= 1%", cwd=tmp_path)
    refused(finished, "unknown metric 'eror_rate'", "did you mean error_rate?")
    rule, caret = (line for line in finished.output.splitlines() if "eror_rate <=" in line or "^^" in line)
    assert caret.index("^") == rule.index("eror_rate")


def test_a_threshold_on_a_phase_that_is_not_in_the_plan(tmp_path: Path) -> None:
    arguments = ("-H", NOWHERE, "--threshold", 'p95 < 1s in "Peek load"')
    finished = run_locust("-f", f"{AI_MODELS},{LOAD_TEST}", *arguments, cwd=tmp_path)
    refused(finished, "unknown phase 'Peek load'", "did you mean Peak load?")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (None, "rows.csv does not exist"),
        (b"", "rows.csv is empty"),
        (b"email,pass\na,b\n", "password"),
        (b"email,password\n", "has a header but no rows"),
        (b"email,password\na\n", "line 2"),
        (b"email,password\n\xff,b\n", "is not UTF-8"),
    ],
)
def test_malformed_data(tmp_path: Path, rows: bytes | None, text: str) -> None:
    (tmp_path / "user.py").write_text(FEEDER)
    if rows is not None:
        (tmp_path / "rows.csv").write_bytes(rows)
    refused(run_locust("-f", tmp_path / "user.py", "-H", NOWHERE, cwd=tmp_path), text)


def test_unique_rows_that_run_out_make_the_run_invalid(tmp_path: Path) -> None:
    text = FEEDER.replace('"password")', '"password"), order="unique"').replace(
        "ROWS.take(self)",
        'self.client.post("/api/auth/login", json=ROWS.take(self))',
    )
    (tmp_path / "user.py").write_text(text)
    (tmp_path / "rows.csv").write_text("email,password\nadmin@test.com,testpass123\n")
    with TargetProcess() as target:
        arguments = ("-H", target.url, "-u", "2", "-r", "2", "-t", "3s")
        finished = run_locust("-f", tmp_path / "user.py", *arguments, cwd=tmp_path)
    assert "has no row left that no other user has" in finished.output
    assert read_summary(finished.folder)["verdict"] == "invalid"


def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("not a folder")
    with TargetProcess() as target:
        finished = run_locust("-f", f"{AI_MODELS},{LOAD_TEST}", "-H", target.url, cwd=tmp_path)
    assert finished.code == 2
    assert "cannot be written" in finished.output
    assert "--reports-dir" in finished.output


BROKEN_USER = """
from locust import constant, task
from perfload.load import HttpUser, Phase, PhasedShape

class User(HttpUser):
    wait_time = constant(1)
    made = 0

    def __init__(self, environment):
        User.made += 1
        if User.made > 2:
            raise RuntimeError("no third one")
        super().__init__(environment)

    @task
    def nothing(self):
        self.client.get("/health")

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="3s", {load}),)
"""


@pytest.mark.parametrize("load", ["users=5", "arrival_rate=5"])
def test_a_scenario_that_cannot_be_made_makes_the_run_invalid(tmp_path: Path, load: str) -> None:
    (tmp_path / "user.py").write_text(BROKEN_USER.format(load=load))
    with TargetProcess() as target:
        options = ("-H", target.url, "--threshold", "error_rate <= 1%")
        finished = run_locust("-f", tmp_path / "user.py", *options, cwd=tmp_path)
    assert finished.code == 4
    assert finished.summary["verdict"] == "invalid"
    assert any("no third one" in reason for reason in finished.summary["reasons"])
