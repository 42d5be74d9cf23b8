"""Filters and commands without their values."""

from __future__ import annotations

import re

import pytest
from bson import ObjectId, Regex

from perfload.monitors.mongodb.command_shapes import command_shape
from perfload.monitors.mongodb.placeholders import with_placeholders
from perfload.monitors.mongodb.shapes import MAX_NAME_CHARS, MAX_TEXT_CHARS, filter_shape, sort_keys


@pytest.mark.parametrize(
    ("query", "text", "equality", "ranges", "others"),
    [
        ({}, "{}", (), (), ()),
        ({"b": 1, "a": "x"}, "{a: =, b: =}", ("a", "b"), (), ()),
        (
            {"created_at": {"$gte": 1, "$lt": 5}, "status": "paid"},
            "{status: =, created_at: < >=}",
            ("status",),
            ("created_at",),
            (),
        ),
        ({"a": {"$in": [1, 2]}}, "{a: in}", ("a",), (), ()),
        (
            {"a": {"$ne": 1}, "b": {"$exists": True}, "c": {"$nin": [1]}},
            "{a: !=, b: exists, c: not in}",
            (),
            (),
            ("a", "b", "c"),
        ),
        ({"a": {"x": 1}}, "{a: =}", ("a",), (), ()),
        ({"a": {}}, "{a: =}", ("a",), (), ()),
        ({"a": {"$eq": 1, "$gt": 0}}, "{a: = >}", ("a",), (), ()),
        ({"$and": [{"a": 1}, {"$and": [{"b": {"$gt": 1}}]}]}, "{a: =, b: >}", ("a",), ("b",), ()),
        ({"a": {"$regex": "^Ann"}}, "{a: begins}", (), ("a",), ()),
        ({"a": {"$regex": "^Ann", "$options": "i"}}, "{a: regex}", (), (), ("a",)),
        ({"a": Regex("nn")}, "{a: regex}", (), (), ("a",)),
        ({"a": re.compile("^nn")}, "{a: begins}", (), ("a",), ()),
        (
            {"items": {"$elemMatch": {"sku": "x", "price": {"$gt": 1}}}},
            "{items: elemMatch {sku: =, price: >}}",
            ("items.sku",),
            ("items.price",),
            (),
        ),
        ({"marks": {"$elemMatch": {"$gt": 1, "$lt": 5}}}, "{marks: < >}", (), ("marks",), ()),
        ({"tags": {"$all": ["a", "b"]}}, "{tags: all}", ("tags",), (), ()),
        ({"tags": {"$size": 2}}, "{tags: size}", (), (), ("tags",)),
        ({"a": {"$not": {"$gt": 1}}}, "{a: not}", (), (), ("a",)),
        ({"$where": "this.password == 'secret'"}, "{$where}", (), (), ()),
        ({"$expr": {"$eq": ["$a", 1]}}, "{$expr}", (), (), ()),
        ({"$comment": "for Ann", "a": 1}, "{a: =}", ("a",), (), ()),
        ({"a": {"$ref": "x", "$id": 1}}, "{a: =}", ("a",), (), ()),
    ],
)
def test_a_filter_becomes_its_fields_and_operators(query, text, equality, ranges, others):
    shape = filter_shape(query)
    assert shape.text == text
    assert (shape.equality, shape.ranges, shape.others) == (equality, ranges, others)


def test_an_or_keeps_its_branches_apart():
    shape = filter_shape({"tenant": 1, "$or": [{"b": {"$in": [1]}}, {"a": {"$gt": 1}}, {"a": {"$gt": 7}}]})
    assert shape.text == "{tenant: =, $or [{a: >}, {b: in}]}"
    assert shape.equality == ("tenant",)
    assert [(branch.equality, branch.ranges) for branch in shape.branches] == [((), ("a",)), (("b",), ())]


def test_two_ors_have_no_branches_to_make_indexes_for():
    both = {"$and": [{"$or": [{"a": 1}, {"b": 1}]}, {"$or": [{"c": 1}, {"d": 1}]}]}
    assert filter_shape(both).branches == ()


