"""What lives as long as the load is kept out of the garbage collector, and given back."""

import gc
from collections.abc import Iterator

import pytest
from locust.event import Events

from perfload.load.collector import CollectorPolicy


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def is_looked_at(item: object) -> bool:
    return any(item is other for other in gc.get_objects())


def test_what_is_alive_is_frozen_until_the_end() -> None:
    events = Events()
    before, users = ["before"], ["user"]
    policy = CollectorPolicy(events, freezes=True)
    policy.begin()
    assert not is_looked_at(before)
    users = ["a", "user"]
    assert is_looked_at(users)
    events.spawning_complete.fire(user_count=1)
    assert not is_looked_at(users)
    policy.end()
    assert is_looked_at(before)
    assert gc.get_freeze_count() == 0
    events.spawning_complete.fire(user_count=2)  # of a load that is not ours
    assert gc.get_freeze_count() == 0


def test_it_can_be_switched_off() -> None:
    events = Events()
    policy = CollectorPolicy(events, freezes=False)
    policy.begin()
    events.spawning_complete.fire(user_count=1)
    assert gc.get_freeze_count() == 0
    policy.end()
