from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from perfload.errors import UsageError
from perfload.load import DataFeeder, plugin
from perfload.load.node import Assignment

ROWS = 7


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text("email\n" + "".join(f"user{number}@x.org\n" for number in range(ROWS)))
    return path


@pytest.fixture
def be_node(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes this process node `index` of `count` in a run."""

    def be(index: int, count: int, run_id: str = "run-1") -> None:
        assignment = Assignment(run_id, f"worker-{index}", index, count, started_at_s=0.0, seed=0)
        monkeypatch.setattr(plugin.installed, "node", SimpleNamespace(assignment=assignment))

    return be


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
    assert caught.value.message == (
        f"{file} has no row left that no other user has; this node's share: {ROWS} rows"
    )
    assert caught.value.hint == "add rows, lower the number of users, or use order='sequential'"


@pytest.mark.parametrize("count", [1, 2, 3, ROWS, ROWS + 2])
def test_the_shares_of_all_nodes_are_disjoint_and_complete(
    file: Path, be_node: Callable[..., None], visitors: Visitors, count: int
) -> None:
    taken: list[int] = []
    for index in range(count):
        be_node(index, count)
        feeder = DataFeeder(
            file, ["email"], order="unique"
        )  # each node has a process, and a feeder, of its own
        for _ in range(len(range(index, ROWS, count))):
            taken.append(number(feeder.take(visitors.come())))
        with pytest.raises(UsageError, match="no row left"):
            feeder.take(visitors.come())
    assert sorted(taken) == list(range(ROWS))


def test_a_node_without_a_share_goes_through_all_rows_in_order(
    file: Path, be_node: Callable[..., None]
) -> None:
    be_node(ROWS, ROWS + 1)
    feeder = DataFeeder(file, ["email"])
    assert [number(feeder.take(None)) for _ in range(ROWS + 1)] == [*range(ROWS), 0]


def test_a_node_that_came_too_late_for_a_share_can_still_take(
    file: Path, be_node: Callable[..., None]
) -> None:
    be_node(0, 0)
    assert number(DataFeeder(file, ["email"]).take(None)) == 0


def test_a_new_run_begins_at_the_first_row(file: Path, be_node: Callable[..., None]) -> None:
    feeder = DataFeeder(file, ["email"])
    be_node(1, 2, "run-1")
    assert [number(feeder.take(None)) for _ in range(2)] == [1, 3]
    be_node(1, 2, "run-2")
    assert [number(feeder.take(None)) for _ in range(2)] == [1, 3]


def test_a_row_of_the_last_run_is_not_given_back_into_the_next(
    file: Path, be_node: Callable[..., None], visitors: Visitors
) -> None:
    feeder = DataFeeder(file, ["email"], order="unique")
    be_node(0, 1, "run-1")
    lingering = visitors.come()
    feeder.take(lingering)
    be_node(0, 1, "run-2")
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


def test_a_node_without_a_share_has_no_unique_rows(
    file: Path, be_node: Callable[..., None], visitors: Visitors
) -> None:
    feeder = DataFeeder(file, ["email"], order="unique")
    be_node(2, 0)
    with pytest.raises(UsageError, match="this node's share: 0 rows"):
        feeder.take(visitors.come())
