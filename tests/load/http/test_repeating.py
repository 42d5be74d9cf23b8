"""Which requests are sent again when an idle connection turns out to be closed."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import monkey

from perfload.load.http import Timeouts
from tests.load.http.conftest import Client
from tests.load.http.servers import CLOSE, OK, PAUSE, RESET, ScriptedServer

Connect = Callable[..., Client]

METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"]
CUT_SHORT = "closed before the response was complete"


@pytest.mark.parametrize("method", METHODS)
def test_closed_before_the_request_came(server: ScriptedServer, client: Client, method: str) -> None:
    # The client sends as soon as it has the response, before it can see the end of the connection.
    server.answer(OK, CLOSE)
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.get("/first")
    client.request(method, "/second", data=b"x" if method in {"PUT", "POST", "PATCH"} else None)
    assert client.reasons == [None, None]
    assert [asked.method for asked in server.asked] == ["GET", method]


@pytest.mark.parametrize("method", METHODS)
def test_closed_after_the_request_was_taken(server: ScriptedServer, client: Client, method: str) -> None:
    server.answer(OK)
    server.answer(CLOSE)
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.get("/first")
    client.request(method, "/second")
    is_repeated = method not in {"POST", "PATCH"}
    assert client.reasons == [None, None if is_repeated else CUT_SHORT]
    assert len(server.asked) == (3 if is_repeated else 2)


def test_reset_before_a_word_was_said(server: ScriptedServer, client: Client) -> None:
    server.answer(OK)
    server.answer(RESET)
    server.answer(OK)
    client.get("/first")
    client.post("/second", data=b"x")
    assert client.reasons == [None, None]


def test_a_new_connection_is_not_repeated(server: ScriptedServer, client: Client) -> None:
    server.answer(CLOSE)
    client.post("/", data=b"x")
    assert (client.reasons, len(server.asked)) == ([CUT_SHORT], 1)


def test_one_that_is_reset_while_it_is_worked_on_was_taken(server: ScriptedServer, client: Client) -> None:
    # So long after it was sent that the reset is no answer to it, from a connection that was closed before.
    server.answer(OK)
    server.answer(*[PAUSE] * 70, RESET)
    for method in ("POST", "GET"):
        client.get("/first")
        client.request(method, "/second")
        server.asked.clear()
    assert client.reasons == [None, "connection reset"] * 2
    assert server.connections == 2


# --- a server that is moved step by step


plain_socket: Any = monkey.get_original("socket", "socket")

UPLOAD = b"x" * 20_000_000
"""More than the system takes at once."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def take(listener: socket.socket) -> Any:
    """Accept a connection, answer what is asked for first, and return it."""
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.sendall(OK)
    return connection


def reset(connection: Any) -> None:
    """Reset `connection`; it has happened on return, without a look of anybody else at it."""
    plain = plain_socket(fileno=connection.detach())
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


def answer_the_rest(listener: socket.socket) -> None:
    """Answer the next connection's request before it has come to its end."""
    with contextlib.closing(take(listener)) as connection, contextlib.suppress(OSError):
        while connection.recv(1000):
            pass


def test_sent_to_where_a_reset_has_come_already(connect: Connect, listener: socket.socket) -> None:
    client = connect(url_of(listener))
    getting = gevent.spawn(client.get, "/first")
    connection = take(listener)
    getting.join()
    reset(connection)
    answering = gevent.spawn(answer_the_rest, listener)
    client.post("/second", data=b"x")  # the loop has not run since
    assert client.reasons == [None, None]
    client.close()
    answering.join()


def test_an_upload_that_is_cut_off_by_an_end_and_then_a_reset(
    connect: Connect, listener: socket.socket
) -> None:
    def hang_up() -> None:
        connection = take(listener)
        connection.recv(1000)
        connection.shutdown(socket.SHUT_WR)
        gevent.sleep(0.02)  # the client sees the one before the other
        reset(connection)
        answer_the_rest(listener)

    hanging_up = gevent.spawn(hang_up)
    client = connect(url_of(listener), timeouts=Timeouts(first_byte_s=5))
    client.get("/first")
    began_s = time.monotonic()
    client.post("/second", data=UPLOAD)
    assert client.reasons == [None, None]
    assert time.monotonic() - began_s < 2
    client.close()
    hanging_up.join()


def test_an_upload_that_goes_on_behind_the_end_is_not_waited_for(
    connect: Connect, listener: socket.socket
) -> None:
    def read_on() -> None:
        with contextlib.closing(take(listener)) as connection, contextlib.suppress(OSError):
            connection.recv(1000)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(100_000):
                gevent.sleep(0.01)

    reading_on = gevent.spawn(read_on)
    client = connect(url_of(listener), timeouts=Timeouts(first_byte_s=5))
    client.get("/first")
    began_s = time.monotonic()
    client.post("/second", data=UPLOAD)
    assert client.reasons == [None, CUT_SHORT]
    assert time.monotonic() - began_s < 1
    reading_on.kill()


def test_a_process_may_have_nothing_else_to_wait_for(server: ScriptedServer, connect: Connect) -> None:
    server.answer(OK)
    server.answer(CLOSE)
    client = connect(server.url)

    def ask() -> None:
        client.get("/first")
        client.post("/second", data=b"x")
        client.close()

    # A thread of its own has an event loop of its own, with nothing on it but the client.
    gevent.get_hub().threadpool.apply(ask)
    assert client.reasons == [None, CUT_SHORT]
