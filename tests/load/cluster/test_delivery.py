"""Results on their way from workers to the master, over a connection that loses, repeats and reorders."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from locust.exception import RPCError

from perfload.load.cluster import delivery, messages
from perfload.load.cluster.delivery import Inbox, Outbox
from perfload.load.cluster.messages import ACK
from tests.load.cluster.batches import batch

Send = Callable[[str, dict[str, Any]], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send again at once: these tests say when a message is lost, no time has to pass."""
    monkeypatch.setattr(delivery, "RESEND_AFTER_S", 0.0)


def make_outbox(send: Send, run_id: str = "run-1", *, is_heard: Callable[[], bool] = lambda: True) -> Outbox:
    return Outbox(run_id, send, is_heard)


def nowhere(_kind: str, _data: dict[str, Any]) -> None:
    """Lose what is sent."""


# --- the inbox


@settings(deadline=None)
@given(st.integers(1, 12), st.data())
def test_every_batch_is_new_once_and_complete_means_all_of_them(total: int, data: st.DataObject) -> None:
    numbers = list(range(1, total + 1))
    extra = data.draw(st.lists(st.sampled_from(numbers), max_size=20), label="repeated")
    deliveries = data.draw(st.permutations(numbers + extra), label="deliveries")
    inbox = Inbox()
    here: set[int] = set()
    for number in deliveries:
        assert inbox.is_new(number, final=number == total) == (number not in here)
        here.add(number)
        assert inbox.complete == (here == set(numbers))


def test_an_inbox_forgets_the_numbers_that_it_has_without_gaps() -> None:
    inbox = Inbox()
    for number in range(1, 10_000):
        inbox.is_new(number, final=False)
    assert inbox._beyond == set()
    assert not inbox.complete


# --- the outbox


class Wire:
    """A connection: what is sent arrives as often as the next of `copies` says, or once."""

    def __init__(self, copies: list[int], deliver: Callable[[dict[str, Any]], None]) -> None:
        self._copies = iter(copies)
        self._deliver = deliver
        self.sent = 0

    def send(self, _kind: str, data: dict[str, Any]) -> None:
        self.sent += 1
        for _ in range(next(self._copies, 1)):
            self._deliver(data)


COPIES = st.lists(st.integers(0, 2), max_size=30)


@settings(deadline=None)
@given(total=st.integers(1, 8), parts=st.integers(1, 3), sends=COPIES, acknowledgements=COPIES)
def test_the_outbox_sends_until_everything_is_there_exactly_once(
    total: int, parts: int, sends: list[int], acknowledgements: list[int]
) -> None:
    inbox = Inbox()
    counted: list[int] = []
    seconds: list[int] = []

    def receive(data: dict[str, Any]) -> None:
        if inbox.is_new(data["number"], final=data["final"]):
            counted.append(data["number"])
            seconds.extend(window["second"] for window in data["windows"])
        back.send(ACK, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "MAX_WINDOWS", -(-2 // parts))  # a batch has two windows
        wire = Wire(sends, receive)
        outbox = make_outbox(wire.send)
        back = Wire(acknowledgements, lambda data: outbox.acknowledge(data["run"], data["number"]))
        for second in range(total):
            outbox.put(batch(second, final=second == total - 1))
        assert outbox.flush(5.0) is True
        assert sorted(counted) == list(range(1, len(counted) + 1))
        assert sorted(seconds) == sorted(2 * list(range(total)))
        assert inbox.complete
        assert outbox.is_empty
        sent = wire.sent
        assert outbox.flush(5.0) is True
        assert wire.sent == sent  # what is acknowledged is not sent again


def test_a_long_batch_is_sent_as_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_WINDOWS", 1)
    sent: list[dict[str, Any]] = []
    outbox = make_outbox(lambda _kind, data: sent.append(data))
    outbox.put(batch(0))
    outbox.put(batch(1, final=True))
    assert [(data["number"], data["final"]) for data in sent[:2]] == [(1, False), (2, False)]
    by_number = {data["number"]: data["final"] for data in sent}
    assert by_number == {1: False, 2: False, 3: False, 4: True}


def test_a_batch_that_cannot_be_sent_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    refused = iter([True, True])
    arrived: list[int] = []

    def send(_kind: str, data: dict[str, Any]) -> None:
        if next(refused, False):
            raise RPCError("the socket is closed")
        arrived.append(data["number"])
        outbox.acknowledge(data["run"], data["number"])

    outbox = make_outbox(send)
    outbox.put(batch(0))
    assert arrived == []
    assert outbox.is_empty is False
    assert outbox.flush(5.0) is True
    assert arrived == [1]
    assert (
        caplog.messages
        == ["results could not be sent to the master and will be sent again: the socket is closed"] * 2
    )


class Slow:
    """A clock that stands still, and a connection that loses batch 2 for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        self.arrived: list[int] = []
        monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        monkeypatch.setattr(delivery, "RESEND_AFTER_S", 3.0)
        self.is_heard = True
        self.outbox = make_outbox(self._send, is_heard=lambda: self.is_heard)

    def _send(self, _kind: str, data: dict[str, Any]) -> None:
        self.arrived.append(data["number"])
        if data["number"] != 2 or self.now_s > 102:
            self.outbox.acknowledge("run-1", data["number"])


def test_what_waits_too_long_goes_along_with_a_later_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    for second in range(6):
        slow.outbox.put(batch(second))
        slow.now_s += 1
    assert slow.arrived == [1, 2, 3, 4, 5, 2, 6]
    assert slow.outbox.flush(0.0) is True


def test_nothing_is_sent_twice_while_the_master_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    slow.is_heard = False
    for second in range(10):
        slow.outbox.put(batch(second))
        slow.now_s += 1
    assert slow.arrived == list(range(1, 11))
    assert slow.outbox.is_empty is False
    slow.is_heard = True
    slow.outbox.put(batch(10))
    assert slow.arrived[10:] == [2, 11]
    assert slow.outbox.is_empty


def test_flush_gives_up_when_nobody_answers() -> None:
    outbox = make_outbox(nowhere)
    outbox.put(batch(0))
    assert outbox.flush(0.0) is False
    assert outbox.flush(0.01) is False


def test_flush_of_an_outbox_that_was_never_used_returns_at_once() -> None:
    assert make_outbox(nowhere).flush(0.0) is True


def test_the_acknowledgement_of_another_run_is_none() -> None:
    outbox = make_outbox(nowhere, "run-2")
    outbox.put(batch(0))
    outbox.acknowledge("run-1", 1)
    assert outbox.flush(0.0) is False
    outbox.acknowledge("run-2", 1)
    assert outbox.flush(0.0) is True


def test_what_nobody_waits_for_any_more_is_discarded() -> None:
    sent: list[int] = []
    outbox = make_outbox(lambda _kind, data: sent.append(data["number"]))
    outbox.put(batch(0))
    outbox.put(batch(1, final=True))
    outbox.discard()
    assert outbox.is_empty
    before = list(sent)
    assert outbox.flush(5.0) is True
    assert sent == before
