"""The section on AI APIs: only where one was asked, with exact figures."""

from dataclasses import replace

import pytest

from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, MetricWindow, Reading, RunRecord
from perfload.report import ai, html, series
from tests.unit.report.records import STARTED_AT_S, five_phase_record, five_phase_summary, manifest


def metric(
    second: int, name: str, *values: float, phase: str = "Normal load", unit: str = "ms"
) -> MetricWindow:
    scaled = Histogram([round(value * METRIC_SCALE) for value in values])
    return MetricWindow("run-1", "local", second, phase, name, unit, scaled)


RECORD = RunRecord(
    manifest(),
    metrics=(
        metric(25, "ttft", 100, 200, 300, 400),
        metric(2, "ttft", 9_000, phase="Warm-up"),
        metric(26, "icl", *[20.0] * 50),
        metric(26, "output_tokens", 100, 140, unit="tokens"),
        metric(26, "input_tokens", 600, unit="tokens"),
        metric(26, "good", 100, 100, 100, 0, unit="%"),
    ),
    readings=(Reading(STARTED_AT_S + 26.5, "local", "generator", "users", "users", 12.0),),
)


def test_charts_are_drawn_of_what_was_measured() -> None:
    charts = ai.build(RECORD, series.time_axis(RECORD))
    assert list(charts) == ["ai-ttft", "ai-gaps", "ai-tokens", "ai-load", "ai-goodput"]
    p50, p95, p99 = charts["ai-ttft"]["data"]
    assert [trace["y"][25] for trace in (p50, p95, p99)] == pytest.approx([200, 400, 400], rel=1e-3)
    assert [trace["name"] for trace in charts["ai-gaps"]["data"]] == [
        "from chunk to chunk, p50",
        "from chunk to chunk, p99",
    ]
    assert charts["ai-tokens"]["data"][0]["y"][26] == 240
    assert (charts["ai-load"]["data"][0]["x"], charts["ai-load"]["data"][0]["y"]) == ([12], [240])
    assert charts["ai-goodput"]["data"][0]["y"][26] == 75


def test_figures_leave_out_warm_up_phases() -> None:
    shown = ai.section(RECORD)
    assert "9.00 s" not in shown
    assert ">400 ms<" in shown
    assert ">75 %<" in shown
    assert "240 in all" in shown


def test_a_run_without_an_ai_api_has_no_such_section() -> None:
    record = five_phase_record()
    without = replace(record, metrics=())
    assert ai.build(without, series.time_axis(without)) == {}
    page = html.render(without, five_phase_summary())
    assert 'id="ai"' not in page
    assert 'href="#ai"' not in page
    both = html.render(replace(record, metrics=RECORD.metrics), five_phase_summary())
    assert 'id="ai"' in both
    assert 'href="#ai"' in both
