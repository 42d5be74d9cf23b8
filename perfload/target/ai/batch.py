"""The batch that a model decodes: who is in it, who waits for a place, and how slow it makes everyone."""

from __future__ import annotations

import asyncio
from collections import deque

from perfload.target.ai.refusal import OVERLOADED, Refusal


class Batch:
    """A number of places. Used from one event loop; places are given in the order of arrival."""

    def __init__(self, slots: int, queue: int, slowdown: float) -> None:
        self._slots = slots
        self._queue = queue
        self._slowdown = slowdown
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.active = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def enter(self) -> bool:
        """Take a place, at once or when one is free; returns whether it had to wait.

        Raises `Refusal` (overloaded) when too many wait already. Who entered has to `leave`.
        """
        if self.active < self._slots:
            self.active += 1
            return False
        if len(self._waiting) >= self._queue:
            raise Refusal(OVERLOADED, retry_after_s=1.0)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.leave()  # it was handed over at the very moment
            elif place in self._waiting:  # else whoever left meanwhile has passed it over
                self._waiting.remove(place)
            raise
        return True

    def leave(self) -> None:
        """Give the place back: to whoever waits for longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.active -= 1

    @property
    def is_even(self) -> bool:
        """Whether gaps are as long in a full batch as alone."""
        return self._slowdown == 0

    def stretch(self) -> float:
        """Return by how much every gap is longer now than alone."""
        return 1.0 + self._slowdown * (self.active - 1)
