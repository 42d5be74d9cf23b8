"""Levels of load side by side: what each did, whether it met the objectives, and the highest that did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perfload.analysis.schema import Summary, ThresholdSummary
from perfload.analysis.sweep_plan import SWEEP_SCHEMA, SweepPlan
from perfload.analysis.sweep_schema import (
    LeftOutSummary,
    LevelFigures,
    LevelSummary,
    LevelVerdict,
    Percentiles,
    SweepEnd,
    SweepSummary,
    TokenFigures,
)
from perfload.analysis.tally import Tally, load_end_s, ran_s, users_by_second
from perfload.errors import ExitCode
from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, PhaseSpan, RunRecord

TOKEN_METRICS = frozenset({"ttft", "tpot", "e2e", "output_tokens", "good"})
"""A run with one of them asked a language model. docs/ai.md defines them."""

GOOD = 100 * METRIC_SCALE
"""What the metric `good` counts for a good answer: 100 %."""

NOTHING = Percentiles(p50=None, p95=None, p99=None)


def level_summary(
    record: RunRecord, summary: Summary, plan: SweepPlan, *, level: float, run: str
) -> LevelSummary:
    """Return what `record`, judged by `summary`, says of one level of `plan`; `run` is its folder."""
    found = figures(record)
    objectives = [rule for rule in summary["thresholds"] if rule["rule"] in plan.rules]
    goodput = found["tokens"]["goodput_percent"] if found["tokens"] else None
    if plan.goodput_percent is not None and goodput is not None:
        objectives.append(_goodput(goodput, plan.goodput_percent))
    verdict = _verdict(summary, objectives)
    is_told = verdict in ("invalid", "incomplete") or all(rule["status"] == "pass" for rule in objectives)
    return LevelSummary(
        level=level,
        run=run,
        verdict=verdict,
        reasons=summary["reasons"] if is_told else [],
        objectives=objectives,
        figures=found,
    )


def _goodput(observed_percent: float, limit_percent: float) -> ThresholdSummary:
    return ThresholdSummary(
        rule=f"goodput >= {limit_percent:g}%",
        status="pass" if observed_percent >= limit_percent else "fail",
        observed=observed_percent,
        limit=limit_percent,
        unit="%",
        detail="",
    )


def _verdict(summary: Summary, objectives: Sequence[ThresholdSummary]) -> LevelVerdict:
    if summary["verdict"] in ("invalid", "incomplete"):
        return "invalid" if summary["verdict"] == "invalid" else "incomplete"
    if summary["verdict"] == "failed" or any(rule["status"] != "pass" for rule in objectives):
        return "missed"
    return "met" if objectives else "unjudged"


def sweep_summary(
    plan: SweepPlan, levels: Sequence[LevelSummary], *, host: str, end: SweepEnd, end_note: str = ""
) -> SweepSummary:
    """Return the whole sweep; `levels` are those that were run, in ascending order."""
    return SweepSummary(
        schema=SWEEP_SCHEMA,
        sweep_id=plan.sweep_id,
        started_at=plan.started_at,
        scenario=plan.scenario,
        host=host,
        model=plan.model,
        planned=list(plan.levels),
        warmup_s=plan.warmup_s,
        duration_s=plan.duration_s,
        pause_s=plan.pause_s,
        time_scale=plan.time_scale,
        goodput_percent=plan.goodput_percent,
        rules=list(plan.rules),
        left_out=[LeftOutSummary(rule=left.rule, why=left.why) for left in plan.left_out],
        levels=list(levels),
        best=best(levels),
        end=end,
        end_note=end_note,
    )


def best(levels: Iterable[LevelSummary]) -> float | None:
    """Return the highest level that meets the objectives as every level below it does; None if none."""
    highest = None
    for level in levels:
        if level["verdict"] != "met":
            break
        highest = level["level"]
    return highest


def exit_code(summary: SweepSummary) -> ExitCode:
    """Return the code with which a process that ran this sweep ends."""
    if summary["end"] == "interrupted":
        return ExitCode.INTERRUPTED
    if summary["end"] == "failed":
        return ExitCode.UNEXPECTED
    if summary["best"] is not None:
        return ExitCode.PASSED
    lowest = summary["levels"][0]["verdict"] if summary["levels"] else None
    return ExitCode.THRESHOLD_FAILED if lowest == "missed" else ExitCode.INVALID


# --- figures


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The whole seconds of a run in which its measured phase went on, from `first` up to `end`."""

    first: int
    end: int

    @classmethod
    def of(cls, span: PhaseSpan, ended_s: float) -> _Stretch:
        return cls(math.ceil(round(span.start_s, 6)), math.floor(round(min(span.end_s, ended_s), 6)))

    def holds(self, second: int) -> bool:
        return self.first <= second < self.end

    def rate(self, amount: float) -> float | None:
        """Return `amount` per second; None for less than a second, in which nothing can be told."""
        return amount / (self.end - self.first) if self.end > self.first else None


