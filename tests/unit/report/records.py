"""Records and summaries to render: a run of five phases in 65 s, an empty one and a hostile one.

The runs are made by seeded random numbers, so every call returns equal values. Nothing here needs Locust or a
clock; other tests that need a realistic `RunRecord` may use them as well.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

from perfload.analysis.schema import (
    EventSummary,
    FailureSummary,
    MetricSummary,
    NodeSummary,
    PhaseSummary,
    RequestSummary,
    Spread,
    StagesSummary,
    Summary,
    TargetSummary,
    ThresholdSummary,
    Totals,
)
from perfload.histogram import Histogram
from perfload.model import (
    METRIC_SCALE,
    STAGES,
    ArrivalWindow,
    Manifest,
    MetricWindow,
    NodeEvent,
    NodeRecord,
    PhaseSpan,
    Reading,
    RunRecord,
    StageWindow,
    Window,
)
from tests.unit.report.parts import (
    NO_CAUSE,
    NO_DATABASE,
    NO_STAGES,
    an_advice,
    arrivals_account,
    cause,
    database,
    spread,
    stage_windows,
    stages_summary,
)

STARTED_AT_S = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC
RUN_ID = "20260101-000000-a1b2c3"
NODES = ("worker-1", "worker-2")

REQUESTS = (
    # method, name, share of arrivals, median milliseconds, spread (sigma of the log-normal)
    ("POST", "/api/auth/login", 1.0, 62.0, 0.35),
    ("GET", "/api/ai-models/available", 1.0, 14.0, 0.40),
    ("GET", "/api/ai-models/{id}", 0.8, 9.0, 0.40),
    ("GET", "/api/ai-models/search?q={term}", 0.6, 31.0, 0.55),
    ("POST", "/api/chat/completions", 0.5, 240.0, 0.50),
    ("POST", "/api/embeddings", 0.3, 48.0, 0.45),
    ("GET", "/api/usage", 0.3, 11.0, 0.30),
    ("POST", "/api/auth/logout", 1.0, 6.0, 0.30),
)

HOSTILE = (
    "</script><script>document.documentElement.dataset.hacked=1;alert(1)</script>",
    "<img src=x onerror=\"document.documentElement.dataset.hacked=1;alert('x')\">",
    "javascript:document.documentElement.dataset.hacked=1//",
    '"><svg onload=document.documentElement.dataset.hacked=1>',
    "<b>bold</b> <a href='https://attacker.invalid/'>link</a> &lt;i&gt; %{y} $x$",
    "\x1b[31mred\x1b]0;title\x07\r\nnext\tline \u202egnp.exe\u2028 \ud800",
    "ünïcødé 模型 🚀 مرحبا",
)


def spans(scale: float = 1.0) -> tuple[PhaseSpan, ...]:
    """Return the five phases: warm-up, ramp, normal load, spike and recovery."""
    plan = (
        ("Warm-up", 5, 10, 10, True),
        ("Ramp-up", 15, 10, 60, False),
        ("Normal load", 20, 60, 60, False),
        ("Spike", 10, 150, 150, False),
        ("Recovery", 15, 30, 30, False),
    )
    result = []
    start_s = 0.0
    for name, duration_s, start, end, warmup in plan:
        lasts_s = duration_s * scale
        planned = round(lasts_s * (start + end) / 2)
        result.append(PhaseSpan(name, start_s, lasts_s, "arrivals", start, end, planned, warmup))
        start_s += lasts_s
    return tuple(result)


def manifest(**changes: object) -> Manifest:
    """Return the manifest of the five-phase run."""
    phases = spans()
    base = Manifest(
        run_id=RUN_ID,
        started_at_s=STARTED_AT_S,
        host="https://models.example.com",
        scenarios=("AiModelsUser", "ChatUser"),
        shape="load_test.LoadTest",
        phases=phases,
        thresholds=("p95 < 500ms", "error_rate < 1%", "p99(POST /api/chat/completions) < 3s"),
        options={"max_users": 400, "headless": True},
        environment={"python": "3.11.7", "locust": "2.47.0", "cpus": 8},
        nodes=tuple(NodeRecord(node, index, True, 64) for index, node in enumerate(NODES)),
        ended_at_s=STARTED_AT_S + phases[-1].end_s,
        end_reason="finished",
    )
    return replace(base, **changes)


def empty_record() -> RunRecord:
    """Return a run that was killed before anything was measured."""
    return RunRecord(manifest(ended_at_s=None, end_reason="running", nodes=()))


def five_phase_record(scale: float = 1.0, rate: float = 1.0) -> RunRecord:
    """Return the run of 65 s x `scale`, with `rate` times the arrivals: failures and drops in its spike."""
    phases = spans(scale)
    generator = random.Random(7)
    windows: list[Window] = []
    arrivals: list[ArrivalWindow] = []
    metrics: list[MetricWindow] = []
    for span in phases:
        for second in range(int(span.start_s), int(span.end_s)):
            for node in NODES:
                arrivals.append(_arrivals(generator, span, second, node, rate))
                started = arrivals[-1].lag.count
                windows += _windows(generator, span, second, node, started)
                metrics.append(_first_token(generator, span, second, node, started))
    run = manifest(phases=phases, ended_at_s=STARTED_AT_S + phases[-1].end_s)
    return RunRecord(
        run,
        tuple(windows),
        tuple(arrivals),
        tuple(metrics),
        tuple(_readings(generator, phases)),
        stages=tuple(stage_windows(windows)),
    )


def _rate_at(span: PhaseSpan, second: int) -> float:
    return span.start + (span.end - span.start) * (second + 0.5 - span.start_s) / span.duration_s


def _arrivals(rng: random.Random, span: PhaseSpan, second: int, node: str, rate: float) -> ArrivalWindow:
    due = round(_rate_at(span, second) * rate / len(NODES))
    dropped = due // 12 if span.name == "Spike" and second % 3 else 0
    busy = 9 if span.name == "Spike" else 1
    lag = Histogram(round(rng.lognormvariate(math.log(350 * busy), 0.5)) for _ in range(due - dropped))
    return ArrivalWindow(RUN_ID, node, second, span.name, lag, dropped)


def _windows(rng: random.Random, span: PhaseSpan, second: int, node: str, started: int) -> Iterator[Window]:
    slow = 4.5 if span.name == "Spike" else 1.6 if span.name == "Recovery" and second % 60 < 54 else 1.0
    for method, name, share, median_ms, sigma in REQUESTS:
        count = round(started * share)
        failures = count // 9 if slow > 4 and method == "POST" else int(rng.random() < 0.01)
        failures = min(failures, count)
        service_us = [
            round(rng.lognormvariate(math.log(median_ms * slow * 1000), sigma))
            for _ in range(count - failures)
        ]
        waited_us = 2500 if slow > 4 else 300
        reasons = (("503 Service Unavailable", failures),) if slow > 4 else (("ReadTimeout: 10 s", failures),)
        yield Window(
            run_id=RUN_ID,
            node=node,
            second=second,
            phase=span.name,
            method=method,
            name=name,
            latency=Histogram(value + waited_us for value in service_us),
            service=Histogram(service_us),
            failed=Histogram(round(rng.uniform(800, 4000)) for _ in range(failures)),
            received_bytes=count * 1432,
            due=((second, count - failures, failures),),
            reasons=reasons if failures else (),
        )


def _first_token(rng: random.Random, span: PhaseSpan, second: int, node: str, count: int) -> MetricWindow:
    slow = 3 if span.name == "Spike" else 1
    values = Histogram(
        round(rng.lognormvariate(math.log(85 * slow), 0.4) * METRIC_SCALE) for _ in range(count // 2)
    )
    return MetricWindow(RUN_ID, node, second, span.name, "time_to_first_token", "ms", values)


def _readings(rng: random.Random, phases: tuple[PhaseSpan, ...]) -> Iterator[Reading]:
    for span in phases:
        for second in range(int(span.start_s), int(span.end_s)):
            at_s = STARTED_AT_S + second + 0.4
            load = _rate_at(span, second)
            slow = 4 if span.name == "Spike" else 1
            for node in NODES:
                for metric, unit, value in (
                    ("users", "users", float(round(load * slow * 0.25 + rng.random() * 3))),
                    ("cpu_percent", "%", 6 + load * 0.3 + rng.random() * 4),
                    ("loop_lag_ms", "ms", rng.lognormvariate(math.log(0.8 * slow), 0.5)),
                ):
                    yield Reading(at_s, node, "generator", metric, unit, value)
            for metric, unit, value in (
                ("cpu_percent", "%", min(99.0, 14 + load * 0.5 + rng.random() * 6)),
                ("memory_percent", "%", 41 + second * 0.05),
                ("memory_used_bytes", "bytes", 13.1e9 + second * 1e6),
                ("load_1m", "", 0.8 + load / 40),
            ):
                yield Reading(at_s, "db-1", "host", metric, unit, value)
            yield Reading(at_s, "db-1", "mongodb", "connections", "connections", round(12 + load / 5))
            yield Reading(
                at_s, "db-1", "gpu", "utilization_percent", "%", None, "no NVIDIA driver on this machine"
            )


NOTHING = Spread(min=None, mean=None, p50=None, p75=None, p90=None, p95=None, p99=None, p99_9=None, max=None)


def five_phase_summary(**changes: object) -> Summary:
    """Return a failed run's summary with hand-written values, for tests of what is shown."""
    base = Summary(
        schema=1,
        run_id=RUN_ID,
        verdict="failed",
        reasons=["p95 < 500ms: observed 812.4 ms"],
        notes=[
            "Open model: virtual users arrive at the planned rate.",
            "Warm-up, left out of totals: Warm-up.",
        ],
        started_at="2026-01-01T00:00:00+00:00",
        duration_s=65.0,
        end_reason="finished",
        target=TargetSummary(
            host="https://models.example.com",
            scenarios=["AiModelsUser", "ChatUser"],
            shape="load_test.LoadTest",
        ),
        time_scale=1.0,
        totals=Totals(
            requests=21_634,
            failures=37,
            error_rate_percent=37 / 216.34,
            availability_percent=100.0,
            rate_per_s=360.57,
            peak_users=311,
            arrivals=arrivals_account(3_675, dropped=88, missed=2, late=412),
            response_time_ms=spread(270.8),
            service_time_ms=spread(268.0),
        ),
        phases=_phase_summaries(),
        requests=list(_request_summaries()),
        failures=[
            FailureSummary(method="POST", name="/api/auth/login", reason="503 Service Unavailable", count=30),
            FailureSummary(method="POST", name="/api/chat/completions", reason="ReadTimeout: 10 s", count=7),
        ],
        thresholds=[
            _threshold("p95 < 500ms", "fail", 812.4, 500.0, "ms"),
            _threshold("error_rate < 1%", "pass", 37 / 216.34, 1.0, "%"),
            _threshold(
                "p99(GET /nowhere) < 3s",
                "no_data",
                None,
                3000.0,
                "ms",
                detail="no request GET /nowhere finished",
            ),
        ],
        metrics=[MetricSummary(metric="time_to_first_token", unit="ms", count=7_210, spread=spread(88.0))],
        stages=stages_summary(),
        bottleneck=cause(),
        database=database(),
        advice=[an_advice()],
        nodes=[
            NodeSummary(
                node=node,
                index=index,
                complete=True,
                joined_s=0.0,
                left_s=None,
                last_second=64,
                given=None,
                started=1_793,
                dropped=44,
                lost=0,
                clock_offset_ms=None,
                clock_error_ms=None,
                cpu_percent_max=54.2,
                loop_lag_ms_max=8.1,
                note="",
            )
            for index, node in enumerate(NODES)
        ],
        events=[],
    )
    base.update(changes)  # type: ignore[typeddict-item]
    return base


