"""Rows of test data for virtual users: accounts, prompts, whatever a scenario needs one of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from perfload.dataset import read_rows
from perfload.errors import UsageError

Order = Literal["sequential", "random", "unique"]


class DataFeeder:
    """Hands out the rows of a CSV file.

    `sequential`: one after the other, over and over; `random`: any of them; `unique`: one that no other live
    user has, on any worker. Each of N workers hands out every N-th row, so that together they are as one.
    """

    def __init__(self, path: str | Path, columns: Sequence[str], *, order: Order = "sequential") -> None:
        """Read `path`; raises `UsageError` if it has no such columns or rows, or `order` is none."""
        if order not in get_args(Order):
            raise UsageError(f"order is {order!r}", hint=f"one of {', '.join(get_args(Order))}")
        self._path = Path(path)
        self._order = order
        self._rows = read_rows(self._path, columns)
        self._share: tuple[str, int, int] | None = None
        self._mine: list[dict[str, str]] = []
        self._size = 0
        self._next = 0

    def take(self, user: Any) -> dict[str, str]:
        """Return a row for `user`; a unique one is given back when the user's greenlet ends.

        Raises `UsageError` when unique rows run out: a test with wrong data must not look like a good one.
        """
        self._join(*_share_of_this_node())
        if self._order == "random":
            return random.choice(self._rows)
        if self._order == "unique":
            return self._take_unique(user)
        row = self._mine[self._next % len(self._mine)]
        self._next += 1
        return row

    def _join(self, run_id: str, index: int, count: int) -> None:
        """Begin again with this node's share of the rows when a run begins."""
        if self._share == (run_id, index, count):
            return
        self._share = (run_id, index, count)
        self._next = 0
        # A node that came too late for a share of the arrivals (count 0) has no rows of its own either.
        shared = self._rows[index::count] if count else []
        # Whoever goes through the rows in order may share one if there are more workers than rows.
        self._mine = list(shared if shared or self._order == "unique" else self._rows)
        self._size = len(self._mine)

    def _take_unique(self, user: Any) -> dict[str, str]:
        if not self._mine:
            raise UsageError(
                f"{self._path} has no row left that no other user has; this node's share: {self._size} rows",
                hint="add rows, lower the number of users, or use order='sequential'",
            )
        mine = self._mine  # the next run has other rows, to which this one is not given back
        row = mine.pop(0)
        user.greenlet.link(lambda _greenlet: mine.append(row))
        return row


def _share_of_this_node() -> tuple[str, int, int]:
    """Return (run, index, count) of this process; node one of one outside a run."""
    from perfload.load import plugin

    node = plugin.installed.node if plugin.installed else None
    if node is None:
        return ("", 0, 1)
    assignment = node.assignment
    return (assignment.run_id, assignment.index, assignment.count)
