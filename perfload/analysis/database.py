"""What the database did during a run, as its profiler saw it: the database's part of `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from perfload.analysis.database_schema import (
    DatabaseSummary,
    OperationPhase,
    OperationSummary,
    PlanStage,
    PlanSummary,
)
from perfload.analysis.profiled import SOURCE, ProfiledOperation, Sums, findings, operations
from perfload.model import RunRecord

MIN_FOR_GROWTH = 20
"""Operations of a phase below which their mean is the luck of a few."""

MAX_NOTES = 20


def database(record: RunRecord) -> DatabaseSummary:
    """Return the operations of a run by shape, the plans of the worst, and what is missing."""
    found = operations(record)
    total_us = sum(operation.total.total_us for operation in found)
    per_phase: dict[str, int] = {}
    for operation in found:
        for phase, sums in operation.phases.items():
            per_phase[phase] = per_phase.get(phase, 0) + sums.total_us
    return DatabaseSummary(
        operations=[_operation(record, operation, total_us, per_phase) for operation in found],
        plans=[_plan(data) for data in findings(record, "explain")],
        notes=list(dict.fromkeys(_notes(record)))[:MAX_NOTES],
    )


def _operation(
    record: RunRecord, operation: ProfiledOperation, total_us: int, per_phase: Mapping[str, int]
) -> OperationSummary:
    sums = operation.total
    matched = operation.counts_matches and sums.returned
    return OperationSummary(
        ns=operation.ns,
        op=operation.op,
        shape=operation.shape,
        count=sums.count,
        total_ms=sums.total_us / 1000,
        mean_ms=sums.mean_ms,
        p95_ms=operation.times_us.percentile(95) / 1000 if operation.times_us.count else sums.mean_ms,
        max_ms=sums.max_us / 1000,
        share_percent=_percent(sums.total_us, total_us),
        examined_per_returned=sums.examined / sums.returned if matched else None,
        plan=operation.plan,
        collection_scans=sums.collection_scans,
        in_memory_sorts=sums.in_memory_sorts,
        lock_wait_ms=sums.lock_wait_us / 1000,
        errors=sums.errors,
        growth=_growth(record, operation),
        phases=[
            _phase(span.name, operation.phases[span.name], per_phase[span.name])
            for span in record.manifest.phases
            if span.name in operation.phases
        ],
    )


def _phase(name: str, sums: Sums, total_us: int) -> OperationPhase:
    return OperationPhase(
        phase=name,
        count=sums.count,
        mean_ms=sums.mean_ms if sums.count else None,
        share_percent=_percent(sums.total_us, total_us),
    )


def _percent(part_us: int, total_us: int) -> float | None:
    return 100 * part_us / total_us if total_us else None


def _growth(record: RunRecord, operation: ProfiledOperation) -> float | None:
    counted = [span.name for span in record.manifest.phases if not span.warmup]
    enough = [name for name in counted if operation.phases.get(name, Sums()).count >= MIN_FOR_GROWTH]
    if len(enough) < 2 or not operation.phases[enough[0]].total_us:
        return None
    return operation.phases[enough[-1]].mean_ms / operation.phases[enough[0]].mean_ms


def _plan(data: Mapping[str, Any]) -> PlanSummary:
    stages = data.get("stages")
    return PlanSummary(
        ns=str(data.get("ns", "")),
        shape=str(data.get("shape", "")),
        stages=[_stage(stage) for stage in stages if isinstance(stage, dict)]
        if isinstance(stages, list)
        else [],
        example=json.dumps(data.get("example", {})),
    )


def _stage(data: Mapping[str, Any]) -> PlanStage:
    depth = data.get("depth")
    words = [str(data.get("stage", "?"))]
    words += [str(data[name]) for name in ("index", "keys", "sort", "filter") if name in data]
    counted = {"nReturned": "returned", "docsExamined": "documents read", "keysExamined": "keys read"}
    counts = [f"{data[name]:,} {noun}" for name, noun in counted.items() if isinstance(data.get(name), int)]
    text = " ".join(words) + (f" ({', '.join(counts)})" if counts else "")
    return PlanStage(depth=depth if isinstance(depth, int) else 0, text=text)


def _notes(record: RunRecord) -> Iterator[str]:
    for data in findings(record, "profiler"):
        name = data.get("database")
        if data.get("is_set") and data.get("mode") == "slow":
            yield f"Of {name}, operations of {data.get('slow_ms')} ms and more were recorded."
        elif data.get("is_set"):
            yield f"Of {name}, all operations were recorded; times are whole milliseconds, rounded down."
        elif data.get("reason"):
            yield f"The profiler of {name} was not set: {data['reason']}."
        if data.get("cleared_up"):
            yield f"The profiler of {name}, left behind by an earlier run, was {data['cleared_up']}."
        if str(data.get("done", "")).startswith("not put back"):
            yield f"The profiler of {name} was {data['done']}."
    for data in findings(record, "refused"):
        yield f"Not available: {data.get('what')}: {data.get('reason')}."
    for reading in record.readings:
        if reading.source == SOURCE and reading.unavailable and "lost_entries" in reading.metric:
            yield f"Some operations are missing: {reading.unavailable}."