def _phase_summaries() -> list[PhaseSummary]:
    return [
        PhaseSummary(
            name=span.name,
            model=span.model,
            start_s=span.start_s,
            duration_s=span.duration_s,
            warmup=span.warmup,
            arrivals=arrivals_account(span.planned, dropped=88, missed=2, late=412)
            if span.name == "Spike"
            else arrivals_account(span.planned),
            peak_users=311 if span.name == "Spike" else 40,
        )
        for span in spans()
    ]


def _request_summaries() -> Iterator[RequestSummary]:
    for phase, count in (("all", 2400), *((span.name, span.planned) for span in spans())):
        for method, name, share, median_ms, _ in REQUESTS:
            yield RequestSummary(
                phase=phase,
                method=method,
                name=name,
                count=round(count * share),
                failures=30 if name == "/api/auth/login" and phase in ("all", "Spike") else 0,
                rate_per_s=count * share / 60,
                received_bytes=count * 1432,
                response_time_ms=spread(median_ms),
                service_time_ms=spread(median_ms, factor=0.9),
                failure_time_ms=NOTHING,
            )


def _threshold(
    rule: str, status: str, observed: float | None, limit: float, unit: str, *, detail: str = ""
) -> ThresholdSummary:
    return ThresholdSummary(
        rule=rule,
        status=status,
        observed=observed,
        limit=limit,
        unit=unit,
        detail=detail,  # type: ignore[typeddict-item]
    )


