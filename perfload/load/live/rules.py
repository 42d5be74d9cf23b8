"""How the thresholds of a run stand while it goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from perfload.analysis.measures import Sample, covers
from perfload.analysis.tally import counted_phases, ran_s
from perfload.model import AnyWindow, Manifest, PhaseSpan, Reading, Verdict, span_at
from perfload.thresholds import Observed, Rule, judge

KEPT_BEYOND_RULE_S = 30
"""Seconds kept besides those that a `for` needs: windows of slow workers come late."""


class LiveRules:
    """Judges rules on what has come in so far. Memory does not grow with the run."""

    def __init__(self, rules: Sequence[Rule], manifest: Manifest) -> None:
        self._rules = rules
        self._spans = manifest.phases
        self._started_at_s = manifest.started_at_s
        self._counted = counted_phases(manifest)
        self._totals: dict[tuple[str | None, str | None], tuple[Rule, Sample]] = {
            (rule.phase, rule.selector): (rule, Sample()) for rule in rules
        }
        """Rules that ask about the same requests share what was counted."""
        self._seconds: dict[Rule, dict[int, Sample]] = {rule: {} for rule in rules if rule.for_s is not None}
        self._failed: dict[Rule, Verdict] = {}
        self._last_second = -1
        self._users: defaultdict[int, dict[str, float]] = defaultdict(dict)
        self._peak_users: dict[str, float] = {}
        """The most users at once, by phase."""

    def add(self, windows: Iterable[AnyWindow], readings: Iterable[Reading]) -> None:
        """Take in what one node has delivered."""
        for window in windows:
            self._last_second = max(self._last_second, window.second)
            for rule, total in self._totals.values():
                if covers(rule, window, self._counted):
                    total.add(window)
            for rule, seconds in self._seconds.items():
                if covers(rule, window, self._counted):
                    seconds.setdefault(window.second, Sample()).add(window)
        for reading in readings:
            if reading.metric == "users" and reading.value is not None:
                self._add_users(int(reading.at_s - self._started_at_s), reading.node, reading.value)
        self._forget()

    def _add_users(self, second: int, node: str, users: float) -> None:
        by_node = self._users[second]
        by_node[node] = max(by_node.get(node, 0.0), users)
        if 0 <= second < self._spans[-1].end_s:
            phase = span_at(self._spans, second).name
            self._peak_users[phase] = max(self._peak_users.get(phase, 0.0), sum(by_node.values()))

    def _forget(self) -> None:
        for rule, samples in self._seconds.items():
            _drop_before(samples, self._last_second - (rule.for_s or 0) - KEPT_BEYOND_RULE_S)
        _drop_before(self._users, self._last_second - KEPT_BEYOND_RULE_S)

    def verdicts(self) -> list[Verdict]:
        """Return how each rule would be judged if the run ended now.

        One with `for` that was breached for that long has failed for good.
        """
        return [self._failed.get(rule) or self._judge(rule) for rule in self._rules]

    def _judge(self, rule: Rule) -> Verdict:
        verdict = judge(rule, self)
        if rule.for_s is not None and verdict.status == "fail":
            self._failed[rule] = verdict
        return verdict

    def total(self, rule: Rule) -> Observed | None:
        """Return the value so far, over the rule's phase or over all that count."""
        spans = [
            span for span in self._spans if span.name == rule.phase or (not rule.phase and not span.warmup)
        ]
        if rule.metric == "peak_users":
            peaks = [self._peak_users[span.name] for span in spans if span.name in self._peak_users]
            return Observed(max(peaks), rule.unit) if peaks else None
        _, sample = self._totals[rule.phase, rule.selector]
        return sample.observe(rule, self._duration_s(spans))

    def _duration_s(self, spans: Iterable[PhaseSpan]) -> float:
        return sum(ran_s(span, self._last_second + 1.0) for span in spans)

    def by_second(self, rule: Rule) -> list[tuple[int, float | None]]:
        """Return the value of each of the last seconds, as many as the rule's `for` needs."""
        samples = self._seconds[rule]
        seen = ((second, samples[second].observe(rule, 1.0)) for second in sorted(samples))
        return [(second, found.value if found else None) for second, found in seen]


def _drop_before(seconds: dict[int, Sample] | dict[int, dict[str, float]], oldest: float) -> None:
    for second in [second for second in seconds if second < oldest]:
        del seconds[second]
