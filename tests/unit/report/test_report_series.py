import math

import pytest

from perfload.histogram import Histogram
from perfload.model import ArrivalWindow, NodeRecord, PhaseSpan, Reading, RunRecord, StageWindow, Window
from perfload.report import series
from perfload.report.series import TimeAxis
from tests.unit.report.records import RUN_ID, STARTED_AT_S, empty_record, five_phase_record, manifest


def window(second, latency_us=(), failed_us=(), node="n1", phase="Normal load"):
    latency = Histogram(latency_us)
    return Window(RUN_ID, node, second, phase, "GET", "/x", latency, latency, Histogram(failed_us))


def arrival(second, lag_us=(), dropped=0, node="n1"):
    return ArrivalWindow(RUN_ID, node, second, "Normal load", Histogram(lag_us), dropped)


def reading(at_s, value, node="n1", metric="users", unavailable=""):
    return Reading(STARTED_AT_S + at_s, node, "generator", metric, "users", value, unavailable)


def running(*windows, **parts):
    return RunRecord(manifest(ended_at_s=None, end_reason="running"), tuple(windows), **parts)


def test_the_axis_reaches_to_the_last_window_the_end_or_the_plan():
    assert series.time_axis(running(window(7))).end_s == 8
    assert series.time_axis(RunRecord(manifest(ended_at_s=STARTED_AT_S + 65.25))).end_s == 66
    assert series.time_axis(empty_record()).end_s == 65
    assert series.time_axis(RunRecord(manifest(phases=(), ended_at_s=None))).end_s == 1


def test_stages_do_not_move_the_axis():
    late = StageWindow(RUN_ID, "n1", 40, "Normal load", "GET", "/x", (("wait", Histogram([5])),))
    assert series.time_axis(running(window(7), stages=(late,))).end_s == 8


@pytest.mark.parametrize(
    ("last_second", "bin_s", "bins"), [(4999, 1, 5000), (5000, 2, 2501), (172_799, 60, 2880)]
)
def test_long_runs_get_wider_bins(last_second, bin_s, bins):
    axis = series.time_axis(running(window(last_second)))
    assert (axis.bin_s, axis.bins) == (bin_s, bins)


def test_a_damaged_second_does_not_exhaust_memory():
    assert series.time_axis(running(window(10**12))).bins <= series.MAX_BINS


def test_requests_are_added_over_nodes_and_are_none_after_the_last():
    record = RunRecord(
        manifest(ended_at_s=STARTED_AT_S + 4),
        (window(0, [1000, 3000]), window(0, [2000], [5], node="n2"), window(2, [], [7])),
    )
    found = series.requests(record, series.time_axis(record))
    assert found.succeeded_per_s == [3, 0, 0, None]
    assert found.failed_per_s == [1, 0, 1, None]
    assert series.percentile_ms(found.latency, 50) == [2.0, None, None, None]
    assert series.percentile_ms(found.latency, 100) == [3.0, None, None, None]


def test_wider_bins_add_histograms_and_divide_counts_by_their_seconds():
    record = running(*(window(second, [1000 * (second + 1)] * 2) for second in range(5)))
    axis = TimeAxis(5, bin_s=2)
    found = series.requests(record, axis)
    assert found.succeeded_per_s == [2, 2, 2]  # the last bin has one second only
    assert series.percentile_ms(found.latency, 100) == [pytest.approx(2), pytest.approx(4), pytest.approx(5)]


def test_arrivals_are_counted_as_started_late_and_dropped():
    record = running(
        arrivals=(arrival(0, [100, 4000, 9000]), arrival(0, [8000], 2, node="n2"), arrival(1, [], 3))
    )
    found = series.arrivals(record, series.time_axis(record))
    assert found.started_per_s == [4, 0]
    assert found.late_per_s == [2, 0]
    assert found.dropped_per_s == [2, 3]


