"""Values that fit a JSON Schema: the part of it that answers in a given form may use.

Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas. References are followed
within the schema only; what cannot be promised, such as a text that matches a `pattern`, is refused.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

from perfload.target.ai.words import some_words

MAX_VALUES = 5_000
MAX_DEPTH = 10
"""As the real API has it: more is refused."""
_DEEP = 4
"""From here on the shortest way out is taken, so that a schema may contain itself."""
_WORDS = 4
_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_UNSUPPORTED = (
    *("allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"),
    *("pattern", "multipleOf", "minLength", "maxLength", "uniqueItems", "contains", "prefixItems"),
)
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class SchemaFlaw(ValueError):
    """A schema that no answer is promised for; the message says why, and where."""


def check(schema: dict[str, Any], *, is_closed: bool, needs_all: bool = False) -> None:
    """Raise `SchemaFlaw` unless values for `schema` can be made, and its root is an object.

    `is_closed`: no object may have what it does not name, as with OpenAI's `strict` and always with
    Anthropic. `needs_all`: nothing may be left out, as with the former.
    """
    if schema.get("type") != "object":
        raise SchemaFlaw("In context=(), schema must be a JSON Schema of 'type: \"object\"'.")
    open_schemas: list[tuple[Any, tuple[str, ...]]] = [(schema, ())]
    seen = 0
    while open_schemas:
        part, context = open_schemas.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise SchemaFlaw(f"The schema has more than {MAX_VALUES} parts.")
        if len(context) > 2 * MAX_DEPTH:
            raise SchemaFlaw(f"In context={context[:3]}…, the schema is nested too deeply.")
        _check_part(part, context, schema)
        if "object" in _kinds(part):
            _check_object(part, context, is_closed=is_closed, needs_all=needs_all)
        open_schemas += [(inner, (*context, *names)) for inner, names in _parts(part)]


def value(schema: dict[str, Any], source: random.Random) -> Any:
    """Return a value for `schema`. One that was not checked is followed as far as it makes sense."""
    return _Maker(schema, source).value(schema, 0)


def _kinds(part: dict[str, Any]) -> list[Any]:
    """Return the types that a value may have: `[None]` where none is said."""
    kinds = part.get("type")
    return kinds if isinstance(kinds, list) else [kinds]


def _check_part(part: Any, context: tuple[str, ...], root: dict[str, Any]) -> None:
    if not isinstance(part, dict):
        raise SchemaFlaw(f"In context={context}, a schema must be an object.")
    for name in _UNSUPPORTED:
        if name in part:
            raise SchemaFlaw(f"In context={context}, '{name}' is not permitted.")
    if part.get("format", "date") not in tuple(_FORMATS):
        raise SchemaFlaw(f"In context={context}, {str(part['format'])[:100]!r} is not a supported format.")
    if "$ref" in part:
        if _resolved(part, root) is None:
            raise SchemaFlaw(f"In context={context}, reference {str(part['$ref'])[:100]!r} leads nowhere.")
        return
    _check_type(part, context)


def _check_type(part: dict[str, Any], context: tuple[str, ...]) -> None:
    kinds = _kinds(part)
    for kind in kinds:
        if kind not in (None, *_TYPES):
            raise SchemaFlaw(f"In context={context}, {str(kind)[:100]!r} is no type.")
    for name in ("enum", "anyOf", "oneOf"):
        options = part.get(name)
        if options is not None and not (isinstance(options, list) and options):
            raise SchemaFlaw(f"In context={context}, '{name}' must be a list that is not empty.")
    if not any(kinds) and not {"enum", "const", "anyOf", "oneOf"} & part.keys():
        raise SchemaFlaw(f"In context={context}, schema must have a 'type' key.")
    if "array" in kinds and "items" not in part:
        raise SchemaFlaw(f"In context={context}, array schema missing items.")


def _check_object(
    part: dict[str, Any], context: tuple[str, ...], *, is_closed: bool, needs_all: bool
) -> None:
    properties, required = part.get("properties", {}), part.get("required", [])
    if not isinstance(properties, dict):
        raise SchemaFlaw(f"In context={context}, 'properties' must be an object.")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise SchemaFlaw(f"In context={context}, 'required' must be a list of texts.")
    unknown = [name for name in required if name not in properties]
    if unknown:
        raise SchemaFlaw(f"In context={context}, 'required' has {unknown[0][:100]!r}, no property.")
    optional = [name for name in properties if name not in required] if needs_all else []
    if optional:
        raise SchemaFlaw(
            f"In context={context}, 'required' is required to be supplied and to be an array including every "
            f"key in properties. Missing {optional[0][:100]!r}."
        )
    if is_closed and part.get("additionalProperties") is not False:
        raise SchemaFlaw(
            f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        )


def _parts(part: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield the schemas within one schema, each with what leads to it."""
    for name in ("properties", "$defs", "definitions"):
        inner = part.get(name)
        if isinstance(inner, dict):
            yield from ((schema, (name, member)) for member, schema in inner.items())
    if "items" in part:
        yield part["items"], ("items",)
    for name in ("anyOf", "oneOf"):
        options = part.get(name)
        if isinstance(options, list):
            yield from ((schema, (name, str(index))) for index, schema in enumerate(options))


