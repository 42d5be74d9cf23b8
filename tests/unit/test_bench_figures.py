import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.generator import exact_server, memory, paired, stall
from benchmarks.generator.comparison import Figures, cpu_ratio, rate_ratio, ratios, table
from benchmarks.generator.cost import LABELS, Look, Looks, median
from benchmarks.generator.open_model import Step, highest
from benchmarks.generator.paired import Spread
from benchmarks.generator.readers import Reported
from benchmarks.generator.table import render, with_range
from benchmarks.generator.truth_run import Truth, medians_ms, users_for
from benchmarks.generator.window import Patience, Window, disturbed_note
from perfload.costs import Costs

VALUES = st.floats(min_value=0.1, max_value=1e6)


def window(per_s: int, cpu_s: float = 1.0, *, others: float = 0.0, target_s: float = 0.2) -> Window:
    return Window(requests=per_s, seconds=1.0, cpu_s=cpu_s, target_cpu_s=target_s, others=others)


def test_a_ratio_is_the_median_of_the_ratios_of_each_repetition() -> None:
    # The second repetition was disturbed for both: the ratio of the medians would be 40 / 10 = 4.
    assert paired.ratio([50, 10, 40], [10, 5, 20]) == Spread(2.0, 2.0, 5.0)


def test_a_ratio_needs_the_same_repetitions() -> None:
    with pytest.raises(ValueError, match="3 repetitions against 2"):
        paired.ratio([1, 2, 3], [1, 2])


@given(st.lists(VALUES, min_size=1), st.floats(min_value=0.1, max_value=100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], percent: float
) -> None:
    ordered = sorted(values)
    found = paired.percentile(ordered, percent)
    assert sum(value <= found for value in ordered) >= percent / 100 * len(ordered) - 1e-9
    smaller = [value for value in ordered if value < found]
    assert len(smaller) < percent / 100 * len(ordered) + 1e-9


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_the_slope_of_a_straight_line_is_found(steepness: float, start: float) -> None:
    points = [(float(x), start + steepness * x) for x in range(10)]
    assert paired.slope(points) == pytest.approx(steepness, abs=1e-6)


def test_windows_become_rates_and_cost() -> None:
    one = Window(requests=20_000, seconds=2.0, cpu_s=1.5, target_cpu_s=0.5)
    assert (one.per_s, one.cpu_us, one.cpu_percent, one.target_percent) == (10_000, 75.0, 75.0, 25.0)
    assert rate_ratio([window(50)], [window(10)]).median == 5.0
    assert cpu_ratio([window(50)], [window(10)]).median == pytest.approx(5.0)


def test_disturbed_windows_are_counted() -> None:
    windows = {"a": [window(1), window(1, others=0.2)], "b": [window(1), window(1)]}
    assert disturbed_note(windows).startswith("; in 1 of 4 windows")
    assert disturbed_note({"a": [window(1)]}) == ""


def test_patience_ends() -> None:
    patience = Patience(2)
    assert [patience.lasts() for _ in range(4)] == [True, True, False, False]


def test_a_table_names_what_is_missing_and_compares_with_fast_http_user() -> None:
    windows = {"FastHttpUser": [window(10), window(20)], "perfload": [window(50), window(100)]}
    rows = table(["wrk", "FastHttpUser", "perfload"], windows, {"wrk": "missing: make bench-setup"})
    assert rows[0][:2] == ("wrk", "missing: make bench-setup")
    assert rows[2][4:] == ("5.00 (5.00 .. 5.00)", "5.00")
    assert ratios(windows) == {"FastHttpUser": {"rate": 5.0, "cpu": pytest.approx(5.0)}}


def test_a_full_target_behind_an_idle_tool_is_marked() -> None:
    marked = Figures.of([window(10, 0.5, target_s=0.99)]).cells()[2]
    assert marked == "99 (its limit)"
    assert Figures.of([window(10, 0.99, target_s=0.99)]).cells()[2] == "99"


def test_columns_line_up() -> None:
    text = render("title", ("tool", "rate"), [("wrk", "1"), ("perfload", "1,000")])
    assert text == "title\n  tool       rate\n  wrk           1\n  perfload  1,000\n"
    assert with_range(Spread(2, 1, 3)) == "2 (1 .. 3)"


def step(asked: int, achieved: float, *, lag: float | None = None) -> Step:
    return Step(asked, achieved, cpu_us=100, cpu_percent=50, lag_p99_ms=lag)