def test_lost_arrivals_count_in_the_second_in_which_they_were_due():
    nodes = (
        NodeRecord("n1", 0, False, 0, lost=((1, "Normal load", 3), (2, "Normal load", 4))),
        NodeRecord("n2", 1, True, 0, lost=((1, "Normal load", 2), (9, "Normal load", 5))),
    )
    record = RunRecord(manifest(nodes=nodes, ended_at_s=STARTED_AT_S + 4), arrivals=(arrival(0, [100]),))
    found = series.arrivals(record, series.time_axis(record))
    assert found.lost_per_s == [0, 5, 4, None]
    assert found.started_per_s == [1, 0, 0, None]
    assert series.arrivals(record, TimeAxis(4, bin_s=2)).lost_per_s == [2.5, 2]


def test_planned_arrivals_follow_a_ramp_and_sum_to_the_plan():
    spans = (PhaseSpan("r", 0.0, 2.5, "arrivals", 0, 10, 12), PhaseSpan("p", 2.5, 0.5, "pause", 0, 0, 0))
    planned = series.planned_per_s(spans, TimeAxis(4))
    assert planned == [pytest.approx(2), pytest.approx(6), pytest.approx(4.5), None]
    assert sum(value or 0 for value in planned) == pytest.approx(12.5)


def test_closed_phases_plan_users_and_no_arrivals():
    spans = (PhaseSpan("c", 1.0, 2.0, "users", 10, 20, 0),)
    assert series.planned_per_s(spans, TimeAxis(4)) == [None] * 4
    assert series.planned_users(spans, TimeAxis(4)) == [None, 12.5, 17.5, None]


def test_a_plan_longer_than_the_run_is_cut_at_its_end():
    spans = (PhaseSpan("r", 0.0, 3600.0, "arrivals", 5, 5, 18_000),)
    assert series.planned_per_s(spans, TimeAxis(2)) == [5, 5]


def test_readings_are_aligned_by_the_start_and_gaps_stay_gaps():
    record = running(
        readings=(
            reading(0.9, 3.0),
            reading(0.1, 2.0),
            reading(2.0, None, unavailable="gone"),
            reading(3.5, math.nan),
            reading(4.0, 0.0),
            reading(-1, 9.0),
            reading(99, 9.0),
        )
    )
    found = series.readings_by_node(record, TimeAxis(5), "generator", "users")
    assert found == {"n1": [3.0, None, None, None, 0.0]}


def test_a_sum_holds_each_node_for_three_seconds():
    by_node = {"a": [1.0] + [None] * 5, "b": [None, 10.0, 10.0, 10.0, 10.0, None]}
    assert series.summed(by_node, TimeAxis(6)) == [1, 11, 11, 11, 10, 10]
    assert series.summed({}, TimeAxis(2)) == [None, None]


def test_gaps_are_grouped_by_reason_and_spreads_leave_them_out():
    record = running(
        readings=(
            reading(0, None, unavailable="no driver"),
            reading(1, None, metric="cpu", unavailable="no driver"),
            reading(2, None),
            reading(3, 4.0),
            reading(4, 1.0),
        )
    )
    assert [(gap.reason, gap.metrics, gap.count) for gap in series.gaps(record)] == [
        ("no driver", ("cpu", "users"), 2),
        ("no reason given", ("users",), 1),
    ]
    (spread,) = series.reading_spreads(record)
    assert (spread.count, spread.lowest, spread.mean, spread.highest) == (2, 1.0, 2.5, 4.0)


def test_totals_leave_out_warm_up():
    record = running(window(0, [1000], phase="Warm-up"), window(9, [2000, 2000], [5]))
    response, service, failed = series.total_latencies(record)
    assert (response.count, service.count, failed.count, response.min) == (2, 2, 1, 2000)


def test_the_five_phase_run_adds_up():
    record = five_phase_record()
    axis = series.time_axis(record)
    arrivals = series.arrivals(record, axis)
    started = sum(window.lag.count for window in record.arrivals)
    assert sum(arrivals.started_per_s) == started == 3642
    assert sum(series.requests(record, axis).succeeded_per_s) == sum(w.latency.count for w in record.windows)