def _resolved(part: dict[str, Any], root: dict[str, Any]) -> dict[str, Any] | None:
    """Return what `part` refers to, in one step or several; itself without a reference, None for nothing."""
    found: Any = part
    for _ in range(MAX_DEPTH):
        if not isinstance(found, dict):
            return None
        reference = found.get("$ref")
        if reference is None:
            return found
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found = root
        for name in reference.removeprefix("#").removeprefix("/").split("/") if reference != "#" else ():
            found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return None


class _Maker:
    """Makes one value, of `MAX_VALUES` parts at most: references may double a schema at every level."""

    def __init__(self, root: dict[str, Any], source: random.Random) -> None:
        self._root = root
        self._source = source
        self._left = MAX_VALUES

    def value(self, part: Any, depth: int) -> Any:
        self._left -= 1
        schema = _resolved(part, self._root) if isinstance(part, dict) else None
        if schema is None or self._left < 0 or depth > 2 * MAX_DEPTH:
            return {} if depth == 0 else None
        if "const" in schema:
            return schema["const"]
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return options[0]
        for name in ("anyOf", "oneOf"):
            options = schema.get(name)
            if isinstance(options, list) and options:
                return self.value(self._way(options, depth), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kinds = schema.get("type", "object" if depth == 0 or "properties" in schema else "string")
        if isinstance(kinds, list):
            kinds = self._way([{"type": kind} for kind in kinds], depth)["type"] if kinds else "null"
        if kinds == "object":
            return self._object(schema, depth)
        if kinds == "array":
            return self._array(schema, depth)
        if kinds in ("integer", "number"):
            return _whole(schema) if kinds == "integer" else _number(schema)
        if kinds in ("boolean", "null"):
            return True if kinds == "boolean" else None
        look = schema.get("format")
        known = _FORMATS.get(look) if isinstance(look, str) else None
        return known or "".join(some_words(_WORDS, self._source))

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties"), schema.get("required")
        needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        members = dict(properties) if isinstance(properties, dict) else {}
        if depth >= _DEEP:
            members = {name: members.get(name) for name in needed}
        # What is required without being described may be anything.
        members |= {name: {"type": "string"} for name in needed if name not in members}
        return {name: self.value(member, depth + 1) for name, member in members.items() if self._left > 0}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least, most = _bound(schema, "minItems"), _bound(schema, "maxItems")
        count = max(0 if depth >= _DEEP else 1, int(min(least or 0, MAX_VALUES)))
        if most is not None:
            count = min(count, int(min(most, MAX_VALUES)))
        items = schema.get("items", {"type": "string"})
        return [self.value(items, depth + 1) for _ in range(count) if self._left > 0]

    def _way(self, options: list[Any], depth: int) -> Any:
        """Return the option to take: the first, but deep down one that ends here, if there is one."""
        if depth >= _DEEP:
            for option in options:
                schema = _resolved(option, self._root) if isinstance(option, dict) else None
                if schema is not None and schema.get("type") not in (None, "object", "array"):
                    return option
        return options[0]


def _bound(schema: dict[str, Any], name: str) -> float | None:
    found = schema.get(name)
    is_number = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return found if is_number else None


def _whole(schema: dict[str, Any]) -> int:
    """Return 42, or the whole number nearest to it within the bounds of `schema`."""
    wish = 42
    low, above = _bound(schema, "minimum"), _bound(schema, "exclusiveMinimum")
    high, below = _bound(schema, "maximum"), _bound(schema, "exclusiveMaximum")
    wish = wish if low is None else max(wish, math.ceil(low))
    wish = wish if above is None else max(wish, math.floor(above) + 1)
    wish = wish if high is None else min(wish, math.floor(high))
    return wish if below is None else min(wish, math.ceil(below) - 1)


def _number(schema: dict[str, Any]) -> float:
    """Return 0.5, or else a number within the bounds of `schema`."""
    lows = [_bound(schema, name) for name in ("minimum", "exclusiveMinimum")]
    highs = [_bound(schema, name) for name in ("maximum", "exclusiveMaximum")]
    low = max((bound for bound in lows if bound is not None), default=-math.inf)
    high = min((bound for bound in highs if bound is not None), default=math.inf)
    if low < 0.5 < high:
        return 0.5
    if math.isinf(low) or math.isinf(high):
        return high - 1 if math.isinf(low) else low + 1
    return (low + high) / 2
