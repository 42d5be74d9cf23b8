"""A command with its values replaced by their kinds: `{owner: "<string>"}` can be shown, the owner cannot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from perfload.monitors.mongodb.shapes import MAX_NAME_CHARS

MAX_ITEMS = 30
"""Of one document; of lists, as many as there are different kinds of values."""

MAX_DEPTH = 12

_KEPT = (
    *("find", "aggregate", "count", "distinct", "key", "findAndModify"),
    *("filter", "query", "q", "pipeline", "sort", "projection", "limit", "skip", "multi", "collation"),
)
"""What tells how a command is answered. Sessions and comments are left out, and what a write writes."""

_NAMES = frozenset({"find", "aggregate", "count", "distinct", "key", "findAndModify"})
_LOOKUP_NAMES = frozenset({"from", "localField", "foreignField", "as"})
_DIRECTIONS = frozenset({"sort", "projection", "$sort", "$project", "sortBy"})
_FILTERS = frozenset({"$match", "query", "$literal"})
_FIELD_PATH = re.compile(r"\$\$?[A-Za-z_][\w.]{0,120}")

_KINDS = {
    "str": "string",
    "bool": "bool",
    "int": "number",
    "Int64": "number",
    "float": "number",
    "Decimal128": "number",
    "datetime": "date",
    "DatetimeMS": "date",
    "ObjectId": "objectId",
    "NoneType": "null",
    "bytes": "binary",
    "Binary": "binary",
    "UUID": "uuid",
    "Regex": "regex",
    "Pattern": "regex",
    "Timestamp": "timestamp",
}


def with_placeholders(command: Mapping[str, Any]) -> dict[str, Any]:
    """Return `command` as JSON values that hold names and operators, and no value of anybody's data."""
    shown: dict[str, Any] = {}
    for name in _KEPT:
        if name in command:
            value = command[name]
            is_name = name in _NAMES and isinstance(value, str)
            shown[name] = value[:MAX_NAME_CHARS] if is_name else _replaced(value, name, 0, name == "pipeline")
    return shown


def _replaced(value: object, key: str, depth: int, in_pipeline: bool) -> Any:
    if depth > MAX_DEPTH:
        return "<…>"
    if isinstance(value, Mapping):
        return _replaced_document(value, key, depth, in_pipeline)
    if isinstance(value, list):
        shown: list[Any] = []
        for item in value[:MAX_ITEMS]:
            replaced = _replaced(item, key, depth + 1, in_pipeline)
            if replaced not in shown:
                shown.append(replaced)
        return shown
    if key in _DIRECTIONS and isinstance(value, (int, float)) and value in (-1, 0, 1):
        return int(value)
    if in_pipeline and isinstance(value, str) and _FIELD_PATH.fullmatch(value):
        return value
    return f"<{_KINDS.get(type(value).__name__, type(value).__name__)}>"


def _replaced_document(value: Mapping[Any, Any], key: str, depth: int, in_pipeline: bool) -> dict[str, Any]:
    shown = {}
    for name, item in list(value.items())[:MAX_ITEMS]:
        if in_pipeline and key == "$lookup" and name in _LOOKUP_NAMES and isinstance(item, str):
            shown[name] = item[:MAX_NAME_CHARS]
            continue
        # Keys below a sort are fields, and their values directions.
        context = key if key in _DIRECTIONS else str(name)
        # Where a pipeline filters, a text is a value, even one that begins with a dollar sign.
        shown[str(name)[:MAX_NAME_CHARS]] = _replaced(
            item, context, depth + 1, in_pipeline and name not in _FILTERS
        )
    return shown
