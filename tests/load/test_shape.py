from typing import Any

import pytest
from locust import User
from locust.runners import WorkerNode
from locust.util.load_locustfile import is_shape_class

from perfload.errors import UsageError
from perfload.load import Phase, PhasedShape
from perfload.load.shape import NoUsersDispatcher


class LoadTest(PhasedShape):
    phases = (
        Phase(name="Warm up", duration="1m", arrival_rate=5, warmup=True),
        Phase(name="Load", duration="2m", arrival_rate=10),
    )


class A(User):
    weight = 3


class B(User):
    fixed_count = 2


def test_locust_picks_up_the_shape_and_not_its_base() -> None:
    assert not is_shape_class(PhasedShape)
    assert is_shape_class(LoadTest)


def test_a_base_of_ones_own_can_be_abstract_too() -> None:
    class Base(LoadTest):
        abstract = True

    class Mine(Base):
        pass

    assert not is_shape_class(Base)
    assert is_shape_class(Mine)


def test_the_plan_has_the_phases_and_the_time_scale() -> None:
    plan = LoadTest().plan(time_scale=60.0)
    assert [(span.name, span.duration_s, span.planned) for span in plan.spans] == [
        ("Warm up", 1.0, 5),
        ("Load", 2.0, 20),
    ]


def test_a_shape_without_phases_is_an_error() -> None:
    class Empty(PhasedShape):
        pass

    with pytest.raises(UsageError, match="the plan has no phases"):
        Empty().plan(1.0)


def test_locust_is_told_to_go_on_until_the_run_is_over() -> None:
    shape = LoadTest()
    assert shape.tick() == shape.tick() == (0, 1.0)
    shape.is_over = lambda: True
    assert shape.tick() is None
    assert LoadTest().tick() == (0, 1.0)  # one run's end is not the next one's


def workers(*names: str) -> list[Any]:
    return [WorkerNode(name) for name in names]


def test_every_dispatch_is_one_round_without_users() -> None:
    dispatcher = NoUsersDispatcher(workers("a", "b"), [A, B])
    for _ in range(2):
        dispatcher.new_dispatch(0, 1.0, [A, B])
        assert list(dispatcher) == [{"a": {}, "b": {}}]
    assert list(dispatcher) == []


def test_workers_may_come_and_go() -> None:
    first, second = workers("a", "b")
    dispatcher = NoUsersDispatcher([first], [A, B])
    dispatcher.new_dispatch(0, 1.0)
    dispatcher.add_worker(second)
    dispatcher.new_dispatch(0, 1.0)
    assert list(dispatcher) == [{"a": {}, "b": {}}]
    dispatcher.remove_worker(first)
    dispatcher.new_dispatch(0, 1.0)
    assert list(dispatcher) == [{"b": {}}]
