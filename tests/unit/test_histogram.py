import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from perfload.histogram import Histogram, representative, slot_bounds, slot_of

LATENCIES_US = st.lists(st.integers(0, 3_600_000_000), min_size=1, max_size=300)
PERCENTS = (0, 1, 50, 75, 90, 95, 99, 99.9, 100)


@given(st.integers(0, 2**62))
def test_every_value_lies_in_its_slot_and_within_a_thousandth_of_its_representative(value: int) -> None:
    lowest, highest = slot_bounds(slot_of(value))
    assert lowest <= value <= highest
    assert abs(representative(value) - value) <= value / 1000


def test_slots_are_contiguous() -> None:
    for slot in range(6000):
        assert slot_bounds(slot + 1)[0] == slot_bounds(slot)[1] + 1


@given(LATENCIES_US)
def test_percentiles_are_within_a_thousandth_of_numpy(values: list[int]) -> None:
    ours = Histogram(values).percentiles(PERCENTS)
    exact = np.percentile(np.array(values), PERCENTS, method="inverted_cdf")
    for mine, true in zip(ours, exact, strict=True):
        assert abs(mine - true) <= true / 1000


def test_percentiles_of_a_large_log_normal_sample_match_numpy() -> None:
    values = np.random.default_rng(7).lognormal(11, 1.2, 50_000).astype(int)
    histogram = Histogram(int(value) for value in values)
    for percent in PERCENTS:
        true = np.percentile(values, percent, method="inverted_cdf")
        assert histogram.percentile(percent) == pytest.approx(true, rel=1e-3)
    assert histogram.mean == pytest.approx(values.mean(), rel=1e-12)


@given(LATENCIES_US, LATENCIES_US)
def test_adding_equals_recording_all(left: list[int], right: list[int]) -> None:
    merged = Histogram(left)
    merged.add(Histogram(right))
    assert merged == Histogram(left + right)


@given(LATENCIES_US, LATENCIES_US)
def test_subtracting_takes_out_what_was_added(left: list[int], right: list[int]) -> None:
    merged = Histogram(left + right)
    merged.subtract(Histogram(right))
    expected = Histogram(left)
    assert merged.slots == expected.slots
    assert (merged.count, merged.sum) == (expected.count, expected.sum)
    assert merged.min <= expected.min
    assert merged.max >= expected.max


def test_subtracting_what_is_not_there_changes_nothing() -> None:
    histogram = Histogram([5, 6])
    with pytest.raises(ValueError, match="does not"):
        histogram.subtract(Histogram([5, 5]))
    assert histogram == Histogram([5, 6])


@given(LATENCIES_US)
def test_encoding_survives_the_round_trip(values: list[int]) -> None:
    histogram = Histogram(values)
    text = histogram.encode()
    restored = Histogram.decode(text, total=histogram.sum, least=histogram.min, greatest=histogram.max)
    assert restored == histogram


@given(LATENCIES_US)
def test_the_reference_package_reads_our_encoding(values: list[int]) -> None:
    theirs = HdrHistogram.decode(Histogram(values).encode())
    assert theirs.get_total_count() == len(values)
    for percent in (50, 99):
        mine = Histogram(values).percentile(percent)
        assert theirs.get_value_at_percentile(percent) == pytest.approx(mine, rel=1e-3)


def test_we_read_what_the_reference_package_writes() -> None:
    theirs = HdrHistogram(1, 3_600_000_000, 3)
    for value in (1, 900, 50_000, 3_000_000):
        theirs.record_value(value)
    ours = Histogram.decode(theirs.encode().decode())
    assert ours.slots == Histogram([1, 900, 50_000, 3_000_000]).slots


EDGES = tuple(2**power + step for power in (5, 6, 7, 13, 14) for step in (-1, 0, 1))
"""Counts, and runs of empty slots, around those at which an encoded number gets one byte more."""


@pytest.mark.parametrize("run", EDGES)
def test_long_runs_and_large_counts_are_encoded_as_the_reference_package_has_them(run: int) -> None:
    last = slot_bounds(4 + run)[0]
    for count in (*EDGES, 2**31, 2**62 - 1):
        histogram = Histogram([3])
        histogram.record(last, count)
        text = histogram.encode()
        assert dict(Histogram.decode(text).slots) == {3: 1, 4 + run: count}
        theirs = HdrHistogram.decode(text)
        assert theirs.get_total_count() == 1 + count
        assert (theirs.get_count_at_value(3), theirs.get_count_at_value(last)) == (1, count)


def test_what_was_decoded_can_be_longer_than_the_stated_range() -> None:
    histogram = Histogram([3_599_999_999, 3_600_000_000, 2 * 3_600_000_000, 2**62])
    assert Histogram.decode(histogram.encode()).slots == histogram.slots


@pytest.mark.parametrize("text", ["", "x", "SElTVEZB", Histogram([3]).encode()[:-9]])
def test_a_broken_encoding_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="histogram"):
        Histogram.decode(text)


def test_an_empty_histogram_reports_zeroes() -> None:
    assert Histogram().percentiles((50, 99)) == [0, 0]
    assert Histogram().mean == 0.0
    assert Histogram.decode(Histogram().encode()) == Histogram()


def test_counting_above_a_value() -> None:
    assert Histogram([1000, 5000, 5010, 9000]).count_above(5000) == 2
