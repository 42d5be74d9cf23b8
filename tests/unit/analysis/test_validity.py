from dataclasses import replace

import pytest

from perfload.analysis.validity import MIN_ARRIVALS, SUSTAINED_READINGS, gaps, saturation, scenario_errors
from perfload.histogram import Histogram
from perfload.model import (
    ArrivalWindow,
    Manifest,
    MetricWindow,
    NodeRecord,
    PhaseSpan,
    Reading,
    RunRecord,
    Window,
)

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=1000.0,
    host="http://localhost",
    scenarios=("A",),
    shape="",
    phases=(
        PhaseSpan("Load", 0.0, 10.0, "arrivals", 10.0, 10.0, 100),
        PhaseSpan("Peak", 10.0, 10.0, "arrivals", 10.0, 10.0, 100),
    ),
    thresholds=(),
    max_lag_p95_ms=50.0,
    max_generator_cpu_percent=90.0,
    ended_at_s=1020.0,
    end_reason="finished",
)
WINDOW = Window("run-1", "local", 0, "Load", "GET", "/a", Histogram([1]), Histogram([1]), Histogram())


def arrivals(phase: str, lags_us: list[int], node: str = "local") -> ArrivalWindow:
    return ArrivalWindow("run-1", node, 0, phase, Histogram(lags_us))


def cpu(values: list[float | None], node: str = "local", source: str = "generator") -> tuple[Reading, ...]:
    return tuple(
        Reading(1000.0 + second, node, source, "cpu_percent", "%", value, "" if value is not None else "gone")
        for second, value in enumerate(values)
    )


def late(count: int, of: int) -> list[int]:
    """Return the lags of `of` arrivals, `count` of them 80 ms late."""
    return [80_000] * count + [100] * (of - count)


def test_a_phase_is_late_when_more_than_5_percent_of_its_arrivals_are() -> None:
    record = RunRecord(MANIFEST, arrivals=(arrivals("Load", late(5, 100)), arrivals("Peak", late(6, 100))))
    assert saturation(record) == [
        "the load generator was late in 'Peak': 5 % of its arrivals started more than 80 ms after their time "
        "(limit 50 ms)"
    ]


def test_the_lags_of_all_nodes_are_one_distribution() -> None:
    half = len(late(6, 100)) // 2
    lags = late(6, 100)
    parts = (arrivals("Load", lags[:half], "worker-0"), arrivals("Load", lags[half:], "worker-1"))
    assert len(saturation(RunRecord(MANIFEST, arrivals=parts))) == 1


def test_below_a_hundred_arrivals_the_median_is_judged() -> None:
    assert MIN_ARRIVALS == 100
    few, many = [80_000] * 49 + [10] * 50, [80_000] * 50 + [10] * 50
    assert saturation(RunRecord(MANIFEST, arrivals=(arrivals("Load", few),))) == []
    assert len(saturation(RunRecord(MANIFEST, arrivals=(arrivals("Load", many),)))) == 1
    assert saturation(RunRecord(MANIFEST, arrivals=(arrivals("Load", [80_000] * 3),))) == [
        "the load generator was late in 'Load': 50 % of its arrivals started more than 80 ms after their "
        "time (limit 50 ms)"
    ]


def test_an_event_loop_that_is_late_five_readings_in_a_row_makes_the_run_invalid() -> None:
    def lag(values_ms: list[float]) -> tuple[Reading, ...]:
        return tuple(
            Reading(n, "local", "generator", "loop_lag_ms", "ms", ms) for n, ms in enumerate(values_ms)
        )

    assert saturation(RunRecord(MANIFEST, readings=lag([70, 80, 90, 60, 10, 70]))) == []
    assert saturation(RunRecord(MANIFEST, readings=lag([1, 70, 80, 90, 60, 75, 1]))) == [
        "the load generator local was held up: its event loop was 60 ms late or more in 5 readings in a row "
        "(limit 50 ms)"
    ]


def test_the_limit_of_lag_is_the_runs_own() -> None:
    record = RunRecord(replace(MANIFEST, max_lag_p95_ms=80.0), arrivals=(arrivals("Load", [80_000] * 100),))
    assert saturation(record) == []


def test_a_generator_is_saturated_after_five_readings_in_a_row() -> None:
    assert SUSTAINED_READINGS == 5
    assert saturation(RunRecord(MANIFEST, readings=cpu([95, 96, 97, 98]))) == []
    assert saturation(RunRecord(MANIFEST, readings=cpu([95, 96, 89, 97, 98, 99, 99]))) == []
    assert saturation(RunRecord(MANIFEST, readings=cpu([10, 95, 96, 93, 97, 98, 10]))) == [
        "the load generator local was saturated: its process used 93 % of a core or more for 5 readings in a "
        "row (limit 90 %)"
    ]
    assert len(saturation(RunRecord(MANIFEST, readings=cpu([90] * 5)))) == 1


