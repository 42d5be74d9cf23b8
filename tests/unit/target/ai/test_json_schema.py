from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.target.ai.json_schema import MAX_VALUES, SchemaFlaw, check, value

pytestmark = pytest.mark.ai

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def made(schema: dict[str, Any]) -> Any:
    return value(schema, random.Random(1))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "integer"}, 42),
        ({"type": "integer", "minimum": 50.5}, 51),
        ({"type": "integer", "exclusiveMaximum": 3}, 2),
        ({"type": "number"}, 0.5),
        ({"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 0.7}, 0.6),
        ({"type": "number", "maximum": -3}, -4),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 7}, 7),
        ({"type": ["null", "integer"]}, None),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [42, 42, 42]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, []),
        ({"type": "string", "format": "date"}, "2026-01-31"),
    ],
)
def test_values_fit(part: dict[str, Any], expected: object) -> None:
    schema = closed(a=part)
    check(schema, is_closed=True, needs_all=True)
    assert made(schema) == {"a": pytest.approx(expected) if isinstance(expected, float) else expected}


def test_references_are_followed_also_in_a_circle() -> None:
    node = closed(value={"type": "integer"}, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
    schema = closed(first={"$ref": "#/$defs/node"}) | {"$defs": {"node": node}}
    check(schema, is_closed=True)
    found = made(schema)["first"]
    while found["next"] is not None:
        assert found["value"] == 42
        found = found["next"]


def test_a_schema_that_doubles_at_every_level_has_an_end() -> None:
    levels = {f"l{n}": closed(**{k: {"$ref": f"#/$defs/l{n + 1}"} for k in "abcdefgh"}) for n in range(12)}
    levels["l12"] = closed(x={"type": "integer"})
    found = made(closed(a={"$ref": "#/$defs/l0"}) | {"$defs": levels})
    assert str(found).count("'") < 4 * MAX_VALUES
    many = made(closed(a={"type": "array", "minItems": 10**9, "items": {"type": "integer"}}))
    assert len(many["a"]) <= MAX_VALUES


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array", "items": {}}, "JSON Schema of 'type"),
        ({}, "JSON Schema of 'type"),
        (closed(a={"type": "string", "pattern": "a+"}), "'pattern' is not permitted"),
        (closed(a={"allOf": []}), "'allOf' is not permitted"),
        (closed(a={"type": "string", "format": "iban"}), "'iban' is not a supported format"),
        (closed(a={"type": "string", "format": ["date"]}), "is not a supported format"),
        (closed(a={"$ref": "#/$defs/none"}), "leads nowhere"),
        (closed(a={"$ref": "https://example.com/schema"}), "leads nowhere"),
        (closed(a={"$ref": "#/properties/a"}), "leads nowhere"),
        (closed(a={"type": "text"}), "'text' is no type"),
        (closed(a={"type": [["string"]]}), "is no type"),
        (closed(a={"type": "array"}), "missing items"),
        (closed(a={}), "must have a 'type' key"),
        (closed(a=7), "must be an object"),
        (closed(a={"type": ["array", "null"]}), "missing items"),
        (closed(a={"type": [None]}), "must have a 'type' key"),
        (closed(a={"type": ["object", "null"], "properties": {}}), "'additionalProperties'"),
        (closed(a={"enum": []}), "'enum'"),
        (closed(a={"anyOf": []}), "'anyOf'"),
        (closed(a={"oneOf": "b"}), "'oneOf'"),
        (closed() | {"required": ["b"]}, "'b', no property"),
        (closed() | {"properties": 7}, "'properties'"),
        (closed() | {"required": [7]}, "'required'"),
        ({"type": "object", "properties": {}}, "'additionalProperties'"),
        (closed(a={"type": "null"}) | {"required": []}, "Missing 'a'"),
    ],
)
def test_what_is_refused(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(SchemaFlaw) as caught:
        check(schema, is_closed=True, needs_all=True)
    assert said in str(caught.value)


def test_a_schema_too_deep_or_too_large() -> None:
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(30):
        deep = closed(a=deep)
    with pytest.raises(SchemaFlaw, match="too deeply"):
        check(deep, is_closed=True)
    with pytest.raises(SchemaFlaw, match="more than"):
        check(closed(**{f"p{n}": {"type": "null"} for n in range(MAX_VALUES)}), is_closed=True)


@pytest.mark.parametrize(
    "schema", [{"properties": 7}, {"type": 7}, {"required": ["a", 7]}, {"$ref": 7}, {"type": []}]
)
def test_what_was_not_checked_makes_some_value(schema: dict[str, Any]) -> None:
    json.dumps(made(schema))


LEAVES = (
    st.none()
    | st.integers(-3, 3)
    | st.sampled_from([*TYPES, "#", "#/$defs/a", "#/properties/a", "date"])
    | st.floats(-9, 9)
)
NAMES = (
    *("type", "enum", "const", "properties", "required", "items", "anyOf", "$ref", "$defs", "a", "format"),
    *("minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "additionalProperties"),
)
SCHEMAS = st.dictionaries(
    st.sampled_from(NAMES),
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
        ),
        max_leaves=15,
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(schema=SCHEMAS, has_type=st.booleans())
def test_any_schema_is_refused_or_makes_json(schema: dict[str, Any], has_type: bool) -> None:
    if has_type:
        schema = schema | {"type": "object"}
    with contextlib.suppress(SchemaFlaw):
        check(schema, is_closed=False)
    json.dumps(made(schema))