def figures(record: RunRecord) -> LevelFigures:
    """Return the figures of a level's run, from its one phase that is no warm-up."""
    ended_s = load_end_s(record)
    measured = [span for span in record.manifest.phases if not span.warmup]
    span = measured[0] if measured else PhaseSpan("", 0.0, 0.0, "users", 0.0, 0.0, 0)
    stretch = _Stretch.of(span, ended_s)
    tally = Tally(window for window in record.windows if window.phase == span.name)
    finished = sum(window.count for window in record.windows if stretch.holds(window.second))
    return LevelFigures(
        started_per_s=_started_per_s(record, span, ended_s),
        users_mean=_users_mean(record, stretch),
        requests=tally.count,
        failures=tally.failed.count,
        error_rate_percent=tally.error_rate_percent,
        requests_per_s=stretch.rate(finished),
        response_time_ms=_percentiles(tally.latency),
        tokens=_tokens(record, span, stretch),
    )


def _started_per_s(record: RunRecord, span: PhaseSpan, ended_s: float) -> float | None:
    lasted_s = ran_s(span, ended_s)
    if span.model != "arrivals" or lasted_s <= 0:
        return None
    return sum(window.lag.count for window in record.arrivals if window.phase == span.name) / lasted_s


def _users_mean(record: RunRecord, stretch: _Stretch) -> float | None:
    users = users_by_second(record.readings, record.manifest.started_at_s)
    seen = [count for second, count in users.items() if stretch.holds(second)]
    return math.fsum(seen) / len(seen) if seen else None


def _percentiles(histogram: Histogram) -> Percentiles:
    """Return milliseconds: latencies are kept in microseconds, and metrics times `METRIC_SCALE`, the same."""
    if not histogram.count:
        return NOTHING
    p50, p95, p99 = (value / METRIC_SCALE for value in histogram.percentiles((50, 95, 99)))
    return Percentiles(p50=p50, p95=p95, p99=p99)


def _tokens(record: RunRecord, span: PhaseSpan, stretch: _Stretch) -> TokenFigures | None:
    if not any(window.metric in TOKEN_METRICS for window in record.metrics):
        return None
    begun = {name: Histogram() for name in TOKEN_METRICS}
    ended = {name: Histogram() for name in TOKEN_METRICS}
    for window in record.metrics:
        if window.metric in TOKEN_METRICS and window.phase == span.name:
            begun[window.metric].add(window.values)
        if window.metric in TOKEN_METRICS and stretch.holds(window.second):
            ended[window.metric].add(window.values)
    is_judged = bool(begun["good"].count)
    return TokenFigures(
        ttft_ms=_percentiles(begun["ttft"]),
        tpot_ms=_percentiles(begun["tpot"]),
        output_tokens_per_s=stretch.rate(ended["output_tokens"].sum / METRIC_SCALE),
        answers_per_s=stretch.rate(ended["good"].count) if is_judged else None,
        good_per_s=stretch.rate(ended["good"].sum / GOOD) if is_judged else None,
        goodput_percent=begun["good"].mean / METRIC_SCALE if is_judged else None,
    )
