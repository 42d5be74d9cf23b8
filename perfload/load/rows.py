"""The unique rows of a data file that this process may hand out: all, or those that the master lends."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable

from gevent.event import Event

PATIENCE_S = 3.0
"""How long a user waits for a row that another worker has to give back first."""
ASK_AGAIN_S = 0.5
"""Who has none yet to give back may have one by then."""


class RowStock:
    """Rows that no live user has, by number."""

    def __init__(self, rows: Iterable[int], ask: Callable[[], None] | None = None) -> None:
        """Begin with `rows`; `ask` sends for more, if there is anybody who has more."""
        self._spare = deque(rows)
        self._ask = ask
        self._ask_again_s = -math.inf
        """When what was asked for may be asked for again."""
        self._low = 0
        """With fewer to spare than this, more are sent for."""
        self._arrived = Event()
        self._generation = 0

    def take(self) -> int | None:
        """Return a row, waiting a while for one if there is hope; None if there is none."""
        until_s = time.monotonic() + PATIENCE_S
        while not self._spare and self._ask is not None and (rest_s := until_s - time.monotonic()) > 0:
            self._arrived.clear()
            self.top_up()
            self._arrived.wait(min(ASK_AGAIN_S, rest_s))
        row = self._spare.popleft() if self._spare else None
        self.top_up()
        return row

    def giver(self, row: int) -> Callable[[object], None]:
        """Return what gives `row` back; it does nothing once the stock was declared void."""
        generation = self._generation

        def give(_: object) -> None:
            if generation == self._generation:
                self._spare.append(row)
                self._arrived.set()

        return give

    def add(self, rows: Iterable[int]) -> None:
        """Take in rows that were lent."""
        before = len(self._spare)
        self._spare.extend(rows)
        self._low = max(self._low, (len(self._spare) - before + 1) // 2)
        self._ask_again_s = -math.inf
        self._arrived.set()

    def give_up(self) -> list[int]:
        """Return, and no longer have, half of what there is to spare: somebody else has nothing."""
        self._low = 0  # what was just given away is not asked for again
        return [self._spare.pop() for _ in range((len(self._spare) + 1) // 2)]

    def void(self) -> None:
        """Forget everything: it was given to others while this process was away."""
        self._generation += 1
        self._spare.clear()
        self._ask_again_s = -math.inf

    def top_up(self) -> None:
        """Send for more if there are few to spare; again if nothing has come, as a message may be lost."""
        if self._ask is None or len(self._spare) > self._low:
            return
        now_s = time.monotonic()
        if now_s >= self._ask_again_s:
            self._ask_again_s = now_s + ASK_AGAIN_S
            self._ask()
