import math

import pytest

from perfload.report.quantities import (
    NOTHING,
    clock,
    latency,
    number,
    observed_and_limit,
    percent,
    phase_name,
    quantity,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.00123, "0.0012"),
        (0.1234, "0.12"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (1_234_567.8, "1,234,568"),
        (-12.34, "-12.3"),
        (None, NOTHING),
        (math.nan, NOTHING),
        (math.inf, NOTHING),
    ],
)
def test_numbers_have_three_digits_and_their_whole_part(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 %"),
        (0.0001, "<0.01 %"),
        (0.171, "0.17 %"),
        (2.5, "2.50 %"),
        (99.95, "99.950 %"),
        (99.9999, ">99.99 %"),
        (100.0, "100 %"),
        (None, NOTHING),
    ],
)
def test_a_percentage_is_all_or_nothing_only_when_it_is_exactly_that(value, shown):
    assert percent(value) == shown


def test_latencies_change_to_seconds_where_that_reads_better():
    values = (0.42, 147.2, 999.4, 999.6, 1234, 83_000)
    assert [latency(value) for value in values] == [
        "0.42 ms",
        "147 ms",
        "999 ms",
        "1.00 s",
        "1.23 s",
        "83.0 s",
    ]


def test_quantities_take_their_unit():
    assert quantity(12.5, "tokens") == "12.5 tokens"
    assert quantity(12.5, "/s") == "12.5/s"
    assert quantity(12.5, "") == "12.5"
    assert quantity(54.93, "%") == "54.9 %"
    assert quantity(3.5 * 1024**3, "bytes") == "3.50 GiB"
    assert quantity(2.0**70, "B") == "1,048,576 PiB"
    assert quantity(None, "ms") == NOTHING
    assert quantity(1, "x" * 100) == "1.00 " + "x" * 15 + "…"


def test_an_observation_just_off_its_limit_never_looks_like_it():
    assert observed_and_limit(812.4, 500, "ms") == ("812 ms", "500 ms")
    assert observed_and_limit(500.04, 500, "ms") == ("500.04 ms", "500.00 ms")
    assert observed_and_limit(1.001, 1.0, "%") == ("1.00 %", "1 %")
    assert observed_and_limit(500, 500, "ms") == ("500 ms", "500 ms")
    assert observed_and_limit(5.0001, 5, "/s") == ("5.0001/s", "5.0000/s")
    assert observed_and_limit(None, 3000, "ms") == (NOTHING, "3.00 s")
    assert observed_and_limit(1 + 1e-12, 1, "") == ("1.000000000001", "1")


def test_clock_and_phase_names():
    assert [clock(seconds) for seconds in (0, 64.6, 3599, 3600, 90_061)] == [
        "00:00",
        "01:05",
        "59:59",
        "1:00:00",
        "25:01:01",
    ]
    assert phase_name("Soak", warmup=True) == "Soak (warm-up)"
    assert phase_name("Warm up", warmup=True) == "Warm up"
    assert phase_name("Soak", warmup=False) == "Soak"
