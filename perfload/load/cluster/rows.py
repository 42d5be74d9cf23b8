"""Who has which unique rows of test data: lent by the master, so that no two live users have the same.

A worker asks for more rows before its own run out. When none are free, the others are asked to give back what
none of their users has at the moment.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

PARTS = 4
"""A worker is lent so large a part of its fair share at a time; the rest is there for whoever needs more."""

RECALL_AFTER_S = 0.3
"""Who was asked to give rows back is not asked again before, however many workers wait for some."""

MAX_ROWS = 10_000_000
MAX_FEEDERS = 100


@dataclass(frozen=True, slots=True)
class Loan:
    """Tells one worker that it has `rows` now; without rows, that others need some of its own."""

    node: int
    feeder: str
    rows: tuple[int, ...] = ()


@dataclass(slots=True)
class _Account:
    """The rows of one data file."""

    total: int
    free: deque[int]
    held: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    waiting: dict[int, int] = field(default_factory=dict)
    """Node -> rows that it asked for in vain, in the order of asking."""
    recalled_s: dict[int, float] = field(default_factory=dict)
    """Node -> when it was last asked to give some back."""


class Ledger:
    """The rows of every data file of one run. Each method returns what workers are to be told at `now_s`."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def lend(self, node: int, feeder: str, now_s: float, *, total: int, nodes: int) -> list[Loan]:
        """Lend `node` some rows of `feeder`, which has `total`, among `nodes` workers.

        Raises `ValueError` if another worker has told of another number of rows: its file is another one.
        """
        if feeder not in self._accounts and (not 0 < total <= MAX_ROWS or len(self._accounts) >= MAX_FEEDERS):
            raise ValueError(f"{feeder} has {total} rows, or is one file too many")
        account = self._accounts.setdefault(feeder, _Account(total, deque(range(total))))
        if account.total != total:
            raise ValueError(f"{feeder} has {total} rows here and {account.total} on another worker")
        account.waiting[node] = max(1, total // (PARTS * max(1, nodes)))
        return self._serve(feeder, account, now_s)

    def give_back(self, node: int, feeder: str, now_s: float, rows: Sequence[int]) -> list[Loan]:
        """Take back those of `rows` that `node` had."""
        account = self._accounts.get(feeder)
        if account is None:
            return []
        returned = account.held[node].intersection(rows)
        account.held[node] -= returned
        account.free.extend(row for row in dict.fromkeys(rows) if row in returned)
        if not returned:
            return []  # to ask again whoever has nothing to spare would keep both busy with nothing else
        account.waiting.pop(node, None)  # others need them more
        account.recalled_s.pop(node, None)  # it may have more
        return self._serve(feeder, account, now_s)

    def release(self, node: int, now_s: float) -> list[Loan]:
        """Take back everything that `node` had: it is gone."""
        loans: list[Loan] = []
        for feeder, account in self._accounts.items():
            account.waiting.pop(node, None)
            account.free.extend(sorted(account.held.pop(node, ())))
            loans += self._serve(feeder, account, now_s)
        return loans

    def _serve(self, feeder: str, account: _Account, now_s: float) -> list[Loan]:
        loans: list[Loan] = []
        for node, wanted in list(account.waiting.items()):
            if not account.free:
                return loans + [Loan(holder, feeder) for holder in _recalled(account, now_s)]
            del account.waiting[node]
            rows = tuple(account.free.popleft() for _ in range(min(wanted, len(account.free))))
            account.held[node].update(rows)
            loans.append(Loan(node, feeder, rows))
        return loans


def _recalled(account: _Account, now_s: float) -> list[int]:
    """Return, and note, who is to be asked for rows: who waits may have some to spare too."""
    found = [
        holder
        for holder, rows in account.held.items()
        if rows and account.waiting.keys() - {holder}
        if now_s >= account.recalled_s.get(holder, -math.inf) + RECALL_AFTER_S
    ]
    account.recalled_s.update(dict.fromkeys(found, now_s))
    return found
