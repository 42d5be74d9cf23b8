"""Entries of the profiler, summed up."""

from __future__ import annotations

import json

import pytest

from perfload.codec import decode_histogram
from perfload.monitors.mongodb.explain import explainable, plan_in
from perfload.monitors.mongodb.member import member_url
from perfload.monitors.mongodb.operations import MAX_SHAPES, OTHER, OperationTable


def entry(**changes):
    return {
        "op": "query",
        "ns": "app.models",
        "command": {"find": "models", "filter": {"owner": "Ann"}, "sort": {"created_at": -1}, "$db": "app"},
        "keysExamined": 0,
        "docsExamined": 3_000,
        "hasSortStage": True,
        "nreturned": 60,
        "queryHash": "8EB89E3C",
        "locks": {"Global": {"acquireCount": {"r": 5}, "timeAcquiringMicros": {"r": 40, "w": 2}}},
        "storage": {"data": {"timeReadingMicros": 7}, "timeWaitingMicros": {"cache": 3}},
        "responseLength": 564,
        "millis": 12,
        "planSummary": "COLLSCAN",
        "planningTimeMicros": 90,
        **changes,
    }


def test_operations_of_one_shape_are_summed_up():
    table = OperationTable()
    table.add(entry(), from_s=100.0)
    table.add(
        entry(millis=30, nreturned=40, command=entry()["command"] | {"filter": {"owner": "Bob"}}),
        from_s=100.0,
    )
    [data] = table.publish()
    assert data["shape"] == "find {owner: =} sort {created_at: -1}"
    assert (data["ns"], data["op"], data["hash"]) == ("app.models", "find", "8EB89E3C")
    assert (data["equality"], data["sort"], data["range"]) == (["owner"], [["created_at", -1]], [])
    assert (data["count"], data["total_us"], data["max_us"]) == (2, 42_000, 30_000)
    assert (data["docs_examined"], data["returned"], data["bytes"]) == (6_000, 100, 1_128)
    assert (data["in_memory_sorts"], data["collection_scans"], data["limit_missing"]) == (2, 2, 2)
    assert (data["lock_wait_us"], data["storage_wait_us"], data["planning_us"]) == (84, 20, 180)
    assert (data["plan"], data["from_s"]) == ("COLLSCAN", 100.0)
    assert decode_histogram(data["histogram"]).sum == 42_000
    assert "Ann" not in json.dumps(data)


def test_what_was_published_is_not_published_again():
    table = OperationTable()
    table.add(entry(), from_s=100.0)
    assert [data["count"] for data in table.publish()] == [1]
    assert table.publish() == []
    table.add(entry(millis=5), from_s=101.0)
    [data] = table.publish()
    assert (data["count"], data["total_us"], data["from_s"]) == (1, 5_000, 101.0)


def test_beyond_the_limit_shapes_are_summed_up_as_other():
    table = OperationTable()
    for n in range(MAX_SHAPES + 20):
        table.add(entry(command={"find": "models", "filter": {f"field_{n}": 1}}), from_s=1.0)
    published = table.publish(limit=None)
    assert len(published) == MAX_SHAPES + 1
    [other] = [data for data in published if data["ns"] == OTHER]
    assert (other["count"], other["shape"], other["hash"]) == (20, OTHER, "")


def test_those_with_the_most_time_come_first_and_the_rest_waits():
    table = OperationTable()
    for n in range(5):
        table.add(entry(millis=n, command={"count": "models", "query": {f"field_{n}": 1}}), from_s=1.0)
    assert [data["total_us"] for data in table.publish(limit=3)] == [4_000, 3_000, 2_000]
    assert [data["total_us"] for data in table.publish(limit=3)] == [1_000, 0]


