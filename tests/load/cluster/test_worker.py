"""The worker's side: what it says, what it makes of what its master says, and its results on their way."""

import logging
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust import __version__

from perfload.load.clock import RunClock
from perfload.load.cluster import delivery, rpc
from perfload.load.cluster import worker as module
from perfload.load.cluster.membership import LEASE_S
from perfload.load.cluster.messages import (
    ACK,
    BATCH,
    BEAT,
    ROWS,
    SHARES,
    START,
    STOP,
    encode_assignment,
    encode_eras,
)
from tests.load.cluster.batches import STARTED_AT_S, batch
from tests.load.cluster.workers import ERAS, TERMS, Worker
from tests.load.conftest import wait_for


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One that beats when it is made, and then not again while a test lasts."""
    monkeypatch.setattr(module, "FIRST_BEATS", 1)
    monkeypatch.setattr(module, "BEAT_S", 60.0)
    made = Worker()
    wait_for(lambda: bool(made.sent))
    made.said(BEAT)
    return made


# --- beats


def test_a_worker_beats_quickly_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BEATS", 3)
    monkeypatch.setattr(module, "FIRST_BEAT_S", 0.001)
    monkeypatch.setattr(module, "BEAT_S", 60.0)
    worker = Worker()
    wait_for(lambda: len(worker.sent) == 3)
    gevent.sleep(0.01)  # ten more would have come
    beats = worker.said(BEAT)
    assert [set(beat) for beat in beats] == [{"sent_s", "run", "version", "users"}] * 3
    assert [(beat["run"], beat["version"], beat["users"]) for beat in beats] == [("", 0, 0)] * 3
    assert beats[0]["sent_s"] < beats[1]["sent_s"] < beats[2]["sent_s"] <= time.perf_counter()


def test_a_worker_goes_on_beating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BEATS", 0)
    monkeypatch.setattr(module, "BEAT_S", 0.001)
    worker = Worker()
    worker.is_cut = True  # also when a beat cannot be sent
    gevent.sleep(0.005)
    worker.is_cut = False
    wait_for(lambda: len(worker.sent) > 2)
    monkeypatch.setattr(module, "BEAT_S", 60.0)


def test_a_beat_says_what_a_worker_knows_of_the_run(worker: Worker) -> None:
    worker.begin()
    (first,) = worker.said(BEAT)  # at once, so that the master knows of it before its first batch
    assert (first["run"], first["version"], first["users"]) == ("run-1", 0, 4)
    assert "offset_s" not in first
    worker.answer()
    worker.hear(SHARES, {"run": "run-1", "version": 3, "eras": encode_eras(ERAS)})
    worker.node.clock = RunClock(0.0, time.perf_counter() - 7.5)
    worker.link.say_goodbye()
    (second,) = worker.said(BEAT)
    assert second["version"] == 3
    assert second["at_s"] == pytest.approx(7.5, abs=0.1)
    assert second["offset_s"] == pytest.approx(100.0, abs=0.01)


def test_a_worker_says_how_wrong_the_clock_of_its_run_may_be(worker: Worker) -> None:
    worker.hear(BEAT, {"sent_s": 10.0, "master_s": time.perf_counter(), "session": "one"})
    worker.begin()
    sent_s = time.perf_counter()
    worker.hear(BEAT, {"sent_s": sent_s, "master_s": sent_s + 100.0, "session": "one"})
    moved_s = abs(worker.node.clock.zero_s - (500.0 - 100.0))
    worker.said(BEAT)
    worker.link.say_goodbye()
    (beat,) = worker.said(BEAT)
    assert beat["error_s"] == pytest.approx(moved_s, abs=0.01)


def test_clocks_are_compared_before_anything_begins(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BEAT_S", 0.001)
    comparing = gevent.spawn(worker.link.compare_clocks)
    for _ in range(module.FIRST_SAMPLES):
        gevent.sleep(0.003)
        assert not comparing.ready()
        worker.answer()
    comparing.get(timeout=1.0)


def test_a_master_that_does_not_answer_is_not_waited_for_long(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CLOCKS_S", 0.01)
    worker.link.compare_clocks()
    assert caplog.messages == [
        "the master does not answer: until it does, this worker goes by its own time of day"
    ]


def test_the_clock_of_a_run_is_the_master_s(worker: Worker) -> None:
    assert worker.link.clock(TERMS).now_s() == pytest.approx(time.time() - STARTED_AT_S, abs=0.1)
    worker.answer()
    clock = worker.link.clock(TERMS)
    assert clock.started_at_s == STARTED_AT_S
    assert clock.zero_s == pytest.approx(500.0 - 100.0, abs=0.01)


# --- leases and shares


def test_a_lease_is_renewed_and_never_shortened(worker: Worker) -> None:
    worker.begin()
    worker.answer(run="run-1", lease_until_s=9.5, void_before_s=0.0, generation=0, excess=0)
    assert (worker.node.licence.until_s, worker.node.licence.void_before_s) == (9.5, 0.0)
    worker.answer(run="run-1", lease_until_s=8.0, void_before_s=0.0, generation=0, excess=0)
    assert worker.node.licence.until_s == 9.5
    worker.answer(run="run-1", lease_until_s=20.0, void_before_s=18.0, generation=0, excess=3)
    assert worker.node.licence.excess == 3
    assert (worker.node.licence.until_s, worker.node.licence.void_before_s) == (20.0, 18.0)
    worker.answer()
    assert worker.node.licence.until_s == 20.0


def test_shares_come_on_their_own_or_with_an_answer(worker: Worker) -> None:
    worker.begin()
    shares = worker.node.licence.shares
    worker.hear(SHARES, {"run": "run-1", "version": 1, "eras": [[0.0, [0], 0]]})
    assert (shares.version, shares.owns(1, 0.0)) == (1, True)
    worker.answer(
        run="run-1",
        lease_until_s=9.0,
        void_before_s=0.0,
        generation=0,
        excess=0,
        version=2,
        eras=[[0.0, [1], 0]],
    )
    assert (shares.version, shares.owns(1, 0.0)) == (2, False)
    worker.hear(SHARES, {"run": "run-1", "version": 1, "eras": [[0.0, [0], 0]]})
    assert shares.version == 2


def test_what_is_said_of_another_run_changes_nothing(worker: Worker) -> None:
    news = {"version": 5, "eras": [[0.0, [1], 0]]}
    worker.answer(run="run-1", lease_until_s=9.0, void_before_s=0.0, generation=0, excess=0, **news)
    worker.begin()
    worker.hear(SHARES, {"run": "run-0", **news})
    worker.answer(run="run-0", lease_until_s=99.0, void_before_s=50.0, generation=0, excess=0, **news)
    assert (worker.node.licence.until_s, worker.node.licence.void_before_s) == (2.0, 0.0)
    assert worker.node.licence.shares.version == 0
    assert worker.link._refused == set()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (BEAT, None),
        (BEAT, {"sent_s": 1.0, "master_s": 1.0}),
        (BEAT, {"session": "one", "sent_s": "x", "master_s": 1.0}),
        (START, {"run_id": "run-2"}),
        (SHARES, {"run": "run-1", "version": -1, "eras": [[0.0, [0], 0]]}),
        (SHARES, {"run": "run-1", "version": 1, "eras": []}),
        (ACK, {"run": "run-1"}),
        (ROWS, {"run": "run-1", "feeder": "never asked for", "rows": [1], "generation": 0}),
        (ROWS, {"run": "run-1", "feeder": "accounts.csv", "rows": [1]}),
        (ROWS, {"run": "run-1", "feeder": "accounts.csv", "rows": 7, "generation": 0}),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_and_said_once(
    worker: Worker, caplog: pytest.LogCaptureFixture, kind: str, data: object
) -> None:
    worker.begin()
    for _ in range(3):
        worker.hear(kind, data)
    (message,) = caplog.messages
    assert message.startswith(f"a message {kind} of the master was refused: ")
    assert worker.link._refused == {kind}
    assert worker.node.licence.shares.version == 0
    assert worker.link.assignment is None


# --- a master that was started anew


@pytest.mark.parametrize(
    ("state", "stops"), [("running", 1), ("spawning", 1), ("stopping", 0), ("cleanup", 0)]
)
def test_a_worker_begins_again_with_a_new_master(
    worker: Worker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    stops: int,
) -> None:
    worker.answer("one")
    deliver = worker.begin()
    worker.hear(START, encode_assignment(TERMS) | {"allow": []})
    rpc.orders.admit(START)
    deliver(batch(0))
    worker.runner.state = state
    worker.sent.clear()
    worker.answer("one")
    gevent.sleep(0)
    assert (worker.sent, worker.stops) == ([], 0)
    monkeypatch.setattr(module, "BEAT_S", 0.001)
    worker.answer("two")
    gevent.sleep(0.01)
    if not stops:
        # Somebody else is stopping it: a new run must not begin before the old one has ended.
        assert worker.said("client_ready") == []
        worker.end_node()
    wait_for(lambda: any(kind == "client_ready" for kind, _ in worker.sent))
    assert worker.said("client_ready") == [__version__]
    assert worker.stops == stops
    assert worker.link.assignment is None
    assert worker.link._outbox is not None
    assert worker.link._outbox.is_empty
    assert worker.runner.worker_state == "ready"
    assert not rpc.orders.admit("spawn")
    assert caplog.messages == [
        "the master was started anew: this worker gives up what it did for the one before"
    ]
    worker.answer("two")
    gevent.sleep(0.01)
    assert worker.said("client_ready") == []


def test_a_worker_without_a_run_begins_again_at_once(worker: Worker) -> None:
    for session in ("one", "two"):
        worker.answer(session)
    wait_for(lambda: bool(worker.sent))
    assert (worker.sent, worker.stops) == ([("client_ready", __version__)], 0)


def test_a_worker_that_is_about_to_end_does_not_begin_again(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.answer("one")
    worker.begin()(batch(0, final=True))
    worker.sent.clear()
    flushing = gevent.spawn(worker.link.flush)
    gevent.sleep(0.01)
    now_s = time.perf_counter()
    answer = {"sent_s": now_s, "master_s": now_s, "session": "two"}
    worker.inbox.put(SimpleNamespace(type=BEAT, data=answer))
    flushing.get(timeout=2.0)  # the new master knows nothing of that run, and waits for nothing
    gevent.sleep(0.01)
    assert worker.said("client_ready") == []


def test_the_clock_of_a_new_master_is_another(worker: Worker) -> None:
    worker.answer("one")
    now_s = time.perf_counter()
    worker.hear(BEAT, {"sent_s": now_s - 1.0, "master_s": now_s + 7.0, "session": "two"})
    assert worker.link.clock(TERMS).zero_s == pytest.approx(500.0 - 7.5, abs=0.1)


# --- results


def test_a_worker_without_an_assignment_has_no_part_in_the_run(worker: Worker) -> None:
    with pytest.raises(ValueError, match="no run has been assigned"):
        worker.link.open()
    worker.begin()
    with pytest.raises(ValueError, match="no run has been assigned"):
        worker.link.open()  # every run brings its own


def test_who_has_left_says_since_when_until_the_master_has_everything(worker: Worker) -> None:
    deliver = worker.begin()
    worker.said(BEAT)
    deliver(batch(0))
    worker.link.say_goodbye()
    worker.node.left_s = 7.25
    worker.link.say_goodbye()
    first, second = worker.said(BEAT)
    assert "left_s" not in first
    assert second["left_s"] == 7.25
    deliver(batch(1, final=True))
    assert [(data["number"], data["final"]) for data in worker.said(BATCH)] == [(1, False), (2, True)]
    worker.link._send(BEAT, worker.link._sign_of_life())
    (beat,) = worker.said(BEAT)
    assert (beat["run"], beat["left_s"], beat["delivers"]) == ("run-1", 7.25, True)
    assert beat["at_s"] == pytest.approx(worker.link.clock(TERMS).now_s(), abs=0.1)
    for number in (1, 2):
        worker.hear(ACK, {"run": "run-1", "number": number})
    worker.link._send(BEAT, worker.link._sign_of_life())
    (beat,) = worker.said(BEAT)
    assert (beat["run"], "left_s" in beat) == ("", False)
    worker.link.say_goodbye()
    assert worker.said(BEAT) == []


def test_who_declines_says_so_until_there_is_another_run(worker: Worker) -> None:
    worker.hear(START, encode_assignment(TERMS) | {"allow": []})
    worker.link.decline("it has another shape")
    worker.link._send(BEAT, worker.link._sign_of_life())
    assert [(beat["run"], beat["declined"]) for beat in worker.said(BEAT)] == [
        ("run-1", "it has another shape")
    ] * 2
    assert worker.link.assignment is None
    worker.hear(START, encode_assignment(TERMS) | {"allow": []})
    worker.link._send(BEAT, worker.link._sign_of_life())
    assert [beat["run"] for beat in worker.said(BEAT)] == [""]


def test_a_final_batch_that_is_lost_is_sent_again_without_a_next_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RESEND_AFTER_S", 0.001)
    deliver = worker.begin()
    worker.answer()
    worker.is_cut = True
    deliver(batch(0))
    deliver(batch(1, final=True))
    worker.is_cut = False
    wait_for(lambda: len(worker.sent) > 2)
    assert {data["number"] for data in worker.said(BATCH)} == {1, 2}
    for number in (1, 2):
        worker.hear(ACK, {"run": "run-1", "number": number})
    worker.link.flush()
    assert worker.link._outbox is not None
    assert worker.link._outbox.is_empty


def test_at_the_end_a_worker_waits_until_the_master_has_everything(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.001)
    worker.begin()(batch(0, final=True))
    worker.answer()
    flushing = gevent.spawn(worker.link.flush)
    gevent.sleep(0.01)
    assert not flushing.ready()
    # By now nobody else receives what comes: a broken connection, an order, and what was waited for.
    acknowledged = SimpleNamespace(type=ACK, data={"run": "run-1", "number": 1})
    for message in (None, SimpleNamespace(type="quit", data=None), acknowledged):
        worker.inbox.put(message)
    flushing.get(timeout=2.0)


@pytest.mark.parametrize("is_heard", [True, False])
def test_what_the_master_never_takes_is_given_up(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_heard: bool
) -> None:
    monkeypatch.setattr(module, "FLUSH_S" if is_heard else "LINGER_S", 0.01)
    worker.begin()(batch(0))
    if is_heard:
        worker.answer()
    worker.link.flush()
    lost = "the master did not take the last results of this worker; they are lost"
    waits = "waiting up to 0 s for the master to take the last results"
    assert caplog.messages == ([lost] if is_heard else [waits, lost])


def test_the_master_is_heard_for_as_long_as_a_lease(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000.0
    clock = SimpleNamespace(monotonic=lambda: now_s, perf_counter=time.perf_counter)
    monkeypatch.setattr(module, "time", clock)
    assert not worker.link._hears_master()
    worker.answer()
    assert worker.link._hears_master()
    now_s += LEASE_S - 0.01
    assert worker.link._hears_master()
    now_s += 0.02
    assert not worker.link._hears_master()


# --- unique rows


def test_rows_are_asked_for_lent_called_back_and_void(worker: Worker) -> None:
    worker.begin()
    stock = worker.link.lend("accounts.csv", 24)
    assert worker.said(ROWS) == [{"run": "run-1", "feeder": "accounts.csv", "total": 24}]
    own = {"run": "run-1", "feeder": "accounts.csv"}
    lent = own | {"generation": 0}
    worker.hear(ROWS, lent | {"rows": [5, 6, 7, 8]})
    assert stock.take() == 5
    worker.hear(ROWS, lent | {"rows": []})
    assert worker.said(ROWS) == [own | {"rows": [8, 7]}]
    worker.hear(ROWS, {"run": "run-0", "feeder": "accounts.csv", "rows": [9], "generation": 3})
    assert stock.take() == 6
    worker.hear(ROWS, lent | {"rows": [10]})
    worker.hear(ROWS, lent | {"rows": [11], "generation": 1})  # 10 was given to others meanwhile
    assert stock.take() == 11
    assert worker.link._refused == set()


def test_rows_that_were_given_to_others_are_void_however_that_is_heard(worker: Worker) -> None:
    worker.begin()
    stock = worker.link.lend("accounts.csv", 24)
    lent = {"run": "run-1", "feeder": "accounts.csv", "generation": 0}
    worker.hear(ROWS, lent | {"rows": [5]})
    granted: Any = {"run": "run-1", "lease_until_s": 9.0, "void_before_s": 0.0, "excess": 0}
    worker.answer(**granted, generation=2)
    assert stock.give_up() == []
    worker.hear(ROWS, lent | {"rows": [6], "generation": 2})
    worker.answer(**granted, generation=2)
    assert stock.give_up() == [6]


def test_two_feeders_of_one_file_never_hand_out_the_same_row(worker: Worker) -> None:
    worker.begin()
    stocks = [worker.link.lend("accounts.csv", 24) for _ in range(2)]
    worker.hear(ROWS, {"run": "run-1", "feeder": "accounts.csv", "rows": [0, 1], "generation": 0})
    assert sorted(str(stock.take()) for stock in stocks) == ["0", "1"]


def test_rows_of_the_last_run_are_not_those_of_the_next(worker: Worker) -> None:
    worker.begin()
    worker.link.lend("accounts.csv", 24)
    worker.hear(ROWS, {"run": "run-1", "feeder": "accounts.csv", "rows": [3], "generation": 0})
    worker.begin(replace(TERMS, run_id="run-2"))
    worker.said(ROWS)
    stock = worker.link.lend("accounts.csv", 24)
    assert worker.said(ROWS) == [{"run": "run-2", "feeder": "accounts.csv", "total": 24}]
    assert stock.give_up() == []


# --- the end of the load


@pytest.mark.parametrize(("state", "stops"), [("running", 1), ("ready", 1), ("stopping", 0), ("stopped", 0)])
def test_a_worker_stops_when_the_master_says_so_and_not_twice(worker: Worker, state: str, stops: int) -> None:
    worker.runner.state = state
    worker.hear(STOP, {})
    assert worker.stops == stops


def test_a_goodbye_without_a_run_is_not_said(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    worker.link.say_goodbye()
    worker.link.flush()
    assert worker.sent == []
    assert caplog.messages == []