def test_readings_of_other_nodes_and_sources_do_not_add_up() -> None:
    readings = (
        *cpu([95] * 3, "worker-0"),
        *cpu([95] * 3, "worker-1"),
        *cpu([99] * 9, source="host"),
        *cpu([None] * 9),
    )
    assert saturation(RunRecord(MANIFEST, readings=readings)) == []


def test_every_saturated_node_is_named() -> None:
    readings = (*cpu([95] * 5, "worker-1"), *cpu([99] * 5, "worker-0"), *cpu([5] * 5, "worker-2"))
    found = saturation(RunRecord(MANIFEST, readings=readings))
    assert [reason.split()[3] for reason in found] == ["worker-0", "worker-1"]


def test_errors_of_the_scenario_are_added_up_the_most_frequent_first() -> None:
    windows = (
        replace(arrivals("Load", [1]), errors=(("KeyError('a')", 2), ("no row left", 1))),
        replace(arrivals("Peak", [1], "worker-1"), errors=(("no row left", 2_000),)),
        arrivals("Peak", [1]),
    )
    assert scenario_errors(RunRecord(MANIFEST, arrivals=windows)) == [
        "the scenario itself failed 2,001 times: no row left",
        "the scenario itself failed 2 times: KeyError('a')",
    ]


def test_nothing_is_missing_from_a_whole_record() -> None:
    nodes = (NodeRecord("local", 0, True, 19),)
    assert gaps(RunRecord(replace(MANIFEST, nodes=nodes), windows=(WINDOW,))) == []


def test_arrivals_without_a_finished_request_are_something() -> None:
    assert gaps(RunRecord(MANIFEST, arrivals=(arrivals("Load", [1]),))) == []


@pytest.mark.parametrize("end_reason", ["finished", "stopped", "aborted"])
def test_a_run_in_which_nothing_was_measured_says_so(end_reason: str) -> None:
    manifest = replace(MANIFEST, end_reason=end_reason)  # type: ignore[arg-type]
    assert gaps(RunRecord(manifest)) == ["nothing was measured: no request finished"]


def test_everything_that_is_missing_is_named() -> None:
    nodes = (
        NodeRecord("a", 0, False, 3, "silent"),
        NodeRecord("b", 1, True, 9),
        NodeRecord("c", 2, False, -1),
    )
    manifest = replace(MANIFEST, nodes=nodes, end_reason="interrupted")
    assert gaps(RunRecord(manifest, windows=(WINDOW,), damage=("readings.jsonl is missing",))) == [
        "the record is damaged: readings.jsonl is missing",
        "the run was interrupted before its end",
        "the load generator a did not deliver its last results: silent",
        "the load generator c did not deliver its last results: lost",
    ]


def pieces(delays_us: list[int]) -> tuple[MetricWindow, ...]:
    return (
        MetricWindow("run-1", "local", 0, "Load", "read_delay", "ms", Histogram(delays_us)),
        MetricWindow("run-1", "local", 0, "Load", "icl", "ms", Histogram([20_000] * len(delays_us))),
    )


def test_pieces_that_lie_in_sockets_nearly_until_the_next_ones_come_have_blurred_times() -> None:
    assert saturation(RunRecord(MANIFEST, metrics=pieces([12_000] * 2 + [100] * 98))) == [
        "the load generator read the pieces of answers late: 1 % of them lay 12 ms or longer in its sockets, "
        "and they came 20 ms apart, so their times are blurred"
    ]


def blurred(answers: int, *, of: int = 100) -> MetricWindow:
    values = Histogram([100_000] * answers + [0] * (of - answers))
    return MetricWindow("run-1", "local", 0, "Load", "blurred", "%", values)


def test_first_tokens_that_have_the_time_of_the_second_are_no_times_to_first_token() -> None:
    assert saturation(RunRecord(MANIFEST, metrics=(*pieces([100] * 100), blurred(2)))) == [
        "the load generator read the pieces of answers late: 2.0 % of the first tokens were read together "
        "with the second ones, and have their time"
    ]


@pytest.mark.parametrize(
    "metrics",
    [
        (blurred(1),),
        (blurred(50, of=99),),
        tuple(replace(window, phase="Warm-up") for window in (*pieces([34_000] * 100), blurred(100))),
        pieces([34_000] + [100] * 99),
        pieces([9_900] * 100),
        pieces([34_000] * 99),
        pieces([34_000] * 100)[:1],
        pieces([34_000] * 100)[1:],
        (),
    ],
)
def test_pieces_that_were_read_in_time_do_not(metrics: tuple[MetricWindow, ...]) -> None:
    assert saturation(RunRecord(MANIFEST, metrics=metrics)) == []
