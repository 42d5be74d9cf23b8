from dataclasses import replace

import pytest

from perfload.analysis.summary import summarise
from perfload.analysis.sweep import best, exit_code, figures, level_summary, sweep_summary
from perfload.analysis.sweep_plan import LeftOut, SweepPlan
from perfload.analysis.sweep_schema import LevelSummary, LevelVerdict, SweepEnd
from perfload.histogram import Histogram
from perfload.model import (
    METRIC_SCALE,
    ArrivalWindow,
    EndReason,
    Manifest,
    MetricWindow,
    NodeRecord,
    PhaseSpan,
    Reading,
    RunRecord,
    Window,
)

STARTED_AT_S = 1_767_225_600.0
SPANS = (
    PhaseSpan("Warm-up", 0.0, 2.0, "arrivals", 2.0, 2.0, 4, warmup=True),
    PhaseSpan("Measured", 2.0, 4.0, "arrivals", 2.0, 2.0, 8),
)
PLAN = SweepPlan(
    sweep_id="sweep-20260101-000000",
    started_at="2026-01-01T00:00:00+00:00",
    scenario="ai_api",
    model="arrivals",
    levels=(1.0, 2.0, 4.0),
    warmup_s=2.0,
    duration_s=4.0,
    pause_s=0.0,
    time_scale=1.0,
    goodput_percent=95.0,
    rules=("p95 < 1s",),
    left_out=(LeftOut("peak_users >= 100", "the level sets the load"),),
)


def requests(second: int, phase: str, *times_ms: int, failed: int = 0) -> Window:
    values = Histogram(time_ms * 1000 for time_ms in times_ms)
    return Window(
        *("run", "local", second, phase, "POST", "chat"),
        latency=values,
        service=values,
        failed=Histogram([1000] * failed),
    )


def metric(second: int, phase: str, name: str, *values: float) -> MetricWindow:
    scaled = Histogram(round(value * METRIC_SCALE) for value in values)
    unit = "%" if name == "good" else "tokens" if name == "output_tokens" else "ms"
    return MetricWindow("run", "local", second, phase, name, unit, scaled)


def users(second: int, value: float) -> Reading:
    return Reading(STARTED_AT_S + second + 0.5, "local", "generator", "users", "users", value)


def record(
    *windows: Window,
    metrics: tuple[MetricWindow, ...] = (),
    readings: tuple[Reading, ...] = (),
    rules: tuple[str, ...] = ("p95 < 1s",),
    spans: tuple[PhaseSpan, ...] = SPANS,
    ended_s: float = 6.0,
    reason: EndReason = "finished",
    lag_us: int = 100,
    note: str = "",
) -> RunRecord:
    lags = [
        ArrivalWindow(
            "run", "local", second, "Warm-up" if second < 2 else "Measured", Histogram([lag_us] * 2)
        )
        for second in range(6)
    ]
    is_open = spans[0].model == "arrivals"
    return RunRecord(
        Manifest(
            run_id="20260101-000000-level-5f3a",
            started_at_s=STARTED_AT_S,
            host="http://localhost:8000",
            scenarios=("Chat",),
            shape="Level",
            phases=spans,
            thresholds=rules,
            nodes=(NodeRecord("local", 0, True, 6),),
            ended_at_s=STARTED_AT_S + ended_s,
            end_reason=reason,
            end_note=note,
        ),
        windows=windows,
        arrivals=tuple(lags) if is_open else (),
        metrics=metrics,
        readings=readings,
    )


def judged(run: RunRecord, plan: SweepPlan = PLAN) -> LevelSummary:
    return level_summary(run, summarise(run), plan, level=2.0, run="level-2/run")


# --- figures


def test_throughput_is_what_was_finished_in_time_and_latency_is_everybody_s() -> None:
    """A backlog that is worked off after the load would make any overloaded system look fast enough."""
    backlog = requests(9, "Measured", 5000, 5000, 5000, 5000)
    run = record(requests(1, "Warm-up", 900), requests(3, "Measured", 10, 10, 10, 10), backlog)
    found = figures(run)
    assert found["requests"] == 8
    assert found["requests_per_s"] == 1.0  # 4 in the 4 s
    assert found["response_time_ms"]["p50"] == pytest.approx(10, rel=0.001)
    assert found["response_time_ms"]["p99"] == pytest.approx(5000, rel=0.001)


