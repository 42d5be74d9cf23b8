"""The charts of language models: which values they draw, and which they leave out for want of answers."""

from typing import Any

import pytest

from perfload.analysis.tally import counted_phases
from perfload.histogram import Histogram
from perfload.model import (
    ArrivalWindow,
    Manifest,
    MetricWindow,
    NodeRecord,
    PhaseSpan,
    Reading,
    RunRecord,
)
from perfload.report import ai_charts, ai_inputs, ai_load, ai_stretches
from perfload.report.ai_metrics import Recorded
from perfload.report.drawing import Figure
from perfload.report.series import TimeAxis
from tests.unit.report.records import HOSTILE, STARTED_AT_S, manifest
from tests.unit.report.test_report_ai import metric

AXIS = TimeAxis(60)


def span(name: str, start_s: float, duration_s: float, model: Any = "arrivals", rate: float = 5) -> PhaseSpan:
    return PhaseSpan(name, start_s, duration_s, model, rate, rate, round(rate * duration_s))


def a_run(*metrics: MetricWindow, phases: tuple[PhaseSpan, ...] = (), **parts: Any) -> RunRecord:
    spans = phases or (span("Load", 0, 60),)
    ended_at_s = STARTED_AT_S + spans[-1].end_s
    run: Manifest = manifest(phases=spans, ended_at_s=ended_at_s, nodes=parts.pop("nodes", ()))
    return RunRecord(run, metrics=metrics, **parts)


def recorded(record: RunRecord) -> Recorded:
    return Recorded(record.metrics, counted_phases(record.manifest))


def trace(figure: Figure | None, name: str) -> dict[str, Any]:
    assert figure is not None
    return next(trace for trace in figure["data"] if trace["name"] == name)


def names(figure: Figure | None) -> list[str]:
    assert figure is not None
    return [trace["name"] for trace in figure["data"]]


def near(*values: float | None) -> list[Any]:
    """Return values to hold histograms' against, which lie within 0.1 % of the true ones."""
    return [None if value is None else pytest.approx(value, rel=1e-3) for value in values]


# --- over time


def test_a_percentile_beyond_which_there_is_no_answer_is_not_drawn() -> None:
    few, many = range(1, 20), range(1, 101)
    record = a_run(metric(0, "ttft", *few, phase="Load"), metric(1, "ttft", *many, phase="Load"))
    figure = ai_charts.first_token(record, recorded(record), AXIS)
    assert trace(figure, "p50")["y"][:2] == near(10, 50)
    assert trace(figure, "p95")["y"][:2] == near(None, 95)
    assert trace(figure, "p99")["y"][:2] == near(None, 99)
    assert trace(figure, "slowest")["y"][:2] == near(19, 100)


def test_bins_become_wider_where_answers_are_rare() -> None:
    rare = a_run(*(metric(second, "e2e", 5, phase="Load") for second in range(60)))
    dense = a_run(*(metric(second, "e2e", *[5] * 40, phase="Load") for second in range(60)))
    assert ai_charts.axis_of_answers(rare, recorded(rare)) == TimeAxis(60, 5)
    assert ai_charts.axis_of_answers(dense, recorded(dense)) == TimeAxis(60, 1)


def test_points_lie_in_the_middle_of_wide_bins() -> None:
    record = a_run(metric(7, "good", 100, 0, phase="Load", unit="%"))
    (line,) = ai_charts.goodput(record, recorded(record), TimeAxis(60, 5))["data"]  # type: ignore[index]
    assert (line["x0"], line["dx"], line["y"][1]) == ("1970-01-01 00:00:02.000000", 5000, 50)


def test_first_content_is_drawn_only_where_a_model_thought_before_it() -> None:
    first = metric(0, "ttft", *[100] * 7, *[50] * 3, phase="Load")
    # Three called a tool and said nothing.
    at_once = a_run(first, metric(0, "ttfo", *[100] * 7, phase="Load"))
    thought = a_run(first, metric(0, "ttfo", *[400] * 10, phase="Load"))
    assert names(ai_charts.first_token(at_once, recorded(at_once), AXIS)) == ["p50", "slowest"]
    figure = ai_charts.first_token(thought, recorded(thought), AXIS)
    assert names(figure) == ["p50", "slowest", "first token of content, p50"]
    assert trace(figure, "first token of content, p50")["y"][0] == 400
    assert names(ai_charts.times_spectrum(recorded(at_once))) == ["time to first token"]
    assert names(ai_charts.times_spectrum(recorded(thought))) == [
        "time to first token",
        "first token of content",
    ]


