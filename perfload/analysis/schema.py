"""The shape of `summary.json`, version 1. Times in milliseconds carry `_ms`, seconds since run start `_s`.

A field is never removed or given another meaning within a version; new ones may appear.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from perfload.analysis.database_schema import Advice, DatabaseSummary

VerdictName = Literal["passed", "failed", "invalid", "incomplete"]


class Spread(TypedDict):
    """A latency distribution in milliseconds; all None when nothing was measured."""

    min: float | None
    mean: float | None
    p50: float | None
    p75: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p99_9: float | None
    max: float | None


class LagSpread(TypedDict):
    """How late arrivals started, in milliseconds; all None when none started."""

    p50: float | None
    p99: float | None
    max: float | None


class Arrivals(TypedDict):
    """The open model's account of a phase, or of all: planned = started + dropped + lost + missed."""

    planned: int
    started: int
    late: int
    """Started more than 5 ms after their intended time."""
    dropped: int
    """Not started because `max_users` were in flight."""
    lost: int
    """Given to a generator that was lost or left: not started, or nothing was heard of them."""
    missed: int
    """None of these: the run ended first, or no generator was there to take them."""
    lag_ms: LagSpread


class PhaseSummary(TypedDict):
    """One phase: what was planned and what came of it."""

    name: str
    model: str
    start_s: float
    duration_s: float
    warmup: bool
    arrivals: Arrivals
    peak_users: int


class RequestSummary(TypedDict):
    """One request in one phase, or in `all` (without warm-up). Spreads are over successes only."""

    phase: str
    method: str
    name: str
    count: int
    failures: int
    rate_per_s: float
    received_bytes: int
    response_time_ms: Spread
    """From the intended start of the arrival (its first request) or from the send (all others)."""
    service_time_ms: Spread
    """From the actual send."""
    failure_time_ms: Spread
    """Of the requests that failed, from the intended start."""


class FailureSummary(TypedDict):
    """How often one request failed for one reason, over the whole run."""

    method: str
    name: str
    reason: str
    count: int


class ThresholdSummary(TypedDict):
    """One rule held against the run."""

    rule: str
    status: Literal["pass", "fail", "no_data"]
    observed: float | None
    limit: float
    unit: str
    detail: str


class MetricSummary(TypedDict):
    """A custom metric of a scenario, over the phases that count, in its own unit."""

    metric: str
    unit: str
    count: int
    spread: Spread


class StageSummary(TypedDict):
    """One stage of requests (`perfload.model.STAGES`), over those in which it occurred."""

    stage: str
    count: int
    share_percent: float | None
    """Of the time of all stages together; None when that is zero."""
    time_ms: Spread


class Breakdown(TypedDict):
    """Where the time of some requests went, of those that had a response."""

    responses: int
    """Those of redirects included: each has stages of its own."""
    mean_ms: float | None
    """All stages together, per response."""
    connections_per_100_requests: float | None
    """Per 100 responses: 0 when every request found a connection open, 100 when each made its own."""
    stages: list[StageSummary]
    """In the order of a request, those that occurred."""


class RequestBreakdown(Breakdown):
    """Where the time of one request went."""

    method: str
    name: str


class StagesSummary(TypedDict):
    """Where the time went, over the phases that count; no responses where the client did not say."""

    total: Breakdown
    requests: list[RequestBreakdown]


class NodeSummary(TypedDict):
    """One load generator."""

    node: str
    index: int
    complete: bool
    joined_s: float
    left_s: float | None
    """When it left, or was last heard of, before the load had ended; None if it stayed."""
    last_second: int
    given: int | None
    """Arrivals that were its to start; None in a closed load, and where the record does not say."""
    started: int
    dropped: int
    lost: int
    clock_offset_ms: float | None
    clock_error_ms: float | None
    cpu_percent_max: float | None
    loop_lag_ms_max: float | None
    note: str


class EventSummary(TypedDict):
    """A load generator that came or went in mid-run."""

    at_s: float
    node: str
    kind: str
    note: str


class TargetSummary(TypedDict):
    """What was tested."""

    host: str
    scenarios: list[str]
    shape: str


class Totals(TypedDict):
    """The goals' own figures, over the phases that count."""

    requests: int
    failures: int
    error_rate_percent: float | None
    availability_percent: float | None
    rate_per_s: float
    peak_users: int
    arrivals: Arrivals
    response_time_ms: Spread
    service_time_ms: Spread


class ResourceUse(TypedDict):
    """How near one resource came to its limit in one phase."""

    resource: str
    """In words, with the machine that it belongs to."""
    node: str
    source: str
    metric: str
    aspect: str
    """`utilisation`, `saturation` or `errors`."""
    highest: float
    """What it did not fall below for three readings in a row."""
    limit: float
    unit: str
    full_since_s: float | None
    """When it reached its limit for so long; None if it did not."""


class PhaseStrain(TypedDict):
    """How the system stood in one phase."""

    phase: str
    strain: str
    """What shows that it struggled, in words; empty if it did not."""
    since_s: float | None
    fullest: ResourceUse | None
    """The resource nearest to its limit; None where nothing was watched."""


BottleneckKind = Literal["none", "generator", "operations", "resource", "one_at_a_time", "unidentified"]


class Bottleneck(TypedDict):
    """What held the system back."""

    kind: BottleneckKind
    conclusion: str
    evidence: list[str]
    phases: list[PhaseStrain]
    watched: list[str]
    """The monitors that had values: what they do not see cannot be found."""


class Summary(TypedDict):
    """All of `summary.json`."""

    schema: int
    run_id: str
    verdict: VerdictName
    reasons: list[str]
    """Why the verdict is not `passed`, one sentence each."""
    notes: list[str]
    """What a reader must know: warm-up left out, ended early, which load model."""
    started_at: str
    """ISO 8601, UTC."""
    duration_s: float
    end_reason: str
    target: TargetSummary
    time_scale: float
    totals: Totals
    phases: list[PhaseSummary]
    requests: list[RequestSummary]
    failures: list[FailureSummary]
    thresholds: list[ThresholdSummary]
    metrics: list[MetricSummary]
    stages: StagesSummary
    bottleneck: Bottleneck
    database: DatabaseSummary
    advice: list[Advice]
    nodes: list[NodeSummary]
    events: list[EventSummary]
    """In order of time; empty unless load generators came or went in mid-run."""