def test_what_the_warm_up_left_over_is_throughput_but_nobody_s_latency() -> None:
    found = figures(record(requests(2, "Warm-up", 900, 900), requests(5, "Measured", 10, 10)))
    assert found["requests_per_s"] == 1.0
    assert found["requests"] == 2
    assert found["response_time_ms"]["p99"] == pytest.approx(10, rel=0.001)


def test_failures_are_counted_beside_the_latencies() -> None:
    found = figures(record(requests(3, "Measured", 10, 10, 10, failed=1)))
    assert (found["requests"], found["failures"], found["error_rate_percent"]) == (4, 1, 25)
    assert found["requests_per_s"] == 1.0


def test_the_rate_that_was_started_and_the_users_in_flight() -> None:
    readings = (users(0, 1), users(1, 9), users(2, 4), users(3, 6), users(5, 8), users(6, 100))
    found = figures(record(requests(3, "Measured", 10), readings=readings))
    assert found["started_per_s"] == 2.0
    assert found["users_mean"] == 6.0


def test_a_closed_level_starts_nobody() -> None:
    spans = tuple(replace(span, model="users", planned=0) for span in SPANS)
    found = figures(record(requests(3, "Measured", 10), spans=spans))
    assert found["started_per_s"] is None
    assert found["users_mean"] is None  # nobody looked
    assert found["tokens"] is None


def test_a_level_that_was_cut_short_has_rates_of_the_time_that_it_had() -> None:
    run = record(requests(2, "Measured", 10, 10), requests(3, "Measured", 10, 10), ended_s=4.0)
    assert figures(run)["requests_per_s"] == 2.0


def test_a_level_of_less_than_a_second_has_no_rate() -> None:
    spans = (PhaseSpan("Measured", 0.0, 0.5, "arrivals", 2.0, 2.0, 1),)
    found = figures(record(requests(0, "Measured", 10), spans=spans, ended_s=0.5))
    assert found["requests_per_s"] is None
    assert found["response_time_ms"]["p50"] == pytest.approx(10, rel=0.001)


def test_a_record_without_phases_has_no_figures() -> None:
    found = figures(RunRecord(replace(record().manifest, phases=(), ended_at_s=None)))
    assert (found["requests"], found["requests_per_s"], found["tokens"]) == (0, None, None)


def test_tokens_and_goodput() -> None:
    metrics = (
        metric(1, "Warm-up", "ttft", 9000),
        metric(3, "Measured", "ttft", 50, 60),
        metric(3, "Measured", "tpot", 5, 6),
        metric(3, "Measured", "output_tokens", 40, 60),
        metric(3, "Measured", "good", 100, 100),
        metric(8, "Measured", "output_tokens", 1000),
        metric(8, "Measured", "ttft", 4000),
        metric(8, "Measured", "good", 0, 0),
    )
    tokens = figures(record(requests(3, "Measured", 10), metrics=metrics))["tokens"]
    assert tokens is not None
    assert tokens["ttft_ms"]["p50"] == pytest.approx(60, rel=0.001)
    assert tokens["ttft_ms"]["p99"] == pytest.approx(4000, rel=0.001)
    assert tokens["tpot_ms"]["p99"] == pytest.approx(6, rel=0.001)
    assert tokens["output_tokens_per_s"] == 25.0
    assert tokens["goodput_percent"] == 50.0
    assert (tokens["answers_per_s"], tokens["good_per_s"]) == (0.5, 0.5)


def test_without_objectives_there_is_no_goodput() -> None:
    tokens = figures(record(requests(3, "Measured", 10), metrics=(metric(3, "Measured", "e2e", 300),)))[
        "tokens"
    ]
    assert tokens is not None
    assert (tokens["goodput_percent"], tokens["good_per_s"], tokens["answers_per_s"]) == (None, None, None)


# --- verdicts


def test_a_level_that_meets_everything() -> None:
    level = judged(record(requests(3, "Measured", 10)))
    assert (level["verdict"], level["reasons"], level["run"]) == ("met", [], "level-2/run")
    assert [(rule["rule"], rule["status"]) for rule in level["objectives"]] == [("p95 < 1s", "pass")]


