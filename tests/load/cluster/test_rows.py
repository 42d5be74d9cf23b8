"""Unique rows of test data over many workers: no two live users ever have the same."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load import rows
from perfload.load.cluster import rows as ledgers
from perfload.load.cluster.rows import MAX_FEEDERS, MAX_ROWS, PARTS, RECALL_AFTER_S, Ledger, Loan
from perfload.load.rows import RowStock

FILE = "accounts.csv 0123"


def lend(
    ledger: Ledger, node: int, *, total: int = 24, nodes: int = 2, feeder: str = FILE, at_s: float = 0.0
) -> list[Loan]:
    return ledger.lend(node, feeder, at_s, total=total, nodes=nodes)


def test_a_worker_is_lent_a_part_of_its_fair_share_at_a_time() -> None:
    ledger = Ledger()
    assert PARTS == 4
    assert lend(ledger, 0) == [Loan(0, FILE, (0, 1, 2))]
    assert lend(ledger, 1) == [Loan(1, FILE, (3, 4, 5))]
    assert lend(ledger, 0, nodes=3) == [Loan(0, FILE, (6, 7))]


def test_the_last_rows_are_lent_however_few() -> None:
    ledger = Ledger()
    assert lend(ledger, 0, total=5, nodes=1) == [Loan(0, FILE, (0,))]
    assert lend(ledger, 1, total=5, nodes=100) == [Loan(1, FILE, (1,))]
    assert lend(ledger, 0, total=5, nodes=0) == [Loan(0, FILE, (2,))]


def test_when_none_are_free_all_who_have_some_are_asked_to_give_back() -> None:
    ledger = Ledger()
    for node in (0, 1):
        lend(ledger, node, total=2, nodes=2)
    assert lend(ledger, 0, total=2) == [Loan(1, FILE)]  # itself is not asked
    assert lend(ledger, 2, total=2) == [Loan(0, FILE)]  # the other one has just been asked
    assert lend(ledger, 2, total=2, at_s=RECALL_AFTER_S) == [Loan(0, FILE), Loan(1, FILE)]


def test_what_is_given_back_goes_to_whoever_asked_first() -> None:
    ledger = Ledger()
    for node in (0, 0, 1, 1):
        lend(ledger, node, total=4, nodes=1)
    lend(ledger, 3, total=4, nodes=1)
    lend(ledger, 2, total=4, nodes=1)
    assert ledger.give_back(0, FILE, 0.0, [1, 0]) == [Loan(3, FILE, (1,)), Loan(2, FILE, (0,))]
    assert ledger.give_back(1, FILE, 0.0, [2]) == []
    assert lend(ledger, 0, total=4, nodes=1) == [Loan(0, FILE, (2,))]


def test_who_still_waits_makes_the_others_be_asked_again() -> None:
    ledger = Ledger()
    for _ in range(2):
        lend(ledger, 0, total=2, nodes=1)
    lend(ledger, 1, total=2)
    lend(ledger, 2, total=2)
    assert ledger.give_back(0, FILE, 0.0, [0]) == [Loan(1, FILE, (0,)), Loan(0, FILE), Loan(1, FILE)]


def test_who_asked_before_it_ran_out_gives_up_what_it_can_spare() -> None:
    ledger = Ledger()
    for _ in range(3):
        lend(ledger, 0, total=2, nodes=1)  # it has both, and would like more
    assert lend(ledger, 1, total=2) == [Loan(0, FILE)]
    assert ledger.give_back(0, FILE, 0.0, [1]) == [Loan(1, FILE, (1,))]
    assert ledger.give_back(1, FILE, 0.0, [1]) == []  # that it would is forgotten


def test_who_had_nothing_to_give_back_is_not_asked_again_at_once() -> None:
    ledger = Ledger()
    lend(ledger, 0, total=1)
    assert lend(ledger, 1, total=1) == [Loan(0, FILE)]
    assert ledger.give_back(0, FILE, 0.0, []) == []  # its users have them all
    assert lend(ledger, 1, total=1, at_s=RECALL_AFTER_S - 0.01) == []
    assert lend(ledger, 1, total=1, at_s=RECALL_AFTER_S) == [Loan(0, FILE)]  # but when somebody asks again


def test_who_is_asked_to_give_back_is_asked_once_for_all_who_wait() -> None:
    ledger = Ledger()
    for node in range(100):
        lend(ledger, node, total=100, nodes=100)
    asked = [loan for node in range(100) for loan in lend(ledger, node, total=100)]
    assert sorted(loan.node for loan in asked) == list(range(100))
    again = [loan for node in range(100) for loan in lend(ledger, node, total=100, at_s=RECALL_AFTER_S)]
    assert sorted(loan.node for loan in again) == list(range(100))


def test_only_what_a_worker_had_is_taken_back_from_it() -> None:
    ledger = Ledger()
    lend(ledger, 0)
    lend(ledger, 1)
    assert ledger.give_back(0, FILE, 0.0, [3, 4, 23, 999, -1]) == []
    assert ledger.give_back(0, FILE, 0.0, [1, 1, 1]) == []
    assert ledger.give_back(0, FILE, 0.0, [1]) == []  # it had that once
    assert ledger.give_back(0, "another file", 0.0, [1]) == []
    lent = [row for _ in range(30) for loan in lend(ledger, 2) for row in loan.rows]
    assert sorted(lent) == [1, *range(6, 24)]


def test_who_is_gone_leaves_its_rows_to_those_who_wait() -> None:
    ledger = Ledger()
    for _ in range(2):
        lend(ledger, 0, total=2, nodes=1)
        lend(ledger, 0, total=2, nodes=1, feeder="other.csv")
    lend(ledger, 1, total=2, nodes=1)
    assert ledger.release(0, 0.0) == [Loan(1, FILE, (0,))]
    assert lend(ledger, 2, total=2, nodes=1) == [Loan(2, FILE, (1,))]
    assert lend(ledger, 2, total=2, nodes=1, feeder="other.csv") == [Loan(2, "other.csv", (0,))]


def test_who_is_gone_waits_no_more() -> None:
    ledger = Ledger()
    lend(ledger, 0, total=1)
    lend(ledger, 1, total=1)
    assert ledger.release(1, 0.0) == []
    assert ledger.give_back(0, FILE, 0.0, [0]) == []
    assert ledger.release(7, 0.0) == []


@pytest.mark.parametrize("total", [0, -3, MAX_ROWS + 1])
def test_a_file_of_an_impossible_size_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match=f"{FILE} has {total} rows, or is one file too many"):
        lend(Ledger(), 0, total=total)


def test_a_file_that_differs_between_workers_is_refused() -> None:
    ledger = Ledger()
    lend(ledger, 0, total=7)
    with pytest.raises(ValueError, match="has 8 rows here and 7 on another worker"):
        lend(ledger, 1, total=8)
    assert lend(ledger, 1, total=7) == [Loan(1, FILE, (1,))]


def test_the_number_of_files_is_bounded() -> None:
    ledger = Ledger()
    for number in range(MAX_FEEDERS):
        lend(ledger, 0, feeder=str(number))
    with pytest.raises(ValueError, match="one file too many"):
        lend(ledger, 0, feeder="one more")
    assert lend(ledger, 1, feeder="7") == [Loan(1, "7", (3, 4, 5))]


# --- whatever workers say

NODES = st.integers(0, 3)
SAID = st.one_of(
    st.tuples(st.just("lend"), NODES, st.integers(0, 3)),
    st.tuples(st.just("give"), NODES, st.lists(st.integers(-1, 12), max_size=6)),
    st.tuples(st.just("release"), NODES, st.none()),
)


@settings(deadline=None)
@given(total=st.integers(1, 10), said=st.lists(SAID, max_size=60))
def test_no_row_is_ever_lent_to_two_workers(total: int, said: list[tuple[str, int, Any]]) -> None:
    ledger = Ledger()
    held: dict[int, set[int]] = {node: set() for node in range(4)}
    for word, node, more in said:
        if word == "lend":
            loans = lend(ledger, node, total=total, nodes=more)
        elif word == "give":
            held[node] -= set(more)
            loans = ledger.give_back(node, FILE, 0.0, more)
        else:
            held[node] = set()
            loans = ledger.release(node, 0.0)
        for loan in loans:
            held[loan.node].update(loan.rows)
        counted = Counter(row for rows in held.values() for row in rows)
        assert set(counted.values()) <= {1}
        assert counted.keys() <= set(range(total))
    for node in range(4):
        ledger.release(node, 0.0)
    everything = [row for _ in range(total) for loan in lend(ledger, 9, total=total) for row in loan.rows]
    assert sorted(everything) == list(range(total))  # none was lost on the way


# --- a ledger and the stocks of its workers


class Workers:
    """A ledger, a stock in each of three workers, and messages on their way between them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.ledger = Ledger()
        self.stocks = [RowStock((), self._asking(node)) for node in range(3)]
        self.users: list[tuple[int, int, Callable[[object], None]]] = []
        """(worker, row, what gives it back)."""
        self._up: list[deque[tuple[str, Any]]] = [deque() for _ in range(3)]
        self._down: list[deque[tuple[int, ...]]] = [deque() for _ in range(3)]

    def _asking(self, node: int) -> Callable[[], None]:
        return lambda: self._up[node].append(("lend", None))

    def come(self, node: int) -> None:
        row = self.stocks[node].take()
        if row is not None:
            self.users.append((node, row, self.stocks[node].giver(row)))

    def go(self, turn: int) -> None:
        if self.users:
            _, _, give = self.users.pop(turn % len(self.users))
            give(None)

    def hear(self, node: int) -> None:
        """Have the master get the next message of a worker."""
        if self._up[node]:
            word, rows_back = self._up[node].popleft()
            if word == "lend":
                self._pass_on(self.ledger.lend(node, FILE, 0.0, total=self.total, nodes=3))
            else:
                self._pass_on(self.ledger.give_back(node, FILE, 0.0, rows_back))

    def tell(self, node: int) -> None:
        """Have a worker get the next message of the master."""
        if self._down[node]:
            came = self._down[node].popleft()
            if came:
                self.stocks[node].add(came)
            else:
                self._up[node].append(("give", self.stocks[node].give_up()))

    def lose(self, node: int) -> None:
        """Cut a worker off until its users have left and what it had is given to others."""
        self._up[node].clear()
        self._down[node].clear()
        self.users = [user for user in self.users if user[0] != node]
        self._pass_on(self.ledger.release(node, 0.0))
        self._down[node].clear()
        self.ledger.release(node, 0.0)
        self.stocks[node].void()

    def _pass_on(self, loans: list[Loan]) -> None:
        for loan in loans:
            self._down[loan.node].append(loan.rows)

    @property
    def is_quiet(self) -> bool:
        return not any((*self._up, *self._down))


DEEDS = st.tuples(st.sampled_from(["come", "go", "hear", "tell"] * 3 + ["lose"]), st.integers(0, 2))


@settings(deadline=None)
@given(total=st.integers(1, 12), deeds=st.lists(DEEDS, max_size=80))
def test_no_two_live_users_have_the_same_row_and_none_is_lost(
    total: int, deeds: list[tuple[str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PATIENCE_S", 0.0)
        patch.setattr(rows, "ASK_AGAIN_S", 0.0)
        patch.setattr(ledgers, "RECALL_AFTER_S", 0.0)
        workers = Workers(total)
        for deed, number in deeds:
            getattr(workers, deed)(number)
            here = [row for _, row, _ in workers.users]
            assert len(set(here)) == len(here)
        # Everybody else leaves, and worker 0 has users until every row of the file is in use there.
        while workers.users:
            workers.go(0)
        for _ in range(20 * total):
            workers.come(0)
            for _ in range(30):
                for node in range(3):
                    workers.hear(node)
                    workers.tell(node)
            assert workers.is_quiet, "they do not stop asking each other"
        assert sorted(row for _, row, _ in workers.users) == list(range(total))
