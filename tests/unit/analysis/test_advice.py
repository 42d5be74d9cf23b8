"""Advice on the database: given where there is evidence, and only there."""

from __future__ import annotations

import pytest

from perfload.analysis.advice import MANY_RETURNED, advice
from perfload.analysis.index_advice import MIN_EXAMINED, MIN_OPERATIONS
from tests.unit.analysis.profiles import index, operation, reading, record, served, state


def kinds(*observations, readings=()):
    return [item["kind"] for item in advice(record(*observations, readings=readings))]


def test_a_missing_index_is_named_with_its_key_order_and_evidence():
    [item] = advice(
        record(
            state("before"),
            operation(15, times_us=[5_000] * 100),
            operation(35, times_us=[9_000] * 100, equality=["owner"], range=[]),
            served(
                35, ns="app.users", shape="find {_id: =}", equality=["_id"], sort=[], times_us=[1_000] * 10
            ),
            state("after", index(("name", 1), uses=5)),
        )
    )
    assert (item["kind"], item["severity"], item["ns"], item["phase"]) == (
        "missing_index",
        "high",
        "app.models",
        "High",
    )
    assert item["command"] == "db.models.createIndex({owner: 1, created_at: -1})"
    assert item["title"] == "models lacks an index on {owner: 1, created_at: -1}"
    assert item["evidence"] == [
        "200 operations read 600,000 documents or keys, 3,000 each, for 12,000 that matched. They took "
        "7.0 ms each, 99 % of the time of all recorded operations.",
        "200 of them read the whole collection (COLLSCAN).",
        "200 of them sorted in memory.",
        "None of its indexes serves them: name_1.",
    ]
    assert item["operations"] == ["find {owner: =} sort {created_at: -1}"]


def query(**changes):
    return operation(15, **{"sort": [], "equality": [], "range": [], "in_memory_sorts": 0, **changes})


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"equality": ["b", "a"]}, "db.models.createIndex({a: 1, b: 1})"),
        ({"range": ["at"]}, "db.models.createIndex({at: 1})"),
        (
            {"equality": ["owner"], "sort": [["at", -1]], "range": ["price", "size"], "in_memory_sorts": 100},
            "db.models.createIndex({owner: 1, at: -1, price: 1})",
        ),
        (
            {"equality": ["owner"], "sort": [["at", -1]], "range": ["at"]},
            "db.models.createIndex({owner: 1, at: -1})",
        ),
        (
            {"sort": [["at", -1], ["_id", 1]], "in_memory_sorts": 100},
            "db.models.createIndex({at: -1, _id: 1})",
        ),
        (
            {"branches": [{"equality": ["a"], "range": []}, {"equality": [], "range": ["b"]}]},
            "db.models.createIndex({a: 1}); db.models.createIndex({b: 1})",
        ),
        ({"equality": ["items.sku"]}, 'db.models.createIndex({"items.sku": 1})'),
        ({"equality": ['a": 1}); db.dropDatabase(); ({"b']}, None),
        ({"equality": ["__proto__"]}, 'db.models.createIndex({["__proto__"]: 1})'),
        ({"equality": ["z", "7"]}, 'db.models.createIndex(new Map([["7", 1], ["z", 1]]))'),
        ({"equality": ["a"], "ns": "app.my models"}, 'db.getCollection("my models").createIndex({a: 1})'),
        ({"equality": ["a"], "ns": "app.stats"}, 'db.getCollection("stats").createIndex({a: 1})'),
        ({"equality": ["a"], "ns": "app.a.b"}, 'db.getCollection("a.b").createIndex({a: 1})'),
    ],
)
def test_keys_are_in_the_order_equality_sort_range(changes, command):
    [item] = advice(
        record(query(**changes), state("after"), state("after", ns=changes.get("ns", "app.models")))
    )
    hostile = r'db.models.createIndex({"a\": 1}); db.dropDatabase(); ({\"b": 1})'
    assert (item["kind"], item["command"]) == ("missing_index", command or hostile)


@pytest.mark.parametrize(
    "existing",
    [
        [("owner", 1), ("created_at", -1)],
        [("owner", -1), ("created_at", 1)],
        [("owner", 1), ("created_at", -1), ("name", 1)],
    ],
)
def test_an_index_that_serves_is_not_asked_for_again(existing):
    assert kinds(operation(15), state("after", index(*existing, uses=5))) == []


@pytest.mark.parametrize(
    "existing",
    [
        index(("owner", 1)),
        index(("created_at", -1), ("owner", 1)),
        index(("owner", 1), ("name", 1), ("created_at", -1)),
        index(("owner", 1), ("created_at", -1), partial=True),
        index(("owner", 1), ("created_at", -1), hidden=True),
    ],
)
def test_an_index_that_does_not_serve_is_no_reason_to_be_silent(existing):
    assert kinds(operation(15), state("after", existing | {"uses": 5})) == ["missing_index"]


