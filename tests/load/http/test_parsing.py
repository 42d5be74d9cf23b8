"""Responses cut anywhere, and bytes that are no response: always one answer or one failure, never a hang."""

import itertools
import socket
from typing import Any

import gevent
import pytest
from gevent import monkey
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perfload.load.http.connection import Connection
from perfload.load.http.failures import RequestFailed
from perfload.load.http.response import Response
from perfload.load.http.timeouts import NEVER_NS, Limits, Timeouts

FUZZ = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
LIMITS = Limits(Timeouts(None, None, None), 1_000_000)

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
        gevent.sleep(0)
        gevent.sleep(0)
    waiting.join(0.001 if not waiting.dead else None)
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
    try:
        return connection.exchange(
            b"GET / HTTP/1.1\r\n\r\n",
            LIMITS,
            NEVER_NS,
            is_head_request=is_head_request,
            is_stream=False,
        )
    except RequestFailed as failure:
        return failure.reason


class Reference:
    """What the parser says of the same bytes when it is asked in the most direct way."""

    def __init__(self, data: bytes) -> None:
        self.status, self.body, self.fields, self.is_complete = 0, b"", [], False
        self.is_trailer = False
        parser = self._parser = HttpResponseParser(self)
        try:
            for index in range(len(data)):
                parser.feed_data(data[index : index + 1])
                if self.is_complete:
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

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = self.status >= 200


@pytest.mark.parametrize("data", [SIZED, CHUNKED, INTERIM, UNTIL_END, EMPTY])
def test_a_response_may_be_cut_anywhere(data: bytes) -> None:
    whole, is_reusable = answer([data])
    assert whole[0] in {200, 201, 204, 404}
    for position in range(1, len(data)):
        assert answer([data[:position], data[position:]]) == (whole, is_reusable), position
    assert answer([data[index : index + 1] for index in range(len(data))]) == (whole, is_reusable)


@pytest.mark.parametrize("data", [SIZED, CHUNKED])
def test_a_response_that_is_cut_short_is_none(data: bytes) -> None:
    for size in range(len(data)):
        found, is_reusable = answer([data[:size]])
        assert found == "closed before the response was complete", size
        assert not is_reusable


@pytest.mark.parametrize("rest", [b"H", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", b"\0"])
@pytest.mark.parametrize("data", [SIZED, CHUNKED, EMPTY])
def test_what_follows_a_response_is_not_part_of_it(data: bytes, rest: bytes) -> None:
    whole, _ = answer([data])
    assert answer([data + rest]) == (whole, False)
    assert answer([data, rest]) == (whole, False)


def test_a_body_after_the_response_to_head_closes_the_connection() -> None:
    head = SIZED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    (status, _, body), is_reusable = answer([head], is_head_request=True)
    assert (status, body, is_reusable) == (200, b"", True)
    (status, _, body), is_reusable = answer([SIZED], is_head_request=True)
    assert (status, body, is_reusable) == (200, b"", False)


names = st.sampled_from(["Content-Length", "Transfer-Encoding", "Connection", "Set-Cookie", "X", "x"])
values = st.sampled_from(
    ["", "0", "3", "5", "chunked", "gzip, chunked", "close", "keep-alive", "a: b", " \t c\t", "\xe4"]
)
fields = st.lists(st.tuples(names, values), max_size=5)
bodies = st.sampled_from(
    [b"", b"abc", b"abcde", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\nT: 1\r\n\r\n", b"\r\n\r\n", b"zz\r\n"]
)
starts = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 304 N", "HTTP/1.1 100 C", "HTTP/1.1 999", "HTTP/1.1 20"]
)


@st.composite
def almost_responses(draw: st.DrawFn) -> bytes:
    """Draw bytes that are a response, or nearly one."""
    messages = []
    for _ in range(draw(st.integers(1, 2))):
        lines = [draw(starts), *[f"{name}: {value}" for name, value in draw(fields)]]
        end = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]))
        messages.append((end.join(lines) + end + end).encode("latin-1") + draw(bodies))
    data = b"".join(messages)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data


@FUZZ
@given(data=almost_responses(), cuts=st.lists(st.integers(0, 300), max_size=4))
@example(data=SIZED, cuts=[])
@example(data=CHUNKED * 2, cuts=[20])
@example(data=INTERIM, cuts=[])
def test_the_result_is_that_of_the_parser_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges) if data[start:end]]
    found, _ = answer(pieces)
    reference = Reference(data)
    if reference.is_complete:
        headers: dict[str, str] = {}
        for name, value in reference.fields:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status, fields_found, body = found
        assert (status, {name.lower(): value for name, value in fields_found.items()}, body) == (
            reference.status,
            headers,
            reference.body,
        )
    elif isinstance(found, tuple):
        assert (found[0], found[2]) == (reference.status, reference.body)
    else:
        assert found in {"closed before the response was complete", "malformed response"}


@FUZZ
@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_bytes_that_are_no_response_are_a_failure(pieces: list[bytes]) -> None:
    found, is_reusable = answer(pieces)
    assert found in {"closed before the response was complete", "malformed response", "connection reset"}
    assert not is_reusable
