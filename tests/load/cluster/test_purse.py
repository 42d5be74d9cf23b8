"""What a run may spend, dealt out to workers: never more than the cap, and nearly all of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load.cluster.purse import PARTS, Purse


def grant(purse: Purse, index: int, spent: float, *, cap: float = 1000.0, workers: int = 2) -> float:
    return purse.hear(index, {"tokens": (cap, spent)}, workers=workers)["tokens"]


def test_a_worker_is_granted_a_part_of_its_share_of_what_is_left() -> None:
    purse = Purse()
    assert grant(purse, 0, 0) == 1000 / (PARTS * 2)
    assert grant(purse, 1, 0) == 1000 / (PARTS * 2)
    assert grant(purse, 0, 100) == 100 + 900 / (PARTS * 2)
    assert purse.excess == ""


def test_a_message_that_comes_twice_or_late_changes_nothing() -> None:
    purse = Purse()
    first = grant(purse, 0, 0)
    assert [grant(purse, 0, 0) for _ in range(100)] == [first] * 100
    later = grant(purse, 0, 100)
    assert grant(purse, 0, 50) == later


def test_it_is_over_when_all_is_spent() -> None:
    purse = Purse()
    grant(purse, 0, 600)
    assert purse.excess == ""
    grant(purse, 1, 400)
    assert purse.excess == "1,000 tokens used, of 1,000 at most"


def test_what_one_has_spent_above_its_grant_the_others_cannot() -> None:
    purse = Purse()
    assert grant(purse, 0, 0) == 125
    grant(purse, 0, 990)  # what was in flight
    assert grant(purse, 1, 0) <= 10


def test_it_is_over_when_somebody_needs_what_is_set_aside_for_others() -> None:
    purse = Purse()
    aside = grant(purse, 1, 0, cap=1000)
    limit = grant(purse, 0, 0)
    for _ in range(1000):
        spent, limit = limit, grant(purse, 0, limit)
        if purse.excess:
            break
    assert spent == pytest.approx(1000 - aside)
    assert purse.excess == "875 tokens used, of 1,000 at most; what is left is set aside for other workers"


def test_the_lowest_cap_that_a_worker_has_counts_and_each_kind_for_itself() -> None:
    purse = Purse()
    purse.hear(0, {"cost": (2.0, 0.0), "tokens": (100.0, 0.0)}, workers=2)
    purse.hear(1, {"cost": (1.0, 0.4)}, workers=2)
    assert purse.excess == ""
    purse.hear(0, {"cost": (2.0, 0.7), "tokens": (100.0, 3.0)}, workers=2)
    assert purse.excess == "1.1 spent, of a cost of 1 at most"


@given(
    cap=st.floats(1e-6, 1e7),
    rates=st.lists(st.floats(0.1, 10), min_size=1, max_size=8),
    lost=st.floats(0, 0.9),
    seed=st.integers(0, 1 << 30),
)
@settings(deadline=None, max_examples=200)
def test_workers_never_spend_more_than_the_cap_and_what_is_in_flight(
    cap: float, rates: list[float], lost: float, seed: int
) -> None:
    """Each spends up to what it was granted, at its own pace; messages are lost either way, or come late."""
    chance = random.Random(seed)
    purse, workers = Purse(), len(rates)
    spent, limits, over = [0.0] * workers, [0.0] * workers, [0.0] * workers
    late: list[tuple[int, float]] = []
    for _ in range(3000):
        index = chance.randrange(workers)
        request = cap / 500 * rates[index] * chance.random()
        if spent[index] < limits[index]:  # as `spending.check` has it
            over[index] = spent[index] + request - limits[index]
            spent[index] += request
        told = spent[index] if chance.random() < 0.8 else spent[index] * chance.random()
        if chance.random() >= lost:
            limit = purse.hear(index, {"cost": (cap, told)}, workers=workers)["cost"]
            late.append((index, limit))
        if late and chance.random() >= lost:
            index, limit = late.pop(chance.randrange(len(late)))
            limits[index] = max(limits[index], limit)
    assert sum(limits) <= cap * (1 + 1e-6) + sum(max(0.0, each) for each in over)
    assert sum(spent) <= cap * (1 + 1e-6) + sum(max(0.0, each) for each in over)
    if purse.excess:
        assert sum(spent) > cap * (1 - 1 / PARTS) * (1 - 1e-6)


@pytest.mark.parametrize("workers", [1, 2, 10, 100])
def test_those_who_spend_alike_spend_nearly_all(workers: int) -> None:
    purse, spent = Purse(), [0.0] * workers
    limits = [grant(purse, index, 0, cap=1e6, workers=workers) for index in range(workers)]
    for turn in range(1_000_000):
        index = turn % workers
        if spent[index] < limits[index]:
            spent[index] += 25
        else:
            limits[index] = grant(purse, index, spent[index], cap=1e6, workers=workers)
        if purse.excess:
            break
    assert 0.99e6 < sum(spent) <= 1e6 + 25 * workers
