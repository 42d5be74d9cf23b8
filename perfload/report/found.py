"""The report's tables of what monitors found that is no number: events, and sizes before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from perfload.model import Observation, RunRecord
from perfload.report.escape import shortened
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.quantities import NOTHING, clock, count, quantity

MAX_EVENTS = 50
"""Rows of the table; the record has all."""
MAX_DATABASES = 20
_DETAIL_CHARACTERS = 300

_EVENTS = {
    "slow_operation": "slow operation",
    "slow_command": "slow command",
    "latency_event": "latency event",
    "throttling": "throttling",
    "replica_set": "replica set",
    "server": "server",
    "series_left_out": "series left out",
    "refused": "refused",
}
"""Kinds of observations that are events, and what they are called; others have tables of their own."""


def section(record: RunRecord) -> Markup:
    """Return both tables; nothing where there is nothing for them."""
    return joined([_events(record), _sizes(record.observations)])


def _events(record: RunRecord) -> Markup:
    found = [observation for observation in record.observations if observation.kind in _EVENTS]
    if not found:
        return Markup()
    columns = (Column("At"), Column("What"), Column("Where"), Column("Details"))
    rows = [Row(_event(observation, record.manifest.started_at_s)) for observation in found[:MAX_EVENTS]]
    left_out = len(found) - MAX_EVENTS
    more = element("p", f"{count(left_out)} more in observations.jsonl.", class_="muted")
    grid = table(columns, rows, label="What monitors found")
    return joined([element("h3", "What they found"), grid, more if left_out > 0 else Markup()])


def _event(observation: Observation, started_at_s: float) -> tuple[str, ...]:
    details = ", ".join(f"{key} {_plain(value)}" for key, value in observation.data.items() if value != "")
    return (
        clock(max(0.0, observation.at_s - started_at_s)),
        _EVENTS[observation.kind],
        f"{observation.source} on {observation.node}",
        shortened(details, _DETAIL_CHARACTERS),
    )


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.5g}"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_plain(held)}" for key, held in value.items())
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    return str(value)


def _sizes(observations: Iterable[Observation]) -> Markup:
    """Return the sizes of databases; of several looks before the run the first counts, after it the last."""
    before: dict[tuple[str, str], Mapping[str, Any]] = {}
    after: dict[tuple[str, str], Mapping[str, Any]] = {}
    for node, when, database in _databases(observations):
        key = (node, str(database.get("name", "")))
        if when == "before":
            before.setdefault(key, database)
        else:
            after[key] = database
    if not before:
        return Markup()
    columns = (
        Column("Database"),
        *numbers("before", "after", group="Documents"),
        *numbers("before", "after", group="Data"),
        *numbers("before", "after", group="Indexes"),
    )
    rows = [Row(_size(key, before[key], after.get(key, {}))) for key in list(before)[:MAX_DATABASES]]
    return joined([element("h3", "Sizes before and after"), table(columns, rows, label="Sizes")])


def _databases(observations: Iterable[Observation]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for observation in observations:
        databases = observation.data.get("databases")
        if observation.kind == "sizes" and isinstance(databases, Sequence):
            for database in databases:
                if isinstance(database, Mapping):
                    yield observation.node, str(observation.data.get("when")), database


def _size(key: tuple[str, str], before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    node, name = key
    metrics = (("documents", ""), ("data_bytes", "bytes"), ("index_bytes", "bytes"))
    cells = (_amount(held.get(metric), unit) for metric, unit in metrics for held in (before, after))
    return f"{name} on {node}", *cells


def _amount(value: object, unit: str) -> str:
    return quantity(value, unit) if isinstance(value, (int, float)) else NOTHING
