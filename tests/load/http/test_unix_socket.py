"""Requests over a Unix socket: the same bytes, another way there."""

import array
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from perfload.hosts import HostRules
from perfload.load.http import Timeouts
from tests.load.http.conftest import Client
from tests.load.http.servers import OK, ScriptedServer

Connect = Callable[..., Client]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "app.sock")


@pytest.fixture
def local(path: str) -> Iterator[ScriptedServer]:
    running = ScriptedServer(path=path)
    running.answer(OK)
    yield running
    running.close()


def test_requests_go_to_the_socket_and_stay_the_same(
    connect: Connect, local: ScriptedServer, path: str
) -> None:
    client = connect("http://app.example.com/v1", unix_socket=path, host_rules=HostRules(["*.example.com"]))
    replies = [client.post("/items", json={"a": 1}) for _ in range(3)]
    assert [(reply.content, reply.url) for reply in replies] == [
        (b"ok", "http://app.example.com/v1/items")
    ] * 3
    assert {(asked.target, asked.fields["host"]) for asked in local.asked} == {
        ("/v1/items", "app.example.com")
    }
    assert (local.connections, client.reasons) == (1, [None] * 3)


def test_every_origin_is_there(connect: Connect, local: ScriptedServer, path: str) -> None:
    client = connect("http://localhost:1", unix_socket=path)
    assert [client.get("/").content, client.get("http://127.0.0.1:2/").content] == [b"ok", b"ok"]
    assert [asked.fields["host"] for asked in local.asked] == ["localhost:1", "127.0.0.1:2"]
    assert local.connections == 2


def test_hosts_must_be_allowed_here_too(connect: Connect, local: ScriptedServer, path: str) -> None:
    client = connect("http://elsewhere.example.com", unix_socket=path)
    client.get("/")
    assert client.reasons == ["load may not go to elsewhere.example.com"]
    assert local.connections == 0


def test_tls_over_a_unix_socket(connect: Connect, path: str, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    running = ScriptedServer(context=context, path=path)
    running.answer(OK)
    client = connect("https://localhost", unix_socket=path, ca_file=str(certificate[0]))
    assert client.get("/").content == b"ok"
    running.close()


def test_a_socket_that_is_not_there(connect: Connect, path: str) -> None:
    client = connect("http://localhost", unix_socket=path)
    client.get("/")
    assert client.reasons == ["unix socket not found"]


def test_a_socket_that_nobody_listens_at(connect: Connect, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    client = connect("http://localhost", unix_socket=path)
    client.get("/")
    assert client.reasons == ["connection refused"]


def test_a_socket_whose_queue_is_full(connect: Connect, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        crowd = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for other in crowd:
            other.setblocking(False)
            other.connect_ex(path)
        client = connect("http://localhost", unix_socket=path, timeouts=Timeouts(connect_s=0.1))
        client.get("/")
        for other in crowd:
            other.close()
    assert client.reasons == ["timed out: connect"]
    assert client.events[0]["response_time"] >= 100


def test_a_proxy_and_a_socket_at_once(connect: Connect, path: str) -> None:
    with pytest.raises(ValueError, match=r"proxy.*unix_socket"):
        connect("http://localhost", unix_socket=path, proxy="http://127.0.0.1:1")


def test_a_path_that_is_too_long(connect: Connect) -> None:
    with pytest.raises(ValueError, match="bytes at most"):
        connect("http://localhost", unix_socket="/" + "x" * 200)


def test_descriptors_that_a_server_passes_are_not_taken(connect: Connect, path: str) -> None:
    def pass_some(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
        while connection.recv(65536):
            connection.sendmsg([OK], passed)
        connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        passing = gevent.spawn(pass_some, listener)
        client = connect("http://localhost", unix_socket=path)
        client.get("/")
        before = len(os.listdir("/proc/self/fd"))
        assert [client.get("/").content for _ in range(3)] == [b"ok"] * 3
        assert len(os.listdir("/proc/self/fd")) == before
        client.close()
        passing.join()
