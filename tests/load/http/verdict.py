"""What a connection makes of bytes, and what the C parser says of the same bytes by itself."""

import socket
from typing import Any

import gevent
from gevent import monkey
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from perfload.load.http.connection import Connection
from perfload.load.http.failures import RequestFailed
from perfload.load.http.origin import Place
from perfload.load.http.request import prepare
from perfload.load.http.response import Response
from perfload.load.http.timeouts import NEVER_NS, Limits, Timeouts
from perfload.load.http.wire import MAX_HEAD_BYTES

_select: Any = monkey.get_original("select", "select")

CUT_SHORT = "closed before the response was complete"
MALFORMED = "malformed response"
TOO_LARGE = "response too large"

MAX_BYTES = 1_000_000
LIMITS = Limits(Timeouts(None, None, None), MAX_BYTES)

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Kind:  a b \r\n\r\nhello\r\n\r\nyo"
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
    b"5;a=b\r\nhello\r\nC\r\n\r\n\r\n\r\n world\r\n0\r\nX: 1\r\nY: 2\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + SIZED
UNTIL_END = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nas long as it lasts"
EMPTY = b"HTTP/1.1 204\r\n\r\n"


def answer(pieces: list[bytes], *, is_head_request: bool = False) -> tuple[Any, bool]:
    """Return what a connection makes of `pieces` and an end, and whether it would be used again."""
    ours, theirs = monkey.get_original("socket", "socketpair")()
    ours.setblocking(False)
    connection = Connection(ours)
    waiting = gevent.spawn(exchange, connection, is_head_request)
    gevent.sleep(0)
    for piece in pieces:
        try:
            theirs.sendall(piece)
        except OSError:
            break
        while connection.is_open and _select([ours], [], [], 0)[0]:
            gevent.idle()
    is_reusable = connection.is_idle
    theirs.shutdown(socket.SHUT_WR)
    waiting.join(2)
    assert waiting.dead, "it hangs"
    connection.close()
    theirs.close()
    found = waiting.value
    if isinstance(found, Response):
        found = (found.status_code, dict(found.headers), found.content)
    return found, is_reusable


def exchange(connection: Connection, is_head_request: bool) -> Response | str:
    prepared = prepare("HEAD" if is_head_request else "GET", Place("http://localhost/"), {})
    try:
        return connection.exchange(b"GET / HTTP/1.1\r\n\r\n", prepared, LIMITS, 0, NEVER_NS, False)
    except RequestFailed as failure:
        return failure.reason


class Reference:
    """What the parser says of the same bytes when it is asked in the most direct way."""

    def __init__(self, data: bytes, *, is_head_request: bool = False) -> None:
        self.is_head_request = is_head_request
        self.status, self.body, self.fields, self.is_complete = 0, b"", [], False
        self.is_trailer = False
        self.ended_at = 0
        """How many bytes the response has."""
        parser = self._parser = HttpResponseParser(self)
        try:
            for index in range(len(data)):
                parser.feed_data(data[index : index + 1])
                if self.is_complete:
                    self.ended_at = index + 1
                    return
        except (HttpParserError, HttpParserUpgrade):
            self.status = -1

    def on_message_begin(self) -> None:
        self.fields, self.is_trailer = [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_trailer:
            self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.is_trailer = True
        self.is_complete = self.is_head_request and self.status >= 200

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = self.status >= 200


def check(pieces: list[bytes], *, is_head_request: bool = False) -> None:
    """Hold what a connection makes of `pieces` against the parser: the same response, or a failure."""
    found, is_reusable = answer(pieces, is_head_request=is_head_request)
    data = b"".join(pieces)
    reference = Reference(data, is_head_request=is_head_request)
    if isinstance(found, str):
        assert not is_reusable
        if reference.is_complete:
            assert found == TOO_LARGE, found
            assert len(data) > min(MAX_HEAD_BYTES, MAX_BYTES)
        else:
            assert found in {CUT_SHORT, MALFORMED, TOO_LARGE, "connection reset"}, found
        return
    status, fields, body = found
    assert (status, body) == (reference.status, reference.body)
    headers: dict[str, str] = {}
    for name, value in reference.fields:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    assert {name.lower(): value for name, value in fields.items()} == headers
    if reference.is_complete:
        # Empty lines are all that may stand between two responses.
        assert not is_reusable or not data[reference.ended_at :].strip(b"\r\n")
    else:
        assert not is_reusable
        assert "content-length" not in headers or "transfer-encoding" in headers
        assert headers.get("transfer-encoding", "").lower().split(",")[-1].strip() != "chunked"
