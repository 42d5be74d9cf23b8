"""What a query asks for, without what it asks with: fields and operators, never values.

    {"status": "paid", "created_at": {"$gt": …}}  ->  {status: =, created_at: >}

Everything here comes from the system under test. Names are cut to length, and those that are no plain words
are quoted, so that no name can pose as another part of a shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_NAME_CHARS = 120
"""A field with a longer name is shown cut off, and no index is thought of for it."""

MAX_TEXT_CHARS = 400
MAX_CONDITIONS = 50
"""Of one filter; and branches of one `$or`. Generated queries have thousands that are all alike."""

MAX_DEPTH = 10

_PLAIN_NAME = re.compile(r"[\w$.-]+")
_LITERAL_START = re.compile(r"(?:\^|\\A)[\w @:/-]")
"""A regular expression that begins like this narrows an index down to a range."""

_EQUALITY = {"$eq": "=", "$in": "in"}
_RANGE = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OTHER = {"$ne": "!=", "$nin": "not in"}


@dataclass(frozen=True, slots=True)
class FilterShape:
    """The conditions of a filter. The three groups of fields are disjoint, each in the order of names."""

    text: str = "{}"
    equality: tuple[str, ...] = ()
    """Fields that must equal a value, or one of some."""
    ranges: tuple[str, ...] = ()
    """Fields that must lie between bounds."""
    others: tuple[str, ...] = ()
    """Fields with a condition that an index cannot narrow down: `$ne`, `$exists`, a regular expression."""
    branches: tuple[FilterShape, ...] = ()
    """Of the filter's only `$or`, where it has one."""

    @property
    def is_empty(self) -> bool:
        """Whether it takes every document."""
        return self.text == "{}"


def filter_shape(query: object, *, prefix: str = "", depth: int = 0) -> FilterShape:
    """Return the shape of a filter, as `find` takes it; of anything else, that of an empty one."""
    conditions = _Conditions(depth)
    if isinstance(query, Mapping):
        conditions.add_all(query, prefix)
    return conditions.shape()


