"""What a run may spend, dealt out to its workers: nobody spends what it was not granted.

A grant is never taken back, and all of them together are no more than the cap. So however late or lost the
messages are, and however many workers come and go, no request is sent above it; only what is in flight when a
worker's grant is used up comes on top. Grants are small parts of what is left: who needs more gets more, and
little is left with those who need none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

PARTS = 4
"""A worker gets so large a part of its fair share of what is left: the rest is for whoever needs more."""

_NOTHING = 1e-9
"""So small a part of the cap is none: sums of fractions are never quite what they should be."""

Account = Mapping[str, tuple[float, float]]
"""Of each thing that is capped (`tokens`, `cost`): the cap of the whole load, and what one worker spent."""


def in_words(kind: str, spent: float, cap: float) -> str:
    """Return how much of the cap on `kind` is spent."""
    if kind == "cost":
        return f"{spent:.4g} spent, of a cost of {cap:.4g} at most"
    return f"{spent:,.0f} {kind} used, of {cap:,.0f} at most"


class Purse:
    """The master's side: hears what every worker has spent, and says how much it may."""

    def __init__(self) -> None:
        self._pools: dict[str, _Pool] = {}

    def hear(self, index: int, account: Account, *, workers: int) -> dict[str, float]:
        """Return what worker `index`, one of `workers`, may have spent in all, by kind.

        To be told again and again, in any order: what counts is the most that either side has said.
        """
        granted = {}
        for kind, (cap, spent) in account.items():
            pool = self._pools.setdefault(kind, _Pool())
            granted[kind] = pool.hear(index, cap, spent, workers)
        return granted

    @property
    def excess(self) -> str:
        """Return, in words, which cap is reached; "" while every worker may go on."""
        return next((pool.in_words(kind) for kind, pool in self._pools.items() if pool.is_used_up), "")


class _Pool:
    """One thing that is capped."""

    def __init__(self) -> None:
        self.is_used_up = False
        """Whether the cap is spent, or a worker needs more and there is no more to grant."""
        self._cap = math.inf
        self._spent: dict[int, float] = {}
        self._granted: dict[int, float] = {}
        self._held: dict[int, float] = {}
        """What nobody else can have: what was granted or, of who has spent more, what it has spent."""

    def hear(self, index: int, cap: float, spent: float, workers: int) -> float:
        self._cap = min(self._cap, cap)
        spent = self._spent[index] = max(spent, self._spent.get(index, 0.0))
        least = self._cap * _NOTHING
        left = self._cap - sum(self._spent.values())
        held = self._held[index] = max(spent, self._held.get(index, 0.0))
        free = self._cap - sum(self._held.values())
        wanted = spent + left / (PARTS * workers) - held
        if wanted > 0 and left > least and free > least:
            self._granted[index] = self._held[index] = held + min(wanted, free)
        granted = self._granted.get(index, 0.0)
        self.is_used_up = self.is_used_up or left <= least or granted <= spent
        return granted

    def in_words(self, kind: str) -> str:
        spent = sum(self._spent.values())
        words = in_words(kind, spent, self._cap)
        if spent < self._cap:
            words += "; what is left is set aside for other workers"
        return words
