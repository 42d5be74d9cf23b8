"""The report's section on the database: what to try, and what its operations cost."""

from __future__ import annotations

from collections.abc import Sequence

from perfload.analysis.database_schema import (
    Advice,
    DatabaseSummary,
    OperationSummary,
    PlanStage,
    PlanSummary,
)
from perfload.report.escape import shortened
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.quantities import NOTHING, count, latency, number, percent

MAX_OPERATIONS = 20
"""Shapes in the table, those with the most time; `summary.json` has all."""
MAX_ADVICE = 20
_SHAPE_CHARACTERS = 200
_KINDS = {"high": "bad", "medium": "doubt", "low": "good"}


def section(found: DatabaseSummary, advice: Sequence[Advice]) -> Markup:
    """Return advice, operations, plans and notes; nothing where nobody looked at a database."""
    parts = [
        _advice(advice),
        _operations(found["operations"]),
        _plans(found["plans"]),
        element("ul", *(element("li", note) for note in found["notes"]), class_="notes")
        if found["notes"]
        else "",
    ]
    return joined(part for part in parts if part)


def _advice(advice: Sequence[Advice]) -> Markup:
    if not advice:
        return Markup()
    return joined([element("h3", "What to try"), *map(_piece, advice[:MAX_ADVICE])])


def _piece(piece: Advice) -> Markup:
    pill = element("span", piece["severity"], class_=f"pill {_KINDS[piece['severity']]}")
    evidence = (element("li", words) for words in piece["evidence"])
    phase = (
        element("p", f"It cost most in {piece['phase']!r}.", class_="muted") if piece["phase"] else Markup()
    )
    command = element("pre", element("code", piece["command"])) if piece["command"] else Markup()
    return element(
        "div",
        element("h4", pill, " ", piece["title"]),
        element("ul", *evidence),
        phase,
        command,
        class_="advice",
    )


def _operations(operations: Sequence[OperationSummary]) -> Markup:
    if not operations:
        return Markup()
    columns = (
        Column("Operation"),
        Column("Collection"),
        *numbers("Count", "Mean", "p95", "Share of time", "Read per result", "Growth"),
        Column("Plan"),
    )
    rows = [Row(_cells(operation)) for operation in operations[:MAX_OPERATIONS]]
    left_out = len(operations) - MAX_OPERATIONS
    more = (
        element("p", f"{count(left_out)} more in summary.json.", class_="muted") if left_out > 0 else Markup()
    )
    return joined([element("h3", "Operations"), table(columns, rows, label="Database operations"), more])


def _cells(operation: OperationSummary) -> tuple[str, ...]:
    growth = operation["growth"]
    return (
        element("code", shortened(operation["shape"], _SHAPE_CHARACTERS)),
        operation["ns"],
        count(operation["count"]),
        latency(operation["mean_ms"]),
        latency(operation["p95_ms"]),
        percent(operation["share_percent"]),
        NOTHING if operation["examined_per_returned"] is None else number(operation["examined_per_returned"]),
        NOTHING if growth is None else f"{number(growth)} times",
        shortened(operation["plan"], _SHAPE_CHARACTERS),
    )


def _plans(plans: Sequence[PlanSummary]) -> Markup:
    return joined(
        element(
            "details",
            element("summary", f"Plan of {shortened(plan['shape'], _SHAPE_CHARACTERS)} on {plan['ns']}"),
            element("pre", *(element("span", _stage(stage)) for stage in plan["stages"])),
            element("pre", shortened(plan["example"], 2_000)),
        )
        for plan in plans
    )


def _stage(stage: PlanStage) -> str:
    return f"{'  ' * stage['depth']}{stage['text']}"
