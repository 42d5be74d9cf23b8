"""Values out of JSON that a server sent: whatever is not of the expected type is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

JsonObject = dict[str, Any]

_MOST = 10**12
"""No count is greater: a server may write a number that no float can hold."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def parsed(text: str | bytes) -> JsonObject | None:
    """Return the object that `text` holds; None when it holds none."""
    try:
        value = orjson.loads(text)
    except ValueError:
        value = _parsed_as_python_writes(text)
    return value if isinstance(value, dict) else None


def _parsed_as_python_writes(text: str | bytes) -> Any:
    """Return what servers in Python may send and JSON does not have: NaN, half a character."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def an_object(value: object, key: str) -> JsonObject:
    """Return the object under `key` of `value`; an empty one when there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def objects(value: object, key: str) -> Iterator[JsonObject]:
    """Yield the objects of the list under `key`."""
    found = value.get(key) if isinstance(value, dict) else None
    if isinstance(found, list):
        yield from (item for item in found if isinstance(item, dict))


def a_text(value: object, key: str) -> str:
    """Return the text under `key`; "" when there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def a_count(value: object, key: str) -> int | None:
    """Return the whole number of at least 0 under `key`; None when there is none, or no count is so great."""
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 <= found <= _MOST else None


def a_word(value: object, key: str) -> str:
    """Return the text under `key` if it may be a part of a reason, as a code may: one short word."""
    found = a_text(value, key)
    return found if _WORD.fullmatch(found) else ""
