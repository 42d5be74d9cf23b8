"""What is made of the operations that a profiler recorded."""

from __future__ import annotations

import pytest

from perfload.analysis.database import database
from perfload.model import Observation, RunRecord
from tests.unit.analysis.profiles import MANIFEST, observation, operation, reading, record, served


def test_a_run_without_a_profiler_has_nothing():
    assert database(RunRecord(MANIFEST)) == {"operations": [], "plans": [], "notes": []}


def test_operations_are_added_up_over_the_run_and_its_phases():
    found = database(
        record(
            operation(5, times_us=[2_000] * 20),
            operation(15, times_us=[4_000] * 30, lock_wait_us=500, errors=1),
            operation(16, times_us=[4_000] * 20),
            operation(35, times_us=[20_000] * 50),
            operation(
                36, op="count", shape="count {}", times_us=[1_000] * 20, returned=20, counts_matches=False
            ),
        )
    )
    first, second = found["operations"]
    assert (first["ns"], first["op"], first["shape"]) == (
        "app.models",
        "find",
        "find {owner: =} sort {created_at: -1}",
    )
    assert (first["count"], first["total_ms"], first["max_ms"]) == (120, 1_240.0, 20.0)
    assert first["mean_ms"] == pytest.approx(10.333, abs=0.001)
    assert first["p95_ms"] == pytest.approx(20, rel=0.001)
    assert first["share_percent"] == pytest.approx(100 * 1_240 / 1_260)
    assert first["examined_per_returned"] == 50
    assert (first["collection_scans"], first["in_memory_sorts"], first["lock_wait_ms"]) == (120, 120, 0.5)
    assert (first["plan"], first["errors"], first["growth"]) == ("COLLSCAN", 1, 5.0)
    assert [(phase["phase"], phase["count"], phase["mean_ms"]) for phase in first["phases"]] == [
        ("Warm up", 20, 2.0),
        ("Low", 50, 4.0),
        ("High", 50, 20.0),
    ]
    assert first["phases"][2]["share_percent"] == pytest.approx(100 * 1_000 / 1_020)
    assert (second["shape"], second["examined_per_returned"], second["growth"]) == ("count {}", None, None)


def test_an_interval_belongs_to_the_phase_of_its_middle():
    seen = operation(30.4, from_s=MANIFEST.started_at_s + 29)
    [found] = database(record(seen))["operations"]
    assert [phase["phase"] for phase in found["phases"]] == ["Low"]


def test_what_was_before_the_load_does_not_count():
    assert database(record(operation(-5)))["operations"] == []


def test_the_plan_shown_is_the_most_frequent_one():
    [found] = database(record(operation(15), served(16, times_us=[1_000] * 101)))["operations"]
    assert found["plan"] == "IXSCAN { owner: 1, created_at: -1 }"


def test_plans_are_put_into_words():
    stages = [
        {"stage": "SORT", "depth": 0, "sort": "{b: -1}", "nReturned": 5},
        {"stage": "COLLSCAN", "depth": 1, "filter": "{a: =}", "docsExamined": 3_000},
    ]
    data = {"ns": "app.m", "shape": "find {a: =}", "stages": stages, "example": {"find": "m"}}
    [plan] = database(record(observation(41, "explain", data)))["plans"]
    assert [stage["text"] for stage in plan["stages"]] == [
        "SORT {b: -1} (5 returned)",
        "COLLSCAN {a: =} (3,000 documents read)",
    ]
    assert (plan["example"], plan["stages"][1]["depth"]) == ('{"find": "m"}', 1)


def test_a_reader_is_told_what_was_recorded_and_what_is_missing():
    told = record(
        observation(0, "profiler", {"database": "app", "mode": "slow", "slow_ms": 50.0, "is_set": True}),
        observation(0, "profiler", {"database": "shop", "is_set": False, "reason": "needs dbAdmin"}),
        observation(
            41, "profiler", {"database": "app", "done": "not put back: gone; perfload doctor does it"}
        ),
        observation(41, "refused", {"what": "the plan of find {}", "reason": "Unauthorized (13)"}),
        readings=(
            reading(
                5, "profile_lost_entries[app]", None, source="mongodb_profiler", unavailable="2 s are missing"
            ),
            reading(
                6, "profile_lost_entries[app]", None, source="mongodb_profiler", unavailable="2 s are missing"
            ),
            reading(7, "profile_lost_entries[app]", 0.0, source="mongodb_profiler"),
        ),
    )
    assert database(told)["notes"] == [
        "Of app, operations of 50.0 ms and more were recorded.",
        "The profiler of shop was not set: needs dbAdmin.",
        "The profiler of app was not put back: gone; perfload doctor does it.",
        "Not available: the plan of find {}: Unauthorized (13).",
        "Some operations are missing: 2 s are missing.",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"equality": 5, "sort": "x", "branches": [1], "lookups": [["a"], 3]},
        {"sort": [["a"], ["b", "up"]], "histogram": ["?", 1], "from_s": "then"},
        {"histogram": None, "docs_examined": -1, "max_us": True},
    ],
)
def test_a_record_that_others_wrote_is_read_as_far_as_it_can_be(changes):
    [found] = database(record(operation(15, **changes)))["operations"]
    assert found["count"] == 100


@pytest.mark.parametrize("changes", [{"ns": 5}, {"shape": ""}, {"count": 0}, {"count": "many"}])
def test_an_operation_that_says_nothing_is_left_out(changes):
    assert database(record(operation(15, **changes)))["operations"] == []


def test_observations_of_other_monitors_are_not_mistaken_for_these():
    other = Observation(MANIFEST.started_at_s + 5, "db-1", "mongodb", "operation", dict(operation(15).data))
    assert database(record(other))["operations"] == []
