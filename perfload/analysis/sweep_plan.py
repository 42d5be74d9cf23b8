"""What a sweep is to do: its levels of load, how long each takes, and what is asked of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from perfload.errors import UsageError
from perfload.model import Phase
from perfload.thresholds import Rule
from perfload.units import parse_duration_s

SWEEP_SCHEMA = 1
"""Version of `sweep.json`; a reader refuses another one."""

VARIABLE = "PERFLOAD_SWEEP_LEVEL"
"""The environment variable that tells the shape of a level's run what the level is."""

LevelModel = Literal["arrivals", "users"]

WARMUP, MEASURED = "Warm-up", "Measured"
"""The phases of each level's run."""

MAX_LEVELS = 200
"""More are a typing error: `1..1000000` for `1..10`."""

SET_BY_THE_LEVEL = frozenset({"peak_users", "rate", "count"})
"""Metrics whose lower bounds ask for load. The lower a level, the less it could meet them."""

_DIGITS = 10
"""Of a level: 0.1 + 0.2 is 0.30000000000000004. It is named, and its folder, by these."""


def level_text(value: float) -> str:
    """Return a level's number as a person writes it: `4`, `0.5`."""
    return f"{value:.{_DIGITS}g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPlan:
    """One level. Its `value` is virtual users per second (model `arrivals`) or at once (model `users`)."""

    model: LevelModel
    value: float
    warmup_s: float
    """0: without a warm-up."""
    duration_s: float

    def encode(self) -> str:
        """Return what `parse` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> LevelPlan:
        """Return the level in `VARIABLE`; raises `UsageError` for what `encode` did not write."""
        try:
            fields = json.loads(text)
            model = fields.pop("model")
            if model not in get_args(LevelModel):
                raise ValueError("no such model")
            return cls(model=model, **{name: float(value) for name, value in fields.items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{VARIABLE} holds no level of a sweep",
                hint="perfload sweep sets it; with locust itself, name a shape of shapes/",
            ) from error

    def phases(self) -> tuple[Phase, ...]:
        """Return the plan of the level's run."""
        parts = ((WARMUP, self.warmup_s, True), (MEASURED, self.duration_s, False))
        return tuple(
            Phase(
                name=name,
                duration=lasts_s,
                arrival_rate=self.value if self.model == "arrivals" else None,
                users=int(self.value) if self.model == "users" else None,
                warmup=is_warmup,
            )
            for name, lasts_s, is_warmup in parts
            if lasts_s
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rule that no level is held against."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """All levels, in ascending order, and what is asked of each."""

    sweep_id: str
    started_at: str
    """ISO 8601, UTC."""
    scenario: str
    model: LevelModel
    levels: tuple[float, ...]
    warmup_s: float
    duration_s: float
    pause_s: float
    time_scale: float
    """The durations of the two phases are divided by it, as in any run."""
    goodput_percent: float | None
    """The least goodput, where a scenario states objectives; None where a rule says it."""
    rules: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    def level(self, value: float) -> LevelPlan:
        """Return one level."""
        return LevelPlan(model=self.model, value=value, warmup_s=self.warmup_s, duration_s=self.duration_s)

    @property
    def lasts_s(self) -> float:
        """Seconds in which all levels send load, pauses included; users in flight at the ends come on top."""
        load_s = (self.warmup_s + self.duration_s) / self.time_scale
        return len(self.levels) * load_s + (len(self.levels) - 1) * self.pause_s


def parse_levels(text: str, model: LevelModel, option: str) -> tuple[float, ...]:
    """Return the levels in `text`, ascending: `1,2,4`, `1..10` (steps of 1), `10..100:10`, or a mix.

    Raises `UsageError` for what is no number above 0, for users in fractions, and for a level given twice.
    """
    found = (level for part in text.split(",") for level in _range(part.strip(), option))
    levels = [float(level_text(level)) for level in found]
    if len(levels) > MAX_LEVELS:
        raise _bad(option, f"it has {len(levels)} levels, more than {MAX_LEVELS}")
    for level in levels:
        if model == "users" and level != int(level):
            raise _bad(option, f"{level_text(level)} is no whole number of users")
        if levels.count(level) > 1:
            raise _bad(option, f"{level_text(level)} is there twice")
    return tuple(sorted(levels))


def _range(text: str, option: str) -> Iterable[float]:
    first_text, dots, rest = text.partition("..")
    first = _number(first_text, text, option)
    if not dots:
        return (first,)
    last_text, _, step_text = rest.partition(":")
    last, step = _number(last_text, text, option), _number(step_text or "1", text, option)
    if last < first:
        raise _bad(option, f"{text!r} ends below its start")
    steps = (last - first) / step + 1e-9
    if steps >= MAX_LEVELS:
        raise _bad(option, f"{text!r} has more than {MAX_LEVELS} levels")
    return (first + number * step for number in range(math.floor(steps) + 1))


def _number(text: str, part: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _bad(option, f"{part!r} is no level") from None
    if not (math.isfinite(value) and value > 0):
        raise _bad(option, f"{part!r} is no load: a level is a finite number above 0")
    return value


def _bad(option: str, why: str) -> UsageError:
    return UsageError(f"{option}: {why}", hint=f"write for example {option} 1,2,4,8 or {option} 10..50:10")


def sort_rules(rules: Iterable[Rule]) -> tuple[tuple[Rule, ...], tuple[LeftOut, ...]]:
    """Return the rules that every level is held against, and those that a sweep cannot ask for."""
    kept: list[Rule] = []
    left_out: list[LeftOut] = []
    for rule in rules:
        why = _why_not(rule)
        if why:
            left_out.append(LeftOut(rule.text, why))
        else:
            kept.append(rule)
    return tuple(kept), tuple(left_out)


def _why_not(rule: Rule) -> str:
    if rule.metric in SET_BY_THE_LEVEL and rule.operator not in ("<", "<="):
        return "the level sets the load"
    if rule.phase not in (None, MEASURED):
        return f"a sweep has no phase {rule.phase!r}"
    return ""


def decode_plan(value: object) -> SweepPlan:
    """Return the plan in the object of a `sweep.json`; raises `ValueError` that says what is wrong."""
    if not isinstance(value, Mapping) or value.get("schema") != SWEEP_SCHEMA:
        raise ValueError(f"it is no sweep of schema {SWEEP_SCHEMA}")
    try:
        if value["model"] not in get_args(LevelModel):
            raise ValueError(f"the model {value['model']!r} is not known")
        if not value["time_scale"]:
            raise ValueError("its time scale is 0")
        goodput = value["goodput_percent"]
        return SweepPlan(
            **{name: _text(value[name]) for name in ("sweep_id", "started_at", "scenario")},
            **{name: _seconds(value[name]) for name in ("warmup_s", "duration_s", "pause_s", "time_scale")},
            model=cast(LevelModel, value["model"]),
            levels=tuple(_seconds(level) for level in value["planned"]),
            goodput_percent=None if goodput is None else _seconds(goodput),
            rules=tuple(_text(rule) for rule in value["rules"]),
            left_out=tuple(LeftOut(_text(row["rule"]), _text(row["why"])) for row in value["left_out"]),
        )
    except (KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"it lacks a field, or has one of another kind: {error}") from error


def _text(value: object) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _seconds(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is no number of at least 0")
    return float(value)


def parse_share_percent(text: str, option: str) -> float:
    """Return the percent in `95%` or `95`; raises `UsageError` for what is not above 0 and up to 100.

    Up to 1 the sign is needed: who writes 0.95 means 95 %, and every level would meet 0.95 %.
    """
    try:
        share_percent = float(text.strip().removesuffix("%"))
    except ValueError:
        share_percent = math.nan
    if not 0 < share_percent <= 100:
        raise UsageError(
            f"{option}: {text!r} is no share above 0 and up to 100 %", hint=f"write {option} 95%"
        )
    if share_percent <= 1 and "%" not in text:
        raise UsageError(
            f"{option}: {text!r} may be meant as {share_percent:g} % or as {share_percent * 100:g} %",
            hint=f"write {option} {share_percent:g}% or {option} {share_percent * 100:g}%",
        )
    return share_percent


def parse_seconds(text: str, option: str, *, zero: bool) -> float:
    """Return the seconds of a duration; raises `UsageError`, for 0 too unless `zero`."""
    seconds = parse_duration_s(text, option)
    if not seconds and not zero:
        raise UsageError(f"{option} is zero", hint=f"write for example {option} 60s")
    return seconds
