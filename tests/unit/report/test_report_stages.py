import re

import pytest
from plotly import graph_objects

from perfload.analysis.schema import RequestBreakdown, StagesSummary
from perfload.analysis.summary import summarise
from perfload.report.html import render
from perfload.report.markup import Markup
from perfload.report.quantities import NOTHING
from perfload.report.stages import ALL_REQUESTS, MAX_BARS, figure, section
from tests.unit.report.parts import NO_STAGES, breakdown
from tests.unit.report.records import HOSTILE, five_phase_record, five_phase_summary, hostile_summary

SUMMARY = five_phase_summary()["stages"]


def text_of(markup: str) -> str:
    return re.sub(r"\|+", "|", re.sub(r"<[^>]+>", "|", markup))


@pytest.fixture(scope="module")
def shown() -> str:
    return text_of(section(SUMMARY, Markup("CHART")))


def many(number: int) -> StagesSummary:
    """Return so many requests, each slower than the last, but called so much the less."""
    requests = [
        RequestBreakdown(
            method="GET",
            name=f"/{index:02}",
            **breakdown(1 + index, 0.0, wait=(1 + index, 100.0, 1.0 + index)),
        )
        for index in range(number)
    ]
    return StagesSummary(total=SUMMARY["total"], requests=requests)


def test_three_shares_say_where_the_time_goes(shown: str) -> None:
    assert "|Connection set-up|29.50 %|DNS, connect and TLS|" in shown
    assert "|Waiting for the server|68.25 %|to the first byte|" in shown
    assert "|Transfer|2.25 %|send and receive|" in shown


def test_connections_per_100_requests_say_whether_they_are_used_again(shown: str) -> None:
    assert "|Connections per 100 requests|69.6|0: all found one open, 100: none did|" in shown


def test_a_row_has_the_median_and_p95_of_each_stage_and_a_dash_where_there_was_none(shown: str) -> None:
    none = f"{NOTHING}|{NOTHING}"
    times = f"{none}|6.50|19.5|15.0|45.0|0.04|0.12|44.0|132|{none}|"
    assert f"|POST /api/auth/login|2,000|90.5|63.5|{times}" in shown
    times = f"{none}|{none}|{none}|0.05|0.15|11.0|33.0|1.20|3.60|"
    assert f"|GET /api/usage|600|0|12.2|{times}" in shown


def test_all_requests_come_first_and_then_the_slowest(shown: str) -> None:
    names = [f"|{ALL_REQUESTS}|2,600|", "|POST /api/auth/login|2,000|", "|GET /api/usage|600|"]
    assert sorted(names, key=shown.index) == names


def test_a_single_request_has_no_total() -> None:
    lone = StagesSummary(total=SUMMARY["total"], requests=SUMMARY["requests"][:1])
    assert ALL_REQUESTS not in text_of(section(lone, Markup()))
    chart = figure(lone)
    assert chart is not None
    assert chart["layout"]["yaxis"]["ticktext"] == ["GET /api/usage"]


def test_bars_are_the_share_on_the_left_and_the_mean_time_on_the_right() -> None:
    chart = figure(SUMMARY)
    assert chart is not None
    graph_objects.Figure(chart)  # raises ValueError for anything that plotly does not know
    assert chart["layout"]["yaxis"]["ticktext"] == [ALL_REQUESTS, "POST /api/auth/login", "GET /api/usage"]
    bars = {(trace["name"], trace["xaxis"]): trace for trace in chart["data"]}
    assert [name for name, axis in bars if axis == "x"] == ["Connect", "TLS", "Send", "Wait", "Receive"]
    assert bars["Wait", "x"]["x"] == [68.25, 67.0, 88.5]
    assert bars["TLS", "x"]["x"] == [20.5, 22.5, 0.0]
    login_ms = (1810 * 6.5 + 1810 * 15.0 + 2000 * 0.04 + 2000 * 44.0) / 2000
    assert bars["Wait", "x2"]["x"][1] == pytest.approx(0.67 * login_ms, rel=1e-4)
    assert bars["Wait", "x"]["customdata"][1] == (
        "POST /api/auth/login<br>Wait: 67 % of the time, 42.5 ms per request"
    )


def test_each_stage_is_in_the_legend_once() -> None:
    chart = figure(SUMMARY)
    assert chart is not None
    assert [trace["name"] for trace in chart["data"] if trace["showlegend"]] == [
        "Connect",
        "TLS",
        "Send",
        "Wait",
        "Receive",
    ]


def test_the_chart_keeps_the_requests_with_the_most_time_and_says_that_there_are_more() -> None:
    chart = figure(many(MAX_BARS + 5))
    assert chart is not None
    names = chart["layout"]["yaxis"]["ticktext"]
    assert names == [ALL_REQUESTS, *(f"GET /{index:02}" for index in reversed(range(5, MAX_BARS + 5)))]
    text = text_of(section(many(MAX_BARS + 5), Markup()))
    assert "|5 more, which took less time in all, are in the table.|" in text
    assert all(f"|GET /{index:02}|" in text for index in range(MAX_BARS + 5))
    assert "more, which took" not in text_of(section(many(MAX_BARS), Markup()))


def test_a_run_without_stages_says_so() -> None:
    assert figure(NO_STAGES) is None
    only = "Not recorded: only perfload's own HTTP client takes its requests apart."
    assert only.replace("'", "&#x27;") in section(NO_STAGES, Markup("CHART"))
    assert "CHART" not in section(NO_STAGES, Markup("CHART"))


def test_connections_without_any_response_are_shown_without_a_chart() -> None:
    times = [{**SUMMARY["total"]["stages"][0], "share_percent": 100.0}]
    total = {**NO_STAGES["total"], "stages": times}
    lone = StagesSummary(total=total, requests=[{**total, "method": "GET", "name": "/"}])
    assert figure(lone) is None
    text = text_of(section(lone, Markup()))
    assert f"|Connections per 100 requests|{NOTHING}|" in text
    assert f"|GET /|0|{NOTHING}|{NOTHING}|" in text


def test_names_from_outside_carry_no_tags() -> None:
    summary = hostile_summary()["stages"]
    chart = figure(summary)
    assert chart is not None
    hints = [hint.removesuffix("per request") for trace in chart["data"] for hint in trace["customdata"]]
    for text in (*chart["layout"]["yaxis"]["ticktext"], *(hint.replace("<br>", " ", 1) for hint in hints)):
        assert not set("<>\n\x1b\u202e") & set(text)
    markup = section(summary, Markup())
    for attack in HOSTILE[:2]:
        assert attack not in markup
    assert "&lt;/script&gt;&lt;script&gt;document" in markup


def test_the_report_of_a_record_shows_its_stages() -> None:
    record = five_phase_record()
    html = render(record, summarise(record))
    assert 'data-figure="stages"' in html
    assert "Where the time goes" in html
    part = text_of(html.partition('<section id="stages">')[2].partition("</section>")[0])
    assert "|POST /api/auth/login|798|100|" in part
