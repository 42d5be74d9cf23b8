"""A run record boiled down to `summary.json`: totals, phases, requests, thresholds, verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from perfload.analysis import nodes
from perfload.analysis.advice import advice
from perfload.analysis.bottleneck import bottleneck
from perfload.analysis.database import database
from perfload.analysis.measures import RecordMeasures
from perfload.analysis.schema import (
    Arrivals,
    FailureSummary,
    LagSpread,
    MetricSummary,
    PhaseSummary,
    RequestSummary,
    Summary,
    TargetSummary,
    ThresholdSummary,
    Totals,
    VerdictName,
)
from perfload.analysis.stages import setup_note, stages
from perfload.analysis.tally import (
    Tally,
    counted_phases,
    load_end_s,
    peak_users,
    ran_s,
    spread,
)
from perfload.analysis.validity import gaps, saturation, scenario_errors
from perfload.errors import ExitCode
from perfload.histogram import Histogram
from perfload.model import ALL_PHASES, METRIC_SCALE, Manifest, PhaseSpan, RunRecord, Verdict
from perfload.thresholds import LATENCY_METRICS, Rule, judge_all, parse_rules
from perfload.units import format_duration

GOALS_ON_REQUESTS = {*LATENCY_METRICS, "error_rate", "availability", "failures", "rate"}
"""Metrics whose thresholds are about how the system answered."""

LATE_AFTER_US = 5_000
"""An arrival counts as late when it starts more than this after its intended time."""


def summarise(record: RunRecord) -> Summary:
    """Return the summary of `record`; needs nothing but the record, so it works on any old run."""
    manifest = record.manifest
    phases = [_phase(record, span) for span in manifest.phases]
    rules = parse_rules(manifest.thresholds, phases=[span.name for span in manifest.phases])
    verdicts = judge_all(rules, RecordMeasures(record))
    invalid = saturation(record) + scenario_errors(record) + nodes.surplus(record)
    missing = gaps(record) + _missed(record, phases)
    verdict, reasons = _verdict(manifest, verdicts, invalid, missing)
    times = stages(record)
    return Summary(
        schema=manifest.schema,
        run_id=manifest.run_id,
        verdict=verdict,
        reasons=reasons,
        notes=[*_notes(record), *filter(None, [setup_note(times["total"])])],
        started_at=datetime.fromtimestamp(manifest.started_at_s, UTC).isoformat(timespec="seconds"),
        duration_s=round(load_end_s(record), 3),
        end_reason=manifest.end_reason,
        target=TargetSummary(host=manifest.host, scenarios=list(manifest.scenarios), shape=manifest.shape),
        time_scale=manifest.time_scale,
        totals=_totals(record),
        phases=phases,
        requests=list(_requests(record)),
        failures=list(_failures(record)),
        thresholds=[_threshold(verdict) for verdict in verdicts],
        metrics=list(_metrics(record)),
        stages=times,
        database=database(record),
        advice=advice(record),
        bottleneck=bottleneck(record, saturated=invalid, missed=_missed_goals(rules, verdicts)),
        nodes=nodes.summaries(record),
        events=nodes.events(manifest),
    )


def exit_code(summary: Summary) -> ExitCode:
    """Return the code with which a process that ran this test ends."""
    if summary["end_reason"] == "interrupted":
        return ExitCode.INTERRUPTED
    return {
        "passed": ExitCode.PASSED,
        "failed": ExitCode.THRESHOLD_FAILED,
        "invalid": ExitCode.INVALID,
        "incomplete": ExitCode.INVALID,
    }[summary["verdict"]]


def _verdict(
    manifest: Manifest, verdicts: Sequence[Verdict], invalid: list[str], missing: list[str]
) -> tuple[VerdictName, list[str]]:
    """Numbers that cannot be believed come before what they say; a failed goal comes last, but is named."""
    failed = [f"{verdict.rule}: {_failure_words(verdict)}" for verdict in verdicts if not verdict.passed]
    if manifest.end_reason == "aborted" and not failed:
        # What was in flight at the abort ended after it, and may have mended the total.
        failed = [f"aborted: {manifest.end_note}"]
    reasons = invalid + missing + failed
    if invalid:
        return "invalid", reasons
    if missing:
        return "incomplete", reasons
    return ("failed" if failed else "passed"), reasons


def _failure_words(verdict: Verdict) -> str:
    if verdict.status == "no_data" or verdict.observed is None:
        return f"no data{f' ({verdict.detail})' if verdict.detail else ''}"
    unit = f" {verdict.unit}" if verdict.unit else ""
    return f"observed {verdict.observed:.4g}{unit}{f' ({verdict.detail})' if verdict.detail else ''}"


def _missed_goals(rules: Sequence[Rule], verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Return, by phase, a goal on requests that was missed: what the explanation is for."""
    return {
        rule.phase or ALL_PHASES: f"{rule.text} was missed: {_failure_words(verdict)}"
        for rule, verdict in zip(rules, verdicts, strict=True)
        if verdict.status == "fail" and rule.metric in GOALS_ON_REQUESTS
    }


def _missed(record: RunRecord, phases: list[PhaseSummary]) -> list[str]:
    missed = sum(phase["arrivals"]["missed"] for phase in phases)
    if not missed or record.manifest.end_reason in ("aborted", "interrupted", "running"):
        return []  # an abort is a verdict of its own; the other two are named as such already
    if record.manifest.end_reason == "stopped":
        return [f"the run was stopped before its plan had ended: {missed:,} arrivals were never started"]
    return [f"{missed:,} planned arrivals were never started: a load generator was lost or failed"]