def test_one_index_serves_the_shorter_queries_by_its_prefix():
    [item] = advice(
        record(
            query(shape="find {owner: =}", equality=["owner"]),
            operation(15),
            query(shape="update {owner: =}", op="update", equality=["owner"]),
            state("after"),
        )
    )
    assert item["command"] == "db.models.createIndex({owner: 1, created_at: -1})"
    assert len(item["operations"]) == 3


def test_an_or_asks_only_for_what_nothing_else_asks_for():
    either = query(
        shape="find {$or}",
        branches=[{"equality": ["owner"], "range": []}, {"equality": ["name"], "range": []}],
    )
    found = advice(record(operation(15), either, state("after")))
    assert {item["command"]: item["operations"] for item in found} == {
        "db.models.createIndex({owner: 1, created_at: -1})": [
            "find {owner: =} sort {created_at: -1}",
            "find {$or}",
        ],
        "db.models.createIndex({name: 1})": ["find {$or}"],
    }


def test_popular_fields_come_first_so_that_one_index_serves_several():
    found = advice(
        record(
            query(shape="find {owner: =}", equality=["owner"]),
            query(shape="find {kind: =, owner: =}", equality=["kind", "owner"]),
            state("after"),
        )
    )
    assert [item["command"] for item in found] == ["db.models.createIndex({owner: 1, kind: 1})"]
    assert sorted(found[0]["operations"]) == ["find {kind: =, owner: =}", "find {owner: =}"]


def test_nothing_is_advised_on_a_healthy_schema():
    fits = index(("owner", 1), ("created_at", -1), uses=400)
    healthy = (
        state("before", index(("owner", 1), ("created_at", -1), uses=1), index(("email", 1), unique=True)),
        served(15, times_us=[50_000] * 500),
        served(15, shape="find {_id: =}", equality=["_id"], sort=[], docs_examined=100, keys_examined=0),
        query(shape="find {} limit", docs_examined=2_000, returned=2_000, filtered=False),
        query(shape="count {}", op="count", docs_examined=0, returned=0, plan="RECORD_STORE_FAST_COUNT"),
        query(shape="find small", equality=["a"], docs_examined=100 * (MIN_EXAMINED - 1), returned=1),
        query(shape="find most", equality=["a"], returned=2_000 * 100),
        query(shape="find {rare}", equality=["a"], times_us=[5_000] * (MIN_OPERATIONS - 1)),
        query(shape="insert", op="insert", filtered=False, docs_examined=0, collection_scans=0),
        state("after", fits, index(("email", 1), unique=True)),
    )
    calm = [
        reading(second, f"connections[{kind}]", 50.0)
        for second in range(30)
        for kind in ("current", "available")
    ]
    assert kinds(*healthy, readings=tuple(calm)) == []


def test_a_query_that_scans_much_of_an_index_lacks_a_better_one():
    wide = served(15, sort=[], equality=["kind", "owner"], docs_examined=300_000, returned=100)
    [item] = advice(record(wide, state("after", index(("owner", 1), uses=100))))
    assert item["command"] == "db.models.createIndex({kind: 1, owner: 1})"


def test_a_count_that_scans_is_advised_with_a_doubt():
    count = query(op="count", shape="count {kind: =}", equality=["kind"], returned=0, counts_matches=False)
    [item] = advice(record(count, state("after")))
    assert (item["command"], item["severity"]) == ("db.models.createIndex({kind: 1})", "medium")
    assert "How many documents matched is not known" in item["evidence"][1]


def test_a_lookup_without_an_index_is_found_at_the_other_collection():
    lookup = query(
        op="aggregate",
        shape="aggregate [$match {_id: =}, $lookup users]",
        equality=["_id"],
        lookups=[["users", "uid"]],
        counts_matches=False,
        plan="IXSCAN { _id: 1 }",
        collection_scans=0,
    )
    states = (state("after"), state("after", ns="app.users"))
    [item] = advice(record(lookup, *states))
    assert (item["ns"], item["command"]) == ("app.users", "db.users.createIndex({uid: 1})")
    assert kinds(lookup, state("after"), state("after", index(("uid", 1), uses=5), ns="app.users")) == []
    assert kinds(lookup, state("after")) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"unindexable": ["name"], "shape": "find {name: regex}"}, "Its conditions are none"),
        (
            {"op": "aggregate", "shape": "aggregate [$group]", "counts_matches": False, "filtered": False},
            "It has no condition at all.",
        ),
    ],
)
def test_a_scan_that_no_index_can_help_is_named_as_such(changes, why):
    [item] = advice(record(query(**changes), state("after")))
    assert (item["kind"], item["command"]) == ("collection_scan", "")
    assert item["evidence"][-1].startswith(why)


def test_many_documents_without_a_limit_are_too_many():
    changes = {"shape": "find {owner: =}", "equality": ["owner"], "sort": [], "limit_missing": 100}
    many = served(15, **changes, returned=101 * 100)
    more = served(
        15,
        op="getMore",
        shape="getMore of find {owner: =}",
        equality=["owner"],
        returned=(MANY_RETURNED - 101) * 100,
    )
    indexes = state("after", index(("owner", 1), uses=5))
    [item] = advice(record(many, more, indexes))
    assert (item["kind"], item["title"]) == (
        "unbounded_result",
        "find on models returns 1,000 documents at a time",
    )
    assert item["command"] == 'db.models.find({owner: "<owner>"}).limit(100)'
    assert kinds(many, indexes) == []
    assert kinds(served(15, **changes | {"limit_missing": 0}, returned=10**6), indexes) == []


