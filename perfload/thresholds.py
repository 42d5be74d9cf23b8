"""Thresholds: `"p95(login) < 5s"` is read before the load starts and judged when it has ended.

Every rule ends in a `Verdict`. Silence is no success: a rule over nothing, and a `for` rule over less data
than its duration, are `no_data`, which fails. docs/thresholds.md describes the language.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from perfload._rule_parser import (
    CUSTOM,
    LATENCY_METRICS,
    LOWER_BOUNDS,
    METRICS,
    TIME_UNITS,
    UPPER_BOUNDS,
    Rule,
    Timing,
    parse_rule,
    parse_rules,
)
from perfload.model import Verdict
from perfload.units import format_duration

__all__ = [
    "ABORT_AFTER_S",
    "CUSTOM",
    "LATENCY_METRICS",
    "METRICS",
    "Measures",
    "Observed",
    "Rule",
    "Timing",
    "breaches_now",
    "judge",
    "judge_all",
    "parse_rule",
    "parse_rules",
]

ABORT_AFTER_S = 10
"""An `abort` rule without `for` waits this long: the first seconds are connections and cold caches."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run measured for one rule.

    `unit` is the rule's canonical one (`ms`, `%`, `/s`, `users`, `""`); for a latency function of a custom
    metric it is that metric's own and `custom` is True.
    """

    value: float
    unit: str
    custom: bool = False


class Measures(Protocol):
    """The measurements that rules are held against, of a run that has ended or is under way.

    `judge` calls `total` once for each rule, and `by_second` once for each rule with `for`, after the run.
    `breaches_now` calls the same for each `abort` rule once a second while the load runs, on the process
    that collects the windows: an implementation must not block, read files or change anything.
    Both leave warm-up phases out unless `rule.phase` names one.
    """

    def total(self, rule: Rule) -> Observed | None:
        """Return the value over the rule's phase, or over the run so far; None when nothing was measured.

        A selector that matches neither a request nor a custom metric is None too, never zero.
        """
        ...

    def by_second(self, rule: Rule) -> Sequence[tuple[int, float | None]]:
        """Return (second of the run, value in that second), ascending, in the unit of `total`.

        A second in which nothing was measured is None or left out.
        """
        ...


def judge(rule: Rule, measures: Measures) -> Verdict:
    """Return the verdict of `rule`.

    Without `for`, the total meets the limit or not. With `for D` the rule fails when it is breached in an
    unbroken stretch of at least D seconds. A second without data neither breaks a stretch nor counts in it;
    with fewer than D seconds of data the rule could not have failed, so it has not passed: `no_data`.
    """
    total = measures.total(rule)
    if total is None or math.isnan(total.value):
        return _verdict(rule, "no_data", detail=_nothing_measured(rule))
    mismatch = _unit_mismatch(rule, total)
    if mismatch:
        return Verdict(rule.text, "fail", total.value, rule.limit, total.unit, mismatch)
    if rule.for_s is not None:
        return _judge_stretches(rule, rule.for_s, total, _known_seconds(rule, total, measures))
    value = _in_rule_unit(rule, total, total.value)
    return _verdict(rule, "pass" if rule.holds(value) else "fail", value, total)


def judge_all(rules: Iterable[Rule], measures: Measures) -> list[Verdict]:
    """Return `judge` of each rule, in their order."""
    return [judge(rule, measures) for rule in rules]


def breaches_now(rule: Rule, measures: Measures, now_second: int) -> str:
    """Return why the run must stop now because of `rule`, or `""`; rules without `abort` never stop it.

    `now_second` is the second of the run that is under way; only the seconds before it are complete and
    count for `for`. Without `for`, the total so far counts, from `ABORT_AFTER_S` seconds on.
    """
    if not rule.abort or (rule.for_s is None and now_second < ABORT_AFTER_S):
        return ""
    total = measures.total(rule)
    if total is None or math.isnan(total.value):
        return ""
    mismatch = _unit_mismatch(rule, total)
    if mismatch:
        return f"{rule.text}: {mismatch}"
    unit = total.unit if rule.own_unit else rule.unit
    if rule.for_s is None:
        value = _in_rule_unit(rule, total, total.value)
        reason = f"{rule.text}: {_number(value, unit)} so far, at {_clock(now_second)}"
        return "" if rule.holds(value) else reason
    known = [
        (second, value) for second, value in _known_seconds(rule, total, measures) if second < now_second
    ]
    stretches = _stretches(rule, known)
    if not stretches or stretches[-1].last != known[-1][0] or stretches[-1].length_s < rule.for_s:
        return ""
    return f"{rule.text}: {_number(stretches[-1].worst, unit)}, breached {stretches[-1].when}"


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Seconds in which a rule was breached, with none in between in which it held."""

    first: int
    last: int
    length_s: int
    """Seconds with data; those without are not counted."""
    worst: float

    @property
    def when(self) -> str:
        return f"from {_clock(self.first)} to {_clock(self.last + 1)}"


