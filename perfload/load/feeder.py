"""Rows of test data for virtual users: accounts, prompts, whatever a scenario needs one of."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakSet

from perfload.dataset import read_rows
from perfload.errors import UsageError
from perfload.load.rows import RowStock

if TYPE_CHECKING:
    from perfload.load.node import Node

Order = Literal["sequential", "random", "unique"]


class DataFeeder:
    """Hands out the rows of a CSV file.

    `sequential`: one after the other, over and over; each of N workers hands out every N-th row. `random`:
    any of them. `unique`: one that no other live user has, on any worker: the master lends them out.
    """

    def __init__(self, path: str | Path, columns: Sequence[str], *, order: Order = "sequential") -> None:
        """Read `path`; raises `UsageError` if it has no such columns or rows, or `order` is none."""
        if order not in get_args(Order):
            raise UsageError(f"order is {order!r}", hint=f"one of {', '.join(get_args(Order))}")
        self._path = Path(path)
        self._order = order
        self._rows = read_rows(self._path, columns)
        self._node: Node | None = None
        self._stock: RowStock | None = None
        self._next = 0
        self._step = 0
        """0 until the first run, or the first row outside one."""
        if order == "unique":
            _unique.add(self)

    def take(self, user: Any) -> dict[str, str]:
        """Return a row for `user`; a unique one is given back when the user's greenlet ends.

        Raises `UsageError` when unique rows run out: a test with wrong data must not look like a good one.
        """
        if self._order == "random":
            return random.choice(self._rows)
        self.join(_present_node())
        if self._order == "unique":
            return self._take_unique(user)
        row = self._rows[self._next % len(self._rows)]
        self._next += self._step
        return row

    def join(self, node: Node | None) -> None:
        """Begin again when a run begins on this node; None outside a run."""
        if node is self._node and self._step:
            return
        self._node = node
        assignment = node.assignment if node is not None else None
        self._next, self._step = (assignment.index, assignment.count) if assignment else (0, 1)
        if self._order == "unique":
            self._stock = self._new_stock(node)

    def _new_stock(self, node: Node | None) -> RowStock:
        if node is None:
            return RowStock(range(len(self._rows)))
        return node.lend(f"{self._path.name} {_digest(self._rows)}", len(self._rows))

    def _take_unique(self, user: Any) -> dict[str, str]:
        assert self._stock is not None
        row = self._stock.take()
        if row is None:
            raise UsageError(
                f"{self._path} has no row left that no other user has; it has {len(self._rows)} rows",
                hint="add rows, lower the number of users, or use order='sequential'",
            )
        user.greenlet.link(self._stock.giver(row))
        return self._rows[row]


_unique: WeakSet[DataFeeder] = WeakSet()


def prepare(node: Node) -> None:
    """Have every feeder of unique rows send for some before the first user asks."""
    for feeder in list(_unique):
        feeder.join(node)


def _digest(rows: Sequence[Mapping[str, str]]) -> str:
    """Tell files apart: workers must not be lent rows of a file that is not the one that they have."""
    return hashlib.blake2b(repr(rows).encode(), digest_size=8).hexdigest()


def _present_node() -> Node | None:
    from perfload.load import plugin

    return plugin.installed.node if plugin.installed else None
