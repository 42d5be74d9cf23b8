"""A command that MongoDB recorded, described: what it does, which documents it wants, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfload.monitors.mongodb.shapes import (
    MAX_NAME_CHARS,
    FilterShape,
    SortKeys,
    cut,
    filter_shape,
    readable,
    sort_keys,
    sort_text,
)

MAX_STAGES = 20
"""Of an aggregation, in its text."""

_READS_MATCHES = frozenset({"$match", "$sort", "$limit", "$project", "$addFields", "$set", "$unset"})
"""Stages that give back as many documents as were matched, or as a limit lets through."""

_BOUNDS = frozenset({"$limit", "$group", "$count", "$sortByCount", "$bucket", "$bucketAuto", "$facet"})
"""Stages after which there are few documents, or as many as were asked for."""


@dataclass(frozen=True, slots=True)
class CommandShape:
    """What a command does, without values. `op` and `text` together with the collection are its identity."""

    op: str
    text: str
    filter: FilterShape = field(default_factory=FilterShape)
    sort: SortKeys = ()
    """The order that an index could give: of an aggregation, that before its documents change."""
    counts_matches: bool = False
    """Whether the number of returned (or changed) documents is that of the matching ones."""
    has_limit: bool = True
    """False for a read that returns whatever matches."""
    lookups: tuple[tuple[str, str], ...] = ()
    """(collection, field) of each `$lookup` by equality."""


def command_shape(op: str, command: Mapping[str, Any], originating: object = None) -> CommandShape:
    """Return the shape of a recorded command; `op` and `originating` (of a getMore) as recorded."""
    name = next(iter(command), "")
    if op == "getmore" or name == "getMore":
        return _get_more(originating)
    if "$truncated" in command:
        return CommandShape(op or "command", f"{op or 'command'} (too long to be recorded)")
    if op in ("update", "remove") and "q" in command:
        return _write(op, command)
    if name in _SHAPES:
        return _SHAPES[name](command)
    verb = readable(name or op)
    return CommandShape(verb, verb)


def _get_more(originating: object) -> CommandShape:
    if not isinstance(originating, Mapping) or not originating or "getMore" in originating:
        return CommandShape("getMore", "getMore of an unknown query")
    origin = command_shape("", originating)
    return CommandShape(
        "getMore",
        cut(f"getMore of {origin.text}"),
        filter=origin.filter,
        sort=origin.sort,
        has_limit=origin.has_limit,
        lookups=origin.lookups,
    )


def _find(command: Mapping[str, Any]) -> CommandShape:
    filtered = filter_shape(command.get("filter"))
    has_limit = bool(command.get("limit") or command.get("singleBatch"))
    words = [word for word, is_there in (("skip", command.get("skip")), ("limit", has_limit)) if is_there]
    return CommandShape(
        "find",
        " ".join([_join("find", filtered, command.get("sort")), *words]),
        filter=filtered,
        sort=sort_keys(command.get("sort")),
        counts_matches=not command.get("skip"),
        has_limit=has_limit,
    )


def _aggregate(command: Mapping[str, Any]) -> CommandShape:
    pipeline = [stage for stage in _list(command.get("pipeline")) if isinstance(stage, Mapping) and stage]
    matches, sort = _leading(pipeline)
    names = [next(iter(stage)) for stage in pipeline]
    words = [_stage_text(stage) for stage in pipeline[:MAX_STAGES]]
    return CommandShape(
        "aggregate",
        cut(f"aggregate [{', '.join(words)}]"),
        filter=filter_shape({"$and": matches}) if matches else FilterShape(),
        sort=sort_keys(sort),
        counts_matches=_READS_MATCHES.issuperset(names),
        has_limit=not _BOUNDS.isdisjoint(names),
        lookups=tuple(_lookups(pipeline)),
    )


def _leading(pipeline: Sequence[Mapping[str, Any]]) -> tuple[list[Any], object]:
    """Return the filters and the sort that MongoDB can answer from an index."""
    matches: list[Any] = []
    sort: object = None
    for stage in pipeline:
        name, value = next(iter(stage.items()))
        if name == "$match" and isinstance(value, Mapping):
            matches.append(value)
        elif name == "$sort" and sort is None:
            sort = value
        else:
            break
    return matches, sort


def _stage_text(stage: Mapping[str, Any]) -> str:
    name, value = next(iter(stage.items()))
    if name == "$match":
        return f"$match {filter_shape(value).text}"
    if name == "$sort":
        return f"$sort {sort_text(value)}"
    if name == "$lookup" and isinstance(value, Mapping):
        return f"$lookup {readable(str(value.get('from', '')))}"
    if name == "$group" and isinstance(value, Mapping):
        by = value.get("_id")
        return f"$group {readable(by)}" if isinstance(by, str) and by.startswith("$") else "$group"
    return readable(name)


def _lookups(pipeline: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    found = []
    for stage in pipeline[:MAX_STAGES]:
        value = stage.get("$lookup")
        if isinstance(value, Mapping):
            names = (value.get("from"), value.get("foreignField"))
            if all(isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS for name in names):
                found.append((str(names[0]), str(names[1])))
    return found


def _write(op: str, command: Mapping[str, Any]) -> CommandShape:
    filtered = filter_shape(command["q"])
    verb, many, change = "delete", command.get("limit") == 0, ""
    if op == "update":
        verb, many, change = "update", bool(command.get("multi")), f" {_change_text(command.get('u'))}"
    text = cut(f"{verb}{' many' if many else ''} {filtered.text}{change}")
    return CommandShape(verb, text, filter=filtered, counts_matches=True)


def _change_text(change: object) -> str:
    if isinstance(change, list):
        return "pipeline"
    names = list(change)[:MAX_STAGES] if isinstance(change, Mapping) else []
    if not names or not names[0].startswith("$"):
        return "replace"
    return " ".join(readable(name) for name in names)


def _find_and_modify(command: Mapping[str, Any]) -> CommandShape:
    filtered = filter_shape(command.get("query"))
    change = "remove" if command.get("remove") else _change_text(command.get("update"))
    return CommandShape(
        "findAndModify",
        cut(f"{_join('findAndModify', filtered, command.get('sort'))} {change}"),
        filter=filtered,
        sort=sort_keys(command.get("sort")),
        counts_matches=True,
    )


def _count(command: Mapping[str, Any]) -> CommandShape:
    filtered = filter_shape(command.get("query"))
    return CommandShape("count", f"count {filtered.text}", filter=filtered)


def _distinct(command: Mapping[str, Any]) -> CommandShape:
    filtered = filter_shape(command.get("query"))
    name = readable(str(command.get("key", "")))
    return CommandShape("distinct", cut(f"distinct {name} {filtered.text}"), filter=filtered)


def _insert(command: Mapping[str, Any]) -> CommandShape:
    return CommandShape("insert", "insert")


def _explain(command: Mapping[str, Any]) -> CommandShape:
    return CommandShape("explain", "explain")


_SHAPES = {
    "find": _find,
    "aggregate": _aggregate,
    "count": _count,
    "distinct": _distinct,
    "findAndModify": _find_and_modify,
    "findandmodify": _find_and_modify,
    "insert": _insert,
    "explain": _explain,
}


def _join(verb: str, filtered: FilterShape, sort: object) -> str:
    order = sort_text(sort)
    return cut(f"{verb} {filtered.text}" + (f" sort {order}" if order else ""))


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
