"""Reported latencies against a target whose latencies are known."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

import pytest

from perfload.histogram import Histogram
from perfload.target.process import TargetProcess
from tests.integration.locust_runs import AI_MODELS, requests_of, run_locust

pytestmark = [pytest.mark.integration, pytest.mark.timing]

LOGIN = "POST /api/auth/login"

SCENARIO = """
from locust import between, constant, constant_throughput, task
from perfload.load import HttpUser

class Login(HttpUser):
    wait_time = {think}

    @task
    def log_in(self):
        self.client.post("/api/auth/login", json={{"email": "admin@test.com", "password": "testpass123"}})
"""

OPEN_STALL = """
from perfload.load import Phase, PhasedShape

class Stall(PhasedShape):
    phases = (Phase(name="Stall", duration="20s", arrival_rate=100),)
"""


def scenario(folder: Path, think: str) -> Path:
    path = folder / "login.py"
    path.write_text(SCENARIO.format(think=think))
    return path


def shape(folder: Path, text: str) -> Path:
    path = folder / "stall.py"
    path.write_text(text)
    return path


def test_a_fixed_delay_is_reported_within_a_millisecond_of_the_targets_own_histogram(tmp_path: Path) -> None:
    """50 ms in the target: p50 and p99 are its own within 1 ms + 0.1 %.

    Closed, with connections kept: what a new connection costs is part of a response time but the target
    cannot see it. Whatever else the machine does delays what is on the way between the two; hence the
    bystander, whose own delay is allowed on top, and more than one try.
    """
    tries = []
    for attempt in range(5):
        reported_ms, true_ms, delay_ms = measure_a_fixed_delay(tmp_path / str(attempt))
        errors_ms = {name: reported_ms[name] - true_ms[f"{name}_ms"] for name in ("p50", "p99")}
        if all(
            abs(errors_ms[name]) <= 1 + true_ms[f"{name}_ms"] / 1000 + delay_ms[name] for name in errors_ms
        ):
            return
        tries.append((errors_ms, delay_ms))
    pytest.fail(f"reported - true, and the bystander's delay, ms: {tries}")


def measure_a_fixed_delay(folder: Path) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Return what was reported, what was true and what a bystander was delayed by, by percentile."""
    folder.mkdir()
    with TargetProcess("--delay", "50ms") as target, Bystander() as bystander:
        # Two users, out of step: what waits in line for the other's response is no fault of the measurement.
        arguments = ("-H", target.url, "-u", "2", "-r", "2", "-t", "12s")
        finished = run_locust("-f", scenario(folder, "between(0.01, 0.06)"), *arguments, cwd=folder)
        truth = target.truth()["endpoints"][LOGIN]
    row = requests_of(finished.summary)[LOGIN]
    assert row["count"] == truth["received"] > 200
    return row["response_time_ms"], truth["latency"], bystander.delay_ms


class Bystander:
    """Somebody who only sleeps, 2 ms at a time, and finds out how late the machine wakes sleepers."""

    def __enter__(self) -> Self:
        self._delays = Histogram()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sleep)
        self._thread.start()
        return self

    def _sleep(self) -> None:
        while not self._is_over.is_set():
            due_s = time.perf_counter() + 0.002
            time.sleep(0.002)
            self._delays.record(round((time.perf_counter() - due_s) * 1e6))

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def delay_ms(self) -> dict[str, float]:
        """The delays' p50 and p99."""
        return {name: self._delays.percentile(float(name[1:])) / 1000 for name in ("p50", "p99")}


def stalled_latencies_ms(rate_per_s: int, duration_s: int, stall_s: float, service_ms: float) -> list[float]:
    """Return the open-model latencies, from the schedule alone.

    The stall begins with an arrival and everyone who comes in it waits for its end: an arrival t seconds
    into it takes what is left of the stall, and its service.
    """
    gap_s = 1 / rate_per_s
    stalled = int(stall_s * rate_per_s)
    waits_s = [stall_s - n * gap_s for n in range(stalled)]
    served = [service_ms] * (rate_per_s * duration_s - stalled)
    return sorted([wait_s * 1000 + service_ms for wait_s in waits_s] + served)


def rank(values: list[float], percent: float) -> float:
    return values[max(0, -(-len(values) * percent // 100).__int__() - 1)]


def test_the_computed_truth_of_a_stall_is_that_of_the_field() -> None:
    truth = stalled_latencies_ms(100, 20, 5, 50)
    assert len(truth) == 2000
    assert rank(truth, 95) == pytest.approx(4060, abs=20)
    assert rank(truth, 99) == pytest.approx(4860, abs=20)


def test_a_stall_is_seen_by_everyone_who_would_have_come_in_it(tmp_path: Path) -> None:
    """5 s of 20 s at 100 arrivals/s: the open model reports the truth; closed users do not notice."""
    truth = stalled_latencies_ms(100, 20, 5, 50)
    with TargetProcess("--delay", "50ms", "--stall", "5s@5s") as target:
        files = f"{scenario(tmp_path, 'constant(0)')},{shape(tmp_path, OPEN_STALL)}"
        opened = run_locust("-f", files, "-H", target.url, cwd=tmp_path).summary
        own = target.truth()["endpoints"][LOGIN]["latency"]
    response = requests_of(opened)[LOGIN]["response_time_ms"]
    assert requests_of(opened)[LOGIN]["count"] == 2000
    for name, percent in (("p95", 95.0), ("p99", 99.0)):
        # The schedule knows no queue, but 500 users who have waited are answered one after the other.
        assert response[name] == pytest.approx(rank(truth, percent), rel=0.05), name
        assert response[name] == pytest.approx(own[f"{name}_ms"], abs=50), name
    assert response["p50"] == pytest.approx(50, abs=10)

    closed_folder = tmp_path / "closed"
    closed_folder.mkdir()
    with TargetProcess("--delay", "50ms", "--stall", "5s@5s") as target:
        arguments = ("-u", "10", "-r", "10", "-t", "20s", "-H", target.url)
        closed = run_locust(
            "-f", scenario(tmp_path, "constant_throughput(10)"), *arguments, cwd=closed_folder
        ).summary
    hidden = requests_of(closed)[LOGIN]["response_time_ms"]
    assert hidden["p99"] < 200
    assert requests_of(closed)[LOGIN]["count"] <= 1550  # a quarter of the load was never offered


def test_arrivals_start_on_time(tmp_path: Path) -> None:
    """95 % of the arrivals start within 5 ms of their time while the generator is below 70 % of a core."""
    text = OPEN_STALL.replace("20s", "10s")
    with TargetProcess("--delay", "5ms") as target:
        files = f"{AI_MODELS},{shape(tmp_path, text)}"
        summary = run_locust("-f", files, "-H", target.url, cwd=tmp_path).summary
    (node,) = summary["nodes"]
    (phase,) = summary["phases"]
    arrivals = phase["arrivals"]
    assert arrivals["started"] == arrivals["planned"] == 1000
    if node["cpu_percent_max"] < 70:
        assert arrivals["late"] <= 0.05 * arrivals["started"], arrivals
