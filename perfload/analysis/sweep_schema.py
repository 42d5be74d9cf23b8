"""The shape of `sweep.json`, version 1. Times in milliseconds carry `_ms`, seconds `_s`; None: not measured.

A field is never removed or given another meaning within a version; new ones may appear.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from perfload.analysis.schema import ThresholdSummary

LevelVerdict = Literal["met", "missed", "invalid", "incomplete", "unjudged"]
SweepEnd = Literal["running", "finished", "stopped", "interrupted", "failed"]
"""`running` in a file that was never closed: the process was killed. `stopped`: after an invalid level."""


class Percentiles(TypedDict):
    """What a distribution is in a table of levels."""

    p50: float | None
    p95: float | None
    p99: float | None


class TokenFigures(TypedDict):
    """What a level did with language models."""

    ttft_ms: Percentiles
    tpot_ms: Percentiles
    output_tokens_per_s: float | None
    """Of answers that ended while the level was measured."""
    answers_per_s: float | None
    """Judged by objectives, good or not; None where the scenario states none. As `good_per_s`, by end."""
    good_per_s: float | None
    goodput_percent: float | None
    """Of the answers to users that began in the measured phase."""


class LevelFigures(TypedDict):
    """What was measured of a level, its warm-up left out.

    What is per second was finished between the phase's start and end, whoever began it: what a system that
    cannot keep up finishes later is no throughput of the level. Percentiles and errors are those of the run's
    own report: of all that began in the phase, whenever it ended.
    """

    started_per_s: float | None
    """Virtual users that were started; None in the closed model."""
    users_mean: float | None
    """The most at once in each second, on average. Users who wait after their last request are among them."""
    requests: int
    failures: int
    error_rate_percent: float | None
    requests_per_s: float | None
    response_time_ms: Percentiles
    tokens: TokenFigures | None
    """None where no scenario asked a language model."""


class LevelSummary(TypedDict):
    """One level that was run."""

    level: float
    run: str
    """Folder of the run's record, relative to that of the sweep."""
    verdict: LevelVerdict
    reasons: list[str]
    """Why it is `invalid` or `incomplete`, or why its run was aborted."""
    objectives: list[ThresholdSummary]
    figures: LevelFigures


class LeftOutSummary(TypedDict):
    """A rule of the configuration that no level was held against."""

    rule: str
    why: str


class SweepSummary(TypedDict):
    """All of `sweep.json`."""

    schema: int
    sweep_id: str
    started_at: str
    """ISO 8601, UTC."""
    scenario: str
    host: str
    model: Literal["arrivals", "users"]
    planned: list[float]
    """The levels that were asked for, ascending: virtual users per second, or at once."""
    warmup_s: float
    duration_s: float
    pause_s: float
    time_scale: float
    goodput_percent: float | None
    """The least goodput of a level; None where a rule asks for one."""
    rules: list[str]
    left_out: list[LeftOutSummary]
    levels: list[LevelSummary]
    best: float | None
    """The highest level that meets the objectives, as all below it do."""
    end: SweepEnd
    end_note: str
    """Why it ended before its last level, in words."""
