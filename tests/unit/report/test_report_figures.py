import pytest
from plotly import graph_objects

from perfload.histogram import Histogram
from perfload.model import PhaseSpan, Reading, RunRecord, Window
from perfload.report import figures, palette
from tests.unit.report.clusters import cluster_record
from tests.unit.report.records import (
    HOSTILE,
    RUN_ID,
    STARTED_AT_S,
    empty_record,
    five_phase_record,
    hostile_record,
    manifest,
)

LIGHT, DARK = "#ffffff", "#171c23"


@pytest.fixture(scope="module")
def charts():
    return figures.build(five_phase_record())


def trace(figure, name):
    return next(trace for trace in figure["data"] if trace["name"] == name)


def test_every_chart_of_a_full_run_is_valid_plotly(charts):
    assert len(charts) == 9
    for name, figure in charts.items():
        assert figure is not None, name
        graph_objects.Figure(figure)  # raises ValueError for anything that plotly does not know


def test_charts_over_time_share_their_range_and_bands(charts):
    over_time = [figure["layout"] for figure in charts.values() if "meta" in figure["layout"]]
    assert len(over_time) == 8
    for layout in over_time:
        assert layout["xaxis"]["range"] == [0, 65_000]
        assert layout["xaxis"]["tickformat"] == "%M:%S"
        assert [(band["x0"], band["x1"]) for band in layout["shapes"]] == [
            (0, 5000),
            (5000, 20_000),
            (20_000, 40_000),
            (40_000, 50_000),
            (50_000, 65_000),
        ]
        assert [label["text"] for label in layout["annotations"]] == [
            "Warm-up",
            "Ramp-up",
            "Normal load",
            "Spike",
            "Recovery",
        ]


def test_planned_and_started_stand_beside_each_other(charts):
    started, planned = trace(charts["arrivals"], "started"), trace(charts["arrivals"], "planned")
    assert (len(started["y"]), started["x0"], started["dx"]) == (65, 0, 1000)
    assert (planned["y"][0], planned["y"][30], planned["y"][45]) == (10, 60, 150)
    assert started["y"][30] == 60
    assert sum(trace(charts["arrivals"], "dropped (max_users)")["y"]) == 84


def test_lost_arrivals_are_bars_of_their_own_where_any_were():
    lost = trace(figures.build(cluster_record())["arrivals"], "lost (with a load generator)")
    assert (lost["type"], lost["marker"]["color"]) == ("bar", palette.PINK)
    assert lost["y"][19:24] == [0, 50, 50, 15, 0]
    assert lost["y"][29:34] == [0, 46, 67, 37, 0]


def test_a_run_that_lost_nothing_names_no_lost_arrivals(charts):
    assert [trace["name"] for trace in charts["arrivals"]["data"]] == [
        "started",
        "planned",
        "started late (> 5 ms)",
        "dropped (max_users)",
    ]


def test_the_lines_of_a_generator_end_when_it_is_gone():
    figure = figures.build(cluster_record())["generator-cpu"]
    known = {
        line["name"]: [second for second, value in enumerate(line["y"]) if value is not None]
        for line in figure["data"]
        if line["name"].startswith("worker")
    }
    assert known["worker-2"] == list(range(20))
    assert known["worker-3"] == [*range(31), *range(42, 60)]
    assert known["worker-4"] == list(range(41, 61))


def test_a_second_without_success_is_a_gap_in_the_latency():
    one = Histogram([2000])
    windows = tuple(
        Window(
            RUN_ID, "n", second, "Spike", "GET", "/", one if second != 1 else Histogram(), one, Histogram()
        )
        for second in range(3)
    )
    figure = figures.build(RunRecord(manifest(ended_at_s=STARTED_AT_S + 3), windows))["latency"]
    assert figure is not None
    assert trace(figure, "p95")["y"] == [2.0, None, 2.0]
    assert trace(figure, "p95")["mode"] == "lines+markers"  # lines alone would hide single points
    assert trace(figure, "p95")["connectgaps"] is False


def test_an_empty_run_has_its_plan_and_nothing_else():
    charts = figures.build(empty_record())
    assert [name for name, figure in charts.items() if figure] == ["arrivals"]
    assert set(trace(charts["arrivals"], "started")["y"]) == {None}


def test_the_spectrum_runs_from_the_fastest_to_the_slowest_request():
    latency = Histogram(range(1000, 101_000, 1000))  # 1 to 100 ms
    windows = (Window(RUN_ID, "n", 0, "Spike", "GET", "/", latency, latency, Histogram()),)
    figure = figures.build(RunRecord(manifest(), windows))["spectrum"]
    assert figure is not None
    assert [line["name"] for line in figure["data"]] == ["response time", "service time"]
    line = figure["data"][0]
    assert (line["x"][0], line["x"][-1]) == (1, 100)
    assert (line["customdata"][0], line["customdata"][24], line["customdata"][-1]) == ("0", "90", "100")
    assert (line["y"][0], line["y"][24], line["y"][-1]) == (1.0, pytest.approx(90, rel=1e-3), 100.0)


def test_only_the_busiest_generators_are_drawn():
    readings = tuple(
        Reading(STARTED_AT_S, f"worker-{index:02}", "generator", "cpu_percent", "%", float(index))
        for index in range(30)
    )
    figure = figures.build(RunRecord(manifest(), readings=readings))["generator-cpu"]
    assert figure is not None
    assert [line["name"] for line in figure["data"]] == [f"worker-{index}" for index in range(22, 30)]


def test_the_host_is_drawn_from_either_reading_alone():
    readings = (Reading(STARTED_AT_S, "db", "host", "memory_percent", "%", 40.0),)
    figure = figures.build(RunRecord(manifest(), readings=readings))["host"]
    assert figure is not None
    assert [line["name"] for line in figure["data"]] == ["memory, db"]
    assert figure["layout"]["yaxis"]["range"] == [0, 100]


def test_a_narrow_band_shortens_its_label_or_leaves_it_out():
    spans = (
        PhaseSpan("a very long name of a short phase", 0.0, 5.0, "arrivals", 1, 1, 5),
        PhaseSpan("tiny", 5.0, 0.1, "arrivals", 1, 1, 1),
        PhaseSpan("rest", 5.1, 94.9, "pause", 0, 0, 0),
    )
    run = manifest(phases=spans, ended_at_s=STARTED_AT_S + 100)
    figure = figures.build(RunRecord(run))["arrivals"]
    assert figure is not None
    assert [label["text"] for label in figure["layout"]["annotations"]] == ["a very …", "", "rest"]


def test_labels_from_outside_carry_no_tags():
    for figure in figures.build(hostile_record()).values():
        assert figure is not None
        shown = [trace["name"] for trace in figure["data"]]
        for label in figure["layout"].get("annotations", ()):
            shown += [label["text"], label.get("hovertext", "")]
        for trace_ in figure["data"]:
            shown += [text.replace("<br>", "") for text in trace_.get("customdata", ())]
        assert not any("<" in text or "\n" in text or "\x1b" in text for text in shown)
        for trace_ in figure["data"]:
            assert not any(attack in trace_.get("hovertemplate", "") for attack in HOSTILE)


def luminance(color):
    channels = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("page", [LIGHT, DARK])
@pytest.mark.parametrize("color", palette.PALETTE)
def test_lines_can_be_seen_on_a_light_and_a_dark_page(color, page):
    brighter, darker = sorted((luminance(color), luminance(page)), reverse=True)
    assert (brighter + 0.05) / (darker + 0.05) >= 3  # WCAG 2.2, 1.4.11 non-text contrast
