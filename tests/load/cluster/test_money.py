"""What workers say of the money they have spent, what the master grants them, and how it ends the run."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust.exception import RPCSendError

from perfload.load.cluster import worker as module
from perfload.load.cluster.messages import BEAT, decode_account, decode_grants
from perfload.load.cluster.purse import PARTS
from tests.load.cluster.masters import Master
from tests.load.cluster.workers import Worker
from tests.load.conftest import wait_for

MakeMaster = Callable[..., Master]


def tokens(cap: float, spent: float) -> dict[str, Any]:
    return {"account": {"tokens": [cap, spent]}}


# --- messages


def test_an_account_has_the_cap_and_what_is_spent() -> None:
    assert decode_account({"account": {"tokens": [400, 3], "cost": [2.5, 0.0]}}) == {
        "tokens": (400.0, 3.0),
        "cost": (2.5, 0.0),
    }
    assert decode_account({}) == {}
    assert decode_grants({"granted": {"cost": 0.25}}) == {"cost": 0.25}


@pytest.mark.parametrize(
    "account",
    [
        7,
        [],
        {"euros": [1, 1]},
        {1: [1, 1]},
        {"tokens": 7},
        {"tokens": [7]},
        {"tokens": [7, 1, 1]},
        {"tokens": [7, -1]},
        {"tokens": [-7, 1]},
        {"tokens": [math.nan, 1]},
        {"tokens": [7, math.inf]},
        {"tokens": [7, "1"]},
        {"tokens": [True, 1]},
        {"tokens": [10**400, 1]},
    ],
)
def test_what_is_no_account_is_refused_with_its_beat(make_master: MakeMaster, account: object) -> None:
    with pytest.raises(ValueError, match=r"account|amount|number|nothing"):
        decode_account({"account": account})
    master = make_master(2)
    assert master.beat(account=account) is None
    assert not master.run.breach


KINDS = st.sampled_from(["tokens", "cost", "x"])
LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda held: st.lists(held) | st.dictionaries(KINDS, held)))
def test_whatever_comes_as_money_is_refused_or_makes_sense(said: object) -> None:
    decoders: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
        ("account", decode_account),
        ("granted", decode_grants),
    )
    for key, decode in decoders:
        try:
            decoded = decode({key: said})
        except ValueError:
            continue
        amounts = [amount for held in decoded.values() for amount in (held if key == "account" else (held,))]
        assert all(0 <= amount < math.inf for amount in amounts)


# --- the master


def test_a_beat_that_tells_of_money_is_answered_with_a_grant(make_master: MakeMaster) -> None:
    master = make_master(2)
    answer = master.beat(**tokens(800, 0))
    assert (answer["granted"], answer["is_all"]) == ({"tokens": 800 / (PARTS * 2)}, False)
    assert "granted" not in master.beat("host_1")
    assert master.beat(**tokens(800, 50))["granted"] == {"tokens": 50 + 750 / (PARTS * 2)}


def test_the_run_is_aborted_when_the_workers_have_spent_the_cap_together(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.beat("host_0", **tokens(400, 250))
    assert not master.run.is_over()
    answer = master.beat("host_1", **tokens(400, 160))
    assert answer["is_all"] is True
    assert master.run.breach == "the spending cap is reached: 410 tokens used, of 400 at most"
    assert master.run.is_over()
    assert master.beat("host_0", **tokens(400, 260))["is_all"] is True
    assert master.run.breach == "the spending cap is reached: 410 tokens used, of 400 at most"


def test_more_than_any_number_is_more_than_the_cap(make_master: MakeMaster) -> None:
    master = make_master(2)
    for client in ("host_0", "host_1"):
        answer = master.beat(client, **tokens(400, 1.7e308))
    assert answer["is_all"] is True
    assert master.run.breach.endswith("used, of 400 at most")


def test_a_run_that_is_aborted_already_keeps_its_reason(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.run.breach = "p95(login) < 5s"
    master.beat(**tokens(400, 400))
    assert master.run.breach == "p95(login) < 5s"


def test_it_does_not_matter_which_beats_and_answers_arrive(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.is_cut = True
    with pytest.raises(RPCSendError):
        master.beat("host_0", **tokens(400, 90))
    master.is_cut = False
    for spent in (0, 90, 90, 40, 200):
        master.beat("host_0", **tokens(400, spent))
    assert not master.run.breach
    master.beat("host_1", **tokens(400, 200))
    assert master.run.breach


def test_who_joins_in_mid_run_gets_of_what_is_left(make_master: MakeMaster) -> None:
    master = make_master(2)
    for client in ("host_0", "host_1"):
        master.beat(client, **tokens(800, 300))
    master.link.join("host_7")
    granted = master.beat("host_7", **tokens(800, 0))["granted"]["tokens"]
    assert granted == pytest.approx(200 / (PARTS * 3))
    assert not master.run.breach


def test_what_a_lost_worker_was_granted_stays_its_own(make_master: MakeMaster) -> None:
    """It may be spending it, for all that anybody knows."""
    master = make_master(2)
    aside = master.beat("host_0", users=3, **tokens(800, 0))["granted"]["tokens"]
    master.lose_first()
    spent = 0.0
    for _ in range(500):
        answer = master.beat("host_1", version=1, **tokens(800, spent))
        if answer["is_all"]:
            break
        spent = answer["granted"]["tokens"]
    assert spent == pytest.approx(800 - aside)
    assert "set aside for other workers" in master.run.breach


# --- the worker


class Spender:
    """Spends nothing; keeps what it is told."""

    def __init__(self, account: dict[str, tuple[float, float]]) -> None:
        self.ask: Callable[[], None] = lambda: None
        self.held = account
        self.told: list[tuple[dict[str, float], bool]] = []

    def account(self) -> Mapping[str, tuple[float, float]]:
        return self.held

    def grant(self, granted: Mapping[str, float], *, is_all: bool) -> None:
        self.told.append((dict(granted), is_all))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One that beats once a minute, unless it is in a hurry."""
    monkeypatch.setattr(module, "FIRST_BEATS", 1)
    monkeypatch.setattr(module, "FIRST_BEAT_S", 0.001)
    monkeypatch.setattr(module, "BEAT_S", 60.0)
    made = Worker()
    wait_for(lambda: bool(made.sent))
    made.said(BEAT)
    made.begin()
    return made