class _Conditions:
    """Conditions that have to hold together."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._words: dict[str, set[str]] = {}
        """Field -> what stands behind it in the text."""
        self._equality: set[str] = set()
        self._ranges: set[str] = set()
        self._others: set[str] = set()
        self._nameless: set[str] = set()
        self._ors: list[tuple[FilterShape, ...]] = []

    def add_all(self, query: Mapping[str, Any], prefix: str) -> None:
        for name, value in _first(query.items()):
            if name == "$and":
                for part in _mappings(value) if self._depth < MAX_DEPTH else ():
                    self._depth += 1
                    self.add_all(part, prefix)
                    self._depth -= 1
            elif name in ("$or", "$nor"):
                self._add_branches(name, value, prefix)
            elif name == "$comment":
                continue
            elif name.startswith("$"):
                self._nameless.add(readable(name))
            else:
                self._add_field(prefix + name, value)

    def _add_branches(self, name: str, value: object, prefix: str) -> None:
        if self._depth >= MAX_DEPTH:
            self._nameless.add(f"{name} […]")
            return
        shapes = {
            shape.text: shape
            for shape in (
                filter_shape(part, prefix=prefix, depth=self._depth + 1) for part in _mappings(value)
            )
        }
        branches = tuple(shapes[text] for text in sorted(shapes))
        self._nameless.add(f"{name} [{', '.join(branch.text for branch in branches)}]")
        if name == "$or":
            self._ors.append(branches)

    def _add_field(self, name: str, value: object) -> None:
        first = next(iter(value), "") if isinstance(value, Mapping) else ""
        if isinstance(value, Mapping) and first.startswith("$") and first != "$ref":
            for operator, operand in _first(value.items()):
                self._add_operator(name, operator, operand, value)
        elif _is_pattern(value):
            self._add_pattern(name, value)
        else:
            self._note(name, "=", self._equality)

    def _add_operator(self, name: str, operator: str, operand: Any, whole: Mapping[str, Any]) -> None:
        if operator in _EQUALITY:
            self._note(name, _EQUALITY[operator], self._equality)
        elif operator in _RANGE:
            self._note(name, _RANGE[operator], self._ranges)
        elif operator == "$all":
            nested = any(isinstance(item, Mapping) for item in _first(_list(operand)))
            self._note(name, "all", self._others if nested else self._equality)
        elif operator == "$elemMatch" and isinstance(operand, Mapping) and self._depth < MAX_DEPTH:
            self._add_element(name, operand)
        elif operator == "$regex":
            self._add_pattern(name, operand, str(whole.get("$options", "")))
        elif operator != "$options":
            self._note(name, _OTHER.get(operator, readable(operator.removeprefix("$"))), self._others)

    def _add_element(self, name: str, operand: Mapping[str, Any]) -> None:
        if next(iter(operand), "").startswith("$") and next(iter(operand)) not in ("$and", "$or", "$nor"):
            # {$elemMatch: {$gt: 1, $lt: 5}}: conditions of the element itself.
            self._add_field(name, operand)
            return
        inner = filter_shape(operand, depth=self._depth + 1)
        self._words.setdefault(name, set()).add(f"elemMatch {inner.text}")
        self._equality |= {f"{name}.{field}" for field in inner.equality}
        self._ranges |= {f"{name}.{field}" for field in inner.ranges}
        if not inner.equality and not inner.ranges:
            self._others.add(name)

    def _add_pattern(self, name: str, pattern: Any, options: str = "") -> None:
        text = pattern if isinstance(pattern, str) else getattr(pattern, "pattern", "")
        flags = getattr(pattern, "flags", 0)
        ignores_case = "i" in options or bool(flags & re.IGNORECASE if isinstance(flags, int) else False)
        is_range = isinstance(text, str) and _LITERAL_START.match(text) is not None and not ignores_case
        self._note(name, "begins" if is_range else "regex", self._ranges if is_range else self._others)

    def _note(self, name: str, word: str, group: set[str]) -> None:
        self._words.setdefault(name, set()).add(word)
        group.add(name)

    def shape(self) -> FilterShape:
        too_long = {name for name in self._equality | self._ranges if len(name) > MAX_NAME_CHARS}
        equality = self._equality - too_long
        ranges = self._ranges - equality - too_long
        others = (self._others | too_long) - equality - ranges
        rank = dict.fromkeys(ranges, 1) | dict.fromkeys(self._equality, 0)
        named = sorted(self._words, key=lambda name: (rank.get(name, 2), name))
        parts = [f"{readable(name)}: {' '.join(sorted(self._words[name]))}" for name in named]
        return FilterShape(
            text=cut("{" + ", ".join([*parts, *sorted(self._nameless)]) + "}"),
            equality=tuple(sorted(equality)),
            ranges=tuple(sorted(ranges)),
            others=tuple(sorted(name for name in others if len(name) <= MAX_NAME_CHARS)),
            branches=self._ors[0] if len(self._ors) == 1 else (),
        )


SortKeys = tuple[tuple[str, int], ...]


def sort_keys(sort: object) -> SortKeys:
    """Return (field, 1 or -1) of each key of a sort; none for one that no index could serve."""
    if not isinstance(sort, Mapping):
        return ()
    keys = []
    for name, direction in _first(sort.items()):
        if isinstance(direction, bool) or not isinstance(direction, (int, float)) or not direction:
            return ()
        if name.startswith("$") or len(name) > MAX_NAME_CHARS:
            return ()
        keys.append((name, 1 if direction > 0 else -1))
    return tuple(keys)


def sort_text(sort: object) -> str:
    """Return a sort as it is read: `{created_at: -1}`; "" for none."""
    if not isinstance(sort, Mapping) or not sort:
        return ""
    words = []
    for name, direction in _first(sort.items()):
        is_number = isinstance(direction, (int, float)) and not isinstance(direction, bool)
        words.append(f"{readable(name)}: {(1 if direction > 0 else -1) if is_number else 'meta'}")
    return cut("{" + ", ".join(words) + "}")


def readable(name: str) -> str:
    """Return the name of a field, cut to length; in quotes unless it is a plain word."""
    short = name if len(name) <= MAX_NAME_CHARS else f"{name[: MAX_NAME_CHARS - 1]}…"
    return short if _PLAIN_NAME.fullmatch(short) and short.isascii() else json.dumps(short)


def cut(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Return `text` with at most `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _is_pattern(value: object) -> bool:
    return isinstance(value, re.Pattern) or type(value).__name__ == "Regex"


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [part for part in _first(_list(value)) if isinstance(part, Mapping)]


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _first(items: Iterable[Any]) -> list[Any]:
    return [item for item, _ in zip(items, range(MAX_CONDITIONS), strict=False)]
