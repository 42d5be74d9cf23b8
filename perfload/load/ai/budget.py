"""What a process has spent in a run, and the cap on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from perfload.errors import UsageError


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

    def share(self, count: int) -> Cap:
        """Return the part of one of `count` load generators."""
        return Cap(self.cost / count, self.tokens / count)


@dataclass(slots=True)
class Budget:
    """Spent in one run by one process."""

    run_id: str = ""
    cost: float = 0.0
    tokens: int = 0
    is_told: bool = False
    """Whether it was said that the cap is reached."""

    def spend(self, tokens: int, cost: float) -> None:
        """Add what an answer took, whole or not."""
        self.tokens += tokens
        self.cost += cost

    def excess(self, cap: Cap) -> str:
        """Return, in words, which part of `cap` is used up; "" while there is some left."""
        if self.cost >= cap.cost:
            return f"{self.cost:.4g} spent, of a cost of {cap.cost:.4g} at most"
        if self.tokens >= cap.tokens:
            return f"{self.tokens:,} tokens used, of {int(cap.tokens):,} at most"
        return ""


def _limit(name: str, given: float | None) -> float:
    if given is None:
        return math.inf
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not given > 0:
        raise UsageError(f"{name} is {given!r}", hint="write a number above 0, or leave it out for no cap")
    return given
