"""When bytes came: stamps of the kernel, on the clock of the process."""

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import monkey

from perfload.load.http import stamps
from perfload.load.http.connection import Connection
from perfload.load.http.origin import Place
from perfload.load.http.request import prepare
from perfload.load.http.stamps import KernelClock
from perfload.load.http.timeouts import NEVER_NS, Limits, Reaper, Timeouts

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PREPARED = prepare("GET", Place("http://localhost/"), {})
LIMITS = Limits(Timeouts(), 1 << 20)

sleep_without_the_hub = monkey.get_original("time", "sleep")
plain_socket: Any = monkey.get_original("socket", "socket")

needs_stamps = pytest.mark.skipif(
    not stamps.HAS_KERNEL_STAMPS, reason="the kernel of this system stamps nothing"
)


@pytest.fixture
def wire() -> Iterator[tuple[Connection, Any]]:
    """Return a connection, and the plain socket at its other end."""
    listener = plain_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    near = plain_socket()
    near.connect(listener.getsockname())
    far, _ = listener.accept()
    near.setblocking(False)
    connection = Connection(near)
    gevent.sleep(0.02)  # the kernel begins to stamp shortly after the first socket has asked for it
    yield connection, far
    connection.close()
    far.close()
    listener.close()


def answer_late(wire: tuple[Connection, Any], pieces: list[bytes], busy_s: float) -> tuple[Any, int, int]:
    """Answer, then keep the process busy before it can read; return (response, sent, read), in ns."""
    connection, far = wire
    began_ns = time.perf_counter_ns()
    asking = gevent.spawn(
        connection.exchange, b"GET / HTTP/1.1\r\n\r\n", PREPARED, LIMITS, began_ns, NEVER_NS, False
    )
    gevent.sleep(0)
    answered_ns = time.perf_counter_ns()
    for piece in pieces:
        far.sendall(piece)
        sleep_without_the_hub(busy_s)
    read_ns = time.perf_counter_ns()
    return asking.get(), answered_ns, read_ns


@needs_stamps
def test_a_busy_process_does_not_make_the_server_slow(wire: tuple[Connection, Any]) -> None:
    response, answered_ns, read_ns = answer_late(wire, [OK], busy_s=0.1)
    assert answered_ns <= response.received_ns < read_ns - 80_000_000
    assert response.began_ns <= response.sent_ns <= response.first_byte_ns == response.received_ns


@needs_stamps
def test_bytes_that_are_read_together_came_when_the_last_came(wire: tuple[Connection, Any]) -> None:
    response, answered_ns, read_ns = answer_late(wire, [OK[:20], OK[20:]], busy_s=0.1)
    assert answered_ns + 90_000_000 < response.received_ns < read_ns - 80_000_000


def test_without_stamps_it_is_when_they_were_read(
    wire: tuple[Connection, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelClock, "stamp", lambda _self, _ancillary, _earliest_ns, now_ns: now_ns)
    response, _, read_ns = answer_late(wire, [OK], busy_s=0.05)
    assert response.received_ns >= read_ns


@needs_stamps
def test_a_clock_that_is_set_does_no_harm(
    wire: tuple[Connection, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = KernelClock.look
    monkeypatch.setattr(KernelClock, "look", lambda _self: None)  # not before the answer
    for step_ns in (-3_600_000_000_000, 3_600_000_000_000):
        Reaper.current().kernel_clock.offset_ns += step_ns
        try:
            response, answered_ns, read_ns = answer_late(wire, [OK], busy_s=0.01)
        finally:
            look(Reaper.current().kernel_clock)
        assert read_ns <= response.received_ns <= time.perf_counter_ns()
        assert answered_ns <= response.first_byte_ns


def test_stamps_that_cannot_be_true_are_not_used() -> None:
    clock = KernelClock()
    clock.offset_ns = 1_000_000_000_000

    def ancillary(stamp_ns: int) -> list[tuple[int, int, bytes]]:
        seconds, nanoseconds = divmod(stamp_ns + clock.offset_ns, 1_000_000_000)
        return [(socket.SOL_SOCKET, 35, struct.pack("qq", seconds, nanoseconds))]

    assert clock.stamp(ancillary(150), 100, 200) == 150
    assert clock.stamp(ancillary(99), 100, 200) == 200
    assert clock.stamp(ancillary(201), 100, 200) == 200
    assert clock.stamp([], 100, 200) == 200
    assert clock.stamp([(socket.SOL_SOCKET, 35, b"short")], 100, 200) == 200


def test_the_distance_between_the_clocks_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = KernelClock()
    assert abs(time.time_ns() - time.perf_counter_ns() - clock.offset_ns) < 1_000_000
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 7_000_000_000)
    before_ns = clock.offset_ns
    clock.look()
    assert clock.offset_ns - before_ns == pytest.approx(7_000_000_000, abs=1_000_000)


def test_an_interrupted_look_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three looks: before and after on one clock, the other in between. The second is the narrowest.
    ours = iter([0, 500, 1_000, 1_010, 2_000, 2_300])
    theirs = iter([90_000, 5_005, 90_000])
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(ours))
    monkeypatch.setattr(time, "time_ns", lambda: next(theirs))
    assert KernelClock().offset_ns == 5_005 - 1_005


def test_a_system_without_stamps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "HAS_KERNEL_STAMPS", False)
    assert stamps.describe_source() == "process (perf_counter_ns)"
    assert not stamps.ask_for_stamps(None)