def empty_summary() -> Summary:
    """Return the summary of a run in which nothing was measured."""
    return five_phase_summary(
        verdict="incomplete",
        reasons=["The run was never closed: its process was killed."],
        notes=[],
        duration_s=0.0,
        end_reason="running",
        totals=Totals(
            requests=0,
            failures=0,
            error_rate_percent=None,
            availability_percent=None,
            rate_per_s=0.0,
            peak_users=0,
            arrivals=arrivals_account(0),
            response_time_ms=NOTHING,
            service_time_ms=NOTHING,
        ),
        phases=[],
        requests=[],
        failures=[],
        thresholds=[],
        metrics=[],
        stages=NO_STAGES,
        bottleneck=NO_CAUSE,
        database=NO_DATABASE,
        advice=[],
        nodes=[],
    )


def hostile_record() -> RunRecord:
    """Return a short run in which every free text is an attack or an unusual script."""
    text = HOSTILE[0]
    phases = tuple(
        PhaseSpan(name, 2.0 * index, 2.0, "arrivals", 5, 5, 10) for index, name in enumerate(HOSTILE)
    )
    run = Manifest(
        run_id=text,
        started_at_s=STARTED_AT_S,
        host=HOSTILE[1],
        scenarios=HOSTILE,
        shape=HOSTILE[3],
        phases=phases,
        thresholds=HOSTILE,
        options={name: name for name in HOSTILE},
        environment={HOSTILE[4]: list(HOSTILE)},
        nodes=tuple(NodeRecord(name, index, False, 1, name) for index, name in enumerate(HOSTILE)),
        events=tuple(
            NodeEvent(2.0 * index, name, "lost" if index % 2 else "joined", name)
            for index, name in enumerate(HOSTILE)
        ),
        ended_at_s=STARTED_AT_S + 14,
        end_reason="aborted",
        end_note=text,
    )
    windows, arrivals, readings, stages = [], [], [], []
    for second in range(14):
        attack = HOSTILE[second // 2]
        one = Histogram([1500 + second])
        windows.append(
            Window(text, attack, second, attack, attack, attack, one, one, one, reasons=((attack, 1),))
        )
        arrivals.append(ArrivalWindow(text, attack, second, attack, one, dropped=1))
        times = tuple((stage, one) for stage in STAGES)
        stages.append(StageWindow(text, attack, second, attack, attack, attack, times))
        for source in ("generator", "host", attack):
            for metric in ("users", "cpu_percent", "loop_lag_ms", "memory_percent", attack):
                readings.append(Reading(STARTED_AT_S + second, attack, source, metric, attack, 3.5))
                readings.append(Reading(STARTED_AT_S + second, attack, source, metric, attack, None, attack))
    metrics = (MetricWindow(text, text, 0, text, text, text, Histogram([5000])),)
    return RunRecord(
        run, tuple(windows), tuple(arrivals), metrics, tuple(readings), damage=HOSTILE, stages=tuple(stages)
    )


def hostile_summary() -> Summary:
    """Return a summary of the run above, with an attack in every free text."""
    base = five_phase_summary()
    phases = [{**base["phases"][0], "name": text, "model": "arrivals"} for text in HOSTILE]
    requests = [
        {**base["requests"][0], "phase": phase, "method": text, "name": text}
        for text in HOSTILE
        for phase in ("all", text)
    ]
    failures = [{**base["failures"][0], "method": text, "name": text, "reason": text} for text in HOSTILE]
    rules = [{**base["thresholds"][0], "rule": text, "unit": text, "detail": text} for text in HOSTILE]
    metrics = [{**base["metrics"][0], "metric": text, "unit": text} for text in HOSTILE]
    nodes = [{**base["nodes"][0], "node": text, "note": text} for text in HOSTILE]
    events = [EventSummary(at_s=2.5, node=text, kind=text, note=text) for text in HOSTILE]
    parts = [{**base["stages"]["requests"][0], "method": text, "name": text} for text in HOSTILE]
    return five_phase_summary(
        run_id=HOSTILE[0],
        reasons=list(HOSTILE),
        notes=list(HOSTILE),
        started_at=HOSTILE[1],
        end_reason=HOSTILE[0],
        target=TargetSummary(host=HOSTILE[1], scenarios=list(HOSTILE), shape=HOSTILE[3]),
        phases=phases,
        requests=requests,
        failures=failures,
        thresholds=rules,
        metrics=metrics,
        stages=StagesSummary(total=base["stages"]["total"], requests=parts),
        bottleneck=cause(words=HOSTILE[0], node=HOSTILE[1]),
        database=database(words=HOSTILE[0]),
        advice=[an_advice(words=text) for text in HOSTILE],
        nodes=nodes,
        events=events,
    )