@pytest.mark.parametrize(
    ("tried", "is_sustained"),
    [
        (step(100, 99, lag=9.9), True),
        (step(100, 100, lag=10.0), False),
        (step(100, 98.9, lag=1.0), False),
        (step(100, 99), True),
        (step(100, 104), False),
    ],
)
def test_a_rate_is_sustained(tried: Step, is_sustained: bool) -> None:
    assert tried.is_sustained is is_sustained


@given(st.integers(100, 900))
def test_bisection_finds_the_highest_rate(limit: int) -> None:
    assert highest(lambda rate: rate <= limit, 100, 1000, 12) == limit


def test_bisection_ends_after_its_steps() -> None:
    asked: list[int] = []
    found = highest(lambda rate: asked.append(rate) is not None, 100, 900, 2)
    assert (found, asked) == (100, [500, 300])


def test_what_the_exact_server_says_of_its_answers() -> None:
    from array import array

    values = array("q", (number * 1_000_000 for number in range(1000, 0, -1)))
    expected = {"count": 1000, "p50": 500.0, "p95": 950.0, "p99": 990.0, "p99_9": 999.0, "max": 1000.0}
    assert exact_server.summary(values) == expected
    assert exact_server.summary(array("q")) == {"count": 0}


def test_users_for_a_load_by_littles_law() -> None:
    assert users_for(9000, 0.5, 50) == 225
    assert users_for(100, 0.1, 5) == 1


def test_the_median_error_leaves_out_what_is_not_reported() -> None:
    truth = {"p50": 50.0, "p95": 50.0, "p99": 50.0, "p99_9": 50.0, "max": 50.0}
    runs = [Truth(1.0, Reported(1, 50.0, None, 50.0 + error, None, 51.0), truth) for error in (1, 9, 2)]
    found = medians_ms(runs)
    assert (found["p50"], found["p95"], found["p99"], found["p99_9"]) == (0.0, None, 2.0, None)


def test_a_stall_from_the_schedule() -> None:
    expected = stall.from_schedule(100, 20, 5.0, 50.0)
    assert expected.count == 2000
    assert (expected.p50, expected.p95, expected.p99) == pytest.approx((50.0, 4045, 4845))
    assert math.isclose(expected.max or 0, 5045)


def test_growth_of_a_soak_is_taken_after_its_beginning() -> None:
    warm = [(float(second), 1_000_000 * second, 5000 * second) for second in range(0, 120, 10)]
    flat = [(float(second), 90_000_000 + 10 * second, 5000 * second) for second in range(120, 600, 10)]
    found = memory.soak_figures([*warm, *flat])
    assert found["growth_bytes_per_s"] == pytest.approx(10.0)
    assert found["per_s"] == pytest.approx(5000.0)
    assert found["growth_bytes_per_request"] == pytest.approx(0.002)


def look(
    requests_per_s: float, cpu_percent: float, *, megabytes: float = 0, files: float = 0, network: float = 0
):
    return Look(requests_per_s, cpu_percent, megabytes * 1e6, files, network)


def test_costs_are_the_differences_of_what_was_looked_at() -> None:
    found = Looks(
        one_user=look(0, 2, megabytes=80, files=21),
        users=look(0, 3, megabytes=99.98, files=1_020),
        tls_users=look(0, 3, megabytes=129.98, files=1_020),
        requests=look(1_000, 11, network=700_000),
        many_requests=look(10_000, 53),
        arrivals=look(1_000, 17, network=1_000_000),
        many_arrivals=look(3_000, 47),
        tls_arrivals=look(1_000, 52, network=2_000_000),
    ).costs()
    assert found == pytest.approx(
        {
            "cpu_us_per_request": 50,  # (53 - 3) % of a second for 10,000
            "cpu_us_per_visit": 200,  # (47 - 2) % for 1,500, less two requests
            "cpu_us_per_handshake": 700,
            "cpu_percent_per_worker": 2,
            "bytes_per_worker": 80e6,
            "bytes_per_user": 20_000,
            "bytes_per_secure_user": 30_000,
            "files_per_worker": 20,
            "files_per_user": 1,
            "network_bytes_per_visit": 2_000 - 2 * 400 - 300 - 213,
            "network_bytes_per_request": 400,
            "network_bytes_per_handshake": 2_000,
        },
        rel=1e-3,
    )
    # What a worker costs its master is measured by another benchmark.
    assert {field.name for field in fields(Costs)} - found.keys() == {"cpu_percent_of_master_per_worker"}


def test_the_median_look_is_that_of_each_figure() -> None:
    assert median([look(1, 30), look(2, 10), look(3, 20)]) == look(2, 20)


def test_every_row_of_costs_has_its_label() -> None:
    assert list(LABELS) == [field.name for field in fields(Looks)]
