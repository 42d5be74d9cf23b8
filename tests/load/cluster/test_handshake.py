"""A worker that is not let in says why, once, and goes on trying."""

import socket as sockets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import zmq
from locust.rpc import Message

from perfload.cluster_key import VARIABLE, ClusterKey
from perfload.load.cluster import handshake, rpc
from perfload.load.cluster.gate import Gate
from tests.load.conftest import wait_for

KEY, OTHER_KEY = ClusterKey.generate(), ClusterKey.generate()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rpc, "gate", Gate())
    monkeypatch.setattr(rpc, "RECONNECT_MAX_MS", 100)
    monkeypatch.setattr(handshake, "TRY_AGAIN_S", 0.05)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a socket with some key, and has it closed after the test."""
    made: list[Any] = []

    def make(kind: Callable[..., Any], *arguments: object, key: ClusterKey | None) -> Any:
        monkeypatch.setenv(VARIABLE, key.text if key else "")
        made.append(kind(*arguments))
        return made[-1]

    yield make
    for socket in made:
        socket.close()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if (r.name, r.levelname) == ("perfload", "ERROR")]


@pytest.mark.parametrize(
    ("masters", "workers"), [(KEY, None), (KEY, OTHER_KEY), (None, KEY)], ids=["none", "another", "needless"]
)
def test_a_worker_says_once_that_the_keys_differ(
    start: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    masters: ClusterKey | None,
    workers: ClusterKey | None,
) -> None:
    server = start(rpc.Server, "127.0.0.1", 0, key=masters)
    listener = gevent.spawn(server.recv_from_client)
    client = start(rpc.Client, "127.0.0.1", server.port, "w1", key=workers)
    client.send(Message("client_ready", -1, "w1"))
    wait_for(lambda: bool(errors(caplog)))
    gevent.sleep(10 * rpc.RECONNECT_MAX_MS / 1000)
    (said,) = errors(caplog)
    assert f"the master at tcp://127.0.0.1:{server.port} refuses this worker" in said
    assert f"set the same {VARIABLE} on master and workers; perfload cluster keygen makes one" in said
    assert not listener.dead
    listener.kill()
    assert KEY.text not in caplog.text
    assert OTHER_KEY.text not in caplog.text


FAILED = {"event": zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, "value": 32}
SUCCEEDED = {"event": zmq.EVENT_HANDSHAKE_SUCCEEDED, "value": 0}


def test_connections_that_break_now_and_then_are_no_reason_to_complain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seldom = ([FAILED] * (handshake.FAILURES_IN_A_ROW - 1) + [SUCCEEDED]) * 3
    handshake._tell_failures(None, "tcp://127.0.0.1:1", iter(seldom))
    assert errors(caplog) == []
    handshake._tell_failures(None, "tcp://127.0.0.1:1", iter([*seldom, FAILED, *seldom[:-1]]))
    assert len(errors(caplog)) == 1


def test_a_worker_whose_master_is_not_there_yet_is_patient(
    start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = start(rpc.Client, "127.0.0.1", port, "w1", key=KEY)
    client.send(Message("client_ready", -1, "w1"))
    gevent.sleep(10 * rpc.RECONNECT_MAX_MS / 1000)
    server = start(rpc.Server, "127.0.0.1", port, key=KEY)
    assert gevent.spawn(server.recv_from_client).get(timeout=5)[0] == "w1"
    assert errors(caplog) == []


NULL_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
"""ZMTP 3.1, without keys."""


def test_a_worker_comes_in_when_the_master_is_started_again_with_the_key(
    start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """libzmq gives a connection up for good when it is the one that finds the mechanisms to differ."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = start(rpc.Client, "127.0.0.1", port, "w1", key=KEY)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(NULL_GREETING)
            wait_for(lambda: bool(errors(caplog)))
    server = start(rpc.Server, "127.0.0.1", port, key=KEY)
    inbox = gevent.spawn(server.recv_from_client)
    while not inbox.ready():
        client.send(Message("client_ready", -1, "w1"))  # as Locust's worker does every five seconds
        gevent.sleep(0.1)
    assert inbox.get()[0] == "w1"
    assert len(errors(caplog)) == 1
