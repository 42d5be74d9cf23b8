"""Read threshold rules: text in, `Rule` out, or an error that points at the character that is wrong.

    METRIC[(SELECTOR)] OP LIMIT [in "PHASE"] [for DURATION] [abort]

`perfload.thresholds` is the public door to this module; docs/thresholds.md describes the language.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from perfload._rule_scanner import Scanner
from perfload.errors import UsageError
from perfload.suggest import did_you_mean
from perfload.units import parse_duration_s

Timing = Literal["response", "service"]

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
UPPER_BOUNDS = ("<", "<=")
LOWER_BOUNDS = (">", ">=")

TIME_UNITS: Mapping[str, tuple[int, int]] = {"us": (1, 1000), "ms": (1, 1), "s": (1000, 1), "m": (60_000, 1)}
"""Unit -> (multiplier, divisor) to milliseconds. Two integers, because 9 x 0.001 is not 0.009."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What may be written about a metric."""

    unit: str
    spellings: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    highest: float = math.inf
    per_request: bool = True
    per_second: bool = True
    abort_operators: tuple[str, ...] = ()


_LATENCY = _Kind("ms", TIME_UNITS, abort_operators=UPPER_BOUNDS)

_KINDS: Mapping[str, _Kind] = {
    "mean": _LATENCY,
    "min": _LATENCY,
    "max": _LATENCY,
    "rate": _Kind("/s", {"/s": (1, 1)}),
    "error_rate": _Kind("%", {"%": (1, 1)}, highest=100, abort_operators=UPPER_BOUNDS),
    "availability": _Kind("%", {"%": (1, 1)}, highest=100, abort_operators=LOWER_BOUNDS),
    "peak_users": _Kind("users", per_request=False, per_second=False),
    "count": _Kind(""),
    "failures": _Kind("", abort_operators=UPPER_BOUNDS),
    "dropped": _Kind("", per_request=False, abort_operators=UPPER_BOUNDS),
    "goodput": _Kind("%", {"%": (1, 1)}, highest=100, per_request=False, abort_operators=LOWER_BOUNDS),
    "cost": _Kind("", per_request=False, per_second=False, abort_operators=UPPER_BOUNDS),
}

CUSTOM: Mapping[str, str] = {"goodput": "good", "cost": "cost"}
"""Metrics of rules that are made of a recorded one: the rule's selector is that one's name."""

LATENCY_METRICS = frozenset({"percentile", "mean", "min", "max"})
"""Values of `Rule.metric` that are latencies, or a function of a custom metric's values."""

METRICS = tuple(
    sorted([*_KINDS, "p50", "p95", "p99.9", "service_max", "service_mean", "service_min", "service_p95"])
)
"""Every metric's name, with examples of the percentiles: what errors list and the documentation covers."""

