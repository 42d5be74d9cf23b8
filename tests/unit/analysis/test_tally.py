import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.analysis.schema import Spread
from perfload.analysis.tally import (
    Tally,
    counted_phases,
    generator_readings,
    load_end_s,
    peak_users,
    ran_s,
    spread,
    users_by_second,
)
from perfload.histogram import Histogram
from perfload.model import ArrivalWindow, Manifest, PhaseSpan, Reading, RunRecord, Window

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=1000.0,
    host="http://localhost",
    scenarios=("A",),
    shape="",
    phases=(
        PhaseSpan("Warm up", 0.0, 2.0, "arrivals", 5.0, 5.0, 10, warmup=True),
        PhaseSpan("Load", 2.0, 8.0, "arrivals", 5.0, 5.0, 40),
    ),
    thresholds=(),
)


def window(
    second: int,
    latencies_us: list[int],
    failed_us: list[int] | None = None,
    due: tuple[tuple[int, int, int], ...] = (),
) -> Window:
    return Window(
        "run-1",
        "local",
        second,
        "Load",
        "GET",
        "/a",
        latency=Histogram(latencies_us),
        service=Histogram(value - 1 for value in latencies_us),
        failed=Histogram(failed_us or []),
        received_bytes=7,
        due=due,
    )


def users(at_s: float, value: float | None, node: str = "local", source: str = "generator") -> Reading:
    return Reading(at_s, node, source, "users", "users", value, "" if value is not None else "unavailable")


def test_a_tally_adds_counts_and_never_averages() -> None:
    tally = Tally([window(0, [10, 20], [5]), window(1, [30]), window(2, [], [7, 9])])
    assert tally.latency == Histogram([10, 20, 30])
    assert tally.service == Histogram([9, 19, 29])
    assert tally.failed == Histogram([5, 7, 9])
    assert (tally.count, tally.received_bytes) == (6, 21)
    assert tally.error_rate_percent == 50.0


def test_availability_asks_of_each_second_whether_anything_due_in_it_succeeded() -> None:
    tally = Tally(
        [
            window(5, [1, 1], due=((3, 2, 0), (4, 0, 1))),
            window(6, [1], due=((4, 1, 4),)),  # mends second 4, which finished late
            window(9, [], due=((7, 0, 3),)),
            window(9, [], due=((8, 0, 1),)),
        ]
    )
    assert tally.availability_percent == 50.0


def test_nothing_has_neither_an_error_rate_nor_an_availability() -> None:
    assert (Tally().count, Tally().error_rate_percent, Tally().availability_percent) == (0, None, None)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=80), st.integers(1, 5))
def test_a_spread_is_within_a_thousandth_of_numpy_however_the_windows_are_cut(
    latencies_us: list[int], parts: int
) -> None:
    tally = Tally(window(part, latencies_us[part::parts]) for part in range(parts))
    found = spread(tally.latency)
    true_ms = np.array(latencies_us) / 1000
    assert (found["min"], found["max"]) == (true_ms.min(), true_ms.max())
    assert found["mean"] == pytest.approx(true_ms.mean(), rel=1e-9, abs=1e-9)
    for name, percent in {"p50": 50, "p75": 75, "p90": 90, "p95": 95, "p99": 99, "p99_9": 99.9}.items():
        exact = np.percentile(true_ms, percent, method="inverted_cdf")
        assert found[name] == pytest.approx(exact, rel=1e-3, abs=1e-9)  # type: ignore[literal-required]


def test_an_empty_spread_has_no_numbers() -> None:
    assert set(spread(Histogram()).values()) == {None}
    assert spread(Histogram()).keys() == Spread.__required_keys__


def test_a_spread_can_be_in_another_unit() -> None:
    assert spread(Histogram([125]), divisor=1)["p50"] == 125


def test_warm_ups_are_not_counted() -> None:
    assert counted_phases(MANIFEST) == frozenset({"Load"})


@pytest.mark.parametrize(("ended_s", "ran"), [(0, 0), (2, 0), (5, 3), (10, 8), (99, 8)])
def test_a_phase_runs_until_its_end_or_the_runs(ended_s: float, ran: float) -> None:
    assert ran_s(MANIFEST.phases[1], ended_s) == ran


def test_an_open_ended_phase_runs_until_the_run_ends() -> None:
    assert ran_s(PhaseSpan("All", 0.0, 0.0, "users", 0.0, 0.0, 0), 12.5) == 12.5


@pytest.mark.parametrize(
    ("ended_at_s", "end_s"),
    [(1004.5, 4.5), (1010.0, 10.0), (1030.0, 10.0), (990.0, 0.0)],
)
def test_the_load_ends_with_the_plan_or_when_it_was_cut_short(ended_at_s: float, end_s: float) -> None:
    assert load_end_s(RunRecord(replace(MANIFEST, ended_at_s=ended_at_s, end_reason="stopped"))) == end_s


def test_the_load_of_a_killed_run_ends_with_the_last_that_is_known_of_it() -> None:
    late = ArrivalWindow("run-1", "local", 6, "Load", Histogram([1]))
    assert load_end_s(RunRecord(MANIFEST)) == 0.0
    assert load_end_s(RunRecord(MANIFEST, windows=(window(4, [1]),))) == 5.0
    assert load_end_s(RunRecord(MANIFEST, windows=(window(4, [1]),), arrivals=(late,))) == 7.0
    assert load_end_s(RunRecord(MANIFEST, windows=(window(40, [1]),))) == 10.0


READINGS = (
    users(1000.2, 3),
    users(1000.8, 5),  # of one node and second, the highest
    users(1000.5, 2, "worker-1"),  # of one second, the sum over the nodes
    users(1003.1, 4, "worker-1"),
    users(1003.2, None),
    users(1003.3, 999, "db", source="mongodb"),
)


def test_users_are_the_highest_of_each_node_summed_per_second() -> None:
    shuffled = random.Random(3).sample(READINGS, len(READINGS))
    assert users_by_second(shuffled, 1000.0) == {0: 7, 3: 4}


def test_peak_users_are_those_within_the_spans() -> None:
    record = RunRecord(MANIFEST, readings=READINGS)
    warm_up, load = MANIFEST.phases
    assert peak_users(record, [warm_up, load]) == 7
    assert peak_users(record, [load]) == 4
    assert peak_users(RunRecord(MANIFEST), [load]) is None
    assert peak_users(record, []) is None


def test_generator_readings_leave_out_other_sources_and_what_could_not_be_read() -> None:
    assert list(generator_readings(READINGS, "users")) == list(READINGS[:4])
    assert list(generator_readings(READINGS, "cpu_percent")) == []