def test_an_index_that_nobody_used_is_named_once_others_were():
    before = state("before", index(("name", 1), uses=7))
    [item] = advice(record(before, state("after", index(("name", 1), uses=7))))
    assert (item["kind"], item["severity"]) == ("unused_index", "low")
    assert item["title"] == "name_1 on models was not used in this run"
    assert item["command"] == 'db.models.hideIndex("name_1")'
    assert item["evidence"][0].startswith("In the run, there were 500 operations or more on this collection")


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"uses": 7}, {"uses": 8}),
        ({"uses": 0, "unique": True}, {"uses": 0, "unique": True}),
        ({"uses": 0, "ttl": True}, {"uses": 0, "ttl": True}),
        ({"uses": None}, {"uses": None}),
        ({"uses": 7}, {"uses": 0, "since": "2026-02-01T00:00:00"}),
        ({"uses": 0, "partial": True}, {"uses": 0, "partial": True}),
    ],
)
def test_an_index_with_a_reason_to_be_is_not_called_unused(earlier, later):
    name = ("name", 1)
    assert kinds(state("before", index(name, **earlier)), state("after", index(name, **later))) == []


def test_an_index_made_in_the_run_or_hardly_tried_is_not_called_unused():
    assert kinds(state("before"), state("after", index(("name", 1)))) == []
    quiet = [index(("_id", 1), uses=uses) for uses in (0, 50)]
    before, after = (state(when, index(("name", 1))) for when in ("before", "after"))
    for seen, primary in zip((before, after), quiet, strict=True):
        seen.data["indexes"][0] = primary
    assert kinds(before, after) == []


def test_an_index_that_begins_another_is_redundant():
    both = [index(("owner", 1), uses=9), index(("owner", 1), ("created_at", -1), uses=9)]
    [item] = advice(record(state("before", *both), state("after", *both)))
    assert (item["kind"], item["command"]) == ("redundant_index", 'db.models.hideIndex("owner_1")')
    assert item["title"] == "owner_1 on models is the beginning of owner_1_created_at_-1"


@pytest.mark.parametrize(
    "indexes",
    [
        [index(("owner", 1), unique=True), index(("owner", 1), ("at", 1))],
        [index(("owner", 1), ttl=True), index(("owner", 1), ("at", 1))],
        [index(("owner", 1)), index(("owner", 1), ("at", 1), partial=True)],
        [index(("owner", 1), ("at", 1)), index(("owner", 1), ("at", -1), ("b", 1))],
        [index(("_id", 1), ("at", 1))],
        [index(("at", 1)), index(("owner", 1), ("at", 1))],
    ],
)
def test_an_index_that_another_cannot_stand_for_is_not_redundant(indexes):
    assert kinds(state("after", *[known | {"uses": 5} for known in indexes])) == []


def test_documents_that_grow_are_named():
    before = state("before", average_document_bytes=1_000)
    [item] = advice(record(before, state("after", average_document_bytes=1_500)))
    assert (item["kind"], item["phase"]) == ("growing_documents", "")
    assert "had 1,000 bytes before and 1,500 after" in item["evidence"][0]
    assert kinds(before, state("after", average_document_bytes=1_100)) == []
    assert kinds(state("before", average_document_bytes=100, documents=5), state("after")) == []


def full(seconds, in_use=95.0, free=5.0):
    return tuple(
        reading(second, f"connections[{kind}]", value)
        for second in seconds
        for kind, value in (("current", in_use), ("available", free))
    )


def test_connections_that_run_out_are_named_with_the_phase():
    [item] = advice(record(readings=full(range(32, 36))))
    assert (item["kind"], item["severity"], item["phase"]) == ("pool_exhaustion", "high", "High")
    assert item["evidence"][0].startswith("95 of 100 connections were in use, and 90 % or more in 4 readings")


def test_a_peak_of_connections_is_no_exhaustion():
    assert kinds(readings=full([3, 4]) + full([5], in_use=10.0, free=90.0) + full([6, 7])) == []


def test_the_most_severe_comes_first():
    both = [index(("name", 1), uses=9), index(("name", 1), ("at", -1), uses=9)]
    assert kinds(state("before", *both), operation(15), state("after", *both)) == [
        "missing_index",
        "redundant_index",
    ]


def test_a_killed_run_is_advised_from_what_was_seen():
    [item] = advice(record(state("before", index(("name", 1))), operation(15)))
    assert item["command"] == "db.models.createIndex({owner: 1, created_at: -1})"


def test_indexes_that_could_not_be_read_are_said_to_be_unknown():
    refused = state("after", refused=["listing the indexes needs read on app: no"])
    refused.data["indexes"].clear()
    [item] = advice(record(operation(15), refused))
    assert item["evidence"][-1] == "Which indexes it has could not be read: look before you make another."