def test_the_spectrum_has_both_times_and_no_warm_up() -> None:
    warm = PhaseSpan("Warm-up", 0, 5, "arrivals", 5, 5, 25, warmup=True)
    record = a_run(
        metric(0, "ttft", 9000, phase="Warm-up"),
        metric(6, "ttft", *range(1, 101), phase="Load"),
        metric(6, "tpot", 20, phase="Load"),
        phases=(warm, span("Load", 5, 55)),
    )
    figure = ai_charts.times_spectrum(recorded(record))
    line = trace(figure, "time to first token")
    assert (line["y"][0], line["y"][24], line["y"][-1]) == (1, pytest.approx(90, rel=1e-3), 100)
    assert trace(figure, "time per output token")["y"] == [20]


def test_a_second_without_tokens_is_a_zero_until_the_last_answer() -> None:
    record = a_run(
        *(metric(second, "output_tokens", 30, phase="Load", unit="tokens") for second in (1, 3)),
        metric(5, "ttft", 100, phase="Load"),
    )
    (line,) = ai_charts.tokens(record, recorded(record), AXIS)["data"]  # type: ignore[index]
    assert line["y"][:6] == [0, 30, 0, 30, None, None]


@pytest.mark.parametrize(
    ("slowest", "labels"),
    [(5, None), (9, 3), (50, 4), (9_000, 8), (1_000_000, 6)],
)
def test_the_scale_of_a_spectrum_has_labels_that_fit(slowest: float, labels: int | None) -> None:
    record = a_run(metric(0, "ttft", 1, slowest, phase="Load"))
    figure = ai_charts.times_spectrum(recorded(record))
    assert figure is not None
    axis = figure["layout"]["yaxis"]
    # 20, 50, 100: not 2 and 5 in small print.
    assert (axis["type"], axis["tickformat"], axis.get("nticks")) == ("log", ",.6~r", labels)


def test_a_lone_answer_lies_at_the_beginning_of_the_spectrum() -> None:
    record = a_run(metric(0, "ttft", 100, phase="Load"), metric(0, "tpot", *range(1, 101), phase="Load"))
    figure = ai_charts.times_spectrum(recorded(record))
    assert figure is not None
    assert figure["layout"]["xaxis"]["range"] == [0, 2]
    lone, many = trace(figure, "time to first token"), trace(figure, "time per output token")
    assert (lone["mode"], lone["cliponaxis"], many["mode"]) == ("markers", False, "lines")


def test_limits_are_drawn_at_their_lowest_each_in_its_own_scale() -> None:
    record = a_run(
        metric(3, "remaining_requests", 59, 12, 40, phase="Load", unit="requests"),
        metric(3, "remaining_tokens", 90_000, phase="Load", unit="tokens"),
    )
    figure = ai_charts.left(record, recorded(record), AXIS)
    assert (trace(figure, "requests left")["y"][3], trace(figure, "requests left")["y"][2]) == (12, None)
    assert (trace(figure, "tokens left")["y"][3], trace(figure, "tokens left")["yaxis"]) == (90_000, "y2")
    alone = a_run(record.metrics[1])
    only = ai_charts.left(alone, recorded(alone), AXIS)
    assert only is not None
    assert "yaxis" not in trace(only, "tokens left")
    assert only["layout"]["yaxis"]["title"]["text"] == "tokens"
    assert ai_charts.left(a_run(), recorded(a_run()), AXIS) is None


