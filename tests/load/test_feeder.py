from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from perfload.errors import UsageError
from perfload.load import DataFeeder, plugin, rows
from perfload.load.cluster.rows import Ledger, Loan
from perfload.load.feeder import prepare
from perfload.load.node import Assignment
from perfload.load.rows import RowStock
from perfload.shares import evenly

ROWS = 7


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text("email\n" + "".join(f"user{number}@x.org\n" for number in range(ROWS)))
    return path


class Lent:
    """The nodes of a run, each of which asks the same ledger for unique rows, and gets them at once."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.feeders: set[str] = set()
        self._ledger = Ledger()
        self._stocks: dict[tuple[int, str], RowStock] = {}

    def lender(self, index: int) -> Callable[[str, int], RowStock]:
        def lend(feeder: str, total: int) -> RowStock:
            def ask() -> None:
                self._pass_on(self._ledger.lend(index, feeder, monotonic(), total=total, nodes=self.count))

            self.feeders.add(feeder)
            stock = self._stocks[index, feeder] = RowStock((), ask)
            stock.top_up()
            return stock

        return lend

    def _pass_on(self, loans: list[Loan]) -> None:
        for loan in loans:
            stock = self._stocks[loan.node, loan.feeder]
            if loan.rows:
                stock.add(loan.rows)
            else:
                self._pass_on(self._ledger.give_back(loan.node, loan.feeder, monotonic(), stock.give_up()))


def make_node(index: int, count: int, lent: Lent | None = None) -> Any:
    """Return node `index` of `count` in a run of its own, or in that of `lent`."""
    era = evenly(range(count), 0.0)
    assignment = Assignment("run-1", f"worker-{index}", index, count, started_at_s=0.0, seed=0, eras=(era,))
    lend = lent.lender(index) if lent else lambda _feeder, total: RowStock(range(total))
    return SimpleNamespace(assignment=assignment, lend=lend)


@pytest.fixture
def be(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return a function that makes this process a node of a run."""
    return lambda node: monkeypatch.setattr(plugin.installed, "node", node)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for a row that another node has."""
    monkeypatch.setattr(rows, "PATIENCE_S", 0.02)
    monkeypatch.setattr(rows, "ASK_AGAIN_S", 0.005)


class Visitors:
    """Virtual users, as far as a feeder knows them: each has a greenlet, which ends when told to."""

    def __init__(self) -> None:
        self._leave: dict[int, Event] = {}

    def come(self) -> Any:
        gate = Event()
        user = SimpleNamespace(greenlet=gevent.spawn(gate.wait))
        self._leave[id(user)] = gate
        return user

    def go(self, user: Any) -> None:
        self._leave.pop(id(user)).set()
        user.greenlet.join()
        gevent.sleep(0)  # whoever is linked to the greenlet is told after it has ended

    def all_go(self) -> None:
        for gate in self._leave.values():
            gate.set()


@pytest.fixture
def visitors() -> Iterator[Visitors]:
    found = Visitors()
    yield found
    found.all_go()


def number(row: dict[str, str]) -> int:
    return int(row["email"].removeprefix("user").removesuffix("@x.org"))


def test_sequential_goes_through_the_rows_over_and_over(file: Path) -> None:
    feeder = DataFeeder(file, ["email"])
    assert [number(feeder.take(None)) for _ in range(2 * ROWS)] == [*range(ROWS), *range(ROWS)]


def test_random_hands_out_any_row(file: Path) -> None:
    feeder = DataFeeder(file, ["email"], order="random")
    drawn = Counter(number(feeder.take(None)) for _ in range(1_400))
    assert drawn.keys() == set(range(ROWS))
    assert max(drawn.values()) < 200 + 5 * 13.1  # each 200 times, within five standard deviations


def test_unique_rows_are_given_back_when_their_users_leave(file: Path, visitors: Visitors) -> None:
    feeder = DataFeeder(file, ["email"], order="unique")
    users = [visitors.come() for _ in range(ROWS)]
    taken = [number(feeder.take(user)) for user in users]
    assert sorted(taken) == list(range(ROWS))
    visitors.go(users[4])
    visitors.go(users[2])
    again = [number(feeder.take(visitors.come())) for _ in range(2)]
    assert again == [taken[4], taken[2]]


@pytest.mark.parametrize("end", ["killed", "failed"])
def test_a_row_comes_back_however_its_user_ends(file: Path, end: str) -> None:
    feeder = DataFeeder(file, ["email"], order="unique")

    def body() -> None:
        if end == "failed":
            raise gevent.GreenletExit
        Event().wait()

    for _ in range(3 * ROWS):
        user = SimpleNamespace(greenlet=gevent.spawn(body))
        feeder.take(user)
        user.greenlet.kill()
        gevent.sleep(0)


def test_running_out_of_unique_rows_is_an_error(file: Path, visitors: Visitors) -> None:
    feeder = DataFeeder(file, ["email"], order="unique")
    for _ in range(ROWS):
        feeder.take(visitors.come())
    with pytest.raises(UsageError) as caught:
        feeder.take(visitors.come())
    assert caught.value.message == (f"{file} has no row left that no other user has; it has {ROWS} rows")
    assert caught.value.hint == "add rows, lower the number of users, or use order='sequential'"


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("count", [1, 2, 3, ROWS, ROWS + 2])
def test_no_two_users_of_a_run_have_the_same_row_and_all_rows_are_used(
    file: Path, be: Callable[[Any], None], visitors: Visitors, count: int
) -> None:
    lent, taken = Lent(count), []
    # Each node has a process, and a feeder, of its own.
    feeders = [DataFeeder(file, ["email"], order="unique") for _ in range(count)]
    nodes = [make_node(index, count, lent) for index in range(count)]
    for turn in range(ROWS):
        be(nodes[turn % count])
        taken.append(number(feeders[turn % count].take(visitors.come())))
    assert sorted(taken) == list(range(ROWS))
    with pytest.raises(UsageError, match="no row left"):
        feeders[0].take(visitors.come())


@pytest.mark.usefixtures("_impatient")
def test_a_row_that_a_user_of_one_node_leaves_goes_to_a_user_of_another(
    file: Path, be: Callable[[Any], None], visitors: Visitors
) -> None:
    lent, feeders = Lent(2), [DataFeeder(file, ["email"], order="unique") for _ in range(2)]
    be(make_node(0, 2, lent))
    users = [visitors.come() for _ in range(ROWS)]
    taken = [number(feeders[0].take(user)) for user in users]
    visitors.go(users[3])
    be(make_node(1, 2, lent))
    assert number(feeders[1].take(visitors.come())) == taken[3]


@pytest.mark.usefixtures("_impatient")
def test_rows_of_different_files_are_told_apart(
    file: Path, be: Callable[[Any], None], visitors: Visitors, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / file.name
    other.write_text("email\nuser1@x.org\n")
    lent = Lent(2)
    be(make_node(0, 2, lent))
    for path in (file, other):
        DataFeeder(path, ["email"], order="unique").take(visitors.come())
    assert len(lent.feeders) == 2
    be(make_node(1, 2, lent))
    DataFeeder(file, ["email"], order="unique").take(visitors.come())
    assert len(lent.feeders) == 2  # the same file on another node is the same


def test_rows_are_sent_for_before_the_first_user_asks(file: Path) -> None:
    feeder, other = (DataFeeder(file, ["email"], order=order) for order in ("unique", "sequential"))
    lent = Lent(2)
    prepare(make_node(0, 2, lent))
    assert len(lent.feeders) == 1
    assert feeder._stock is not None
    assert feeder._stock.give_up() == [0]  # it has come
    assert other._stock is None


def test_a_node_begins_at_its_own_place_and_goes_on_by_the_number_of_nodes(
    file: Path, be: Callable[[Any], None]
) -> None:
    be(make_node(2, 3))
    feeder = DataFeeder(file, ["email"])
    assert [number(feeder.take(None)) for _ in range(ROWS)] == [2, 5, 1, 4, 0, 3, 6]


def test_a_node_with_as_many_others_as_there_are_rows_has_one_of_them(
    file: Path, be: Callable[[Any], None]
) -> None:
    be(make_node(ROWS, ROWS + 1))
    feeder = DataFeeder(file, ["email"])
    assert [number(feeder.take(None)) for _ in range(ROWS + 1)] == [*range(ROWS), 0]


def test_a_new_run_begins_at_the_first_row(file: Path, be: Callable[[Any], None]) -> None:
    feeder = DataFeeder(file, ["email"])
    assert number(feeder.take(None)) == 0
    be(make_node(1, 2))
    assert [number(feeder.take(None)) for _ in range(2)] == [1, 3]
    be(make_node(1, 2))
    assert [number(feeder.take(None)) for _ in range(2)] == [1, 3]


def test_a_row_of_the_last_run_is_not_given_back_into_the_next(
    file: Path, be: Callable[[Any], None], visitors: Visitors
) -> None:
    feeder = DataFeeder(file, ["email"], order="unique")
    be(make_node(0, 1))
    lingering = visitors.come()
    feeder.take(lingering)
    be(make_node(0, 1))
    first = feeder.take(visitors.come())
    visitors.go(lingering)
    rest = [feeder.take(visitors.come()) for _ in range(ROWS - 1)]
    assert sorted(map(number, [first, *rest])) == list(range(ROWS))
    with pytest.raises(UsageError, match="no row left"):
        feeder.take(visitors.come())


def test_an_unknown_order_is_refused(file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        DataFeeder(file, ["email"], order="shuffled")  # type: ignore[arg-type]
    assert str(caught.value) == "order is 'shuffled'\n  one of sequential, random, unique"


def test_a_column_that_is_missing_is_found_before_the_load(file: Path) -> None:
    with pytest.raises(UsageError, match="has no column 'password'"):
        DataFeeder(file, ["email", "password"])
