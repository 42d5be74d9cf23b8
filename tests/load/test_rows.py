"""The unique rows that one process may hand out: what it has, asks for, gives back and loses."""

import gevent
import pytest

from perfload.load import rows
from perfload.load.rows import RowStock
from tests.load.conftest import wait_for


class Lender:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self) -> None:
        self.asked += 1


@pytest.fixture
def lender() -> Lender:
    return Lender()


def taken(stock: RowStock) -> int:
    row = stock.take()
    assert row is not None
    return row


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for a row."""
    monkeypatch.setattr(rows, "PATIENCE_S", 0.0)


def test_a_stock_of_its_own_hands_out_each_row_once() -> None:
    stock = RowStock(range(3))
    assert [stock.take() for _ in range(5)] == [0, 1, 2, None, None]


def test_a_row_that_is_given_back_is_handed_out_again_after_the_others() -> None:
    stock = RowStock(range(3))
    stock.giver(taken(stock))(None)
    assert [stock.take() for _ in range(4)] == [1, 2, 0, None]


def test_rows_that_were_lent_are_handed_out(lender: Lender) -> None:
    stock = RowStock((), lender.ask)
    stock.top_up()
    assert lender.asked == 1
    stock.add([7, 9])
    assert [stock.take() for _ in range(2)] == [7, 9]


def test_more_are_asked_for_when_half_of_what_came_is_gone(lender: Lender) -> None:
    stock = RowStock((), lender.ask)
    stock.add(range(10))
    for _ in range(4):
        stock.take()
    assert lender.asked == 0
    stock.take()
    assert lender.asked == 1
    stock.take()
    assert lender.asked == 1  # once, until something comes
    stock.add(range(10, 12))
    assert lender.asked == 1
    stock.take()
    assert lender.asked == 2  # it is to have five to spare from now on


def test_a_user_waits_until_rows_come(lender: Lender) -> None:
    stock = RowStock((), lender.ask)
    taking = [gevent.spawn(stock.take) for _ in range(3)]
    wait_for(lambda: lender.asked == 1)
    stock.add([4])
    wait_for(lambda: sum(job.ready() for job in taking) == 1)
    gevent.sleep(0)
    assert sum(job.ready() for job in taking) == 1  # the row was another's, so they wait on
    stock.add([5, 6])
    assert sorted(job.get() for job in taking) == [4, 5, 6]


def test_a_user_waits_for_a_row_that_another_gives_back(lender: Lender) -> None:
    stock = RowStock((), lender.ask)
    stock.add([3])
    give = stock.giver(taken(stock))
    taking = gevent.spawn(stock.take)
    gevent.sleep(0)
    assert not taking.ready()
    give(None)
    assert taking.get() == 3


def test_who_waits_asks_again_until_something_comes(lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ASK_AGAIN_S", 0.005)
    stock = RowStock((), lender.ask)
    taking = gevent.spawn(stock.take)
    wait_for(lambda: lender.asked == 4)
    stock.add([1, 2])
    assert taking.get() == 1


def test_a_user_does_not_wait_for_ever(lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PATIENCE_S", 0.01)
    assert RowStock((), lender.ask).take() is None
    assert lender.asked == 1


def test_half_of_what_is_to_spare_is_given_up(lender: Lender) -> None:
    stock = RowStock((), lender.ask)
    stock.add(range(5))
    assert stock.take() == 0
    assert stock.give_up() == [4, 3]
    assert stock.give_up() == [2]
    assert stock.give_up() == [1]
    assert stock.give_up() == []


@pytest.mark.usefixtures("impatient")
def test_what_was_given_up_is_not_asked_for_again_before_it_is_needed(lender: Lender) -> None:
    stock = RowStock((), lender.ask)
    stock.add(range(8))
    stock.give_up()
    for _ in range(3):
        stock.take()
    assert lender.asked == 0
    stock.take()
    assert lender.asked == 1  # that was the last
    assert stock.take() is None


@pytest.mark.usefixtures("impatient")
def test_a_void_stock_has_nothing_and_takes_nothing_back(lender: Lender) -> None:
    stock = RowStock((), lender.ask)
    stock.add(range(4))
    give_first, give_second = (stock.giver(taken(stock)) for _ in range(2))
    give_first(None)
    stock.void()
    give_second(None)
    asked = lender.asked
    assert stock.take() is None
    assert lender.asked == asked + 1  # at once: what was asked for before is void as well
    stock.add([2])
    give_second(None)
    give = stock.giver(taken(stock))
    assert stock.take() is None
    give(None)
    assert stock.take() == 2


def test_who_waits_while_the_stock_becomes_void_gets_a_new_row(
    lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ASK_AGAIN_S", 0.005)
    stock = RowStock((), lender.ask)
    taking = gevent.spawn(stock.take)
    wait_for(lambda: lender.asked == 1)
    stock.void()
    stock.add([8])
    assert taking.get() == 8
