"""How far the master's clock is from a worker's, by beats there and back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load.cluster.offset import SAMPLES, ClockOffset


def test_the_master_answers_in_the_middle_of_a_round_trip() -> None:
    offset = ClockOffset()
    offset.add(100.0, 100.5, 7.0)
    assert (offset.offset_s, offset.error_s) == (7.0 - 100.25, 0.25)


def test_the_quickest_round_trip_knows_best() -> None:
    offset = ClockOffset()
    for sent_s, received_s, master_s in [(10.0, 12.0, 30.0), (20.0, 20.5, 39.25), (30.0, 31.0, 49.0)]:
        offset.add(sent_s, received_s, master_s)
    assert (offset.offset_s, offset.error_s) == (19.0, 0.25)


def test_before_the_first_round_trip_nothing_is_known() -> None:
    offset = ClockOffset()
    assert not offset.is_known
    offset.add(1.0, 1.0, 5.0)
    assert offset.is_known
    assert (offset.offset_s, offset.error_s) == (4.0, 0.0)


def test_an_answer_from_before_its_question_tells_nothing() -> None:
    offset = ClockOffset()
    offset.add(2.0, 1.9, 5.0)
    assert not offset.is_known


def test_another_master_has_another_clock() -> None:
    offset = ClockOffset()
    offset.add(1.0, 1.1, 5.0)
    offset.forget()
    assert not offset.is_known
    offset.add(2.0, 4.0, 103.0)
    assert (offset.offset_s, offset.error_s) == (100.0, 1.0)


def test_round_trips_of_more_than_a_minute_ago_are_forgotten() -> None:
    offset = ClockOffset()
    offset.add(0.0, 0.0, 1.0)  # the quickest there can be
    for beat in range(1, SAMPLES):
        offset.add(float(beat), beat + 0.5, beat + 2.25)
    assert (offset.offset_s, offset.error_s) == (1.0, 0.0)
    offset.add(float(SAMPLES), SAMPLES + 0.5, SAMPLES + 2.25)
    assert (offset.offset_s, offset.error_s) == (2.0, 0.25)


WAYS_S = st.floats(0, 10)


@settings(deadline=None)
@given(
    ahead_s=st.floats(-1e6, 1e6),
    beats=st.lists(st.tuples(st.floats(0, 1e5), WAYS_S, WAYS_S), min_size=1, max_size=2 * SAMPLES),
)
def test_the_true_offset_is_within_the_error_however_uneven_the_ways_are(
    ahead_s: float, beats: list[tuple[float, float, float]]
) -> None:
    offset = ClockOffset()
    for sent_s, there_s, back_s in beats:
        offset.add(sent_s, sent_s + there_s + back_s, sent_s + there_s + ahead_s)
    rounding_s = 1e-8
    assert abs(offset.offset_s - ahead_s) <= offset.error_s + rounding_s
    latest = beats[-SAMPLES:]
    assert offset.error_s == pytest.approx(
        min(there_s + back_s for _, there_s, back_s in latest) / 2, abs=1e-8
    )
