"""Sweeps to render: one with a knee, with or without language models, and a hostile one."""

from __future__ import annotations

from perfload.analysis.schema import ThresholdSummary
from perfload.analysis.sweep import best
from perfload.analysis.sweep_schema import (
    LeftOutSummary,
    LevelFigures,
    LevelSummary,
    LevelVerdict,
    Percentiles,
    SweepSummary,
    TokenFigures,
)


def percentiles(p50: float) -> Percentiles:
    return Percentiles(p50=p50, p95=p50 * 2, p99=p50 * 4)


def rule(text: str, observed: float | None, limit: float, unit: str, *, holds: bool) -> ThresholdSummary:
    return ThresholdSummary(
        rule=text,
        status="no_data" if observed is None else "pass" if holds else "fail",
        observed=observed,
        limit=limit,
        unit=unit,
        detail="",
    )


def level(
    value: float,
    verdict: LevelVerdict = "met",
    *,
    p50_ms: float = 100.0,
    has_tokens: bool = True,
    reasons: tuple[str, ...] = (),
) -> LevelSummary:
    """Return a level whose first token comes after `p50_ms`, and four times that for one in a hundred."""
    holds = verdict != "missed"
    objectives = [rule("p99(ttft) < 2s", p50_ms * 4, 2000.0, "ms", holds=holds)]
    tokens = TokenFigures(
        ttft_ms=percentiles(p50_ms),
        tpot_ms=percentiles(20.0),
        output_tokens_per_s=value * 100,
        answers_per_s=value,
        good_per_s=value if holds else value / 2,
        goodput_percent=100.0 if holds else 50.0,
    )
    return LevelSummary(
        level=value,
        run=f"level-{value:g}/20260101-000000-level-5f3a",
        verdict=verdict,
        reasons=list(reasons),
        objectives=objectives,
        figures=LevelFigures(
            started_per_s=value,
            users_mean=value * 2,
            requests=int(value * 60),
            failures=0 if holds else 3,
            error_rate_percent=0.0 if holds else 5.0,
            requests_per_s=value,
            response_time_ms=percentiles(p50_ms * 2),
            tokens=tokens if has_tokens else None,
        ),
    )


def sweep(*levels: LevelSummary, **changed: object) -> SweepSummary:
    """Return a sweep that ran `levels`, or one of 1, 2, 4 and 8/s with its knee above 4/s."""
    found = list(levels) or [
        level(1.0),
        level(2.0),
        level(4.0, p50_ms=150),
        level(8.0, "missed", p50_ms=1025),
    ]
    summary = SweepSummary(
        schema=1,
        sweep_id="sweep-20260101-000000",
        started_at="2026-01-01T00:00:00+00:00",
        scenario="ai_api",
        host="http://localhost:8000",
        model="arrivals",
        planned=[each["level"] for each in found],
        warmup_s=10.0,
        duration_s=60.0,
        pause_s=5.0,
        time_scale=1.0,
        goodput_percent=95.0,
        rules=["p99(ttft) < 2s"],
        left_out=[LeftOutSummary(rule="peak_users >= 100", why="the level sets the load")],
        levels=found,
        best=best(found),
        end="finished",
        end_note="",
    )
    summary.update(changed)  # type: ignore[typeddict-item]
    return summary


def hostile_sweep(text: str) -> SweepSummary:
    """Return a sweep in which everything that comes from outside is `text`."""
    odd = level(1.0, "invalid", reasons=(text, text))
    odd["run"] = f"level-1/{text}"
    missed = level(2.0, "missed")
    missed["objectives"] = [rule(text, 1.0, 2.0, text, holds=False) | {"detail": text}]  # type: ignore[list-item]
    return sweep(
        odd,
        missed,
        sweep_id=text,
        started_at=text,
        scenario=text,
        host=text,
        rules=[text],
        left_out=[LeftOutSummary(rule=text, why=text)],
        end_note=text,
    )
