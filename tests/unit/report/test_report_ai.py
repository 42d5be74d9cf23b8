"""The section on language models: only where one was asked, with exact figures."""

from dataclasses import replace

import pytest
from plotly import graph_objects

from perfload.analysis.summary import summarise
from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, MetricWindow, RunRecord
from perfload.report import ai, ai_metrics, html, series
from perfload.report.terminal import render_verdict
from tests.unit.report.records import five_phase_record, five_phase_summary, manifest


def metric(
    second: int, name: str, *values: float, phase: str = "Normal load", unit: str = "ms"
) -> MetricWindow:
    scaled = Histogram([round(value * METRIC_SCALE) for value in values])
    return MetricWindow("run-1", "local", second, phase, name, unit, scaled)


RECORD = RunRecord(
    manifest(),
    metrics=(
        metric(25, "ttft", 100, 200, 300, 400),
        metric(25, "ttft_input_512", 100, 200, 300, 400),
        metric(2, "ttft", 9_000, phase="Warm-up"),
        metric(26, "icl", *[20.0] * 50),
        metric(26, "output_tokens", 100, 140, 360, unit="tokens"),
        metric(26, "input_tokens", 600, unit="tokens"),
        metric(26, "good", 100, 100, 100, 0, unit="%"),
        metric(26, "rate_limited", 0, 0, 0, 0, 100, unit="%"),
        metric(26, "cost", 1_500, 2_500, unit="millionths"),
        metric(26, "finish_stop", 1, 1, unit="answers"),
        metric(26, "finish_length", 1, unit="answers"),
        metric(26, "characters", 77, unit="characters"),
    ),
)
SUMMARY = summarise(RECORD)


def page(record: RunRecord) -> str:
    return html.render(record, summarise(record))


def test_charts_are_drawn_of_what_was_measured() -> None:
    charts = ai.build(RECORD, series.time_axis(RECORD))
    assert list(charts) == [
        "ai-ttft",
        "ai-gaps",
        "ai-spectrum",
        "ai-inputs",
        "ai-tokens",
        "ai-goodput",
        "ai-refused",
    ]
    for figure in charts.values():
        graph_objects.Figure(figure)  # raises ValueError for anything that plotly does not know


def test_figures_leave_out_warm_up_phases() -> None:
    shown = ai.section(SUMMARY, [])
    assert "9.00 s" not in shown
    assert ">400 ms<" in shown
    assert ">75 %<" in shown
    assert "600 in all" in shown


def test_sums_are_over_the_phases_that_count_and_money_in_its_currency() -> None:
    found = ai_metrics.key_figures(SUMMARY)
    assert found.lasted_s == 60
    assert found.per_s(found.output_tokens) == pytest.approx(10)
    assert (found.answers, found.finishes) == (3, {"stop": 2, "length": 1})
    assert (found.goodput_percent, found.good) == (75, 3)
    assert (found.rate_limited_percent, found.rate_limited, found.overloaded) == (20, 1, 0)
    assert found.cost == pytest.approx(0.004)
    assert "1.33 for 1,000 whole answers" in ai.section(SUMMARY, [])


def test_what_was_not_recorded_is_no_number() -> None:
    found = ai_metrics.key_figures(summarise(replace(RECORD, metrics=RECORD.metrics[:1])))
    assert (found.goodput_percent, found.rate_limited_percent, found.cost) == (None, None, None)


def test_tokens_that_no_server_counted_are_no_zero() -> None:
    answers = (metric(26, "e2e", 600), metric(26, "finish_stop", 1, unit="answers"))
    uncounted = metric(26, "uncounted_answers", 1, unit="answers")
    summary = summarise(replace(RECORD, metrics=(*answers, uncounted)))
    found = ai_metrics.key_figures(summary)
    assert (found.output_tokens, found.input_tokens, found.per_s(found.output_tokens)) == (None, None, None)
    shown = ai.section(summary, [])
    assert shown.count("not counted by the server") == 2
    assert "0/s" not in shown
    lines = render_verdict(summary, width=100, color=False).partition("Language models\n")[2].splitlines()
    assert lines[3:5] == ["  1 whole answer (stop 1)", "  1 answer without a count of tokens"]


def test_a_section_without_whole_answers_says_so() -> None:
    summary = summarise(replace(RECORD, metrics=(metric(26, "rate_limited", 100, unit="%"),)))
    shown = ai.section(summary, [])
    assert "No answer was whole, so there are no times." in shown
    assert shown.count("no whole answers") == 2
    assert "<table" not in shown
    terminal = render_verdict(summary, width=100, color=False)
    assert "0 whole answers\n  1 request rate limited\n" in terminal


def test_more_metrics_are_called_what_they_are() -> None:
    delays = (metric(26, "ttft", 100), metric(26, "read_delay", 0.1))
    without = ai.section(summarise(replace(RECORD, metrics=delays)), [])
    assert "<summary>Other metrics</summary>" in without
    assert "<summary>Time to first token by length of the input" in ai.section(SUMMARY, [])


def test_only_the_scenarios_own_metrics_stand_among_its_metrics() -> None:
    shown = page(RECORD)
    own = shown.partition("Metrics of the scenario")[2].partition("</table>")[0]
    assert "characters" in own
    assert not [name for name in ai_metrics.KNOWN if f">{name}<" in own]


def test_a_terminal_shows_sums_and_times_and_no_length_of_an_input() -> None:
    shown = render_verdict(SUMMARY, width=100, color=False)
    section = shown.partition("Language models\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in section.splitlines()[2:6]] == [
        "ttft",
        "icl",
        "output_tokens",
        "input_tokens",
    ]
    assert section.splitlines()[6:] == [
        "  3 whole answers (stop 2, length 1)",
        "  600 output tokens at 10.0/s · 600 input tokens at 10.0/s",
        "  goodput 75 %, 0.05 answers/s · 1 request rate limited · cost 0.004",
    ]
    assert [line.split()[0] for line in shown.partition("\nMetrics\n")[2].splitlines()[2:3]] == ["characters"]
    assert "ttft_input" not in shown


def test_a_run_without_an_ai_api_has_no_such_section() -> None:
    record = five_phase_record()
    names = {metric["metric"] for metric in five_phase_summary()["metrics"]}
    assert names
    shown = html.render(record, five_phase_summary())
    assert 'id="ai"' not in shown
    assert 'href="#ai"' not in shown
    assert "Language models" not in render_verdict(five_phase_summary(), width=100, color=False)


def test_a_run_with_one_has_it() -> None:
    shown = page(RECORD)
    assert 'id="ai"' in shown
    assert 'href="#ai"' in shown


def test_a_run_in_which_every_request_was_refused_shows_that() -> None:
    refused = RunRecord(manifest(), metrics=(metric(26, "rate_limited", 100, 100, unit="%"),))
    assert ">100 %<" in ai.section(summarise(refused), [])
    (trace,) = ai.build(refused, series.time_axis(refused))["ai-refused"]["data"]
    assert (trace["name"], trace["y"][26], trace["y"][25]) == ("429, rate limited", 2, None)


def test_a_metric_that_only_looks_like_one_of_theirs_stays_where_it_was() -> None:
    alone = replace(RECORD, metrics=(metric(26, "e2e", 5), metric(26, "good", 7, unit="apples")))
    assert [found["metric"] for found in ai_metrics.others(summarise(alone))] == ["e2e", "good"]
