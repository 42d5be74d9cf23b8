"""What users of a MongoDB record, with answers in the place of a server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from bson import BSON, CodecOptions
from gevent import getcurrent
from locust.event import EventHook
from pymongo import errors

from perfload.errors import UsageError
from perfload.hosts import HostRules
from perfload.load.database import StepFailed, meter
from perfload.load.database.collection import TimedCollection
from perfload.load.database.failures import reason_of
from perfload.load.database.recording import OperationRecorder
from perfload.load.database.shared import LoadDatabase, RunMark

MODELS = [{"_id": number, "model_id": f"model-{number}"} for number in range(5)]


class Event:
    """A pymongo event, as far as the listeners look."""

    command_name = "find"

    def __init__(self, *, duration_s: float = 0.0, micros: int = 0) -> None:
        self.duration = duration_s
        self.duration_micros = micros


class Batches:
    """A cursor that asks when it is read, as pymongo's do."""

    def __init__(self, batches: list[list[dict[str, Any]]], read: list[str]) -> None:
        self.batches, self.read = batches, read

    def __iter__(self) -> Iterator[bytes]:
        for batch in self.batches:
            self.read.append("batch")
            meter.PoolListener().connection_checked_out(Event(duration_s=0.002))  # type: ignore[arg-type]
            meter.ServerListener().succeeded(Event(micros=3_000))  # type: ignore[arg-type]
            yield b"".join(BSON.encode(document) for document in batch)


class Collection:
    """The server's answers."""

    name = "models"
    codec_options = CodecOptions()

    def __init__(self) -> None:
        self.read: list[str] = []
        self.inserted: list[Any] = []

    def find_raw_batches(self, query: Any, projection: Any, **options: Any) -> Batches:
        return Batches([MODELS[:3], MODELS[3:]], self.read)

    def insert_one(self, document: Any) -> None:
        if document["_id"] == "taken":
            raise errors.DuplicateKeyError("E11000 duplicate key error: { model_id: 'a secret' }", 11000, {})
        self.inserted.append(document)

    def insert_many(self, documents: Any, *, ordered: bool) -> None:
        self.inserted += documents

    def update_one(self, query: Any, update: Any) -> None:
        gevent.sleep(10)


