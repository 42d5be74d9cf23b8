"""The shipped trace, replayed by real Locust processes against the emulator that ships."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from perfload import store
from perfload.target.process import TargetProcess
from perfload.trace import Trace, read_trace
from tests.integration.locust_runs import ROOT, Finished, requests_of, run_cluster, run_locust

pytestmark = [pytest.mark.integration, pytest.mark.ai]

SCENARIO = ROOT / "locustfiles" / "ai_trace.py"
SHAPE = ROOT / "shapes" / "trace_replay.py"
TRACE = ROOT / "data" / "ai_trace.jsonl"
NO_RULES = "[thresholds]\nrules = []\n[monitors]\nhost = false\n"

START_S, DURATION_S, SPEED = 120, 60, 4
PART = {
    "PERFLOAD_TRACE_START": "2m",
    "PERFLOAD_TRACE_DURATION": f"{DURATION_S}s",
    "PERFLOAD_TRACE_SPEED": f"{SPEED}",
}
PART_AS_SHAPE = f"""
from perfload.load import TraceShape

class Part(TraceShape):
    trace, start, duration, speed = {str(TRACE)!r}, {START_S}, {DURATION_S}, {SPEED}
"""

LAG_S = 1.0
"""A generator that shares two cores with its target and other tests may be as late as this."""


@pytest.fixture
def trace() -> Trace:
    return read_trace(TRACE, start_s=START_S, duration_s=DURATION_S)


@pytest.fixture
def emulator() -> Iterator[TargetProcess]:
    """One whose answers would have 20 tokens, if nobody asked for more."""
    options = ("--ai-ttft", "20ms", "--ai-gap", "20ms", "--ai-chunk", "8", "--ai-tokens", "20")
    with TargetProcess(*options) as target:
        yield target


def total(summary: dict[str, Any], metric: str) -> float:
    """Return the sum of all values of a metric."""
    (row,) = (row for row in summary["metrics"] if row["metric"] == metric)
    return float(row["spread"]["mean"] * row["count"])


def check(run: Finished, trace: Trace, emulator: TargetProcess) -> None:
    """Hold a run against the trace, and against what the emulator has seen of it."""
    asked = sum(request.input_tokens for request in trace.requests)
    answered = sum(request.output_tokens for request in trace.requests)
    row = requests_of(run.summary)["POST replay"]
    assert (row["count"], row["failures"]) == (len(trace.requests), 0), run.output
    (phase,) = run.summary["phases"]
    assert {name: phase["arrivals"][name] for name in ("planned", "started", "dropped", "missed")} == {
        "planned": len(trace.requests),
        "started": len(trace.requests),
        "dropped": 0,
        "missed": 0,
    }
    truth = emulator.truth()["ai"]["openai"]
    assert (truth["input_tokens"], truth["output_tokens"]) == (asked, answered)
    assert total(run.summary, "input_tokens") == pytest.approx(asked)
    assert total(run.summary, "output_tokens") == pytest.approx(answered)
    check_times(run.folder, trace)


def check_times(folder: Path, trace: Trace) -> None:
    """Nobody is early, and nobody later than `LAG_S`."""
    record = store.load(folder)
    started, due = Counter[int](), Counter[int]()
    for window in record.arrivals:
        started[window.second] += window.lag.count
    for request in trace.requests:
        due[int(request.at_s / SPEED)] += 1
    last = max(started | due)
    begun = list(accumulate(started[second] for second in range(last + 1)))
    wanted = list(accumulate(due[second] for second in range(last + 1)))
    assert begun[-1] == wanted[-1] == len(trace.requests)
    assert all(ours <= theirs for ours, theirs in zip(begun, wanted, strict=True))
    shift = int(LAG_S)
    assert all(ours >= theirs for ours, theirs in zip(begun[shift:], wanted, strict=False))


def test_a_part_of_the_trace_by_one_process(tmp_path: Path, trace: Trace, emulator: TargetProcess) -> None:
    (tmp_path / "perfload.toml").write_text(NO_RULES)
    run = run_locust("-f", f"{SCENARIO},{SHAPE}", "-H", emulator.url, cwd=tmp_path, environment=PART)
    assert [phase["name"] for phase in run.summary["phases"]] == ["ai_trace.jsonl from 2 min x 4"]
    check(run, trace, emulator)


def test_the_same_part_by_a_master_and_two_workers(
    tmp_path: Path, trace: Trace, emulator: TargetProcess
) -> None:
    (tmp_path / "perfload.toml").write_text(NO_RULES)
    (tmp_path / "part.py").write_text(PART_AS_SHAPE)
    run = run_cluster(2, "-H", emulator.url, files=[SCENARIO, tmp_path / "part.py"], cwd=tmp_path)
    check(run, trace, emulator)
    given = sorted(node.given or 0 for node in store.load(run.folder).manifest.nodes)
    assert given == [len(trace.requests) // 2, -(-len(trace.requests) // 2)]


@pytest.mark.parametrize(
    ("shape", "environment", "message"),
    [
        (ROOT / "shapes" / "api_performance.py", {}, "Replay asks what a trace asked"),
        (SHAPE, {"PERFLOAD_TRACE": "nowhere.csv"}, "nowhere.csv cannot be read"),
        (SHAPE, {"PERFLOAD_TRACE_START": "1h"}, "has no request from 3600 s on"),
        (SHAPE, {"PERFLOAD_TRACE_DURATION": "long"}, "TraceReplay, duration: 'long' is not a duration"),
        (SHAPE, {"PERFLOAD_TRACE_SPEED": "fast"}, "TraceReplay, speed: 'fast' is not a speed"),
    ],
)
def test_what_is_no_replay_ends_before_the_load(
    tmp_path: Path, shape: Path, environment: dict[str, str], message: str
) -> None:
    (tmp_path / "perfload.toml").write_text(NO_RULES)
    run = run_locust(
        *("-f", f"{SCENARIO},{shape}", "-H", "http://127.0.0.1:1"), cwd=tmp_path, environment=environment
    )
    assert run.code == 2, run.output
    assert message in run.output
    assert "Traceback" not in run.output
    assert run.folders == []
