import pytest
from plotly import graph_objects

from perfload.model import NodeEvent
from perfload.report import figures, markers
from perfload.report.palette import GREY, PINK
from perfload.report.series import TimeAxis
from tests.unit.report.clusters import EVENTS, busy_record, cluster_record
from tests.unit.report.records import HOSTILE, five_phase_record

MINUTE = TimeAxis(60)


def layout_of_a_chart():
    return {"height": 280, "margin": {"t": 26}, "annotations": [{"text": "Load"}]}


def events_at(*seconds, kind="left"):
    return [NodeEvent(at_s, f"worker-{index}", kind) for index, at_s in enumerate(seconds)]


def draw(events, axis=MINUTE):
    layout = layout_of_a_chart()
    return layout, markers.draw(layout, events, axis)


@pytest.fixture(scope="module")
def charts():
    return figures.build(cluster_record())


def test_every_chart_over_time_shows_the_events(charts):
    over_time = [figure for figure in charts.values() if figure and "meta" in figure["layout"]]
    assert len(over_time) == 7  # no monitor read the host
    for figure in over_time:
        labels = [label["text"] for label in figure["layout"]["annotations"] if label["showarrow"]]
        assert labels == ["worker-2 lost", "worker-3 lost", "worker-4 joined", "worker-3 returned"]
        lost, others, told = figure["data"][-3:]
        assert (lost["x"], lost["y"]) == ([22107.5, 22107.5, None, 32342.5, 32342.5, None], [0, 1, None] * 2)
        assert others["x"] == [39981.5, 39981.5, None, 40318.5, 40318.5, None]
        assert (lost["line"]["color"], others["line"]["color"]) == (PINK, GREY)
        assert told["x"] == [22000.5, 32000.5, 39000.5, 40000.5]
        assert told["customdata"][0] == "worker-2 lost at 22.1 s"
        graph_objects.Figure(figure)  # raises ValueError for anything that plotly does not know


def test_the_spectrum_has_no_time_and_no_events(charts):
    assert not any(trace.get("yaxis") == "y2" for trace in charts["spectrum"]["data"])


def test_a_run_without_events_has_no_second_axis():
    for figure in figures.build(five_phase_record()).values():
        assert "yaxis2" not in figure["layout"]


def test_labels_stand_above_the_plot_below_the_names_of_the_phases():
    layout, traces = draw(EVENTS)
    phase, *labels = layout["annotations"]
    # Two rows are enough, but on a narrow page `worker-3 lost` would reach into the two to its right.
    assert [label["ay"] for label in labels] == [-6, -32, -19, -6]
    assert phase["yshift"] == 6 + 3 * 13 + 4
    assert (layout["height"], layout["margin"]["t"]) == (280 + 49, 26 + 49)
    assert [trace["showlegend"] for trace in traces] == [False, False, False]


@pytest.mark.parametrize(
    ("seconds", "rows", "side"),
    [
        ((30.0, 34.0, 39.0), [2, 1, 0], "left"),
        ((52.0, 54.0, 59.0), [0, 1, 2], "right"),
        ((5.0, 25.0, 45.0), [0, 0, 0], "left"),
        ((10.0, 10.0, 10.0, 10.0), [0, 1, 2, 3], "left"),
    ],
    ids=["three within 10 s", "at the end", "far apart", "at once"],
)
def test_no_label_lies_on_another(seconds, rows, side):
    layout, _ = draw(events_at(*seconds))
    labels = layout["annotations"][1:]
    assert [(-label["ay"] - 6) // 13 for label in labels] == rows
    assert {label["xanchor"] for label in labels} == {side}


def test_too_many_labels_are_none_and_the_legend_explains_the_lines():
    layout, traces = draw(events_at(*(2 * number + 1 for number in range(30))))
    assert layout["annotations"] == [{"text": "Load"}]
    assert (layout["height"], layout["margin"]["t"]) == (280, 26)
    lines, told = traces
    assert (lines["name"], lines["showlegend"]) == ("load generator left, joined or returned", True)
    assert len(lines["x"]) == 90
    assert told["customdata"][1] == "worker-1 left at 3.0 s"


def test_thirty_events_are_lines_in_two_colours_in_every_chart():
    figure = figures.build(busy_record(30))["users"]
    assert [trace["name"] for trace in figure["data"]] == [
        "in flight",
        "load generator lost",
        "load generator left, joined or returned",
        "load generators",
    ]
    assert not any(label["showarrow"] for label in figure["layout"]["annotations"])


def test_events_in_one_bin_are_told_together_up_to_eight():
    seconds = [61.0, 62.0, *(130.0 + number for number in range(10))]
    _, traces = draw(events_at(*seconds), TimeAxis(600, bin_s=60))
    told = traces[-1]
    assert told["x"] == [60000.5, 120000.5]
    assert told["customdata"][0] == "worker-0 left at 61.0 s<br>worker-1 left at 62.0 s"
    assert told["customdata"][1].endswith("<br>worker-9 left at 137.0 s<br>and 2 more")


def test_events_outside_of_the_chart_are_left_out():
    assert draw(events_at(-1.0, 60.0, 1e12)) == (layout_of_a_chart(), [])


def test_no_time_is_a_whole_number_which_plotly_may_take_for_a_year():
    _, traces = draw(events_at(0.0, 1.0, 2.026, 9.9996))
    times = [x for trace in traces for x in trace["x"] if x is not None]
    assert times[0] == 0.5
    assert all(x % 1 == 0.5 for x in times)


def test_hostile_names_carry_no_tags_and_are_short():
    layout, traces = draw([NodeEvent(10.0, name, "lost") for name in HOSTILE[:3]])
    shown = [label["text"] for label in layout["annotations"][1:]]
    assert shown[0] == "&lt;/script&gt;&lt;script&gt;do… lost"
    told = traces[-1]["customdata"][0].split("<br>")
    assert len(told) == 3
    assert not any("<" in text or ">" in text for text in (*shown, *told))
