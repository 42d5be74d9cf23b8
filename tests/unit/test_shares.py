"""Who starts what: shares that cover the plan, whoever comes and goes."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload import shares
from perfload.model import Phase
from perfload.plan import Arrival, Level, Plan
from perfload.shares import MAX_PATTERN, Era, Shares, era_at, evenly, lost, without

NUMBERS = range(2 * MAX_PATTERN)
"""Virtual users enough to see every turn of a pattern, and the beginning of the next round."""


@st.composite
def eras(draw: st.DrawFn) -> Era:
    """Return an era that several nodes were lost in, one after the other."""
    nodes = draw(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True))
    era = evenly(nodes, draw(st.floats(0, 100)), draw(st.integers(0, 50)))
    for node in draw(st.lists(st.sampled_from(nodes), max_size=len(nodes) - 1, unique=True)):
        era = without(era, node, era.from_s + 1)
    return era


def counts(era: Era) -> list[int]:
    """Return how many slots of the pattern each owner has."""
    return sorted(Counter(era.owners).values())


# --- eras


def test_nodes_take_turns() -> None:
    era = evenly([0, 2, 5], 3.0)
    assert (era.from_s, era.reserved_users) == (3.0, 0)
    assert [era.owner(number) for number in range(7)] == [0, 2, 5, 0, 2, 5, 0]


def test_where_nobody_is_left_nobody_owns_anything() -> None:
    era = evenly([], 0.0)
    assert [era.owner(number) for number in range(3)] == [None, None, None]


def test_the_others_share_what_a_lost_node_had() -> None:
    era = without(evenly([0, 1, 2], 0.0, 7), 1, 4.5)
    assert era == Era(4.5, (0, 0, 2, 0, 2, 2), 7)


def test_a_pattern_that_divides_is_not_made_longer() -> None:
    assert without(Era(0.0, (0, 1, 1, 2)), 1, 1.0).owners == (0, 0, 2, 2)


def test_the_last_one_takes_everything_and_then_nobody_does() -> None:
    alone = without(evenly([3, 4], 0.0), 3, 1.0)
    assert alone == Era(1.0, (4, 4))
    assert without(alone, 4, 2.0) == Era(2.0, ())
    assert without(Era(2.0, ()), 4, 3.0) == Era(3.0, ())


def test_who_had_nothing_changes_nothing_when_it_is_lost() -> None:
    assert without(evenly([0, 1], 0.0), 7, 1.0) == Era(1.0, (0, 1))


@given(eras(), st.data())
def test_nobody_else_loses_anything_when_a_node_is_lost(era: Era, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(era.owners))
    after = without(era, gone, era.from_s + 1)
    for number in NUMBERS:
        if era.owner(number) != gone:
            assert after.owner(number) == era.owner(number)
    assert gone not in after.owners
    assert set(after.owners) == set(era.owners) - {gone}
    assert len(after.owners) <= MAX_PATTERN
    assert after.reserved_users == era.reserved_users


@given(eras(), st.data())
def test_the_share_of_a_lost_node_is_dealt_out_evenly(era: Era, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(era.owners))
    after = without(era, gone, era.from_s + 1)
    if not after.owners:
        return
    rounds = len(after.owners) // len(era.owners)
    gains = [after.owners.count(node) - rounds * era.owners.count(node) for node in sorted(set(after.owners))]
    assert max(gains) - min(gains) <= 1
    others = len(set(after.owners))
    if len(era.owners) * others <= MAX_PATTERN:
        assert max(gains) == min(gains)


def test_as_long_as_the_pattern_may_grow_everybody_has_the_same() -> None:
    era = evenly(range(8), 0.0)
    sizes = []
    for node in range(7):
        era = without(era, node, node + 1.0)
        sizes.append((len(era.owners), counts(era)[0], counts(era)[-1]))
    assert sizes == [
        (56, 8, 8),
        (336, 56, 56),
        (336, 67, 68),  # the next would have 1,680 slots
        (336, 84, 84),
        (336, 112, 112),
        (336, 168, 168),
        (336, 336, 336),
    ]


def test_the_era_in_force_is_the_last_that_has_begun() -> None:
    first, second, same_time, last = (
        evenly([node], from_s) for node, from_s in enumerate([0.0, 5.0, 5.0, 9.0])
    )
    known = [first, second, same_time, last]
    assert [era_at(known, at_s) for at_s in (-1.0, 0.0, 4.999, 5.0, 8.0, 9.0, 1e9)] == [
        first,
        first,
        first,
        same_time,
        same_time,
        last,
        last,
    ]


# --- what one node knows


def test_a_node_owns_its_turns_of_the_era_in_force() -> None:
    mine = Shares(1, [evenly([0, 1], 0.0), evenly([0, 1, 2], 10.0)])
    assert [number for number in range(12) if mine.owns(number, 9.9)] == [1, 3, 5, 7, 9, 11]
    assert [number for number in range(12) if mine.owns(number, 10.0)] == [1, 4, 7, 10]
    assert mine.era(9.9).from_s == 0.0


def test_news_replaces_what_is_older_and_old_news_nothing() -> None:
    mine = Shares(0, [evenly([0, 1], 0.0)], version=3)
    alone = evenly([0], 0.0)
    for version in (1, 2, 3):
        mine.update(version, [alone])
        assert (mine.version, mine.owns(1, 0.0)) == (3, False)
    mine.update(4, [alone])
    assert (mine.version, mine.owns(1, 0.0)) == (4, True)


def test_residents_are_those_of_the_level_that_are_mine() -> None:
    mine = Shares(2, [evenly([0, 1, 2], 0.0), evenly([2], 7.0)])
    assert mine.residents(7, 3.0) == [2, 5]
    assert mine.residents(3, 7.0) == [0, 1, 2]
    assert mine.residents(0, 7.0) == []


def test_room_is_what_is_left_by_users_that_lost_nodes_may_still_have() -> None:
    mine = Shares(0, [Era(0.0, (0, 1, 1), reserved_users=4)])
    assert [mine.room(cap, 0.0) for cap in (0, 4, 5, 6, 7, 8, 14)] == [0, 0, 1, 1, 1, 2, 4]


@given(eras(), st.integers(0, 300))
def test_residents_of_all_nodes_are_the_level(era: Era, users: int) -> None:
    nodes = [Shares(node, [era]) for node in sorted(set(era.owners))]
    together = [number for node in nodes for number in node.residents(users, era.from_s)]
    assert sorted(together) == list(range(users))


@given(eras(), st.integers(0, 300))
def test_the_room_of_all_nodes_is_the_cap_less_what_is_reserved(era: Era, cap: int) -> None:
    rooms = [Shares(node, [era]).room(cap, era.from_s) for node in sorted(set(era.owners))]
    assert sum(rooms) == max(0, cap - era.reserved_users)


def test_where_nobody_is_left_there_is_no_room() -> None:
    nobody = Shares(0, [evenly([], 0.0)])
    assert nobody.room(100, 0.0) == 0
    assert nobody.residents(100, 0.0) == []


@given(st.lists(eras(), min_size=1, max_size=4), st.floats(0, 100), st.integers(0, 10_000))
def test_every_arrival_has_exactly_one_owner(known: list[Era], at_s: float, number: int) -> None:
    known.sort(key=lambda era: era.from_s)
    owners = [node for node in range(31) if Shares(node, known).owns(number, at_s)]
    assert len(owners) == 1


# --- what was given


PLAN = Plan(
    [
        Phase(name="Open", duration=2, arrival_rate=4),
        Phase(name="Closed", duration=2, users=3),
        Phase(name="Again", duration=1, arrival_count=2),
    ]
)
PHASES = [span.name for span in PLAN.spans]


def test_what_was_given_counts_arrivals_by_the_second_they_are_due_in() -> None:
    known = [evenly([0, 1], 0.0), Era(1.5, (1,)), Era(4.5, ())]
    assert shares.given(PLAN.schedule(), known, PHASES, 1e9) == {
        0: {(0, "Open"): 2, (1, "Open"): 1},
        1: {(0, "Open"): 1, (1, "Open"): 3, (2, "Open"): 1},
    }


def test_what_is_due_after_the_end_was_given_to_nobody() -> None:
    steps = [Arrival(0, 0.5, 0), Level(1.0, 3, 0), Arrival(1, 1.0, 0), Arrival(2, 1.01, 0)]
    assert shares.given(steps, [evenly([4], 0.0)], ["a"], 1.0) == {4: {(0, "a"): 1, (1, "a"): 1}}


@given(eras(), st.floats(0, 6))
def test_everything_that_is_due_was_given_to_somebody(era: Era, until_s: float) -> None:
    found = shares.given(PLAN.schedule(), [era], PHASES, until_s)
    due = [step for step in PLAN.schedule() if isinstance(step, Arrival) and step.at_s <= until_s]
    assert sum(sum(seconds.values()) for seconds in found.values()) == len(due)


# --- what was lost of it

Counts = dict[tuple[int, str], int]


def phase(counts: Sequence[int], name: str = "a") -> Counts:
    """Return `counts` as those of seconds 0, 1, ..."""
    return {(second, name): count for second, count in enumerate(counts) if count}


@pytest.mark.parametrize(
    ("given_to_it", "dealt_with", "missing"),
    [
        ([5, 5, 5], [5, 5, 5], []),
        ([5, 5, 5], [5, 2, 0], [0, 3, 5]),  # it was killed in second 1
        ([5, 5, 5], [0, 0, 15], []),  # it was late, and made up for it
        ([5, 5, 5, 5], [5, 2, 0, 8], [0, 3, 2]),  # it was stopped, and went on with what was due in second 2
        ([5, 5, 5], [5, 0, 0, 5], [0, 5]),
        ([5, 0, 0, 5], [0, 0, 0, 5], [5]),
        ([5], [], [5]),
        ([0], [3], []),
    ],
)
def test_what_is_lost_is_the_backlog_that_is_never_made_up(
    given_to_it: list[int], dealt_with: list[int], missing: list[int]
) -> None:
    assert lost(phase(given_to_it), phase(dealt_with)) == phase(missing)


def test_phases_do_not_make_up_for_each_other() -> None:
    given_to_it = phase([5, 5], "a") | phase([0, 0, 5], "b")
    assert lost(given_to_it, phase([5, 1], "a") | phase([0, 0, 9], "b")) == {(1, "a"): 4}
    assert lost(given_to_it, phase([5, 5], "a")) == {(2, "b"): 5}


def test_what_is_lost_is_in_order_of_time() -> None:
    given_to_it = phase([1, 1], "z") | phase([0, 1, 1], "a")
    assert list(lost(given_to_it, {})) == [(0, "z"), (1, "a"), (1, "z"), (2, "a")]


@st.composite
def nights(draw: st.DrawFn) -> tuple[Counts, Counts]:
    """Return arrivals of one phase, and those of them that were dealt with: in their second or later."""
    lates = draw(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 5)), max_size=40))
    due = Counter((second, "a") for second, _ in lates)
    done = Counter((second + late, "a") for second, late in lates if late is not None)
    return dict(due), dict(done)


@given(nights())
def test_lost_and_dealt_with_are_all_that_was_given(night: tuple[Counts, Counts]) -> None:
    given_to_it, dealt_with = night
    missing = lost(given_to_it, dealt_with)
    assert sum(missing.values()) == sum(given_to_it.values()) - sum(dealt_with.values())
    for key, count in missing.items():
        assert 0 < count <= given_to_it[key]


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 9), max_size=12))
def test_no_more_is_lost_than_was_given(given_to_it: list[int], dealt_with: list[int]) -> None:
    missing = lost(phase(given_to_it), phase(dealt_with))
    assert sum(missing.values()) <= sum(given_to_it)
    assert all(count > 0 for count in missing.values())