def test_the_order_of_conditions_and_their_values_make_no_other_shape():
    one = filter_shape({"a": 1, "b": {"$gt": 5, "$lt": 9}, "$or": [{"c": 1}, {"d": 2}]})
    other = filter_shape({"$or": [{"d": "x"}, {"c": None}], "b": {"$lt": 0, "$gt": 1}, "a": ObjectId()})
    assert one == other


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a: =} sort {b", '"a: =} sort {b"'),
        ("<script>", '"<script>"'),
        ("new\nline\x1b[31m", '"new\\nline\\u001b[31m"'),
        ("naïve", '"na\\u00efve"'),
        ("", '""'),
    ],
)
def test_a_hostile_field_name_is_quoted(name, shown):
    assert filter_shape({name: 1}).text == f"{{{shown}: =}}"


def test_a_long_field_name_is_cut_and_gets_no_index():
    shape = filter_shape({"x" * 5_000: 1, "a": 1})
    assert shape.equality == ("a",)
    assert len(shape.text) < MAX_NAME_CHARS + 30


def test_a_deep_or_huge_filter_ends():
    deep: dict[str, object] = {"a": 1}
    for _ in range(200):
        deep = {"$or": [deep, {"b": 1}]}
    wide = {"$or": [{f"field_{n}": 1} for n in range(5_000)]}
    assert "[…]" in filter_shape(deep).text
    assert len(filter_shape(wide).text) == MAX_TEXT_CHARS


def test_a_sort_by_score_is_none_for_an_index():
    assert sort_keys({"a": 1, "b": -1.0}) == (("a", 1), ("b", -1))
    assert sort_keys({"score": {"$meta": "textScore"}}) == ()
    assert sort_keys(None) == ()


FIND = {"find": "models", "filter": {"owner": 3}, "sort": {"created_at": -1}, "lsid": {}, "$db": "app"}


@pytest.mark.parametrize(
    ("op", "command", "text"),
    [
        ("query", FIND, "find {owner: =} sort {created_at: -1}"),
        (
            "command",
            {
                "aggregate": "m",
                "pipeline": [{"$match": {"a": 1}}, {"$sort": {"b": 1}}, {"$group": {"_id": "$c"}}],
            },
            "aggregate [$match {a: =}, $sort {b: 1}, $group $c]",
        ),
        (
            "command",
            {"aggregate": "m", "pipeline": [{"$group": {"_id": "Ann's"}}, {"$lookup": {"from": "users"}}]},
            "aggregate [$group, $lookup users]",
        ),
        (
            "update",
            {"q": {"a": 1}, "u": {"$set": {"b": 1}, "$inc": {"c": 1}}, "multi": True, "upsert": False},
            "update many {a: =} $set $inc",
        ),
        ("update", {"q": {"_id": 1}, "u": {"name": "Ann"}}, "update {_id: =} replace"),
        ("update", {"q": {"_id": 1}, "u": [{"$set": {"b": "$c"}}]}, "update {_id: =} pipeline"),
        ("remove", {"q": {"a": {"$lt": 1}}, "limit": 1}, "delete {a: <}"),
        ("remove", {"q": {}, "limit": 0}, "delete many {}"),
        (
            "command",
            {"findAndModify": "m", "query": {"a": 1}, "sort": {"b": 1}, "update": {"$set": {"c": 1}}},
            "findAndModify {a: =} sort {b: 1} $set",
        ),
        ("command", {"findandmodify": "m", "query": {"a": 1}, "remove": True}, "findAndModify {a: =} remove"),
        ("command", {"count": "m", "query": {"a": 1}}, "count {a: =}"),
        ("command", {"distinct": "m", "key": "name", "query": {"a": 1}}, "distinct name {a: =}"),
        ("insert", {"insert": "m", "ordered": True}, "insert"),
        ("command", {"createIndexes": "m", "indexes": []}, "createIndexes"),
        (
            "query",
            {"$truncated": "{ find: 'm', filter: { owner: 'Ann' } }"},
            "query (too long to be recorded)",
        ),
        ("query", {}, "query"),
    ],
)
def test_a_command_is_described_without_its_values(op, command, text):
    assert command_shape(op, command).text == text


