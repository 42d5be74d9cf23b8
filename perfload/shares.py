"""Who starts which virtual users of a run, and how that changes when load generators come and go.

Virtual user k falls to `owners[k mod len(owners)]`. The union over all nodes is the plan's schedule, whatever
their number, and a change of owners at second t moves only what is due from t on. Nothing here reads a clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from perfload.plan import Arrival, Level

MAX_PATTERN = 1000
"""Longest list of owners; beyond it the share of a lost node is dealt out a little unevenly."""


@dataclass(frozen=True, slots=True)
class Era:
    """Who owns what is due from `from_s` (seconds of the run) on, until the next era."""

    from_s: float
    owners: tuple[int, ...]
    """Indices of nodes; empty when none is left."""
    reserved_users: int = 0
    """Virtual users that lost nodes may still have in flight: room under `max_users` that nobody gets."""

    def owner(self, number: int) -> int | None:
        """Return the node of virtual user `number`; None when none is left."""
        return self.owners[number % len(self.owners)] if self.owners else None


def evenly(nodes: Sequence[int], from_s: float, reserved_users: int = 0) -> Era:
    """Return the era in which `nodes` take turns."""
    return Era(from_s, tuple(nodes), reserved_users)


def without(era: Era, node: int, from_s: float) -> Era:
    """Return the era in which the others share what `node` had; what they have already stays theirs.

    So nobody but the lost node has to have stopped when it begins.
    """
    others = sorted(set(era.owners) - {node})
    if not others:
        return replace(era, from_s=from_s, owners=())
    slots = era.owners.count(node)
    longer = slots % len(others) and len(era.owners) * len(others) <= MAX_PATTERN
    pattern = era.owners * (len(others) if longer else 1)
    dealt = (others[turn % len(others)] for turn in range(len(pattern)))
    return replace(
        era, from_s=from_s, owners=tuple(next(dealt) if owner == node else owner for owner in pattern)
    )


def era_at(eras: Sequence[Era], at_s: float) -> Era:
    """Return the era in force at `at_s`; the first one before it begins."""
    return next((era for era in reversed(eras) if era.from_s <= at_s), eras[0])


class Shares:
    """What one node owns, by the eras that it knows of."""

    def __init__(self, node: int, eras: Sequence[Era], version: int = 0) -> None:
        """Begin with `eras`, in order of time and at least one."""
        self.node = node
        self.version = version
        """Grows with every change."""
        self._eras = tuple(eras)

    def update(self, version: int, eras: Sequence[Era]) -> None:
        """Take over what the master says, unless it is old news."""
        if version > self.version:
            # The master does not repeat what is long past; a node that is late still goes by it.
            past = (era for era in self._eras if era.from_s < eras[0].from_s)
            self.version, self._eras = version, (*past, *eras)

    def era(self, at_s: float) -> Era:
        """Return the era in force at `at_s`."""
        return era_at(self._eras, at_s)

    def owns(self, number: int, at_s: float) -> bool:
        """Say whether virtual user `number`, due at `at_s`, is this node's to start."""
        return self.era(at_s).owner(number) == self.node

    def residents(self, users: int, at_s: float) -> list[int]:
        """Return which of `users` concurrent users are this node's at `at_s`."""
        era = self.era(at_s)
        return [number for number in range(users) if era.owner(number) == self.node]

    def room(self, max_users: int, at_s: float) -> int:
        """Return this node's part of a cap of `max_users` over all nodes."""
        return room(self.era(at_s), self.node, max_users)


def room(era: Era, node: int, max_users: int) -> int:
    """Return the part of `node` of a cap of `max_users` over all nodes."""
    return _owned(era, node, max(0, max_users - era.reserved_users))


def _owned(era: Era, node: int, total: int) -> int:
    """Return how many of items 0..`total`-1 are the node's."""
    if not era.owners:
        return 0
    rounds, rest = divmod(total, len(era.owners))
    return rounds * era.owners.count(node) + era.owners[:rest].count(node)


Seconds = dict[tuple[int, str], int]
"""(second of the run, phase) -> arrivals."""


def given(
    steps: Iterable[Arrival | Level], eras: Sequence[Era], phases: Sequence[str], until_s: float
) -> dict[int, Seconds]:
    """Return, by node, the arrivals due before `until_s` that were its to start."""
    found: defaultdict[int, Counter[tuple[int, str]]] = defaultdict(Counter)
    place = 0
    for step in steps:
        if step.at_s > until_s:
            break
        if isinstance(step, Arrival):
            while place + 1 < len(eras) and eras[place + 1].from_s <= step.at_s:
                place += 1
            owner = eras[place].owner(step.number)
            if owner is not None:
                found[owner][int(step.at_s), phases[step.phase]] += 1
    return {node: dict(seconds) for node, seconds in found.items()}


def lost(given_to_it: Mapping[tuple[int, str], int], dealt_with: Mapping[tuple[int, str], int]) -> Seconds:
    """Return what was given to a node and neither started nor dropped by it, by the second it was due in.

    An arrival that started late is found in a later second than it was due in. So what counts as lost by
    second s is the backlog that is never made up: min over s' >= s of (given until s' - dealt with until s').
    """
    found: Seconds = {}
    for phase in {phase for _, phase in given_to_it}:
        seconds = sorted({second for second, name in (*given_to_it, *dealt_with) if name == phase})
        backlogs, backlog = [], 0
        for second in seconds:
            backlog += given_to_it.get((second, phase), 0) - dealt_with.get((second, phase), 0)
            backlogs.append(backlog)
        least = backlog
        for place in range(len(seconds) - 1, -1, -1):
            least = min(least, backlogs[place])
            before = max(0, min(least, backlogs[place - 1])) if place else 0
            if least > before:
                found[seconds[place], phase] = least - before
    return dict(sorted(found.items()))
