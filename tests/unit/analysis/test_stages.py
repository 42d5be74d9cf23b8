"""Where the time went: the figures of stages, held against numpy and against a run to count by hand."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from perfload.analysis.schema import Breakdown, StagesSummary, StageSummary
from perfload.analysis.stages import SETUP, setup_note, share_percent, stages
from perfload.analysis.summary import summarise
from perfload.histogram import Histogram
from perfload.model import STAGES, Manifest, PhaseSpan, RunRecord, StageWindow, Window

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=1_767_225_600.0,
    host="http://localhost:8000",
    scenarios=("GetModels",),
    shape="",
    phases=(
        PhaseSpan("Warm up", 0.0, 10.0, "arrivals", 2.0, 2.0, 4, warmup=True),
        PhaseSpan("Load", 10.0, 30.0, "arrivals", 1.0, 1.0, 4),
    ),
    thresholds=(),
    ended_at_s=1_767_225_640.0,
    end_reason="finished",
)
NOTHING = StagesSummary(
    total=Breakdown(responses=0, mean_ms=None, connections_per_100_requests=None, stages=[]), requests=[]
)


def window(
    second: int,
    times_us: Mapping[str, Sequence[int]],
    *,
    name: str = "/a",
    method: str = "GET",
    phase: str = "Load",
    node: str = "local",
) -> StageWindow:
    held = tuple((stage, Histogram(times_us[stage])) for stage in STAGES if stage in times_us)
    return StageWindow("run-1", node, second, phase, method, name, held)


def record(*windows: StageWindow) -> RunRecord:
    return RunRecord(MANIFEST, stages=windows)


def of(breakdown: Breakdown, name: str) -> StageSummary:
    (found,) = [stage for stage in breakdown["stages"] if stage["stage"] == name]
    return found


def test_percentiles_and_means_are_those_of_numpy_over_all_windows_together() -> None:
    rng = random.Random(4)
    times_us = {
        stage: [round(rng.lognormvariate(8, 1)) for _ in range(500 + 100 * index)]
        for index, stage in enumerate(STAGES)
    }
    windows = [
        window(second, {stage: values[part::6] for stage, values in times_us.items()}, node=node)
        for part, (second, node) in enumerate((s, n) for s in (10, 20, 30) for n in ("worker-0", "worker-1"))
    ]
    (request,) = stages(record(*windows))["requests"]
    everything = sum(map(sum, times_us.values()))
    assert request["responses"] == len(times_us["wait"])
    assert request["mean_ms"] == pytest.approx(everything / len(times_us["wait"]) / 1000)
    assert [stage["stage"] for stage in request["stages"]] == list(STAGES)
    for name, values in times_us.items():
        stage, spread = of(request, name), of(request, name)["time_ms"]
        assert stage["count"] == len(values)
        assert stage["share_percent"] == pytest.approx(100 * sum(values) / everything)
        assert spread["mean"] == pytest.approx(np.mean(values) / 1000)
        assert spread["max"] == max(values) / 1000
        for percent, measured in ((50, spread["p50"]), (95, spread["p95"]), (99, spread["p99"])):
            exact_us = np.percentile(values, percent, method="inverted_cdf")
            assert measured == pytest.approx(exact_us / 1000, rel=1e-3)


RECORD = record(
    window(0, {"wait": [9_000_000]}, phase="Warm up"),
    window(0, {"wait": [9_000_000]}, name="/warm", phase="Warm up"),
    window(10, {"connect": [400], "tls": [600], "wait": [2_000, 1_000], "receive": [100, 100]}),
    window(20, {"wait": [500, 300]}),
    window(10, {"connect": [1_000], "wait": [4_000]}, name="/b", method="POST"),
)


def test_each_request_has_its_own_breakdown_without_the_warm_up() -> None:
    first, second = stages(RECORD)["requests"]
    assert (first["method"], first["name"], first["responses"]) == ("GET", "/a", 4)
    assert first["mean_ms"] == 5.0 / 4
    assert first["connections_per_100_requests"] == 25.0
    assert {stage["stage"]: (stage["count"], stage["share_percent"]) for stage in first["stages"]} == {
        "connect": (1, 8.0),
        "tls": (1, 12.0),
        "wait": (4, 76.0),
        "receive": (2, 4.0),
    }
    assert (second["method"], second["name"], second["responses"]) == ("POST", "/b", 1)
    assert (second["mean_ms"], second["connections_per_100_requests"]) == (5.0, 100.0)


def test_the_total_is_over_all_requests() -> None:
    total = stages(RECORD)["total"]
    assert (total["responses"], total["mean_ms"], total["connections_per_100_requests"]) == (5, 2.0, 40.0)
    assert {stage["stage"]: stage["share_percent"] for stage in total["stages"]} == {
        "connect": 14.0,
        "tls": 6.0,
        "wait": 78.0,
        "receive": 2.0,
    }
    assert share_percent(total, SETUP) == 20.0


def test_a_stage_that_never_occurred_is_left_out() -> None:
    (request,) = stages(record(window(10, {"dns": [], "wait": [5]})))["requests"]
    assert [stage["stage"] for stage in request["stages"]] == ["wait"]
    assert request["connections_per_100_requests"] == 0.0


def test_a_record_without_stages_has_none() -> None:
    assert stages(RunRecord(MANIFEST)) == NOTHING
    assert stages(record(window(0, {"wait": [5]}, phase="Warm up"))) == NOTHING
    assert share_percent(NOTHING["total"], SETUP) is None


def test_stages_that_took_no_time_have_no_share() -> None:
    total = stages(record(window(10, {"connect": [0], "wait": [0, 0]})))["total"]
    assert [stage["share_percent"] for stage in total["stages"]] == [None, None]
    assert (total["mean_ms"], share_percent(total, ("wait",)), setup_note(total)) == (0.0, None, "")


def test_a_connection_without_a_response_is_no_request() -> None:
    total = stages(record(window(10, {"connect": [5]})))["total"]
    assert (total["responses"], total["mean_ms"], total["connections_per_100_requests"]) == (0, None, None)
    assert (of(total, "connect")["count"], setup_note(total)) == (1, "")


def test_a_run_in_which_connections_take_a_large_share_of_the_time_says_so() -> None:
    slow = record(window(10, {"dns": [50], "connect": [200], "tls": [100], "wait": [400, 250]}))
    assert summarise(slow)["notes"][-1] == (
        "Setting up connections took 35 % of the time of all requests: "
        "50 connections were made per 100 requests."
    )
    assert setup_note(stages(RECORD)["total"]) == ""  # 20 % exactly


def test_stages_are_in_the_summary_and_change_nothing_else_in_it() -> None:
    one = Histogram([5_000])
    plain = RunRecord(MANIFEST, (Window("run-1", "local", 12, "Load", "GET", "/a", one, one, Histogram()),))
    without, within = summarise(plain), summarise(replace(plain, stages=RECORD.stages))
    assert within["stages"] == stages(RECORD)
    assert without["stages"] == NOTHING
    assert {**within, "stages": None} == {**without, "stages": None}
    assert json.loads(json.dumps(within, allow_nan=False)) == within