def test_a_get_more_is_that_of_its_query():
    shape = command_shape("getmore", {"getMore": 5, "collection": "models"}, FIND)
    assert shape.text == "getMore of find {owner: =} sort {created_at: -1}"
    assert (shape.filter.equality, shape.sort) == (("owner",), (("created_at", -1),))
    assert command_shape("getmore", {"getMore": 5}).text == "getMore of an unknown query"


def test_only_what_comes_before_documents_change_is_for_an_index():
    pipeline = [
        {"$match": {"a": 1}},
        {"$match": {"b": {"$gt": 1}}},
        {"$group": {"_id": "$c"}},
        {"$match": {"n": 1}},
        {"$sort": {"n": -1}},
    ]
    shape = command_shape("command", {"aggregate": "m", "pipeline": pipeline})
    assert (shape.filter.equality, shape.filter.ranges, shape.sort) == (("a",), ("b",), ())
    assert not shape.counts_matches
    assert shape.has_limit


def test_a_lookup_names_where_it_looks():
    lookup = {"$lookup": {"from": "users", "localField": "owner", "foreignField": "uid", "as": "owners"}}
    shape = command_shape("command", {"aggregate": "m", "pipeline": [lookup]})
    assert shape.lookups == (("users", "uid"),)
    assert not shape.has_limit


@pytest.mark.parametrize(
    ("changes", "has_limit"),
    [({}, False), ({"limit": 5}, True), ({"limit": 0}, False), ({"singleBatch": True, "limit": 1}, True)],
)
def test_a_find_without_a_limit_is_known(changes, has_limit):
    shape = command_shape("query", FIND | changes)
    assert shape.has_limit is has_limit
    assert shape.text.endswith(" limit") is has_limit


def test_what_is_skipped_is_read_without_being_returned():
    shape = command_shape("query", FIND | {"skip": 5_000, "limit": 20})
    assert shape.text == "find {owner: =} sort {created_at: -1} skip limit"
    assert not shape.counts_matches


def test_an_example_keeps_names_and_no_value():
    command = {
        "aggregate": "models",
        "pipeline": [
            {"$match": {"owner": "Ann", "$or": [{"n": {"$in": [1, 2, "x"]}}], "price": "$100"}},
            {"$sort": {"created_at": -1}},
            {"$lookup": {"from": "users", "localField": "owner", "foreignField": "uid", "as": "u"}},
            {"$group": {"_id": "$name", "label": "secret", "n": {"$sum": 1}, "k": {"$literal": "$x"}}},
        ],
        "comment": "for Ann",
        "lsid": {"id": b"x"},
        "$db": "app",
    }
    assert with_placeholders(command) == {
        "aggregate": "models",
        "pipeline": [
            {
                "$match": {
                    "owner": "<string>",
                    "$or": [{"n": {"$in": ["<number>", "<string>"]}}],
                    "price": "<string>",
                }
            },
            {"$sort": {"created_at": -1}},
            {"$lookup": {"from": "users", "localField": "owner", "foreignField": "uid", "as": "u"}},
            {
                "$group": {
                    "_id": "$name",
                    "label": "<string>",
                    "n": {"$sum": "<number>"},
                    "k": {"$literal": "<string>"},
                }
            },
        ],
    }


def test_an_example_of_a_write_has_only_its_search():
    update = {"q": {"_id": ObjectId(), "at": {"$gt": 5}}, "u": {"$set": {"name": "Ann"}}, "multi": False}
    assert with_placeholders(update) == {
        "q": {"_id": "<objectId>", "at": {"$gt": "<number>"}},
        "multi": "<bool>",
    }