def test_every_beat_tells_of_the_money(worker: Worker) -> None:
    spender = Spender({"tokens": (400.0, 7.0)})
    worker.link.attend(worker.node, spender)
    spender.held = {"tokens": (400.0, 9.0)}
    worker.link.say_goodbye()
    assert [beat.get("account") for beat in worker.said(BEAT)] == [
        None,
        {"tokens": [400.0, 7.0]},
        {"tokens": [400.0, 9.0]},
    ]


def test_without_a_cap_nothing_is_said_of_money(worker: Worker) -> None:
    worker.link.attend(worker.node, Spender({}))
    assert all("account" not in beat for beat in worker.said(BEAT))


def test_who_needs_more_does_not_wait_for_the_next_beat(worker: Worker) -> None:
    spender = Spender({"tokens": (400.0, 7.0)})
    worker.link.attend(worker.node, spender)
    gevent.sleep(0.01)
    worker.said(BEAT)
    for _ in range(1000):
        spender.ask()
    wait_for(lambda: bool(worker.sent))
    gevent.sleep(0.05)
    assert [beat["account"] for beat in worker.said(BEAT)] == [{"tokens": [400.0, 7.0]}]


def test_an_answer_says_how_much_may_be_spent(worker: Worker) -> None:
    spender = Spender({"tokens": (400.0, 7.0)})
    worker.link.attend(worker.node, spender)
    lease = {"run": "run-1", "lease_until_s": 5.0, "void_before_s": 0.0, "excess": 0, "generation": 0}
    worker.answer(**lease, granted={"tokens": 100.0}, is_all=False)
    worker.answer(**lease)
    worker.answer(**lease | {"run": "another"}, granted={"tokens": 300.0})
    worker.answer(**lease, granted={"tokens": "much"})
    worker.answer(**lease, granted={"tokens": 200.0}, is_all=True)
    assert spender.told == [({"tokens": 100.0}, False), ({"tokens": 200.0}, True)]