def _judge_stretches(
    rule: Rule, for_s: float, total: Observed, known: Sequence[tuple[int, float]]
) -> Verdict:
    if len(known) < for_s:
        detail = f"only {len(known)} s with data, the rule needs {format_duration(for_s)}"
        return _verdict(rule, "no_data", detail=detail)
    # max() keeps the first of equals: the earliest of the longest.
    longest = max(_stretches(rule, known), key=lambda stretch: stretch.length_s, default=None)
    if longest is not None and longest.length_s >= for_s:
        return _verdict(rule, "fail", longest.worst, total, f"breached {longest.when}")
    detail = f"longest breach {longest.when}" if longest else ""
    return _verdict(rule, "pass", _in_rule_unit(rule, total, total.value), total, detail)


def _known_seconds(rule: Rule, total: Observed, measures: Measures) -> list[tuple[int, float]]:
    return [
        (second, _in_rule_unit(rule, total, value))
        for second, value in measures.by_second(rule)
        if value is not None and not math.isnan(value)
    ]


def _stretches(rule: Rule, known: Sequence[tuple[int, float]]) -> list[_Stretch]:
    """Return the stretches of breach in `known`, which holds the seconds with data."""
    groups: list[list[tuple[int, float]]] = []
    held = True
    for second, value in known:
        if rule.holds(value):
            held = True
            continue
        if held:
            groups.append([])
        groups[-1].append((second, value))
        held = False
    return [
        _Stretch(group[0][0], group[-1][0], len(group), _worst(rule, [value for _, value in group]))
        for group in groups
    ]


def _worst(rule: Rule, values: Sequence[float]) -> float:
    if rule.operator in UPPER_BOUNDS:
        return max(values)
    if rule.operator in LOWER_BOUNDS:
        return min(values)
    return max(values, key=lambda value: abs(value - rule.limit))


def _unit_mismatch(rule: Rule, total: Observed) -> str:
    """Return why `total` cannot be compared with the limit, or `""`."""
    if rule.own_unit and not total.custom:
        number = f"{rule.limit:g}"
        return f"{rule.selector!r} is a request: write the limit's unit, {number}ms or {number}s"
    if rule.metric in LATENCY_METRICS and rule.unit and total.custom and total.unit not in TIME_UNITS:
        unit = f"in {total.unit}" if total.unit else "without a unit"
        return f"{rule.selector!r} is recorded {unit}: write the limit as a plain number"
    return ""


def _in_rule_unit(rule: Rule, total: Observed, value: float) -> float:
    """Return `value`, which is in `total.unit`, in the rule's unit: a custom metric may be in seconds."""
    if rule.own_unit or rule.metric not in LATENCY_METRICS or not total.custom:
        return value
    multiplier, divisor = TIME_UNITS[total.unit]
    return value * multiplier / divisor


def _verdict(
    rule: Rule,
    status: Literal["pass", "fail", "no_data"],
    observed: float | None = None,
    total: Observed | None = None,
    detail: str = "",
) -> Verdict:
    unit = total.unit if total is not None and rule.own_unit else rule.unit
    return Verdict(rule.text, status, observed, rule.limit, unit, detail)


def _nothing_measured(rule: Rule) -> str:
    what = f" for {rule.selector!r}" if rule.selector else ""
    where = f" in phase {rule.phase!r}" if rule.phase else ""
    return f"nothing was measured{what}{where}"


def _number(value: float, unit: str) -> str:
    return f"{f'{value:,.3f}'.rstrip('0').rstrip('.')} {unit}".strip()


def _clock(second: int) -> str:
    """Return a second of the run as `00:41`, from an hour on as `1:00:41`."""
    minutes, seconds = divmod(second, 60)
    if minutes < 60:
        return f"{minutes:02}:{seconds:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
