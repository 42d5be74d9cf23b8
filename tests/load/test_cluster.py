"""Results on their way from workers to the master, over a connection that loses, repeats and reorders."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from locust.exception import RPCError

from perfload.config import load_config
from perfload.histogram import Histogram
from perfload.load import cluster
from perfload.load.cluster import (
    ACK,
    BATCH,
    START,
    STOP,
    Inbox,
    MasterLink,
    Outbox,
    WorkerLink,
    decode_batch,
    encode_batch,
)
from perfload.load.node import Assignment, Batch
from perfload.load.run import Run
from perfload.model import ArrivalWindow, Manifest, PhaseSpan, Reading, Window
from perfload.store import load
from tests.load.conftest import wait_for

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=1_700_000_000.0,
    host="http://localhost",
    scenarios=("A",),
    shape="",
    phases=(PhaseSpan("Load", 0.0, 10.0, "arrivals", 1.0, 1.0, 10),),
    thresholds=(),
)


def batch(second: int, *, final: bool = False, node: str = "worker-0", run_id: str = "run-1") -> Batch:
    latency = Histogram([1_000 + second])
    return Batch(
        windows=[
            Window(run_id, node, second, "Load", "GET", "/a", latency, latency, Histogram()),
            ArrivalWindow(run_id, node, second, "Load", Histogram([100])),
        ],
        readings=[Reading(1_700_000_000.5 + second, node, "generator", "users", "users", 3.0)],
        idle=final,
        final=final,
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send again at once: these tests say when a message is lost, no time has to pass."""
    monkeypatch.setattr(cluster, "RESEND_AFTER_S", 0.0)


def test_a_batch_survives_its_message() -> None:
    data = encode_batch(7, "run-1", batch(3, final=True))
    assert (data["number"], data["run"]) == (7, "run-1")
    assert decode_batch(data) == batch(3, final=True)


@pytest.mark.parametrize("change", [{"windows": [{}]}, {"readings": ["x"]}, {"readings": [""]}])
def test_a_message_that_is_no_batch_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_batch(encode_batch(1, "run-1", batch(0)) | change)


# --- the inbox


@given(st.integers(1, 12), st.data())
def test_every_batch_is_new_once_and_complete_means_all_of_them(total: int, data: st.DataObject) -> None:
    numbers = list(range(1, total + 1))
    extra = data.draw(st.lists(st.sampled_from(numbers), max_size=20), label="repeated")
    deliveries = data.draw(st.permutations(numbers + extra), label="deliveries")
    inbox = Inbox()
    here: set[int] = set()
    for number in deliveries:
        assert inbox.is_new(number, final=number == total) == (number not in here)
        here.add(number)
        assert inbox.complete == (here == set(numbers))


def test_an_inbox_forgets_the_numbers_that_it_has_without_gaps() -> None:
    inbox = Inbox()
    for number in range(1, 10_000):
        inbox.is_new(number, final=False)
    assert inbox._beyond == set()


# --- the outbox


class Wire:
    """A connection: what is sent arrives as often as the next of `copies` says, or once."""

    def __init__(self, copies: list[int], deliver: Callable[[dict[str, Any]], None]) -> None:
        self._copies = iter(copies)
        self._deliver = deliver
        self.sent = 0

    def send(self, _kind: str, data: dict[str, Any]) -> None:
        self.sent += 1
        for _ in range(next(self._copies, 1)):
            self._deliver(data)


COPIES = st.lists(st.integers(0, 2), max_size=30)


@settings(deadline=None)
@given(total=st.integers(1, 8), sends=COPIES, acknowledgements=COPIES)
def test_the_outbox_sends_until_everything_is_there_exactly_once(
    total: int, sends: list[int], acknowledgements: list[int]
) -> None:
    inbox = Inbox()
    counted: list[int] = []

    def receive(data: dict[str, Any]) -> None:
        if inbox.is_new(data["number"], final=data["final"]):
            counted.append(data["number"])
        back.send(ACK, data)

    wire = Wire(sends, receive)
    outbox = Outbox("run-1", wire.send)
    back = Wire(acknowledgements, lambda data: outbox.acknowledge(data["run"], data["number"]))
    for second in range(total):
        outbox.put(batch(second, final=second == total - 1))
    assert outbox.flush(5.0) is True
    assert sorted(counted) == list(range(1, total + 1))
    assert inbox.complete
    sent = wire.sent
    assert outbox.flush(5.0) is True
    assert wire.sent == sent  # what is acknowledged is not sent again


