import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.monitors.lane import Lane, Turn, pause_s

READ = Turn(read=True)
NOTHING = Turn()
OVERDUE = Turn(unavailable="no answer within 2 s")


def lane(*, start_s: float = 1000.0, interval_s: float = 1.0, timeout_s: float = 2.0) -> Lane:
    return Lane(start_s=start_s, interval_s=interval_s, timeout_s=timeout_s)


def read(one: Lane, at_s: float, *, takes_s: float = 0.01) -> None:
    assert one.turn(at_s) == READ
    assert one.answered(at_s + takes_s)


def test_the_first_tick_is_the_start() -> None:
    one = lane()
    assert one.wake_at_s == 1000.0
    assert one.turn(999.999) == NOTHING
    assert one.turn(1000.0) == READ


def test_late_wake_ups_do_not_add_up() -> None:
    one = lane()
    for tick in range(1000):
        assert one.wake_at_s == 1000.0 + tick
        read(one, one.wake_at_s + 0.3)


@given(
    start_s=st.floats(0, 2e9),
    interval_s=st.floats(0.1, 3600),
    late_shares=st.lists(st.floats(0, 0.4), max_size=50),
)
def test_ticks_are_exact_multiples_of_any_interval(
    start_s: float, interval_s: float, late_shares: list[float]
) -> None:
    one = lane(start_s=start_s, interval_s=interval_s, timeout_s=1.0)
    for tick, late in enumerate(late_shares):
        assert one.wake_at_s == start_s + tick * interval_s
        read(one, one.wake_at_s + late * interval_s, takes_s=0.0)


def test_ticks_missed_while_the_process_was_stopped_are_left_out() -> None:
    one = lane()
    read(one, 1000.0)
    read(one, 1007.4)
    assert one.wake_at_s == 1008.0


def test_ticks_missed_during_a_slow_read_are_left_out() -> None:
    one = lane()
    assert one.turn(1000.0) == READ
    assert one.turn(1001.0) == NOTHING
    assert one.answered(1001.7)
    assert one.wake_at_s == 1002.0


def test_a_hanging_read_is_reported_at_its_limit_then_at_each_tick_and_not_started_again() -> None:
    one = lane()
    assert one.turn(1000.0) == READ
    assert one.wake_at_s == 1002.0
    assert one.turn(1001.9) == NOTHING
    assert [one.turn(at_s) for at_s in (1002.0, 1002.5, 1003.0, 1004.0)] == [
        OVERDUE,
        NOTHING,
        OVERDUE,
        OVERDUE,
    ]


def test_a_limit_below_the_interval_is_kept() -> None:
    one = lane(interval_s=10.0)
    assert one.turn(1000.0) == READ
    assert one.turn(1002.0) == OVERDUE
    assert one.wake_at_s == 1010.0


def test_an_answer_after_the_limit_is_dropped_and_reading_goes_on() -> None:
    one = lane()
    assert one.turn(1000.0) == READ
    assert one.turn(1002.0) == OVERDUE
    assert not one.answered(1004.5)
    assert one.wake_at_s == 1005.0
    assert one.turn(1005.0) == READ


def test_pauses_double_up_to_half_a_minute() -> None:
    assert [pause_s(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 5000)] == [1, 2, 4, 8, 16, 30, 30, 30]


def reads_of_a_failing_lane(one: Lane, *, until_s: float) -> list[float]:
    reads_s = []
    while one.wake_at_s <= until_s:
        now_s = one.wake_at_s
        turn = one.turn(now_s)
        if turn.read:
            reads_s.append(now_s)
            assert one.failed("refused", now_s + 0.02)
        else:
            assert turn == Turn(unavailable="refused")
    return reads_s


def test_a_failing_monitor_is_tried_again_after_growing_pauses() -> None:
    reads_s = reads_of_a_failing_lane(lane(start_s=0.0), until_s=130)
    assert reads_s == [0, 1, 3, 7, 15, 31, 61, 91, 121]


def test_pauses_are_seconds_and_not_ticks() -> None:
    assert reads_of_a_failing_lane(lane(start_s=0.0, interval_s=0.25), until_s=8) == [0, 1, 3, 7]
    assert reads_of_a_failing_lane(lane(start_s=0.0, interval_s=5.0), until_s=60) == [0, 5, 10, 15, 25, 45]


def test_a_good_read_ends_the_pauses() -> None:
    one = lane(start_s=0.0)
    assert reads_of_a_failing_lane(one, until_s=6) == [0, 1, 3]
    read(one, 7.0)
    assert one.turn(8.0) == READ
    assert one.failed("refused", 8.0)
    assert one.turn(9.0) == READ


def test_a_failure_after_the_limit_was_reported_already_but_pauses() -> None:
    one = lane()
    assert one.turn(1000.0) == READ
    assert one.turn(1002.0) == OVERDUE
    assert not one.failed("gone", 1004.5)
    assert one.turn(1005.0) == READ
    assert one.failed("gone", 1005.1)
    assert one.turn(1006.0) == Turn(unavailable="gone")


@pytest.mark.parametrize("timeout_s", [0.5, 2.0, 90.0])
def test_the_reason_names_the_limit(timeout_s: float) -> None:
    one = lane(timeout_s=timeout_s)
    one.turn(1000.0)
    reason = {0.5: "500 ms", 2.0: "2 s", 90.0: "90 s"}[timeout_s]
    assert one.turn(1000.0 + timeout_s) == Turn(unavailable=f"no answer within {reason}")