def test_a_missed_threshold_is_in_the_objectives_and_not_said_twice() -> None:
    level = judged(record(requests(3, "Measured", 4000)))
    assert level["verdict"] == "missed"
    assert level["objectives"][0]["observed"] == pytest.approx(4000, rel=0.001)
    assert level["reasons"] == []


@pytest.mark.parametrize(("goods", "verdict"), [((100, 100), "met"), ((100, 0), "missed")])
def test_goodput_is_an_objective_where_the_scenario_states_some(
    goods: tuple[float, ...], verdict: LevelVerdict
) -> None:
    level = judged(record(requests(3, "Measured", 10), metrics=(metric(3, "Measured", "good", *goods),)))
    assert level["verdict"] == verdict
    assert level["objectives"][-1]["rule"] == "goodput >= 95%"
    assert level["objectives"][-1]["observed"] == sum(goods) / 2


def test_goodput_is_no_objective_where_a_rule_asks_for_it_or_nobody_does() -> None:
    run = record(requests(3, "Measured", 10), metrics=(metric(3, "Measured", "good", 0),))
    assert judged(run, replace(PLAN, goodput_percent=None))["verdict"] == "met"
    assert judged(record(requests(3, "Measured", 10)))["verdict"] == "met"


def test_a_rule_that_only_stands_in_for_none_is_no_objective() -> None:
    run = record(requests(3, "Measured", 10), rules=("count >= 1",))
    level = judged(run, replace(PLAN, rules=()))
    assert (level["verdict"], level["objectives"]) == ("unjudged", [])


def test_a_level_whose_generator_was_the_limit_is_invalid_whatever_it_measured() -> None:
    level = judged(record(requests(3, "Measured", 10), lag_us=900_000))
    assert level["verdict"] == "invalid"
    assert "the load generator was late" in level["reasons"][0]


def test_an_interrupted_level_is_incomplete() -> None:
    level = judged(record(requests(3, "Measured", 10), reason="interrupted", ended_s=4.0))
    assert level["verdict"] == "incomplete"
    assert level["reasons"] == ["the run was interrupted before its end"]


def test_an_aborted_level_is_missed_though_all_its_thresholds_hold() -> None:
    run = record(requests(3, "Measured", 10), reason="aborted", note="the spending cap is reached")
    level = judged(run)
    assert level["verdict"] == "missed"
    assert level["reasons"] == ["aborted: the spending cap is reached"]


# --- the answer


def levels(*verdicts: LevelVerdict) -> list[LevelSummary]:
    level = judged(record(requests(3, "Measured", 10)))
    return [
        LevelSummary(**(level | {"level": float(at), "verdict": each})) for at, each in enumerate(verdicts, 1)
    ]


@pytest.mark.parametrize(
    ("verdicts", "highest", "code"),
    [
        (("met", "met", "met"), 3, 0),
        (("met", "met", "missed"), 2, 0),
        (("met", "missed", "met"), 1, 0),
        (("met", "invalid", "met"), 1, 0),
        (("met", "incomplete"), 1, 0),
        (("missed", "met"), None, 3),
        (("missed", "invalid"), None, 3),
        (("invalid",), None, 4),
        (("incomplete", "met"), None, 4),
        (("invalid", "missed"), None, 4),
        (("unjudged", "missed"), None, 4),
        (("unjudged", "unjudged"), None, 4),
        ((), None, 4),
    ],
)
def test_the_highest_level_is_the_last_before_the_first_that_does_not_meet_them(
    verdicts: tuple[LevelVerdict, ...], highest: float | None, code: int
) -> None:
    assert best(levels(*verdicts)) == highest
    summary = sweep_summary(PLAN, levels(*verdicts), host="http://localhost:8000", end="finished")
    assert summary["best"] == highest
    assert exit_code(summary) == code


@pytest.mark.parametrize(
    ("end", "code"), [("interrupted", 130), ("failed", 1), ("stopped", 0), ("running", 0)]
)
def test_how_it_ended_goes_before_what_it_found(end: SweepEnd, code: int) -> None:
    summary = sweep_summary(PLAN, levels("met", "missed"), host="", end=end, end_note="why")
    assert (exit_code(summary), summary["end_note"]) == (code, "why")
