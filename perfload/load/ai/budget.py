"""What a process has spent in a run, and how much it may."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gevent.event import Event

from perfload.errors import UsageError
from perfload.load.cluster.purse import in_words


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that all load generators together may spend; infinite is no cap."""

    cost: float = math.inf
    tokens: float = math.inf

    @classmethod
    def of(cls, cost: float | None, tokens: float | None) -> Cap:
        """Return the cap that a scenario states; None is no limit. Raises `UsageError`."""
        return cls(_limit("max_cost", cost), _limit("max_tokens_total", tokens))

    def lowest(self, other: Cap) -> Cap:
        """Return the lower limits of the two."""
        return Cap(min(self.cost, other.cost), min(self.tokens, other.tokens))


class Budget:
    """Of one process in one run: what it has spent, the cap, and its part of that."""

    def __init__(self, run_id: str = "", *, is_shared: bool = False) -> None:
        """Begin with nothing spent; one that `is_shared` may spend nothing until it is granted."""
        self.run_id = run_id
        self.cost = 0.0
        self.tokens = 0
        self.cap = Cap()
        self.is_shared = is_shared
        """Whether a master deals the cap out to this process and others."""
        self.is_over = False
        """Whether nothing will be granted any more."""
        self.is_told = False
        """Whether it was said that the cap is reached."""
        self.ask: Callable[[], None] = lambda: None
        """Asks for more."""
        self._is_asked = False
        """Whether that has been called since the last answer: one that does not come is waited for."""
        self._granted = Cap(0.0, 0.0)
        self._limit = Cap()
        self._soon = Cap()
        """What has been spent when it is time to ask for more: before there is nothing left."""
        self._changed = Event()

    def hold_to(self, cap: Cap) -> None:
        """Lower the cap to `cap`, where that is lower."""
        if cap.cost < self.cap.cost or cap.tokens < self.cap.tokens:
            self.cap = self.cap.lowest(cap)
            self._set_limit()

    def spend(self, tokens: int, cost: float) -> None:
        """Add what an answer took, whole or not."""
        self.tokens += tokens
        self.cost += cost
        if self.cost >= self._soon.cost or self.tokens >= self._soon.tokens:
            self._ask_once()

    def excess(self, cap: Cap | None = None) -> str:
        """Return, in words, which part of `cap`, or of its own limit, is used up; "" while some is left."""
        limit = self._limit if cap is None else cap
        if self.cost >= limit.cost:
            return in_words("cost", self.cost, limit.cost)
        if self.tokens >= limit.tokens:
            return in_words("tokens", self.tokens, limit.tokens)
        return ""

    # --- shared with other processes

    def account(self) -> dict[str, tuple[float, float]]:
        """Return, for each thing that is capped, the cap and what this process has spent of it."""
        spent = {"cost": (self.cap.cost, self.cost), "tokens": (self.cap.tokens, float(self.tokens))}
        return {kind: held for kind, held in spent.items() if held[0] < math.inf}

    def grant(self, granted: Mapping[str, float], *, is_all: bool) -> None:
        """Take note of how much this process may have spent in all, and whether that is the last word."""
        before = self._granted
        self._granted = Cap(
            max(before.cost, granted.get("cost", 0.0)), max(before.tokens, granted.get("tokens", 0.0))
        )
        self.is_over = self.is_over or is_all
        # Who asked in vain asks again: what is answered may be what was said before the last was spent.
        was_asked, self._is_asked = self._is_asked, False
        if was_asked or is_all or self._granted != before:
            self._set_limit()

    def wait(self, timeout_s: float) -> None:
        """Wait until something has been granted, or nothing will be; `timeout_s` at most."""
        self._changed.clear()
        self._ask_once()
        self._changed.wait(timeout_s)

    def _ask_once(self) -> None:
        """Ask, unless the last time is not answered yet: a master that is held up needs no more messages."""
        if not self._is_asked:
            self._is_asked = True
            self.ask()

    def _set_limit(self) -> None:
        if not self.is_shared:
            self._limit = self.cap
            return
        cost = self._granted.cost if self.cap.cost < math.inf else math.inf
        tokens = self._granted.tokens if self.cap.tokens < math.inf else math.inf
        self._limit = Cap(cost, tokens)
        self._soon = Cap() if self.is_over else Cap((self.cost + cost) / 2, (self.tokens + tokens) / 2)
        self._changed.set()


def _limit(name: str, given: float | None) -> float:
    if given is None:
        return math.inf
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not given > 0:
        raise UsageError(f"{name} is {given!r}", hint="write a number above 0, or leave it out for no cap")
    return given
