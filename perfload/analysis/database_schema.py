"""The shape of the database's part of `summary.json`: what MongoDB's profiler saw, and advice."""

from __future__ import annotations

from typing import Literal, TypedDict

AdviceKind = Literal[
    "missing_index",
    "collection_scan",
    "unbounded_result",
    "redundant_index",
    "unused_index",
    "growing_documents",
    "pool_exhaustion",
]

Severity = Literal["high", "medium", "low"]


class OperationPhase(TypedDict):
    """Operations of one shape in one phase."""

    phase: str
    count: int
    mean_ms: float | None
    share_percent: float | None
    """Of the time of all recorded operations of this phase."""


class OperationSummary(TypedDict):
    """Operations of one shape on one collection, over the whole run."""

    ns: str
    op: str
    shape: str
    count: int
    total_ms: float
    mean_ms: float
    p95_ms: float
    max_ms: float
    share_percent: float | None
    """Of the time of all recorded operations."""
    examined_per_returned: float | None
    """Documents read for each one returned or changed; None where an operation returns something else."""
    plan: str
    """The most frequent one."""
    collection_scans: int
    in_memory_sorts: int
    lock_wait_ms: float
    errors: int
    growth: float | None
    """Mean in the last phase / mean in the first one; None where either had too few."""
    phases: list[OperationPhase]


class PlanStage(TypedDict):
    """One stage of a plan."""

    depth: int
    text: str


class PlanSummary(TypedDict):
    """How MongoDB answers one of the worst queries."""

    ns: str
    shape: str
    stages: list[PlanStage]
    """The last one to work first; `depth` says below which."""
    example: str
    """The command as JSON, its values replaced by their kinds."""


class Advice(TypedDict):
    """Something to try, and why."""

    kind: AdviceKind
    severity: Severity
    ns: str
    """The collection; "" where it is about the server."""
    title: str
    evidence: list[str]
    """Sentences with numbers."""
    phase: str
    """In which it took most time; "" where it belongs to none."""
    command: str
    """For mongosh, in the database of `ns`; "" where there is none."""
    operations: list[str]
    """The shapes that it is about, the most expensive ones first."""


class DatabaseSummary(TypedDict):
    """All of it; nothing but empty lists where nobody profiled."""

    operations: list[OperationSummary]
    """By total time."""
    plans: list[PlanSummary]
    notes: list[str]
    """What a reader must know: which operations were recorded, what was lost or refused."""