def test_refusals_are_counted_each_second_and_by_kind() -> None:
    record = a_run(
        metric(3, "rate_limited", 0, 100, 100, phase="Load", unit="%"),
        metric(4, "rate_limited", 0, phase="Load", unit="%"),
        metric(3, "overloaded", 0, 0, 0, phase="Load", unit="%"),
    )
    figure = ai_charts.refused(record, recorded(record), AXIS)
    assert names(figure) == ["429, rate limited"]
    assert trace(figure, "429, rate limited")["y"][2:5] == [None, 2, 0]
    unharmed = a_run(metric(3, "rate_limited", 0, phase="Load", unit="%"))
    assert ai_charts.refused(unharmed, recorded(unharmed), AXIS) is None


# --- by the length of the input


def test_each_length_has_the_percentiles_that_its_answers_carry() -> None:
    record = a_run(
        metric(0, "ttft_input_8", *[7] * 19, phase="Load"),
        metric(0, "ttft_input_16", *range(1, 21), phase="Load"),
        metric(0, "ttft_input_64", *range(1, 101), phase="Load"),
    )
    figure = ai_inputs.figure(recorded(record))
    assert figure is not None
    labels = [text.replace("\N{EN DASH}", " to ") for text in figure["layout"]["xaxis"]["ticktext"]]
    assert labels == ["8 to 15", "16 to 31", "32 to 63", "64 to 127"]
    assert trace(figure, "p50")["y"] == near(None, 10, None, 50)
    assert trace(figure, "p95")["y"] == near(None, 19, None, 95)
    assert trace(figure, "p99")["y"] == near(None, None, None, 99)
    few = trace(figure, "p50 of fewer than 20 answers")
    assert (few["x"], few["y"], few["customdata"]) == ([3], [7], ["19 answers"])


def test_lengths_are_named_by_their_bounds() -> None:
    assert [ai_inputs.tokens_of(exponent).replace("\N{EN DASH}", " to ") for exponent in (0, 1, 10, 20)] == [
        "0 or 1",
        "2 to 3",
        "1,024 to 2,047",
        "1,048,576 or more",
    ]


# --- against load


def good(second: int, hits: int, misses: int, phase: str) -> MetricWindow:
    return metric(second, "good", *[100] * hits, *[0] * misses, phase=phase, unit="%")


def arrivals(second: int, started: int, phase: str, dropped: int = 0) -> ArrivalWindow:
    return ArrivalWindow("run-1", "local", second, phase, Histogram([1] * started), dropped)


def test_a_phase_is_cut_into_equal_stretches_with_enough_answers() -> None:
    steady = [good(second, 6, 0, "Load") for second in range(60)]
    record = a_run(*steady)
    (phase,) = ai_stretches.cut(record, recorded(record))
    assert [(part.start_s, part.end_s) for part in phase.stretches] == [
        (start, start + 5) for start in range(0, 60, 5)
    ]
    rare = a_run(*(good(second, 1, 0, "Load") for second in range(60)))
    (phase,) = ai_stretches.cut(rare, recorded(rare))
    assert [part.good.count for part in phase.stretches] == [30, 30]


def test_a_stretch_is_longer_than_most_answers() -> None:
    record = a_run(*(good(s, 30, 0, "Load") for s in range(60)), metric(9, "e2e", 5_000, phase="Load"))
    (phase,) = ai_stretches.cut(record, recorded(record))
    assert [part.width_s for part in phase.stretches] == [15, 15, 15, 15]


def test_no_stretch_crosses_a_phase_that_begins_between_two_seconds() -> None:
    record = a_run(phases=(span("One", 0, 7.5), span("Two", 7.5, 12.5)))
    one, two = ai_stretches.cut(record, recorded(record))
    assert [(part.start_s, part.end_s) for part in one.stretches] == [(0, 7.5)]
    assert [(part.start_s, part.end_s) for part in two.stretches] == [(7.5, 14), (14, 20)]
    assert two.at(7) is two.stretches[0]
    assert (one.holds(7), two.holds(7)) == (False, True)


