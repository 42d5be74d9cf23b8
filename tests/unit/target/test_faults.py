from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.errors import UsageError
from perfload.target.faults import ActiveFaults, Faults, Outcome, Span, pieces


class RecordingDoor:
    def __init__(self) -> None:
        self.calls: list[object] = []

    def refuse(self, span: Span) -> None:
        self.calls.append(span)

    def reopen(self) -> None:
        self.calls.append("reopen")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_every_option_is_read() -> None:
    found = Faults.parse(
        {
            "delay": "50ms",
            "error_rate": "5%",
            "throttle_rate": 0.1,
            "retry_after": "2s",
            "truncate_rate": "0.5 %",
            "slow_body": 0.5,
            "stall": "5s@10s",
            "refuse": "3s",
            "fault": ["cpu", "lock"],
        }
    )
    assert found == Faults(
        delay_s=0.05,
        error_rate=0.05,
        throttle_rate=0.1,
        retry_after_s=2,
        truncate_rate=0.005,
        slow_body_s=0.5,
        stall=Span(5.0, 10.0),
        refuse=Span(3.0, 0.0),
        planted=("lock", "cpu"),
    )


def test_no_options_are_no_faults() -> None:
    assert Faults.parse({}) == Faults()
    assert Faults().describe() == {}
    assert Faults.parse({"delay": 0}).describe() == {"delay": "0s"}


seconds = st.integers(1, 3_600_000).map(lambda ms: ms / 1000)
spans = st.builds(Span, seconds, st.integers(0, 60_000).map(lambda ms: ms / 1000))
shares = st.integers(0, 333).map(lambda promille: promille / 1000)


@given(
    st.builds(
        Faults,
        delay_s=st.none() | seconds,
        error_rate=shares,
        throttle_rate=shares,
        truncate_rate=shares,
        slow_body_s=seconds,
        stall=st.none() | spans,
        refuse=st.none() | spans,
    )
)
def test_a_description_reads_back_as_faults_of_the_same_description(faults: Faults) -> None:
    description = faults.describe()
    assert Faults.parse(json.loads(json.dumps(description))).describe() == description


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"eror_rate": 1}, "unknown fault 'eror_rate'", "did you mean error_rate? valid names: delay,"),
        ({"error_rate": 5}, "error_rate: 5 is not a share from 0% to 100%", 'write "5%" or 0.05'),
        ({"error_rate": "-1%"}, "is not a share", "0.05"),
        ({"error_rate": True}, "error_rate: True is not a share", "0.05"),
        ({"error_rate": None}, "error_rate: None is not a share", "0.05"),
        ({"delay": "fast"}, "delay: 'fast' is not a duration", "units"),
        ({"delay": None}, "delay: None is not a duration", "units"),
        ({"stall": "5s@later"}, "stall, start: 'later' is not a duration", "units"),
        ({"stall": "0s@5s"}, "stall: '0s@5s' has no duration", "stall=5s@10s"),
        ({"stall": ["5s"]}, "stall: ['5s'] is not a duration", "units"),
        ({"throttle_rate": "1%", "retry_after": "1.5s"}, "not a whole number of seconds", '"2s"'),
        ({"retry_after": "2s"}, "retry_after needs throttle_rate", "throttle_rate"),
        ({"error_rate": "60%", "truncate_rate": "50%"}, "add up to 110%", "together they are at most 100%"),
    ],
)
def test_what_cannot_be_read(options: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Faults.parse(options)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_the_rates_are_disjoint_shares() -> None:
    faults = Faults(throttle_rate=0.125, error_rate=0.25, truncate_rate=0.5)
    found = Counter(faults.outcome(draw / 1024) for draw in range(1024))
    assert found == {
        Outcome.THROTTLED: 128,
        Outcome.ERROR: 256,
        Outcome.TRUNCATED: 512,
        Outcome.NORMAL: 128,
    }


def test_a_rate_of_all_hits_all() -> None:
    assert Faults(error_rate=1.0).outcome(0.999999999) is Outcome.ERROR


@pytest.mark.parametrize(
    ("elapsed_s", "left_s"), [(0, 0), (9.9, 0), (10, 5), (12, 3), (14.5, 0.5), (15, 0), (20, 0)]
)
def test_what_is_left_of_a_span(elapsed_s: float, left_s: float) -> None:
    assert Span(5, 10).left_s(elapsed_s) == left_s


def test_pieces_are_spread_evenly_and_make_up_the_body() -> None:
    assert pieces(b"abcdefgh", 0.15) == [
        (0, b"ab"),
        (pytest.approx(0.05), b"cd"),
        (pytest.approx(0.1), b"ef"),
        (0.15, b"gh"),
    ]
    assert pieces(b"abc", 10) == [(0, b"a"), (5, b"b"), (10, b"c")]
    assert pieces(b"abc", 0) == [(0, b"abc")]
    assert pieces(b"a", 10) == [(0, b"a")]
    assert pieces(b"", 10) == [(0, b"")]


@given(st.binary(max_size=300), st.floats(0, 5))
def test_pieces_lose_nothing(body: bytes, duration_s: float) -> None:
    assert b"".join(piece for _, piece in pieces(body, duration_s)) == body


def test_spans_count_from_the_first_request_after_the_fault_was_set() -> None:
    clock, door = Clock(), RecordingDoor()
    active = ActiveFaults(Faults(stall=Span(5, 10)), seed=1, clock=clock, door=door)
    clock.now_s = 200.0
    assert active.stall_left_s() == 0
    active.arrive()
    clock.now_s = 209.0
    active.arrive()
    assert active.stall_left_s() == 0
    clock.now_s = 211.0
    assert active.stall_left_s() == 4
    active.replace(Faults(stall=Span(5)))
    assert active.stall_left_s() == 0
    clock.now_s = 300.0
    active.arrive()
    clock.now_s = 301.0
    assert active.stall_left_s() == 4


def test_the_door_is_told_once_and_opened_when_the_fault_is_replaced() -> None:
    door = RecordingDoor()
    active = ActiveFaults(Faults(refuse=Span(3, 10)), seed=1, clock=Clock(), door=door)
    assert door.calls == ["reopen"]
    active.arrive()
    active.arrive()
    assert door.calls == ["reopen", Span(3, 10)]
    active.replace(Faults())
    active.arrive()
    assert door.calls == ["reopen", Span(3, 10), "reopen"]


def test_the_same_seed_hits_the_same_requests() -> None:
    def hits(seed: int) -> list[int]:
        faults = Faults(error_rate=0.05)
        active = ActiveFaults(faults, seed=seed, clock=Clock(), door=RecordingDoor())
        first = [index for index in range(1000) if active.arrive() is Outcome.ERROR]
        active.replace(faults)
        assert first == [index for index in range(1000) if active.arrive() is Outcome.ERROR]
        return first

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert 30 <= len(hits(1)) <= 70
