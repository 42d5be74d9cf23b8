"""Which requests are sent again when an idle connection turns out to be closed."""

import pytest

from tests.load.http.conftest import Client
from tests.load.http.servers import CLOSE, OK, RESET, ScriptedServer

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