def test_goodput_stands_against_what_was_due_in_an_open_model() -> None:
    record = a_run(
        *(good(second, 10, 0, "Slow") for second in range(10)),
        *(good(second, 15, 5, "Fast") for second in range(10, 20)),
        good(23, 0, 100, "Fast"),  # ended after the plan, asked for in it
        phases=(span("Slow", 0, 10), span("Fast", 10, 10)),
        arrivals=tuple(arrivals(s, 10, "Slow") if s < 10 else arrivals(s, 35, "Fast", 3) for s in range(20)),
        nodes=(NodeRecord("local", 0, True, 19, lost=((19, "Fast", 10),)),),
    )
    figure = ai_load.goodput(ai_stretches.cut(record, recorded(record)))
    assert figure is not None
    assert figure["layout"]["xaxis"]["title"]["text"] == "virtual users arriving per second, offered"
    assert (trace(figure, "Slow")["x"], trace(figure, "Slow")["y"]) == ([10, 10], [100, 100])
    assert (trace(figure, "Fast")["x"], trace(figure, "Fast")["y"]) == ([38, 40], [75, 37.5])
    whole = trace(figure, "Fast, all of it")
    assert (whole["x"], whole["y"], whole["showlegend"]) == ([39], [50], False)
    assert whole["customdata"] == ["300 answers, 00:10 to 00:20"]


def test_goodput_stands_against_what_was_achieved_in_a_closed_model() -> None:
    record = a_run(
        *(good(second, 8, 0, "Users") for second in range(10)),
        good(12, 80, 0, "Users"),  # after the end: no part of a rate
        phases=(span("Users", 0, 10, "users"),),
    )
    figure = ai_load.goodput(ai_stretches.cut(record, recorded(record)))
    assert figure is not None
    assert figure["layout"]["xaxis"]["title"]["text"] == "answers per second, achieved"
    assert trace(figure, "Users")["x"] == [8, 8]


def test_a_share_of_few_answers_is_not_drawn() -> None:
    record = a_run(good(2, 19, 0, "Load"), *(good(s, 12, 0, "Load") for s in range(55, 60)))
    figure = ai_load.goodput(ai_stretches.cut(record, recorded(record)))
    points = trace(figure, "Load")
    assert len(points["y"]) == 1
    silent = a_run(good(2, 19, 0, "Load"))
    assert ai_load.goodput(ai_stretches.cut(silent, recorded(silent))) is None


def test_tokens_stand_against_the_users_of_their_time() -> None:
    record = a_run(
        *(metric(s, "output_tokens", 100, 50, phase="Users", unit="tokens") for s in range(10)),
        metric(11, "output_tokens", 9_000, phase="Users", unit="tokens"),
        phases=(span("Users", 0, 10, "users"),),
        readings=tuple(
            Reading(STARTED_AT_S + s + 0.5, "local", "generator", "users", "users", 4.0 + s)
            for s in range(10)
        ),
    )
    figure = ai_load.tokens(ai_stretches.cut(record, recorded(record)))
    assert (trace(figure, "Users")["x"], trace(figure, "Users")["y"]) == ([6, 11], [150, 150])


def test_a_stretch_without_tokens_is_a_point_unless_none_were_counted() -> None:
    first = [metric(s, "output_tokens", 150, phase="Users", unit="tokens") for s in range(5)]
    answers = [metric(s, "e2e", 10, phase="Users") for s in range(10)]
    spans = (span("Users", 0, 10, "users"),)
    users = tuple(
        Reading(STARTED_AT_S + s + 0.5, "local", "generator", "users", "users", 4.0) for s in range(10)
    )
    enough = metric(0, "e2e", *[10] * 60, phase="Users")
    stalled = a_run(*first, enough, phases=spans, readings=users)
    figure = ai_load.tokens(ai_stretches.cut(stalled, recorded(stalled)))
    assert trace(figure, "Users")["y"] == [150, 0]
    uncounted = a_run(*answers, phases=spans, readings=users)
    assert ai_load.tokens(ai_stretches.cut(uncounted, recorded(uncounted))) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_phase_may_be_called_anything(name: str) -> None:
    record = a_run(good(3, 30, 0, name), phases=(span(name, 0, 10, "users"),))
    figure = ai_load.goodput(ai_stretches.cut(record, recorded(record)))
    assert figure is not None
    for shown in figure["data"]:
        assert "<" not in shown["name"]
        assert name not in shown["hovertemplate"]
