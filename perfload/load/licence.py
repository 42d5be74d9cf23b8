"""What a node may start: its share of the virtual users, and the time until which nobody else has it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

from perfload.plan import Arrival, Level
from perfload.shares import Shares

KEEP_S = 5.0
"""How long after its time an arrival of another node is remembered: news of a change may come late."""


class Licence:
    """Shares and lease of one node; the worker's link to its master renews both."""

    def __init__(self, shares: Shares, until_s: float = math.inf) -> None:
        """Begin with `shares` and a lease until second `until_s` of the run."""
        self.shares = shares
        self.until_s = until_s
        self.void_before_s = 0.0
        """Arrivals that were due before and are not started are lost: this node was given up meanwhile."""
        self.excess = 0
        """Users that other nodes still have above their parts of `max_users`: room that is not free yet."""

    def room(self, max_users: int, at_s: float) -> int:
        """Return how many users this node may have in flight of `max_users` over all nodes."""
        return self.shares.room(max_users, at_s) - self.excess

    @property
    def may_lapse(self) -> bool:
        """Say whether somebody may take this node's share from it."""
        return self.until_s < math.inf


class Upcoming:
    """The steps of a plan, of which a node takes its own; those of others may still become its own."""

    def __init__(self, steps: Iterator[Arrival | Level], licence: Licence) -> None:
        self._steps = steps
        self._licence = licence
        self._ahead: deque[Arrival | Level] = deque()
        """Steps that were looked at and not taken, in order of time."""
        self._place = 0
        """In `_ahead`: those before it are others', by the shares of `_version`."""
        self._version = licence.shares.version

    def next(self) -> Arrival | Level | None:
        """Return the next step that is this node's, without taking it; None at the end of the plan."""
        if self._version != self._licence.shares.version:
            self._version, self._place = self._licence.shares.version, 0
        while True:
            if self._place == len(self._ahead):
                step = next(self._steps, None)
                if step is None:
                    return None
                if isinstance(step, Arrival) and step.at_s < self._licence.void_before_s:
                    continue  # never this node's: one that joins late would keep the whole plan
                self._ahead.append(step)
            step = self._ahead[self._place]
            if isinstance(step, Level) or self._licence.shares.owns(step.number, step.at_s):
                return step
            self._place += 1

    def take(self) -> None:
        """Remove the step that `next` has returned, and forget what was others' long before it."""
        ahead = self._ahead
        at_s = ahead[self._place].at_s
        del ahead[self._place]
        while self._place and ahead[0].at_s < at_s - KEEP_S:
            ahead.popleft()
            self._place -= 1
