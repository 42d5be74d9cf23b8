"""What thresholds ask for, computed from windows: of a finished run, or of one under way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from perfload.analysis.tally import Tally, counted_phases, load_end_s, peak_users, ran_s
from perfload.histogram import Histogram
from perfload.model import (
    METRIC_SCALE,
    AnyWindow,
    ArrivalWindow,
    MetricWindow,
    PhaseSpan,
    RunRecord,
    StageWindow,
    Window,
)
from perfload.thresholds import CUSTOM, LATENCY_METRICS, Observed, Rule

COST_SCALE = 1_000_000
"""The metric `cost` is recorded in millionths of the currency."""


class Sample:
    """Everything that one rule can ask about a stretch of time: requests, arrivals and a custom metric."""

    def __init__(self) -> None:
        self.requests = Tally()
        self.dropped = 0
        self.arrivals_seen = False
        self.values = Histogram()
        self.unit = ""

    def add(self, window: AnyWindow) -> None:
        """Add a window that the rule covers."""
        if isinstance(window, Window):
            self.requests.add(window)
        elif isinstance(window, ArrivalWindow):
            self.arrivals_seen = True
            self.dropped += window.dropped
        elif isinstance(window, MetricWindow):
            self.values.add(window.values)
            self.unit = window.unit

    def observe(self, rule: Rule, duration_s: float) -> Observed | None:
        """Return what `rule` asks for over `duration_s` seconds; None when nothing was measured."""
        if rule.metric in LATENCY_METRICS:
            return self._latency(rule)
        if rule.metric == "dropped":
            return Observed(self.dropped, rule.unit) if self.arrivals_seen else None
        if rule.metric in CUSTOM:
            return self._custom(rule)
        tally = self.requests
        if not tally.count:
            return None
        value = {
            "rate": tally.count / duration_s if duration_s > 0 else None,
            "error_rate": tally.error_rate_percent,
            "availability": tally.availability_percent,
            "count": tally.count,
            "failures": tally.failed.count,
        }[rule.metric]
        return None if value is None else Observed(value, rule.unit)

    def _custom(self, rule: Rule) -> Observed | None:
        values = self.values
        if not values.count:
            return None
        if rule.metric == "cost":
            return Observed(values.sum / METRIC_SCALE / COST_SCALE, rule.unit)
        return Observed(values.mean / METRIC_SCALE, rule.unit)

    def _latency(self, rule: Rule) -> Observed | None:
        requests = self.requests.service if rule.timing == "service" else self.requests.latency
        if requests.count:
            return Observed(_statistic(rule, requests) / 1000, "ms")
        if self.values.count and not self.requests.count:
            return Observed(_statistic(rule, self.values) / METRIC_SCALE, self.unit, custom=True)
        return None


def _statistic(rule: Rule, histogram: Histogram) -> float:
    if rule.percentile is not None:
        return histogram.percentile(rule.percentile)
    return {"mean": histogram.mean, "min": float(histogram.min), "max": float(histogram.max)}[rule.metric]


def covers(rule: Rule, window: AnyWindow, counted: frozenset[str]) -> bool:
    """Return whether `rule` asks about `window`: its phase (or all but warm-ups), its request or metric.

    No rule asks about stages: they explain a latency, and what is judged is the latency.
    """
    if window.phase != rule.phase if rule.phase else window.phase not in counted:
        return False
    if isinstance(window, Window):
        return rule.selector in (None, window.name, f"{window.method} {window.name}")
    if isinstance(window, MetricWindow):
        return rule.selector == window.metric
    return not isinstance(window, StageWindow)


class RecordMeasures:
    """`Measures` of a run record."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._counted = counted_phases(record.manifest)
        self._windows: Sequence[AnyWindow] = (*record.windows, *record.arrivals, *record.metrics)

    def total(self, rule: Rule) -> Observed | None:
        """Return the value over the rule's phase, or over all that count."""
        if rule.metric == "peak_users":
            return self._peak_users(rule)
        sample = Sample()
        for window in self._windows:
            if covers(rule, window, self._counted):
                sample.add(window)
        return sample.observe(rule, sum(self._durations_s(rule)))

    def by_second(self, rule: Rule) -> list[tuple[int, float | None]]:
        """Return the value of each second of the run in which something was measured."""
        samples: defaultdict[int, Sample] = defaultdict(Sample)
        for window in self._windows:
            if covers(rule, window, self._counted):
                samples[window.second].add(window)
        return _series(rule, samples)

    def _spans(self, rule: Rule) -> Iterable[PhaseSpan]:
        for span in self._record.manifest.phases:
            if span.name == rule.phase if rule.phase else not span.warmup:
                yield span

    def _durations_s(self, rule: Rule) -> Iterable[float]:
        ended_s = load_end_s(self._record)
        return (ran_s(span, ended_s) for span in self._spans(rule))

    def _peak_users(self, rule: Rule) -> Observed | None:
        users = peak_users(self._record, self._spans(rule))
        return None if users is None else Observed(users, rule.unit)


class LiveMeasures:
    """`Measures` of a run under way, for the rules that may abort it; memory does not grow with the run."""

    KEPT_BEYOND_RULE_S = 30
    """Seconds kept besides those that a `for` needs: windows of slow workers come late."""

    def __init__(self, rules: Iterable[Rule], counted: frozenset[str]) -> None:
        self._counted = counted
        self._totals = {rule: Sample() for rule in rules}
        self._seconds: dict[Rule, dict[int, Sample]] = {rule: {} for rule in self._totals}
        self._last_second = 0

    def add(self, windows: Iterable[AnyWindow]) -> None:
        """Take in windows as they arrive."""
        for window in windows:
            self._last_second = max(self._last_second, window.second)
            for rule, total in self._totals.items():
                if covers(rule, window, self._counted):
                    total.add(window)
                    if rule.for_s is not None:
                        self._seconds[rule].setdefault(window.second, Sample()).add(window)
        self._forget()

    def _forget(self) -> None:
        for rule, samples in self._seconds.items():
            oldest = self._last_second - (rule.for_s or 0) - self.KEPT_BEYOND_RULE_S
            for second in [second for second in samples if second < oldest]:
                del samples[second]

    def total(self, rule: Rule) -> Observed | None:
        """Return the value so far."""
        return self._totals[rule].observe(rule, self._last_second + 1)

    def by_second(self, rule: Rule) -> list[tuple[int, float | None]]:
        """Return the value of each of the last seconds, as many as the rule's `for` needs."""
        return _series(rule, self._seconds[rule])


def _series(rule: Rule, samples: dict[int, Sample]) -> list[tuple[int, float | None]]:
    seen = ((second, samples[second].observe(rule, 1.0)) for second in sorted(samples))
    return [(second, observation.value if observation else None) for second, observation in seen]
