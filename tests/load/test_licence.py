"""The steps of a plan that one node takes, while shares move between nodes."""

import math
from collections import Counter, deque

from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load.licence import KEEP_S, Licence, Upcoming
from perfload.model import Phase
from perfload.plan import Arrival, Level, Plan
from perfload.shares import Era, Shares, era_at, evenly, without

PLAN = Plan(
    [
        Phase(name="Open", duration=8, arrival_rate=5),
        Phase(name="Closed", duration=2, users=1, ramp_to_users=3),
        Phase(name="Again", duration=10, arrival_rate=4),
    ]
)
LEVELS = [step for step in PLAN.schedule() if isinstance(step, Level)]


def upcoming(plan: Plan, *eras: Era, node: int = 0) -> tuple[Upcoming, Shares]:
    shares = Shares(node, eras)
    return Upcoming(plan.schedule(), Licence(shares)), shares


def walk(steps: Upcoming, until_s: float) -> list[Arrival | Level]:
    """Take what is due by `until_s`."""
    taken = []
    while (step := steps.next()) is not None and step.at_s <= until_s:
        steps.take()
        taken.append(step)
    return taken


def numbers(steps: list[Arrival | Level]) -> list[int]:
    return [step.number for step in steps if isinstance(step, Arrival)]


def test_a_lease_that_ends_may_lapse() -> None:
    shares = Shares(0, [evenly([0], 0.0)])
    assert Licence(shares).may_lapse is False
    assert Licence(shares, 3.0).may_lapse is True
    assert (Licence(shares).until_s, Licence(shares).void_before_s) == (math.inf, 0.0)


def test_a_node_alone_takes_every_step_in_order() -> None:
    steps, _ = upcoming(PLAN, evenly([0], 0.0))
    assert walk(steps, math.inf) == list(PLAN.schedule())
    assert steps.next() is None
    assert steps.next() is None


def test_a_node_takes_its_own_arrivals_and_every_level() -> None:
    steps, _ = upcoming(PLAN, evenly([0, 1, 2], 0.0), node=2)
    taken = walk(steps, math.inf)
    assert numbers(taken) == list(range(2, 80, 3))
    assert [step for step in taken if isinstance(step, Level)] == LEVELS
    assert [step.at_s for step in taken] == sorted(step.at_s for step in taken)


def test_looking_takes_nothing() -> None:
    steps, _ = upcoming(PLAN, evenly([0, 1], 0.0), node=1)
    assert steps.next() == Level(0.0, 0, 0)
    assert steps.next() == Level(0.0, 0, 0)
    steps.take()
    assert steps.next() == Arrival(1, 0.4, 0)


def test_a_node_without_a_share_takes_levels_until_it_gets_one() -> None:
    steps, shares = upcoming(PLAN, evenly([0], 0.0), node=3)
    assert walk(steps, 4.0) == LEVELS[:1]
    assert steps.next() == LEVELS[1]
    shares.update(1, [evenly([0], 0.0), evenly([0, 3], 6.0)])
    assert numbers(walk(steps, 8.0)) == list(range(29, 40, 2))


def test_a_step_that_was_looked_at_may_become_another_s() -> None:
    steps, shares = upcoming(PLAN, evenly([0], 0.0))
    walk(steps, 0.2)
    assert steps.next() == Arrival(1, 0.4, 0)
    shares.update(1, [evenly([0, 1], 0.0)])
    assert steps.next() == Arrival(2, 0.6, 0)
    shares.update(2, [evenly([0], 0.0)])
    assert steps.next() == Arrival(1, 0.4, 0)


def test_what_became_a_node_s_own_a_while_ago_is_taken_late() -> None:
    steps, shares = upcoming(PLAN, evenly([0, 1], 0.0))
    assert numbers(walk(steps, 7.0)) == list(range(0, 35, 2))
    shares.update(1, [evenly([0, 1], 0.0), evenly([0], 7.0 - KEEP_S + 0.3)])
    assert numbers(walk(steps, 8.0)) == [*range(11, 35, 2), 35, 36, 37, 38, 39]


def test_what_was_others_long_ago_is_forgotten() -> None:
    plan = Plan([Phase(name="Load", duration=300, arrival_rate=100)])
    steps, _ = upcoming(plan, evenly(range(50), 0.0), node=7)
    kept = []
    for second in range(300):
        walk(steps, second)
        kept.append(len(steps._ahead))
    assert max(kept) <= 100 * KEEP_S + 100
    assert kept[100] == kept[200]


# --- whatever changes


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[float, Era]]:
    """Return (second in which node 0 hears of it, era): what others lose is heard of late, if at all late."""
    era = evenly(range(draw(st.integers(1, 4))), 0.0)
    found = [(0.0, era)]
    heard_s = 0.0
    for _ in range(draw(st.integers(0, 6))):
        heard_s += draw(st.floats(0, 4))
        if draw(st.booleans()):
            # Everybody's share changes: nobody has a lease beyond that before it is known.
            nodes = draw(st.lists(st.integers(0, 4), max_size=4, unique=True))
            era = evenly(nodes, max(era.from_s, heard_s + draw(st.floats(0.001, 2))))
        else:
            from_s = max(era.from_s, heard_s - draw(st.floats(0, KEEP_S - 0.01)))
            era = without(era, draw(st.integers(1, 4)), from_s)
        found.append((heard_s, era))
    return found


@settings(deadline=None)
@given(changes(), st.lists(st.floats(0, 21), max_size=20))
def test_every_step_of_its_own_is_taken_once_and_in_order(
    news: list[tuple[float, Era]], looks_s: list[float]
) -> None:
    steps, shares = upcoming(PLAN, news[0][1])
    eras = [news[0][1]]
    taken: list[Arrival | Level] = []
    moments = [(heard_s, era) for heard_s, era in news[1:]] + [(look_s, None) for look_s in [*looks_s, 99.0]]
    for at_s, era in sorted(moments, key=lambda moment: moment[0]):
        part = walk(steps, at_s)
        assert [step.at_s for step in part] == sorted(step.at_s for step in part)
        taken += part
        if era is not None:
            eras.append(era)
            shares.update(len(eras) - 1, eras)
    assert [step for step in taken if isinstance(step, Level)] == LEVELS
    own = [
        step.number
        for step in PLAN.schedule()
        if isinstance(step, Arrival) and era_at(eras, step.at_s).owner(step.number) == 0
    ]
    assert Counter(numbers(taken)) == Counter(own)


def test_a_node_that_joins_late_keeps_nothing_of_what_is_past() -> None:
    shares = Shares(1, [evenly([0], 0.0), evenly([0, 1], 12.0)])
    licence = Licence(shares)
    licence.void_before_s = 12.0
    steps = Upcoming(PLAN.schedule(), licence)
    first = steps.next()
    assert isinstance(first, Level)  # how many users there are at once is still to be known
    assert steps._ahead == deque([first])
    taken = walk(steps, math.inf)
    due = [step for step in PLAN.schedule() if isinstance(step, Arrival) and step.at_s >= 12.0]
    assert numbers(taken) == [step.number for step in due if step.number % 2]
    assert [step for step in taken if isinstance(step, Level)] == LEVELS
