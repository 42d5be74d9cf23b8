"""`$currentOp`: operations that are slow while they still run.

Shapes only: what an operation does to which collection by which plan, and none of the values in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perfload.monitors.base import Finding, Found, Measurement
from perfload.monitors.mongodb.connection import APP_NAME
from perfload.monitors.mongodb.parts import Moment
from perfload.monitors.mongodb.server_commands import Commands, Document, first_batch, number_in, text_in
from perfload.monitors.mongodb.top import MAX_NAMESPACE_CHARS

MAX_LISTED = 100
"""More slow operations than this are not told apart at one read."""

MAX_FINDINGS = 500
"""More than this are counted but not described: a run that is slow throughout says so after a few."""

MAX_PLAN_CHARS = 240

_KINDS = ["query", "getmore", "insert", "update", "remove", "command"]
_WAITING_BY_DESIGN: Sequence[dict[str, Any]] = (
    {"command.hello": {"$exists": True}},
    {"command.isMaster": {"$exists": True}},
    {"command.ismaster": {"$exists": True}},
    {"cursor.awaitData": True},
    {"ns": {"$regex": "^(local|config)\\."}},
    {"effectiveUsers.user": "__system"},
)
"""Operations of drivers, change streams and members of the set, which wait for something to happen."""


class CurrentOperations:
    """The part of the monitor that looks for operations that have run for `slow_ms` or longer."""

    metrics: Sequence[tuple[str, str]] = (
        ("slow_operations", "operations"),
        ("slow_operations_waiting_for_lock", "operations"),
        ("slow_operation_longest_ms", "ms"),
    )
    needs = "the role clusterMonitor"
    every_s = 2.0

    def __init__(self, slow_ms: float) -> None:
        self._command = _command(slow_ms)
        self._running: frozenset[str] = frozenset()
        self._findings = 0

    def read(self, commands: Commands, moment: Moment) -> Found:
        """Return how many there are now, and one finding for each that was not there before."""
        # Sorted here: a sort in the pipeline would be counted among those of the system under test.
        operations = sorted(first_batch(commands.run(self._command)), key=_running_us, reverse=True)
        waiting = sum(1 for operation in operations if operation.get("waitingForLock") is True)
        longest_us = _running_us(operations[0]) if operations else 0.0
        values = (float(len(operations)), float(waiting), longest_us / 1000)
        measurements = [
            Measurement(*metric, value) for metric, value in zip(self.metrics, values, strict=True)
        ]
        return [*measurements, *self._new(operations)]

    def _new(self, operations: Sequence[Document]) -> Sequence[Finding]:
        by_id = {_id_of(operation): operation for operation in operations}
        new = [operation for number, operation in by_id.items() if number not in self._running]
        self._running = frozenset(by_id)
        new = new[: MAX_FINDINGS - self._findings]
        self._findings += len(new)
        return [Finding("slow_operation", _shape(operation)) for operation in new]


def _command(slow_ms: float) -> Document:
    slow = {
        "active": True,
        "microsecs_running": {"$gte": int(1000 * slow_ms)},
        "op": {"$in": _KINDS},
        "appName": {"$ne": APP_NAME},
        "$nor": list(_WAITING_BY_DESIGN),
    }
    fields = ("opid", "op", "ns", "microsecs_running", "planSummary", "waitingForLock", "appName")
    pipeline = [
        {"$currentOp": {"allUsers": True, "idleSessions": False}},
        {"$match": slow},
        {"$project": dict.fromkeys(fields, 1)},
        {"$limit": MAX_LISTED},
    ]
    return {"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": MAX_LISTED}}


def _shape(operation: Document) -> Document:
    return {
        "opid": _id_of(operation),
        "op": text_in(operation.get("op"), 40),
        "ns": text_in(operation.get("ns"), MAX_NAMESPACE_CHARS),
        "running_ms": round(_running_us(operation) / 1000, 3),
        "plan": text_in(operation.get("planSummary"), MAX_PLAN_CHARS),
        "waiting_for_lock": operation.get("waitingForLock") is True,
        "app_name": text_in(operation.get("appName"), 80),
    }


def _id_of(operation: Document) -> str:
    return str(operation.get("opid"))[:80]


def _running_us(operation: Document) -> float:
    return number_in(operation.get("microsecs_running")) or 0.0
