from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time

import pytest

from perfload.target.ai.pacer import Pacer
from perfload.target.ai.selector import precise_loop

pytestmark = pytest.mark.ai

MS = 1_000_000


class Beat:
    """Falls due `count` times, `gap_ns` apart; keeps when it was due and when it was served."""

    def __init__(self, gap_ns: int, count: int, busy_s: float = 0.0) -> None:
        self.gap_ns, self.count, self.busy_s = gap_ns, count, busy_s
        self.times: list[tuple[int, int]] = []
        self.done = asyncio.get_running_loop().create_future()

    def step(self, due_ns: int) -> int:
        self.times.append((due_ns, time.perf_counter_ns()))
        time.sleep(self.busy_s)
        if len(self.times) < self.count:
            return due_ns + self.gap_ns
        self.done.set_result(None)
        return 0

    def fail(self, error: Exception) -> None:
        self.done.set_exception(error)


def test_due_times_are_absolute_and_nothing_is_early() -> None:
    async def run() -> None:
        pacer = Pacer(time.perf_counter_ns)
        start_ns = time.perf_counter_ns() + 5 * MS
        # Each step takes half a gap: a chain of sleeps would be half as fast.
        beats = [Beat(4 * MS, 10, busy_s=0.001), Beat(3 * MS, 10)]
        for beat in beats:
            pacer.add(start_ns, beat)
        await asyncio.wait_for(asyncio.gather(*(beat.done for beat in beats)), 5)
        for beat in beats:
            assert [due for due, _ in beat.times] == [start_ns + k * beat.gap_ns for k in range(10)]
            assert all(at >= due for due, at in beat.times)

    asyncio.run(run())


def test_what_is_due_earlier_comes_first_though_added_later() -> None:
    async def run() -> None:
        pacer = Pacer(time.perf_counter_ns)
        now_ns = time.perf_counter_ns()
        late, early = Beat(0, 1), Beat(0, 1)
        pacer.add(now_ns + 500 * MS, late)
        pacer.add(now_ns + 20 * MS, early)
        await asyncio.wait_for(early.done, 5)
        assert not late.done.done()

    asyncio.run(run())


def test_more_than_can_be_served_at_once_are_all_served_in_order() -> None:
    async def run() -> None:
        pacer = Pacer(time.perf_counter_ns)
        now_ns = time.perf_counter_ns()
        beats = [Beat(0, 1) for _ in range(100)]
        for number, beat in enumerate(beats):
            pacer.add(now_ns - number, beat)
        await asyncio.wait_for(asyncio.gather(*(beat.done for beat in beats)), 5)
        served = [beat.times[0][1] for beat in beats]
        assert served == sorted(served, reverse=True)

    asyncio.run(run())


def test_a_step_that_raises_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Beat):
        def step(self, due_ns: int) -> int:
            raise RuntimeError("no")

    async def run() -> None:
        pacer = Pacer(time.perf_counter_ns)
        broken, other = Broken(MS, 3), Beat(MS, 3)
        now_ns = time.perf_counter_ns()
        pacer.add(now_ns, broken)
        pacer.add(now_ns, other)
        with pytest.raises(RuntimeError, match="no"):
            await broken.done
        await asyncio.wait_for(other.done, 5)

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(run())


def test_a_precise_loop_sees_files_while_it_waits() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            seen = asyncio.Event()
            loop.add_reader(ours, seen.set)
            begin_s = loop.time()
            threading.Timer(0.02, theirs.send, (b"x",)).start()
            await asyncio.wait_for(seen.wait(), 10)
            assert 0.02 <= loop.time() - begin_s < 5
            loop.remove_reader(ours)

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(run())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loop is asyncio's own")
def test_a_precise_loop_ends_waits_on_time() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        lates = []
        for _ in range(50):
            due_s = loop.time() + 0.0005
            await asyncio.sleep(0.0005)
            lates.append(loop.time() - due_s)
        return sorted(lates)

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        lates = runner.run(run())
    assert lates[0] >= 0
    # asyncio's own loop on Linux is never less than half a millisecond late here.
    assert lates[5] < 0.0004