def test_the_worst_come_with_the_slowest_example():
    table = OperationTable()
    table.add(entry(millis=9), from_s=1.0)
    slow = {"find": "models", "filter": {"owner": "Slow"}, "sort": {"created_at": -1}}
    table.add(entry(millis=50, command=slow), from_s=1.0)
    table.add(entry(millis=99, command={"$truncated": "{ find: 'models', …"}), from_s=1.0)
    table.add(entry(millis=20, op="command", command={"count": "models", "query": {}}), from_s=1.0)
    table.publish()
    assert [(tally.shape.op, example) for tally, example in table.worst(5)] == [
        ("find", slow),
        ("count", {"count": "models", "query": {}}),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"millis": "soon", "docsExamined": None, "locks": 5, "storage": {"data": 5}},
        {"command": "?", "ns": 5, "planSummary": {"a": 1}},
        {"millis": -5, "nreturned": float("nan"), "locks": {"Global": 7}},
        {"locks": {"Global": {"timeAcquiringMicros": {"r": "x"}}}, "queryHash": None},
    ],
)
def test_an_odd_entry_is_counted_and_spoils_nothing(changes):
    table = OperationTable()
    table.add(entry(**changes), from_s=1.0)
    [data] = table.publish()
    assert data["count"] == 1
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("command", "read"),
    [
        (
            {"find": "m", "filter": {"a": 1}, "lsid": 1, "$db": "app", "maxTimeMS": 5},
            {"find": "m", "filter": {"a": 1}},
        ),
        ({"q": {"a": 1}, "u": {"$set": {"b": 1}}}, {"find": "models", "filter": {"a": 1}}),
        (
            {"findAndModify": "m", "query": {"a": 1}, "sort": {"b": 1}, "remove": True},
            {"find": "models", "filter": {"a": 1}, "sort": {"b": 1}},
        ),
        ({"aggregate": "m", "pipeline": [{"$match": {"a": 1}}, {"$out": "x"}]}, None),
        ({"aggregate": "m", "pipeline": []}, {"aggregate": "m", "pipeline": [], "cursor": {}}),
        ({"insert": "m"}, None),
        ({}, None),
    ],
)
def test_only_reads_are_ever_explained(command, read):
    assert explainable(command, "models") == read


def test_a_plan_shows_its_stages_and_no_value():
    scan = {
        "stage": "IXSCAN",
        "indexName": "owner_1",
        "keyPattern": {"owner": 1, "at": 1},
        "indexBounds": {"owner": ['["Ann", "Ann"]'], "at": ["[MinKey, MaxKey]"]},
        "keysExamined": 60,
        "nReturned": 60,
    }
    fetch = {"stage": "FETCH", "filter": {"name": {"$eq": "Bob"}}, "inputStage": scan, "docsExamined": 60}
    plan = plan_in(
        {
            "queryPlanner": {"winningPlan": {"stage": "?"}, "rejectedPlans": [1, 2]},
            "executionStats": {
                "executionStages": {
                    "stage": "SORT",
                    "sortPattern": {"b": -1},
                    "inputStage": fetch,
                    "usedDisk": True,
                }
            },
        }
    )
    assert plan == {
        "stages": [
            {"stage": "SORT", "depth": 0, "sort": "{b: -1}", "used_disk": True},
            {"stage": "FETCH", "depth": 1, "filter": "{name: =}", "docsExamined": 60},
            {
                "stage": "IXSCAN",
                "depth": 2,
                "index": "owner_1",
                "keys": "{owner: 1, at: 1}",
                "bounded": ["owner"],
                "nReturned": 60,
                "keysExamined": 60,
            },
        ],
        "rejected_plans": 2,
    }
    assert plan_in({}) == {"stages": [], "rejected_plans": 0}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "mongodb://a,b:27018/app?replicaSet=rs0&readPreference=secondary",
            "mongodb://db-2:27017/app?replicaSet=rs0&directConnection=true",
        ),
        ("mongodb://u:p%40@a/", "mongodb://u:p%40@db-2:27017/?directConnection=true"),
        (
            "mongodb+srv://u:p@cluster.example.com/app",
            "mongodb://u:p@db-2:27017/app?tls=true&authSource=admin&directConnection=true",
        ),
    ],
)
def test_a_member_has_the_same_user_and_options(url, expected):
    assert member_url(url, "db-2:27017") == expected
