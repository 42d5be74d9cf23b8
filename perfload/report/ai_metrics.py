"""The metrics of AI APIs by name, as `perfload.load.ai` records them; docs/ai.md defines each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perfload.analysis.measures import COST_SCALE
from perfload.analysis.schema import MetricSummary, PhaseSummary, Summary
from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, MetricWindow
from perfload.report.quantities import NOTHING
from perfload.report.series import TimeAxis

TIMES = {
    "ttft": "Time to first token",
    "ttfo": "Time to first token of content",
    "tpot": "Time per output token",
    "icl": "From chunk to chunk",
    "e2e": "To the last token",
}
"""Metrics in milliseconds, in the order of the tables."""

AMOUNTS = {
    "output_tokens_per_s": "Output tokens per second",
    "output_tokens": "Output tokens",
    "reasoning_tokens": "of them reasoning",
    "input_tokens_per_s": "Input tokens per second, to the first token",
    "input_tokens": "Input tokens",
    "cached_tokens": "of them from a cache",
    "tokens_per_chunk": "Output tokens in a chunk",
}
"""What is counted of each answer, in the order of the tables."""

PARTS = ("reasoning_tokens", "cached_tokens")
"""Those that are a part of the one before, and often nothing of it."""

FINISHES = {f"finish_{reason}": reason for reason in ("stop", "length", "tool", "refusal", "other")}
INPUTS = {f"ttft_input_{2**exponent}": exponent for exponent in range(21)}
"""Time to first token by the length of the input: tokens from 2^exponent on, below twice that."""

DETAILS = ("read_delay", "remaining_requests", "remaining_tokens", "retries")
KEY_FIGURES = ("blurred", "cost", "good", "overloaded", "rate_limited", "uncounted_answers")
"""What says nothing as percentiles: sums, and shares that are each 0 or 100 %."""

KNOWN = frozenset((*TIMES, *AMOUNTS, *FINISHES, *INPUTS, *DETAILS, *KEY_FIGURES))
_SIGNS = frozenset(("ttft", "output_tokens", "rate_limited", *FINISHES))
"""Every request that had a response leaves one of them."""


def are_in(summary: Summary) -> bool:
    """Return whether the run has anything of an AI API."""
    return any(metric["metric"] in _SIGNS for metric in summary["metrics"])


def others(summary: Summary) -> list[MetricSummary]:
    """Return the metrics that are the scenario's own: those of AI APIs have a place of their own."""
    if not are_in(summary):
        return summary["metrics"]
    return [metric for metric in summary["metrics"] if metric["metric"] not in KNOWN]


def those_of(summary: Summary, names: Iterable[str]) -> list[MetricSummary]:
    """Return the metrics of `names` that were recorded, in that order."""
    found = {metric["metric"]: metric for metric in summary["metrics"]}
    return [found[name] for name in names if name in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigures:
    """Of the phases that count; None for what was not recorded."""

    lasted_s: float
    answers: int
    """Whole ones."""
    finishes: dict[str, int]
    """Answers by why they ended, the most frequent first."""
    output_tokens: float | None
    """None, and so for the input: no server counted any."""
    input_tokens: float | None
    cached_tokens: float
    uncounted: int
    """Whole answers whose server did not count tokens."""
    goodput_percent: float | None
    good: int
    rate_limited_percent: float | None
    rate_limited: int
    overloaded: int
    cost: float | None
    """In the currency of the price table."""
    retries: int

    def per_s(self, amount: float | None) -> float | None:
        """Return `amount` over the seconds of the phases that count."""
        return None if amount is None or self.lasted_s <= 0 else amount / self.lasted_s


def key_figures(summary: Summary) -> KeyFigures:
    """Return the sums and shares of a run."""
    found = {metric["metric"]: metric for metric in summary["metrics"]}

    def total(name: str) -> float:
        return (found[name]["spread"]["mean"] or 0.0) * found[name]["count"] if name in found else 0.0

    def share(name: str) -> float | None:
        return found[name]["spread"]["mean"] if name in found else None

    def hits(name: str) -> int:
        return round(total(name) / 100)

    finishes = {reason: round(total(name)) for name, reason in FINISHES.items() if name in found}
    return KeyFigures(
        lasted_s=_lasted_s(summary["phases"], summary["duration_s"]),
        answers=sum(finishes.values()),
        finishes=dict(sorted(finishes.items(), key=lambda item: -item[1])),
        output_tokens=total("output_tokens") if "output_tokens" in found else None,
        input_tokens=total("input_tokens") if "input_tokens" in found else None,
        cached_tokens=total("cached_tokens"),
        uncounted=round(total("uncounted_answers")),
        goodput_percent=share("good"),
        good=hits("good"),
        rate_limited_percent=share("rate_limited"),
        rate_limited=hits("rate_limited"),
        overloaded=hits("overloaded"),
        cost=total("cost") / COST_SCALE if "cost" in found else None,
        retries=round(total("retries")),
    )


def _lasted_s(phases: Sequence[PhaseSummary], ended_s: float) -> float:
    """Return the seconds that the phases which count lasted in a run whose load ended at `ended_s`."""
    ends_s = ((phase, phase["start_s"] + (phase["duration_s"] or math.inf)) for phase in phases)
    return sum(
        max(0.0, min(end_s, ended_s) - phase["start_s"]) for phase, end_s in ends_s if not phase["warmup"]
    )


def money(cost: float | None) -> str:
    """Return an amount of a currency that nobody has named, small ones to three digits."""
    if cost is None:
        return NOTHING
    return f"{cost:,.2f}" if cost >= 100 else f"{cost:.3g}"


class Recorded:
    """The windows of a run's metrics, by name; histograms hold values times `METRIC_SCALE`."""

    def __init__(self, windows: Iterable[MetricWindow], counted: frozenset[str]) -> None:
        """Take `windows`; totals are over the phases of `counted`."""
        self._counted = counted
        self._by_name: defaultdict[str, list[MetricWindow]] = defaultdict(list)
        for window in windows:
            if window.metric in KNOWN:
                self._by_name[window.metric].append(window)

    def windows(self, metric: str) -> Sequence[MetricWindow]:
        """Return the windows of one metric, warm-ups included."""
        return self._by_name.get(metric, ())

    def total(self, metric: str) -> Histogram:
        """Return all values of the phases that count."""
        merged = Histogram()
        for window in self.windows(metric):
            if window.phase in self._counted:
                merged.add(window.values)
        return merged

    def binned(self, metric: str, axis: TimeAxis) -> list[Histogram]:
        """Return the values of each bin of `axis`, warm-ups included."""
        bins = [Histogram() for _ in range(axis.bins)]
        for window in self.windows(metric):
            index = axis.bin_of(window.second)
            if index is not None:
                bins[index].add(window.values)
        return bins


def percentile(values: Histogram, percent: float) -> float | None:
    """Return a percentile in the metric's unit; None where no value lies beyond it.

    That takes 20 values for p95 and 100 for p99: of fewer it is the highest, under another name.
    """
    has_beyond = values.count * (100 - percent) >= 100
    if not values.count or (50 < percent < 100 and not has_beyond):
        return None
    return values.percentile(percent) / METRIC_SCALE


def scaled_sum(values: Histogram) -> float:
    """Return the sum of a metric's values, in its own unit."""
    return values.sum / METRIC_SCALE
