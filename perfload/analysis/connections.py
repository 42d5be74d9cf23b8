"""Whether an application used all connections to a MongoDB that it gives itself: its pool.

The server cannot know how large the pool is. But with requests piling up in front of it, no further
connections are opened, and the same number of them is at work again and again.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from perfload.model import Reading

OPEN, AT_WORK = "connections[current]", "connections[active]"

LEAST_READINGS = 5
LEAST_AT_WORK = 2
"""One at work at a time may as well be a lock in the application, held during an operation."""
OPENED = 1
"""A monitor or a driver may open so many of its own meanwhile."""
AGAIN, MORE = 0.5, 0.25
"""The same number at work, or one less, in so many of the readings, and more in so few: where there is room
it goes up and down, and at a limit it only goes down for a moment."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Connections to the MongoDB on `node`: `at_work` of them, never more, while requests were waiting."""

    node: str
    at_work: int
    open: int

    @property
    def words(self) -> str:
        """What the server saw."""
        return (
            f"MongoDB on {self.node} saw {self.at_work} connections at work time and again and "
            f"{self.open} open in all: no more were opened while requests piled up."
        )


def used_up_pool(readings: Sequence[Reading], since_s: float, until_s: float) -> Pool | None:
    """Return the pool that was used up from `since_s` to `until_s` (seconds since the epoch), if one was.

    `readings`: of the whole run, since the connections that wait by design (of monitors, of drivers) count
    as active, too, and are known from when there was least to do.
    """
    by_node: defaultdict[str, defaultdict[str, list[Reading]]] = defaultdict(lambda: defaultdict(list))
    for reading in readings:
        if reading.source == "mongodb" and reading.metric in (OPEN, AT_WORK) and reading.value is not None:
            by_node[reading.node][reading.metric].append(reading)
    found = (_pool(node, series[OPEN], series[AT_WORK], since_s, until_s) for node, series in by_node.items())
    return next(filter(None, found), None)


def _pool(
    node: str, opened: list[Reading], at_work: list[Reading], since_s: float, until_s: float
) -> Pool | None:
    number_open = _values(opened, since_s, until_s)
    active = _values(at_work, since_s, until_s)
    if min(len(number_open), len(active)) < LEAST_READINGS:
        return None
    waiting = min(round(reading.value or 0) for reading in at_work)
    usual = max(statistics.multimode(active))
    again = sum(1 for number in active if usual - 1 <= number <= usual)
    more = sum(1 for number in active if number > usual)
    if (
        max(number_open) - min(number_open) > OPENED
        or usual - waiting < LEAST_AT_WORK
        or again < AGAIN * len(active)
        or more > MORE * len(active)
    ):
        return None
    return Pool(node, usual - waiting, max(number_open))


def _values(readings: list[Reading], since_s: float, until_s: float) -> list[int]:
    return [round(reading.value or 0) for reading in readings if since_s <= reading.at_s <= until_s]
