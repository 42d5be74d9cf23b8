"""Pieces that records and summaries are made of: spreads, and where the time of requests went."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from perfload.analysis.database_schema import (
    Advice,
    DatabaseSummary,
    OperationPhase,
    OperationSummary,
    PlanStage,
    PlanSummary,
)
from perfload.analysis.schema import (
    Arrivals,
    Bottleneck,
    Breakdown,
    LagSpread,
    PhaseStrain,
    RequestBreakdown,
    ResourceUse,
    Spread,
    StagesSummary,
    StageSummary,
)
from perfload.histogram import Histogram
from perfload.model import STAGE_WINDOW_S, STAGES, StageWindow, Window


def spread(p50: float, *, factor: float = 1.0) -> Spread:
    """Return a spread around `p50` milliseconds."""
    scaled = p50 * factor
    return Spread(
        min=scaled * 0.2,
        mean=scaled * 1.1,
        p50=scaled,
        p75=scaled * 1.5,
        p90=scaled * 2,
        p95=scaled * 3,
        p99=scaled * 5,
        p99_9=scaled * 8,
        max=scaled * 10,
    )


def arrivals_account(
    planned: int, *, dropped: int = 0, lost: int = 0, missed: int = 0, late: int = 0
) -> Arrivals:
    """Return the account of `planned` arrivals, of which the rest started."""
    return Arrivals(
        planned=planned,
        started=planned - dropped - lost - missed,
        late=late,
        dropped=dropped,
        lost=lost,
        missed=missed,
        lag_ms=LagSpread(p50=0.35, p99=1.12, max=14.6),
    )


def breakdown(responses: int, connections: float, **stages: tuple[int, float, float]) -> Breakdown:
    """Return a breakdown of `responses`; each stage has its count, share in percent and median in ms."""
    return Breakdown(
        responses=responses,
        mean_ms=sum(count * median_ms for count, _, median_ms in stages.values()) / responses,
        connections_per_100_requests=connections,
        stages=[
            StageSummary(stage=stage, count=count, share_percent=share, time_ms=spread(median_ms))
            for stage, (count, share, median_ms) in stages.items()
        ],
    )


def stages_summary() -> StagesSummary:
    """Return two requests: one that connects nine times in ten, one that never has to."""
    login = breakdown(
        2000,
        90.5,
        connect=(1810, 10.0, 6.5),
        tls=(1810, 22.5, 15.0),
        send=(2000, 0.5, 0.04),
        wait=(2000, 67.0, 44.0),
    )
    usage = breakdown(600, 0.0, send=(600, 1.5, 0.05), wait=(600, 88.5, 11.0), receive=(600, 10.0, 1.2))
    total = breakdown(
        2600,
        69.6,
        connect=(1810, 9.0, 6.5),
        tls=(1810, 20.5, 15.0),
        send=(2600, 0.75, 0.05),
        wait=(2600, 68.25, 38.0),
        receive=(600, 1.5, 1.2),
    )
    requests = (("GET", "/api/usage", usage), ("POST", "/api/auth/login", login))
    return StagesSummary(
        total=total,
        requests=[RequestBreakdown(method=method, name=name, **part) for method, name, part in requests],
    )


NO_STAGES = StagesSummary(
    total=Breakdown(responses=0, mean_ms=None, connections_per_100_requests=None, stages=[]), requests=[]
)


def stage_windows(windows: Iterable[Window]) -> Iterator[StageWindow]:
    """Yield the stages of `windows`: users connect for their first request, tokens trickle in."""
    rng = random.Random(8)
    cells: dict[tuple[str, str, int, str, str, str], dict[str, Histogram]] = {}
    for window in windows:
        start_s = window.second - window.second % STAGE_WINDOW_S
        key = (window.run_id, window.node, start_s, window.phase, window.method, window.name)
        cell = cells.setdefault(key, {stage: Histogram() for stage in STAGES})
        for _ in range(window.service.count // 4):
            for stage, time_us in _stage_times_us(rng, window).items():
                cell[stage].record(round(time_us))
    for key, cell in cells.items():
        stages = tuple((stage, histogram) for stage, histogram in cell.items() if histogram.count)
        yield StageWindow(*key, stages=stages)


def _stage_times_us(rng: random.Random, window: Window) -> dict[str, float]:
    median_us = window.service.percentile(50)
    receive = 0.7 if "completions" in window.name else 0.04
    times = {"send": rng.uniform(30, 60), "receive": receive * median_us * rng.uniform(0.5, 1.5)}
    times["wait"] = (1 - receive) * median_us * rng.lognormvariate(0, 0.4)
    if window.name == "/api/auth/login":
        times |= {"connect": rng.uniform(4_000, 9_000), "tls": rng.uniform(11_000, 25_000)}
        if rng.random() < 0.02:
            times["dns"] = rng.uniform(900, 6_000)
    return times


NO_CAUSE = Bottleneck(
    kind="none",
    conclusion="Nothing: the system took the load without strain.",
    evidence=[],
    phases=[],
    watched=[],
)


def cause(*, words: str = "", node: str = "db-1") -> Bottleneck:
    """Return a bottleneck that was found; with `words`, in every free text."""
    use = ResourceUse(
        resource=words or "the disk on db-1",
        node=node,
        source=words or "host",
        metric=words or "disk_busy_percent",
        aspect="utilisation",
        highest=97.4,
        limit=90.0,
        unit=words or "%",
        full_since_s=41.0,
    )
    strain = words or "p95 rose to 812 ms, from 62 ms in the calmest part of the run"
    return Bottleneck(
        kind="resource",
        conclusion=words or "The disk on db-1.",
        evidence=[words or "The disk on db-1, disk_busy_percent 97.4 % (limit 90)."],
        phases=[
            PhaseStrain(phase=words or "Normal load", strain="", since_s=None, fullest=None),
            PhaseStrain(phase=words or "Spike", strain=strain, since_s=40.0, fullest=use),
        ],
        watched=[words or "host on db-1"],
    )


NO_DATABASE = DatabaseSummary(operations=[], plans=[], notes=[])


def database(*, words: str = "") -> DatabaseSummary:
    """Return what a profiler saw; with `words`, in every free text."""
    shape = words or "find {owner: =} sort {created_at: -1}"
    operation = OperationSummary(
        ns=words or "app.models",
        op=words or "find",
        shape=shape,
        count=1_200,
        total_ms=420_000.0,
        mean_ms=350.0,
        p95_ms=612.0,
        max_ms=900.0,
        share_percent=91.5,
        examined_per_returned=2_512.0,
        plan=words or "COLLSCAN",
        collection_scans=1_200,
        in_memory_sorts=1_200,
        lock_wait_ms=3.0,
        errors=0,
        growth=4.2,
        phases=[OperationPhase(phase=words or "Spike", count=900, mean_ms=410.0, share_percent=93.0)],
    )
    plan = PlanSummary(
        ns=words or "app.models",
        shape=shape,
        stages=[PlanStage(depth=0, text=words or "SORT"), PlanStage(depth=1, text=words or "COLLSCAN")],
        example=words or '{"find": "models", "filter": {"owner": "<string>"}}',
    )
    return DatabaseSummary(operations=[operation], plans=[plan], notes=[words or "Only slow operations."])


def an_advice(*, words: str = "") -> Advice:
    """Return a missing index; with `words`, in every free text."""
    return Advice(
        kind="missing_index",
        severity="high",
        ns=words or "app.models",
        title=words or "app.models lacks an index",
        evidence=[words or "1,200 operations read 2,512 documents for each one that they returned."],
        phase=words or "Spike",
        command=words or "db.models.createIndex({owner: 1, created_at: -1})",
        operations=[words or "find {owner: =} sort {created_at: -1}"],
    )