class Recorded:
    """Listens to Locust's event and to `record`."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, float, str]] = []
        event = EventHook()
        event.add_listener(lambda **request: self.requests.append(request))
        self.recorder = OperationRecorder(event, lambda *metric: self.metrics.append(metric))
        self.plain = Collection()
        numbers = itertools.count()
        self.models = TimedCollection(self.plain, self.recorder, lambda: f"run:{next(numbers)}")


def test_what_is_found_is_read_to_its_end_and_counted() -> None:
    recorded = Recorded()
    assert recorded.models.find("by owner", {"owner": "x"}) == MODELS
    assert recorded.plain.read == ["batch", "batch"]
    (request,) = recorded.requests
    assert (request["request_type"], request["name"]) == ("MONGODB", "models.find by owner")
    assert request["response_length"] == sum(len(BSON.encode(model)) for model in MODELS)
    assert request["exception"] is None
    assert request["response_time"] > 0
    assert recorded.metrics == [
        ("pool_wait", 4.0, "ms"),
        ("server_time", 6.0, "ms"),
        ("documents", 5, "documents"),
    ]
    assert recorded.models.find_one("by id", {"model_id": "model-0"}) == MODELS[0]


def test_what_is_inserted_is_marked_with_the_run() -> None:
    recorded = Recorded()
    assert recorded.models.insert_one("one", {"model_id": "a"}) == "run:0"
    assert recorded.models.insert_many("bulk", [{"a": 1}, {"a": 2}]) == ["run:1", "run:2"]
    assert [document["_id"] for document in recorded.plain.inserted] == ["run:0", "run:1", "run:2"]
    assert [name for name, value, _ in recorded.metrics if name == "documents"] == ["documents"] * 2


def test_a_failure_is_recorded_before_it_ends_the_task() -> None:
    recorded = Recorded()
    with pytest.raises(StepFailed):
        recorded.models.insert_one("one", {"_id": "taken"})
    (request,) = recorded.requests
    assert (str(request["exception"]), repr(request["exception"])) == ("DuplicateKey", "DuplicateKey")
    assert [name for name, *_ in recorded.metrics] == ["pool_wait", "server_time"]


def test_an_operation_that_is_cut_off_is_recorded() -> None:
    recorded = Recorded()
    user = gevent.spawn(recorded.models.update_one, "status", {}, {})
    gevent.sleep(0.01)
    user.kill()
    assert [str(request["exception"]) for request in recorded.requests] == ["no response when the run ended"]


def test_a_mistake_in_the_scenario_is_no_failed_request() -> None:
    recorded = Recorded()
    with pytest.raises(AttributeError):
        recorded.models.count("all", {})
    assert recorded.requests == []


def test_only_the_operation_that_is_going_on_here_gets_the_time() -> None:
    parts = meter.begin()
    gevent.spawn(meter.ServerListener().succeeded, Event(micros=500)).join()  # type: ignore[arg-type]
    handshake = Event(micros=700)
    handshake.command_name = "saslStart"
    meter.ServerListener().succeeded(handshake)  # type: ignore[arg-type]
    meter.ServerListener().failed(Event(micros=900))  # type: ignore[arg-type]
    meter.PoolListener().connection_check_out_failed(Event(duration_s=0.5))  # type: ignore[arg-type]
    meter.end()
    meter.ServerListener().succeeded(Event(micros=1))  # type: ignore[arg-type]
    assert (parts.pool_wait_us, parts.server_us) == (500_000, 900)
    assert getcurrent().perfload_parts is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.DuplicateKeyError("E11000 { email: 'a@b.c' }", 11000, {}), "DuplicateKey"),
        (
            errors.BulkWriteError({"writeErrors": [{"code": 11000, "errmsg": "E11000 { a: 'b' }"}]}),
            "DuplicateKey",
        ),
        (errors.BulkWriteError({"writeErrors": [{"code": 121}]}), "error 121"),
        (errors.BulkWriteError({}), "BulkWriteError"),
        (
            errors.WaitQueueTimeoutError("maxPoolSize: 1, timeout: 10.0"),
            "timed out: no free connection in the pool",
        ),
        (errors.ServerSelectionTimeoutError("localhost:1: [Errno 111]"), "no server to be had"),
        (errors.NotPrimaryError("not primary", {}), "NotPrimary"),
        (errors.NetworkTimeout("127.0.0.1:1: timed out"), "timed out: network"),
        (errors.ExecutionTimeout("operation exceeded time limit", 50, {}), "timed out: maxTimeMS"),
        (errors.AutoReconnect("connection closed"), "connection lost"),
        (errors.OperationFailure("x", 112, {"codeName": "WriteConflict"}), "WriteConflict"),
        (errors.OperationFailure("x", 8000, {"codeName": "<b>hostile</b>"}), "error 8000"),
        (errors.OperationFailure("x", None, {"codeName": "a" * 500}), "a" * 60),
        (errors.DocumentTooLarge("16793610 bytes"), "DocumentTooLarge"),
    ],
)
def test_reasons_are_short_and_the_same_for_the_same_failure(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_the_marks_of_two_nodes_and_runs_are_apart() -> None:
    marks = [RunMark("run-1", "worker-1"), RunMark("run-1", "worker-10"), RunMark("run-12", "worker-1")]
    for mark in marks:
        own = mark.new_id()
        found = [other for other in marks if other.query["_id"]["$gte"] <= own < other.query["_id"]["$lt"]]
        assert found == [mark]


def test_load_goes_to_allowed_hosts_only() -> None:
    url = "mongodb://me:s3cret@127.0.0.1:27017,db.example.com:27018/load"
    database = LoadDatabase(url)
    assert (database.name, database.shown) == ("load", "mongodb://127.0.0.1:27017")
    with pytest.raises(UsageError, match=r"load may not go to db\.example\.com"):
        database.open(HostRules(), pool_size=1)
    assert LoadDatabase("mongodb://[::1]:27018", "other").shown == "mongodb://[::1]:27018"
    assert LoadDatabase("mongodb://localhost").name == "perfload_load"