CLAUSES = ("in", "for", "abort")


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold, read: `p95(login) < 5s in "Peak" for 30s abort`.

    `limit` is in `unit`: `ms`, `%`, `/s`, `users`, or `""` for counts. A latency function whose limit was
    written without a unit has `""` too and is meant for a custom metric, in that metric's own unit.
    """

    text: str
    metric: str
    """A name of docs/thresholds.md without `service_`; `percentile` for every percentile."""
    percentile: float | None
    """0..100, for the metric `percentile` only."""
    timing: Timing
    selector: str | None
    """`METHOD /path`, a request's name or a custom metric's name; None for all requests."""
    operator: str
    limit: float
    unit: str
    phase: str | None = None
    for_s: float | None = None
    abort: bool = False

    @property
    def own_unit(self) -> bool:
        """True when the limit counts in the unit of the custom metric that `selector` names."""
        return self.metric in LATENCY_METRICS and not self.unit

    def holds(self, value: float) -> bool:
        """Return whether `value`, in `unit`, meets the limit; `==` and `!=` compare exactly."""
        return OPERATORS[self.operator](value, self.limit)


def parse_rule(text: str, *, phases: Collection[str] | None = None, label: str = "threshold") -> Rule:
    """Return the rule that `text` states; `label` is what errors call it.

    With `phases` (the names of the plan's phases), a phase that is not among them is an error. Raises
    `UsageError`: its message shows the rule and a caret under what is wrong, its hint what to write.
    """
    scanner = Scanner(text, label)
    metric = _read_metric(scanner)
    selector = _read_selector(scanner, metric) or CUSTOM.get(metric.name)
    sign = _read_operator(scanner)
    limit, unit = _read_limit(scanner, metric, selector)
    clauses = _read_clauses(scanner, metric, phases)
    rule = Rule(
        text=scanner.text,
        metric=metric.name,
        percentile=metric.percentile,
        timing=metric.timing,
        selector=selector,
        operator=sign,
        limit=limit,
        unit=unit,
        phase=clauses.phase,
        for_s=clauses.for_s,
        abort="abort" in clauses.starts,
    )
    _check_abort(scanner, rule, metric, clauses)
    return rule


def parse_rules(
    texts: Iterable[str], *, phases: Collection[str] | None = None, label: str = "threshold"
) -> tuple[Rule, ...]:
    """Return `parse_rule` of each text; errors count from 1: `threshold 3 is not understood`."""
    return tuple(
        parse_rule(text, phases=phases, label=f"{label} {number}") for number, text in enumerate(texts, 1)
    )


@dataclass(frozen=True, slots=True)
class _Metric:
    written: str
    name: str
    percentile: float | None
    timing: Timing
    kind: _Kind


@dataclass(slots=True)
class _Clauses:
    phase: str | None = None
    for_s: float | None = None
    starts: dict[str, int] = field(default_factory=dict)
    """Clause -> where its keyword stands."""


_NAME = re.compile(r"""[^\s()<>=!"']+""")
_WORD = re.compile(r"""[^\s()"']+""")
_SIGNS = re.compile(r"[<>=!~≤≥]+")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_PERCENTILE = re.compile(r"p([0-9]+(?:[._][0-9]+)?)")
_BARE_SELECTOR = re.compile(r"[^()]*")


def _read_metric(scanner: Scanner) -> _Metric:
    written = scanner.take(_NAME)
    start, end = scanner.at - len(written), scanner.at
    if not written:
        raise scanner.error("it names no metric", "write for example p95 < 5s", start)
    name = written.removeprefix("service_")
    timing: Timing = "response" if name == written else "service"
    percentile = _PERCENTILE.fullmatch(name)
    if percentile:
        percent = float(percentile[1].replace("_", "."))
        if percent > 100:
            raise scanner.error(
                f"{written} is outside p0 to p100", "write for example p50, p95 or p99.9", start, end
            )
        return _Metric(written, "percentile", percent, timing, _LATENCY)
    kind = _KINDS.get(name)
    if kind is None or (timing == "service" and kind is not _LATENCY):
        hint = f"{did_you_mean(written, METRICS)}Known: {', '.join(METRICS)} (any percentile from p0 to p100)"
        raise scanner.error(f"unknown metric {written!r}", hint, start, end)
    return _Metric(written, name, None, timing, kind)


def _read_selector(scanner: Scanner, metric: _Metric) -> str | None:
    if scanner.at_end() or scanner.text[scanner.at] != "(":
        return None
    start = scanner.at
    scanner.at += 1
    selector = scanner.take_quoted()
    if selector is None:
        selector = " ".join(scanner.take(_BARE_SELECTOR).split())
    if scanner.at_end():
        raise scanner.error("the parenthesis is not closed", "close it with )", start)
    if scanner.text[scanner.at] != ")":
        raise scanner.error(
            "a name that holds parentheses needs quotes", f'write {metric.written}("...")', scanner.at
        )
    scanner.at += 1
    if not selector:
        raise scanner.error(
            "the parentheses are empty",
            f"write {metric.written} for all requests, {metric.written}(login) for one",
            start,
            scanner.at,
        )
    if not metric.kind.per_request:
        raise scanner.error(
            f"{metric.written} is not counted per request", f"write {metric.written} alone", start, scanner.at
        )
    return selector


def _read_operator(scanner: Scanner) -> str:
    sign = scanner.take(_SIGNS)
    if sign in OPERATORS:
        return sign
    start = scanner.at - len(sign)
    known = " ".join(OPERATORS)
    if not sign:
        raise scanner.error("a comparison is missing", f"write one of {known} here", start)
    meant = {"=": "==", "=<": "<=", "≤": "<=", "=>": ">=", "≥": ">=", "<>": "!=", "!": "!="}.get(sign)
    hint = f"did you mean {meant}? Known: {known}" if meant else f"write one of {known}"
    raise scanner.error(f"{sign!r} is no comparison", hint, start, scanner.at)


def _read_limit(scanner: Scanner, metric: _Metric, selector: str | None) -> tuple[float, str]:
    number = scanner.take(_NUMBER)
    start = scanner.at - len(number)
    if not number:
        wrong = scanner.take(_WORD)
        message = f"the limit {wrong!r} is no number of at least 0" if wrong else "the limit is missing"
        raise scanner.error(message, f"write for example {_example(metric)}", start, scanner.at)
    number_end = scanner.at
    spelled = scanner.take(_WORD)
    # "1 %" and "5 in" both have a word after a blank: only the clauses are kept for later.
    if spelled in CLAUSES and scanner.at - len(spelled) > number_end:
        spelled, scanner.at = "", number_end
    if not spelled and metric.kind is _LATENCY:
        if selector is None or metric.timing == "service":
            hint = f"write the unit: {number}ms or {number}s"
            raise scanner.error("the limit has no unit", hint, start, number_end)
        unit, limit = "", float(number)
    else:
        unit, limit = metric.kind.unit, _in_unit(scanner, metric, number, spelled)
    if not math.isfinite(limit):
        raise scanner.error("the limit is too large", "write a smaller number", start, number_end)
    if limit > metric.kind.highest:
        raise scanner.error(
            f"{metric.written} never exceeds {metric.kind.highest:g}%",
            f"write for example {_example(metric)}",
            start,
            scanner.at,
        )
    return limit, unit


def _in_unit(scanner: Scanner, metric: _Metric, number: str, spelled: str) -> float:
    """Return `number` in the metric's canonical unit; without a unit it is in that already."""
    if not spelled:
        return float(number)
    if spelled in metric.kind.spellings:
        multiplier, divisor = metric.kind.spellings[spelled]
        return float(number) * multiplier / divisor
    units = ", ".join(metric.kind.spellings)
    raise scanner.error(
        f"{metric.written} is not measured in {spelled!r}",
        f"{metric.written} takes {units or 'a plain number'}: write for example {_example(metric)}",
        scanner.at - len(spelled),
        scanner.at,
    )


def _example(metric: _Metric) -> str:
    if metric.kind is _LATENCY:
        return f"{metric.written} < 5s"
    examples = {
        "rate": "rate >= 50/s",
        "error_rate": "error_rate <= 1%",
        "availability": "availability >= 99.9%",
        "peak_users": "peak_users >= 100",
        "count": "count >= 1000",
        "failures": "failures <= 10",
        "dropped": "dropped == 0",
        "goodput": "goodput >= 95%",
        "cost": "cost < 5",
    }
    return examples[metric.name]


def _read_clauses(scanner: Scanner, metric: _Metric, phases: Collection[str] | None) -> _Clauses:
    clauses = _Clauses()
    while not scanner.at_end():
        start = scanner.at
        word = scanner.take(_WORD)
        if word not in CLAUSES:
            hint = f'{did_you_mean(word, CLAUSES)}After the limit may stand: in "PHASE", for DURATION, abort'
            raise scanner.error(
                f"unexpected {word or scanner.text[start]!r}", hint, start, max(scanner.at, start + 1)
            )
        if word in clauses.starts:
            raise scanner.error(f"{word!r} stands here twice", "keep one of them", start, scanner.at)
        clauses.starts[word] = start
        if word == "in":
            clauses.phase = _read_phase(scanner, phases)
        elif word == "for":
            clauses.for_s = _read_duration_s(scanner, metric)
    return clauses


def _read_phase(scanner: Scanner, phases: Collection[str] | None) -> str:
    keyword = scanner.at - len("in")
    at_end, start = scanner.at_end(), scanner.at
    phase = scanner.take_quoted()
    if phase is None:
        word = scanner.take(_WORD)
        if at_end or not word:
            raise scanner.error("'in' names no phase", 'write in "Peak"', keyword, keyword + len("in"))
        raise scanner.error("the phase's name needs quotes", f'write in "{word}"', start, scanner.at)
    if phases is not None and phase not in phases:
        hint = f"{did_you_mean(phase, phases)}Phases of this plan: {', '.join(phases) or 'none'}"
        raise scanner.error(f"unknown phase {phase!r}", hint, start, scanner.at)
    return phase


def _read_duration_s(scanner: Scanner, metric: _Metric) -> float:
    keyword = scanner.at - len("for")
    if not metric.kind.per_second:
        raise scanner.error(
            f"{metric.written} is one value for the whole run", "leave 'for' out", keyword, scanner.at
        )
    word = scanner.take(_WORD)
    if not word or word in CLAUSES:
        raise scanner.error("'for' has no duration", "write for 30s", keyword, keyword + len("for"))
    try:
        duration_s = parse_duration_s(word)
    except UsageError as error:
        raise scanner.error(
            f"{word!r} is not a duration", error.hint, scanner.at - len(word), scanner.at
        ) from None
    if duration_s == 0:
        raise scanner.error("the duration is zero", "write for 30s", scanner.at - len(word), scanner.at)
    return duration_s


def _check_abort(scanner: Scanner, rule: Rule, metric: _Metric, clauses: _Clauses) -> None:
    """Refuse `abort` where a breach half-way says nothing: a rate or a count still grows until the end."""
    if not rule.abort:
        return
    # Of a custom metric nobody but its author knows which direction is the bad one.
    allowed = UPPER_BOUNDS + LOWER_BOUNDS if rule.own_unit else metric.kind.abort_operators
    if rule.operator in allowed:
        return
    if allowed:
        message = f"'abort' with {metric.written} needs {' or '.join(allowed)}, not {rule.operator}"
    else:
        message = f"'abort' cannot be used with {metric.written}: before the end it is not final"
    hint = (
        "abort goes with an upper bound on latency, error_rate, failures, dropped or cost, or a lower one on "
        "availability or goodput"
    )
    start = clauses.starts["abort"]
    raise scanner.error(message, hint, start, start + len("abort"))
