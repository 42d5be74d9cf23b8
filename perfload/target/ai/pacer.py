"""Wakes what falls due: one timer of the event loop for all streams, whose times are absolute.

A task per stream that sleeps from chunk to chunk costs a timer, a future and a task switch each time, and is
later with every chunk; here a due time follows from the one before it, not from when that was served.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 32
"""Then the loop gets to read what came in meanwhile."""


class Paced(Protocol):
    """Something that does one step after the other."""

    def step(self, due_ns: int) -> int:
        """Do what is due and return when the next is, 0 for never. Must not wait, nor call the pacer."""

    def fail(self, error: Exception) -> None:
        """Take note that a step raised `error`: there will be no other."""


class Pacer:
    """Calls each `Paced` at its times, never early. `clock_ns` is `time.perf_counter_ns`.

    `rest_ns`: the shortest time from one round to the next; under load several are due in one round, which
    spares turns of the event loop.
    """

    def __init__(self, clock_ns: Callable[[], int], *, rest_ns: int = 200_000) -> None:
        self._clock_ns = clock_ns
        self._rest_ns = rest_ns
        self._heap: list[tuple[int, int, Paced]] = []
        self._number = 0
        self._timer: asyncio.Handle | None = None
        self._wakes_ns = 0
        self._earliest_ns = 0

    def add(self, due_ns: int, paced: Paced) -> None:
        """Call `paced.step` at `due_ns` for the first time."""
        self._number += 1
        heapq.heappush(self._heap, (due_ns, self._number, paced))
        if self._timer is None or due_ns < self._wakes_ns:
            self._arm(asyncio.get_running_loop())

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_ns = max(self._heap[0][0], self._earliest_ns)
        left_ns = self._wakes_ns - self._clock_ns()
        self._timer = (
            loop.call_later(left_ns / 1e9, self._wake) if left_ns > 0 else loop.call_soon(self._wake)
        )

    def _wake(self) -> None:
        heap = self._heap
        clock_ns = self._clock_ns
        self._timer = None
        for _ in range(_MOST_AT_ONCE):
            if not heap or heap[0][0] > clock_ns():
                break
            due_ns, number, paced = heap[0]
            try:
                next_ns = paced.step(due_ns)
            except Exception as error:
                logger.exception("a stream broke")
                next_ns = 0
                paced.fail(error)
            if next_ns:
                heapq.heapreplace(heap, (next_ns, number, paced))
            else:
                heapq.heappop(heap)
        if heap:
            now_ns = clock_ns()
            self._earliest_ns = now_ns + self._rest_ns if heap[0][0] > now_ns else now_ns
            self._arm(asyncio.get_running_loop())
