"""The master's side of a run: what workers send to it, and the end."""

import signal
from collections.abc import Callable, Iterator

import gevent
import pytest

from perfload.load.cluster import master as module
from perfload.load.cluster.messages import ACK, BATCH, BEAT, ROWS, SHARES, STOP
from perfload.store import load
from tests.load.cluster.batches import batch
from tests.load.cluster.masters import Master
from tests.load.conftest import wait_for

MakeMaster = Callable[..., Master]


@pytest.fixture
def _no_endless_loop() -> Iterator[None]:
    """Fail where not even the deadline of a test is heard: a loop that never lets others run."""

    def fail(*_: object) -> None:
        raise AssertionError("it went round and round")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# --- results


def test_a_batch_that_comes_again_is_acknowledged_and_counted_once(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.taken()
    master.run.end_load()
    for number, second, final in [(2, 1, True), (2, 1, True), (1, 0, False), (1, 0, False)]:
        master.batch("host_0", number, batch(second, final=final))
    acknowledged = [(ACK, "host_0", {"number": number, "run": "run-1"}) for number in (2, 2, 1, 1)]
    assert master.taken() == acknowledged
    record = master.closed()
    assert [window.second for window in record.windows] == [0, 1]
    assert len(record.readings) == 2  # readings have no key of their own: only the number tells
    assert [(node.node, node.complete, node.last_second) for node in record.manifest.nodes] == [
        ("worker-0", True, 1)
    ]


def test_a_final_batch_is_not_final_before_those_before_it_are_there(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.batch("host_0", 2, batch(1, final=True))
    assert not master.run.is_complete
    master.batch("host_0", 1, batch(0))
    assert master.run.is_complete


def test_late_results_of_an_earlier_run_are_left_out(
    make_master: MakeMaster, caplog: pytest.LogCaptureFixture
) -> None:
    master = make_master(1)
    master.taken()
    master.batch("host_0", 1, batch(50, run_id="run-0", final=True), run_id="run-0")
    assert master.taken() == [(ACK, "host_0", {"number": 1, "run": "run-0"})]  # or it would be sent for ever
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "it is of run run-0, whose record is closed"
    ]
    master.batch("host_0", 1, batch(0, final=True))
    assert [window.second for window in master.closed().windows] == [0]


def test_a_worker_that_hands_in_its_last_batch_in_mid_run_has_left(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.hear("host_0", ROWS, {"run": "run-1", "feeder": "accounts.csv", "total": 1})
    master.hear("host_1", ROWS, {"run": "run-1", "feeder": "accounts.csv", "total": 1})
    master.taken()
    master.clock.at_s = 1.5
    master.hand_in("host_0")
    lent = {"run": "run-1", "feeder": "accounts.csv", "generation": 0, "rows": [0]}
    assert master.told(ROWS) == [("host_1", lent)]
    wait_for(lambda: bool(master.events()))
    assert [(event.node, event.kind) for event in master.events()] == [("worker-0", "left")]
    nodes = {node.node: node for node in master.closed().manifest.nodes}
    assert (nodes["worker-0"].complete, nodes["worker-0"].left_s) == (True, 1.5)


def test_who_has_handed_in_its_last_batch_has_nobody_in_flight_any_more(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 1.5
    master.beat("host_1")
    master.beat("host_0", users=3, left_s=1.5)
    assert master.told(SHARES)[-1][1]["eras"][-1] == [1.5, [1, 1], 3]
    master.hand_in("host_0")
    wait_for(lambda: bool(master.sent[1:]))
    assert master.told(SHARES)[-1][1]["eras"][-1] == [1.5, [1, 1], 0]
    assert "lease_until_s" not in master.beat("host_0")


@pytest.mark.parametrize(
    ("client", "kind", "data"),
    [
        ("host_0", BEAT, None),
        ("host_0", BEAT, {}),
        ("host_0", BEAT, {"sent_s": 1.0, "run": "run-1", "version": -1, "users": 0, "at_s": 0.0}),
        ("host_0", BEAT, {"sent_s": 1.0, "run": "run-1", "version": 0, "users": None, "at_s": 0.0}),
        ("host_0", BEAT, {"sent_s": 1.0, "run": "run-1", "declined": "\x1b[2J"}),
        ("host_0", BATCH, {"number": 0, "run": "run-1"}),
        ("host_0", BATCH, {"number": 1, "run": "run-1", "windows": None, "readings": []}),
        ("host_0", BATCH, {"number": 1, "run": "run-1", "windows": [7], "readings": []}),
        ("host_9", BATCH, {"number": 1, "run": "run-1", "windows": [], "readings": [], "final": True}),
        ("host_0", ROWS, {"run": "run-1", "feeder": 7, "total": 3}),
        ("host_0", ROWS, {"run": "run-1", "feeder": "a.csv", "total": 0}),
        ("host_0", ROWS, {"run": "run-1", "feeder": "a.csv"}),
        ("host_9", ROWS, {"run": "run-1", "feeder": "a.csv", "total": 3}),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_counted_and_said_once(
    make_master: MakeMaster, caplog: pytest.LogCaptureFixture, client: str, kind: str, data: object
) -> None:
    master = make_master(1)
    master.taken()
    for _ in range(3):
        master.hear(client, kind, data)
    assert master.taken() == []
    assert master.link._refused == {(client, kind): 3}
    (message,) = caplog.messages
    assert message.startswith(f"a message {kind} from '{client}' was refused: ")
    assert (master.run.is_complete, master.events()) == (False, [])


def test_results_in_another_s_name_are_refused(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.batch("host_0", 1, batch(0, node="worker-1", final=True))
    assert master.link._refused == {("host_0", BATCH): 1}
    assert not any(state.complete for state in master.run.nodes.values())
    master.hand_in("host_0")  # and what it says in its own name still counts
    assert master.run.nodes["worker-0"].complete


def test_many_strangers_fill_neither_the_log_nor_the_memory(
    make_master: MakeMaster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REFUSED", 5)
    master = make_master(1)
    for number in range(50):
        master.hear(f"stranger-{number}", BEAT, None)
        master.hear("stranger-2", BEAT, None)
    assert len(caplog.messages) == 5
    assert len(master.link._refused) == 5
    assert master.link._refused["stranger-2", BEAT] == 51


def test_results_of_a_time_to_come_take_no_room(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.clock.at_s = 2.0
    master.batch("host_0", 1, batch(2 + int(module.AHEAD_S)))
    master.batch("host_0", 2, batch(3 + int(module.AHEAD_S)))
    master.batch("host_0", 2, batch(1 << 62))
    assert master.link._refused == {("host_0", BATCH): 2}
    assert master.run.nodes["worker-0"].last_second == 5


# --- rows


def test_rows_are_lent_by_the_number_of_workers_and_taken_back(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.taken()
    ask = {"run": "run-1", "feeder": "accounts.csv", "total": 8}
    master.hear("host_0", ROWS, ask)
    master.hear("host_1", ROWS, ask)
    lent = {"run": "run-1", "feeder": "accounts.csv", "generation": 0}
    assert master.told(ROWS) == [("host_0", lent | {"rows": [0]}), ("host_1", lent | {"rows": [1]})]
    for _ in range(7):
        master.hear("host_0", ROWS, ask)
    assert master.told(ROWS)[-1] == ("host_1", lent | {"rows": []})  # what can it spare?
    master.hear("host_1", ROWS, lent | {"rows": [1]})
    assert master.told(ROWS) == [("host_0", lent | {"rows": [1]})]


def test_rows_of_another_run_are_nobody_s_business(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.taken()
    master.hear("host_0", ROWS, {"run": "run-0", "feeder": "accounts.csv", "total": 8})
    assert master.taken() == []
    assert not master.link._refused


# --- the end


def test_drain_returns_as_soon_as_the_last_results_are_there(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.taken()
    draining = gevent.spawn(master.link.drain, 60.0)
    gevent.sleep(0)
    assert master.taken() == [(STOP, "host_0", {}), (STOP, "host_1", {})]
    master.hand_in("host_0")
    gevent.sleep(0)
    assert not draining.ready()
    master.hand_in("host_1")
    draining.get()
    assert all(node.complete for node in master.closed().manifest.nodes)


def test_a_worker_that_stays_silent_is_named_in_the_record(
    make_master: MakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FINAL_DEADLINE_S", 0.01)
    master = make_master(2)
    master.run.end_load()
    master.hand_in("host_0")
    master.hand_in("host_1", number=2)  # 1 is missing
    master.link.drain(0.0)
    nodes = {node.node: node for node in master.closed().manifest.nodes}
    assert nodes["worker-0"].complete
    assert not nodes["worker-1"].complete
    assert nodes["worker-1"].note == (
        "its final results did not arrive in time: everything after second 1 is missing"
    )


@pytest.mark.parametrize(("is_lost", "waits"), [(True, False), (False, True)])
def test_users_are_given_time_to_stop_only_where_somebody_is_there_to_stop_them(
    make_master: MakeMaster, monkeypatch: pytest.MonkeyPatch, is_lost: bool, waits: bool
) -> None:
    monkeypatch.setattr(module, "FINAL_DEADLINE_S", 0.05)
    master = make_master(2)
    if is_lost:
        master.lose_first()
    master.hand_in("host_1")
    draining = gevent.spawn(master.link.drain, 60.0)
    draining.join(1.0)
    assert draining.ready() is not waits
    draining.kill()


@pytest.mark.usefixtures("_no_endless_loop")
def test_drain_ends_though_everybody_was_complete_before_another_joined(
    make_master: MakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FINAL_DEADLINE_S", 0.05)
    master = make_master(1)
    master.hand_in("host_0")
    master.link.join("host_1")
    master.beat("host_1")
    master.link.drain(0.0)
    assert not master.run.is_complete


def test_after_the_end_nothing_is_taken_any_more(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.hand_in("host_0")
    record = master.closed()
    master.taken()
    master.batch("host_0", 2, batch(5))
    assert master.taken() == [(ACK, "host_0", {"number": 2, "run": "run-1"})]
    assert "lease_until_s" not in master.beat()
    assert load(master.run.folder).windows == record.windows
