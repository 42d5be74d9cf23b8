"""`locustfiles/ai_api.py` in real Locust processes, against the emulator that ships."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import ROOT, requests_of, run_locust

pytestmark = [pytest.mark.integration, pytest.mark.ai]

SCENARIO = ROOT / "locustfiles" / "ai_api.py"
FAST = ("--ai-ttft", "30ms", "--ai-gap", "60ms", "--ai-tokens", "20")
NO_RULES = "[thresholds]\nrules = []\n[monitors]\nhost = false\n"
SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="5s", arrival_rate={rate}),)
"""
"""A plan ends when everybody has left: no request is cut off, so counts are those of the emulator."""


@pytest.fixture
def emulator() -> Iterator[TargetProcess]:
    with TargetProcess(*FAST) as target:
        yield target


def metrics_of(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in summary["metrics"]}


def configure(folder: Path, rules: str = NO_RULES) -> None:
    (folder / "perfload.toml").write_text(rules)


def test_the_scenario_works_out_of_the_box(tmp_path: Path, emulator: TargetProcess) -> None:
    rules = ["p99(ttft) < 2s", "goodput >= 95%", "p99(icl) < 500ms", "error_rate <= 0%"]
    configure(tmp_path, f"[thresholds]\nrules = {rules}\n")
    (tmp_path / "shape.py").write_text(SHAPE.format(rate=10))
    run = run_locust("-f", f"{SCENARIO},{tmp_path / 'shape.py'}", "-H", emulator.url, cwd=tmp_path)
    assert run.code == 0, run.output
    summary = run.summary
    names = set(requests_of(summary))
    assert {"POST chat", "POST chat (long prompt)", "POST message (turn 1)", "POST message (tool)"} <= names
    truth = emulator.truth()["ai"]
    metrics = metrics_of(summary)
    finished = sum(its["ended"].get("finished", 0) for its in truth.values())
    assert metrics["ttft"]["count"] == metrics["e2e"]["count"] == metrics["good"]["count"] == finished
    assert metrics["icl"]["count"] == sum(its["gaps"]["count"] for its in truth.values())
    assert 30 <= metrics["ttft"]["spread"]["p50"] < 100
    assert 59 <= metrics["icl"]["spread"]["p50"] < 90
    assert metrics["rate_limited"]["spread"]["max"] == 0
    output = metrics["output_tokens"]
    assert output["spread"]["mean"] * output["count"] == pytest.approx(
        sum(its["output_tokens"] for its in truth.values()), rel=0.001
    )


def test_the_cap_ends_a_local_run(tmp_path: Path, emulator: TargetProcess) -> None:
    configure(tmp_path)
    run = run_locust(
        *("-f", SCENARIO, "-H", emulator.url, "-u", "5", "-r", "5", "-t", "60s", "Chat"),
        cwd=tmp_path,
        environment={"PERFLOAD_AI_MAX_TOKENS": "200"},
    )
    assert run.code == 3, run.output
    assert "the spending cap is reached" in run.output
    assert run.summary["end_reason"] == "aborted"
    assert "of 200 at most" in run.output
    # What was in flight when it was reached came to its end.
    assert emulator.truth()["ai"]["openai"]["streams"] < 25


def test_a_real_provider_must_be_allowed(tmp_path: Path) -> None:
    configure(tmp_path)
    run = run_locust(
        *("-f", SCENARIO, "-H", "https://api.openai.com", "-u", "1", "-t", "5s", "Chat"),
        cwd=tmp_path,
        environment={"OPENAI_TEST_API_KEY": "kx-secret-of-the-test"},
    )
    assert run.code == 2, run.output
    assert "load may not go to api.openai.com" in run.output
    assert "somebody else's service" in run.output
    assert "--allow-host api.openai.com" in run.output
    assert "kx-secret" not in run.output


BOTH = """
from locust import constant, task
from perfload.load import AnthropicUser, OpenAIUser

class One(OpenAIUser):
    wait_time = constant(0.02)
    model = "m"

    @task
    def ask(self):
        self.chat("Hello")

class Other(AnthropicUser):
    wait_time = constant(0.02)
    model = "m"

    @task
    def ask(self):
        self.chat("Hello")
"""


def test_errors_of_the_emulator_are_told_apart(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "both.py").write_text(BOTH)
    (tmp_path / "shape.py").write_text(SHAPE.format(rate=60))
    faults = ("rate_limit", "overloaded", "stream_error", "early_end", "cut", "malformed")
    options = [word for fault in faults for word in ("--ai-fault", f"{fault}=10%")]
    key = "sk-test-secret-of-the-test"
    with TargetProcess(*FAST, *options) as target:
        run = run_locust(
            *("-f", f"{tmp_path / 'both.py'},{tmp_path / 'shape.py'}", "-H", target.url),
            cwd=tmp_path,
            environment={"OPENAI_TEST_API_KEY": key, "ANTHROPIC_TEST_API_KEY": key},
        )
        truth = target.truth()["ai"].values()
    counts = Counter[str]()
    for row in run.summary["failures"]:
        counts[row["reason"]] += row["count"]

    def happened(fault: str) -> int:
        return sum(its["faults"].get(fault, 0) for its in truth)

    assert counts["429 rate_limit_exceeded"] + counts["429 rate_limit_error"] == happened("rate_limit") > 10
    assert counts["503 overloaded"] + counts["529 overloaded_error"] == happened("overloaded") > 10
    assert counts["malformed event"] == happened("malformed") > 10
    assert counts["stream ended early"] == happened("early_end") + happened("cut") > 20
    in_stream = sum(count for reason, count in counts.items() if reason.startswith("error in the stream: "))
    assert in_stream == happened("stream_error") > 10
    metrics = metrics_of(run.summary)
    asked = metrics["rate_limited"]["count"]
    assert metrics["rate_limited"]["spread"]["mean"] == pytest.approx(100 * happened("rate_limit") / asked)
    assert metrics["ttft"]["count"] == sum(its["ended"].get("finished", 0) for its in truth)
    assert not [path for path in run.folder.iterdir() if key in path.read_text("utf-8")]
