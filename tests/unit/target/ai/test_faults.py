from __future__ import annotations

import pytest

from perfload.errors import UsageError
from perfload.target.ai.faults import FAULT_HEADER, NAMES, Fault, FaultSource, parse_shares
from perfload.target.ai.refusal import Refusal
from perfload.target.ai.stream import broken

pytestmark = pytest.mark.ai


def test_shares_are_read() -> None:
    assert parse_shares(["rate_limit=5%", "cut=0.01"]) == {"rate_limit": 0.05, "cut": 0.01}
    assert parse_shares([]) == {}


@pytest.mark.parametrize("settings", [["cutt=5%"], ["cut"], ["cut=x"], ["cut=60%", "stall=60%"]])
def test_what_cannot_be_read(settings: list[str]) -> None:
    with pytest.raises(UsageError, match="--ai-fault"):
        parse_shares(settings)


def test_shares_are_met_and_repeat_with_the_seed() -> None:
    def fates(seed: int) -> list[Fault | None]:
        source = FaultSource({"cut": 0.1, "stall": 0.2}, stall_s=3.0, seed=seed)
        return [source.next({}) for _ in range(10_000)]

    first = fates(1)
    assert first == fates(1) != fates(2)
    assert first.count(Fault("cut", 3.0)) == pytest.approx(1000, abs=100)
    assert first.count(Fault("stall", 3.0)) == pytest.approx(2000, abs=150)
    assert first.count(None) == pytest.approx(7000, abs=200)


def test_a_request_may_ask_for_its_own() -> None:
    source = FaultSource({"cut": 1.0}, stall_s=3.0, seed=1)
    assert source.next({}) == Fault("cut", 3.0)
    assert source.next({FAULT_HEADER: b"none"}) is None
    assert source.next({FAULT_HEADER: b"stall=20ms"}) == Fault("stall", 0.02)
    for name in NAMES:
        assert source.next({FAULT_HEADER: name.encode()}) == Fault(name, 3.0)
    for wrong in (b"", b"cutt", b"stall=x", b"\xff", b"stall=25h", b"stall=" + b"9" * 300):
        with pytest.raises(Refusal, match="x-perfload-fault"):
            source.next({FAULT_HEADER: wrong})


@pytest.mark.parametrize(
    ("fault", "frames"),
    [
        ("cut", [(b"a", 1)]),
        ("early_end", [(b"a", 1)]),
        ("stream_error", [(b"a", 1), (b"!", 0)]),
        ("malformed", [(b"a", 1), (b"?b", 1), (b"end", 0)]),
        ("stall", [(b"a", 1), (b"b", 1), (b"end", 0)]),
        ("refusal", [(b"a", 1), (b"b", 1), (b"end", 0)]),
    ],
)
def test_what_becomes_of_a_stream(fault: str, frames: list[tuple[bytes, int]]) -> None:
    whole = iter([(b"a", 1), (b"b", 1), (b"end", 0)])
    assert list(broken(whole, 1, fault, b"!", b"?")) == frames