def _notes(record: RunRecord) -> Iterator[str]:
    manifest = record.manifest
    models = {span.model for span in manifest.phases} - {"pause"}
    if models == {"arrivals"}:
        yield "Open model: virtual users arrive at the planned rate, whatever the system does."
    elif models == {"users"}:
        yield "Closed model: a number of users wait for their responses, so a slow system gets less load."
    elif models:
        yield "Open and closed phases are mixed; the phase table says which is which."
    warmups = [span.name for span in manifest.phases if span.warmup]
    if warmups:
        yield f"Warm-up, left out of totals and thresholds: {', '.join(warmups)}."
    if manifest.time_scale != 1:
        yield f"Durations were divided by {manifest.time_scale:g}; the arrival rates are the true ones."
    if manifest.end_reason == "aborted":
        yield f"Aborted after {format_duration(load_end_s(record))}: {manifest.end_note}"
    if manifest.events:
        yield f"The cluster changed during the load: {nodes.changes(manifest)}."


def _totals(record: RunRecord) -> Totals:
    counted = counted_phases(record.manifest)
    spans = [span for span in record.manifest.phases if not span.warmup]
    tally = Tally(window for window in record.windows if window.phase in counted)
    return Totals(
        requests=tally.count,
        failures=tally.failed.count,
        error_rate_percent=tally.error_rate_percent,
        availability_percent=tally.availability_percent,
        rate_per_s=_rate(tally.count, _counted_s(record)),
        peak_users=peak_users(record, spans) or 0,
        arrivals=_arrivals(record, spans),
        response_time_ms=spread(tally.latency),
        service_time_ms=spread(tally.service),
    )


def _counted_s(record: RunRecord) -> float:
    ended_s = load_end_s(record)
    return sum(ran_s(span, ended_s) for span in record.manifest.phases if not span.warmup)


def _rate(count: int, duration_s: float) -> float:
    return count / duration_s if duration_s > 0 else 0.0


def _phase(record: RunRecord, span: PhaseSpan) -> PhaseSummary:
    return PhaseSummary(
        name=span.name,
        model=span.model,
        start_s=span.start_s,
        duration_s=span.duration_s,
        warmup=span.warmup,
        arrivals=_arrivals(record, [span]),
        peak_users=peak_users(record, [span]) or 0,
    )


def _arrivals(record: RunRecord, spans: Sequence[PhaseSpan]) -> Arrivals:
    names = {span.name for span in spans}
    planned = sum(span.planned for span in spans)
    rows = (row for node in record.manifest.nodes for row in node.lost)
    lost = sum(count for _, phase, count in rows if phase in names)
    lag = Histogram()
    dropped = 0
    for window in record.arrivals:
        if window.phase in names:
            lag.add(window.lag)
            dropped += window.dropped
    p50, p99 = (value / 1000 for value in lag.percentiles((50, 99)))
    measured = LagSpread(p50=p50, p99=p99, max=lag.max / 1000)
    return Arrivals(
        planned=planned,
        started=lag.count,
        late=lag.count_above(LATE_AFTER_US),
        dropped=dropped,
        lost=lost,
        # Less than none would be arrivals that came twice; `nodes.surplus` looks for them, node by node.
        missed=max(0, planned - lag.count - dropped - lost),
        lag_ms=measured if lag.count else LagSpread(p50=None, p99=None, max=None),
    )


def _requests(record: RunRecord) -> Iterator[RequestSummary]:
    """Yield each request over the counted phases, then each request per phase, in the order of the plan."""
    manifest = record.manifest
    counted = counted_phases(manifest)
    order = {span.name: index for index, span in enumerate(manifest.phases)}
    ended_s = load_end_s(record)
    durations = {span.name: ran_s(span, ended_s) for span in manifest.phases}
    durations[ALL_PHASES] = _counted_s(record)
    tallies: defaultdict[tuple[str, str, str], Tally] = defaultdict(Tally)
    for window in record.windows:
        tallies[window.phase, window.method, window.name].add(window)
        if window.phase in counted:
            tallies[ALL_PHASES, window.method, window.name].add(window)
    for key in sorted(tallies, key=lambda key: (order.get(key[0], -1), key[2], key[1])):
        yield _request(key, tallies[key], durations.get(key[0], 0.0))


def _request(key: tuple[str, str, str], tally: Tally, duration_s: float) -> RequestSummary:
    phase, method, name = key
    return RequestSummary(
        phase=phase,
        method=method,
        name=name,
        count=tally.count,
        failures=tally.failed.count,
        rate_per_s=_rate(tally.count, duration_s),
        received_bytes=tally.received_bytes,
        response_time_ms=spread(tally.latency),
        service_time_ms=spread(tally.service),
        failure_time_ms=spread(tally.failed),
    )


def _failures(record: RunRecord) -> Iterator[FailureSummary]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for window in record.windows:
        for reason, count in window.reasons:
            counts[window.method, window.name, reason] += count
    for (method, name, reason), count in counts.most_common():
        yield FailureSummary(method=method, name=name, reason=reason, count=count)


def _threshold(verdict: Verdict) -> ThresholdSummary:
    return ThresholdSummary(
        rule=verdict.rule,
        status=verdict.status,
        observed=verdict.observed,
        limit=verdict.limit,
        unit=verdict.unit,
        detail=verdict.detail,
    )


def _metrics(record: RunRecord) -> Iterator[MetricSummary]:
    counted = counted_phases(record.manifest)
    values: defaultdict[tuple[str, str], Histogram] = defaultdict(Histogram)
    for window in record.metrics:
        if window.phase in counted:
            values[window.metric, window.unit].add(window.values)
    for (metric, unit), histogram in sorted(values.items()):
        measured = spread(histogram, divisor=METRIC_SCALE)
        yield MetricSummary(metric=metric, unit=unit, count=histogram.count, spread=measured)