def test_a_batch_that_cannot_be_sent_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    refused = iter([True, True])
    arrived: list[int] = []

    def send(_kind: str, data: dict[str, Any]) -> None:
        if next(refused, False):
            raise RPCError("the socket is closed")
        arrived.append(data["number"])
        outbox.acknowledge(data["run"], data["number"])

    outbox = Outbox("run-1", send)
    outbox.put(batch(0))
    assert arrived == []
    assert outbox.flush(5.0) is True
    assert arrived == [1]
    assert (
        caplog.messages
        == ["results could not be sent to the master and will be sent again: the socket is closed"] * 2
    )


def test_what_waits_too_long_goes_along_with_a_later_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(cluster, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    monkeypatch.setattr(cluster, "RESEND_AFTER_S", 3.0)
    arrived: list[int] = []

    def send(_kind: str, data: dict[str, Any]) -> None:
        arrived.append(data["number"])
        if data["number"] != 2 or clock.now_s > 102:  # batch 2 is lost, those after it are not
            outbox.acknowledge("run-1", data["number"])

    outbox = Outbox("run-1", send)
    for second in range(6):
        outbox.put(batch(second))
        clock.now_s += 1
    assert arrived == [1, 2, 3, 4, 5, 2, 6]
    assert outbox.flush(0.0) is True


def test_a_final_batch_that_is_lost_is_sent_again_without_a_next_one() -> None:
    lost = iter([True, True, True])
    arrived: list[int] = []

    def send_message(_kind: str, data: dict[str, Any]) -> None:
        if not next(lost, False):
            arrived.append(data["number"])
            handlers[ACK](SimpleNamespace(data={"run": data["run"], "number": data["number"]}))

    handlers: dict[str, Callable[..., None]] = {}
    runner = SimpleNamespace(
        send_message=send_message,
        register_message=lambda kind, handler, **_: handlers.update({kind: handler}),
    )
    link = WorkerLink(SimpleNamespace(runner=runner))
    assignment = Assignment("run-1", "worker-0", 0, 1, started_at_s=0.0, seed=3)
    handlers[START](SimpleNamespace(data=dataclasses.asdict(assignment)))
    assert link.assignment == assignment
    deliver = link.open()
    deliver(batch(0))
    deliver(batch(1, final=True))
    assert arrived == []
    wait_for(lambda: len(arrived) == 2)
    assert sorted(arrived) == [1, 2]


def test_a_worker_without_an_assignment_has_no_part_in_the_run() -> None:
    runner = SimpleNamespace(register_message=lambda *_args, **_options: None)
    with pytest.raises(ValueError, match="no run has been assigned"):
        WorkerLink(SimpleNamespace(runner=runner)).open()


def test_flush_gives_up_when_nobody_answers() -> None:
    outbox = Outbox("run-1", lambda _kind, _data: None)
    outbox.put(batch(0))
    assert outbox.flush(0.0) is False


def test_flush_of_an_outbox_that_was_never_used_returns_at_once() -> None:
    assert Outbox("run-1", lambda _kind, _data: None).flush(0.0) is True


def test_the_acknowledgement_of_another_run_is_none() -> None:
    outbox = Outbox("run-2", lambda _kind, _data: None)
    outbox.put(batch(0))
    outbox.acknowledge("run-1", 1)
    assert outbox.flush(0.0) is False
    outbox.acknowledge("run-2", 1)
    assert outbox.flush(0.0) is True


# --- the master


TERMS = Assignment(
    "run-1",
    "local",
    0,
    1,
    started_at_s=1_700_000_000.0,
    seed=9,
    time_scale=60.0,
    allow=("a.example.com", "*.b.example.com"),
)


class Client:
    def __init__(self, number: int) -> None:
        self.id = f"host_{number}"


class Clients:
    def __init__(self, number: int) -> None:
        self.ready = [Client(index) for index in range(number)]
        self.spawning: list[Client] = []
        self.running: list[Client] = []

    @property
    def all(self) -> list[Client]:
        return self.ready


class Runner:
    """As much of Locust's master as the link uses; keeps what is sent."""

    def __init__(self, workers: int) -> None:
        self.clients = Clients(workers)
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def get_worker_index(self, client_id: str) -> int:
        return int(client_id.removeprefix("host_"))

    def send_message(self, kind: str, data: dict[str, Any], client_id: str) -> None:
        self.sent.append((kind, client_id, data))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    flags = {"monitors.host": False, "run.reports_dir": "reports"}
    return Run(MANIFEST, load_config(directory=tmp_path, environ={}, flags=flags), plan=None)


def closed(run: Run) -> Any:
    run.close("finished")
    return load(run.folder)


def test_each_worker_is_told_its_share(run: Run) -> None:
    runner = Runner(workers=3)
    link = MasterLink(runner, run, TERMS)
    link.begin()
    link.join("host_7")
    assert [(kind, client) for kind, client, _ in runner.sent] == [
        (START, "host_0"),
        (START, "host_1"),
        (START, "host_2"),
        (START, "host_7"),
    ]
    shares = [(data["node"], data["index"], data["count"]) for _, _, data in runner.sent]
    assert shares == [("worker-0", 0, 3), ("worker-1", 1, 3), ("worker-2", 2, 3), ("worker-7", 3, 0)]
    for _, _, data in runner.sent:
        terms = Assignment(**data)
        assert dataclasses.replace(terms, node=TERMS.node, index=TERMS.index, count=TERMS.count) == TERMS
    assert list(run.nodes) == ["worker-0", "worker-1", "worker-2"]


def test_a_batch_that_comes_again_is_acknowledged_and_counted_once(run: Run) -> None:
    runner = Runner(workers=1)
    link = MasterLink(runner, run, TERMS)
    link.begin()
    runner.sent.clear()
    run.end_load()
    for number, second, final in [(2, 1, True), (2, 1, True), (1, 0, False), (1, 0, False)]:
        link.receive("host_0", encode_batch(number, "run-1", batch(second, final=final)))
    assert runner.sent == [(ACK, "host_0", {"number": number, "run": "run-1"}) for number in (2, 2, 1, 1)]
    record = closed(run)
    assert [window.second for window in record.windows] == [0, 1]
    assert len(record.readings) == 2  # readings have no key of their own: only the number tells
    assert [(node.node, node.complete, node.last_second) for node in record.manifest.nodes] == [
        ("worker-0", True, 1)
    ]


def test_late_results_of_an_earlier_run_are_left_out(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    runner = Runner(workers=1)
    link = MasterLink(runner, run, TERMS)
    link.begin()
    runner.sent.clear()
    link.receive("host_0", encode_batch(1, "run-0", batch(50, run_id="run-0", final=True)))
    assert runner.sent == []
    assert caplog.messages == ["late results of run run-0 came from host_0 and were left out"]
    link.receive("host_0", encode_batch(1, "run-1", batch(0, final=True)))
    assert [window.second for window in closed(run).windows] == [0]


def test_drain_returns_as_soon_as_the_last_results_are_there(run: Run) -> None:
    runner = Runner(workers=2)
    link = MasterLink(runner, run, TERMS)
    link.begin()
    runner.sent.clear()
    draining = gevent.spawn(link.drain, 60.0)
    gevent.sleep(0)
    assert runner.sent == [(STOP, "host_0", {}), (STOP, "host_1", {})]
    link.receive("host_0", encode_batch(1, "run-1", batch(0, final=True)))
    gevent.sleep(0)
    assert not draining.ready()
    link.receive("host_1", encode_batch(1, "run-1", batch(0, final=True, node="worker-1")))
    draining.get()
    assert all(node.complete for node in closed(run).manifest.nodes)


def test_a_worker_that_stays_silent_is_named_in_the_record(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster, "FINAL_DEADLINE_S", 0.01)
    runner = Runner(workers=2)
    link = MasterLink(runner, run, TERMS)
    link.begin()
    run.end_load()
    link.receive("host_0", encode_batch(1, "run-1", batch(0, final=True)))
    link.receive("host_1", encode_batch(2, "run-1", batch(1, final=True, node="worker-1")))  # 1 is missing
    link.drain(0.0)
    nodes = {node.node: node for node in closed(run).manifest.nodes}
    assert nodes["worker-0"].complete
    assert not nodes["worker-1"].complete
    assert nodes["worker-1"].note == "no final results within 0 s"
    assert caplog.messages == ["worker-1 sent no final results within 0 s"]


def test_the_names_of_messages_are_perfloads_own() -> None:
    assert {START, BATCH, ACK, STOP} == {
        "perfload_start",
        "perfload_batch",
        "perfload_ack",
        "perfload_stop",
    }


def test_a_worker_that_leaves_before_the_load_has_ended_makes_the_run_incomplete(run: Run) -> None:
    runner = Runner(workers=1)
    link = MasterLink(runner, run, TERMS)
    link.begin()
    link.receive("host_0", encode_batch(1, "run-1", batch(0, final=True)))
    run.end_load()
    (node,) = closed(run).manifest.nodes
    assert (node.complete, node.note) == (False, "left during the run")
