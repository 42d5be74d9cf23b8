"""Server-sent events: by the rules of WHATWG, however the bytes are cut, and as they arrive."""

import gzip
import itertools
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event as Gate
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load.http import RequestFailed
from perfload.load.http.sse import EventParser
from tests.load.http.conftest import Client
from tests.load.http.servers import CLOSE, HANG, OK, PAUSE, ScriptedServer

Connect = Callable[..., Client]
Shown = tuple[str, str, str, int | None]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def events_of(*pieces: bytes) -> list[Shown]:
    parser = EventParser()
    return [
        (event.event, event.data, event.id, event.retry_ms)
        for piece in pieces
        for event in parser.feed(piece)
    ]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("message", "a", "", None)]),
        (b"data:a\r\n\r\n", [("message", "a", "", None)]),
        (b"data:a\r\r", [("message", "a", "", None)]),
        (b"data: a\r\n\n", [("message", "a", "", None)]),
        (b"data:  a \n\n", [("message", " a ", "", None)]),
        (b"data: a\ndata: b\ndata\ndata:\n\n", [("message", "a\nb\n\n", "", None)]),
        (b"data\n\n", [("message", "", "", None)]),
        (b"data: a:b: c\n\n", [("message", "a:b: c", "", None)]),
        (b"event: ping\ndata: 1\n\ndata: 2\n\n", [("ping", "1", "", None), ("message", "2", "", None)]),
        (b"event: ping\n\ndata: 2\n\n", [("message", "2", "", None)]),
        (b"event: a\nevent:\ndata: 1\n\n", [("message", "1", "", None)]),
        (b": comment\n:\n\ndata: a\n: more\n\n", [("message", "a", "", None)]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [("message", "a", "7", None), ("message", "b", "7", None)]),
        (b"id: 7\n\ndata: b\n\nid\ndata: c\n\n", [("message", "b", "7", None), ("message", "c", "", None)]),
        (b"id: 7\nid: a\0b\ndata: a\n\n", [("message", "a", "7", None)]),
        (b"retry: 10\n\ndata: a\n\n", [("message", "a", "", 10)]),
        (
            b"retry: 10\nretry: 1e3\nretry: -1\nretry: \xc2\xb2\nretry:\ndata: a\n\n",
            [("message", "a", "", 10)],
        ),
        (b"retry: " + b"9" * 5000 + b"\ndata: a\n\n", [("message", "a", "", None)]),
        (b"Data: a\n data: b\nwhat: c\ndata : d\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "", None)]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"\n\xef\xbb\xbfdata: a\n\n", []),
        (b"data: \xe4\xc3\xa4\n\n", [("message", "\ufffdä", "", None)]),
        (b"data: a\ndata: \x85\xe2\x80\xa8b\n\n", [("message", "a\n\ufffd\u2028b", "", None)]),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"\n\n\r\r\r\n", []),
        (b"", []),
    ],
)
def test_the_rules(stream: bytes, events: list[Shown]) -> None:
    assert events_of(stream) == events
    assert events_of(*[stream[index : index + 1] for index in range(len(stream))]) == events
    for cut in range(1, len(stream)) if len(stream) < 1000 else ():
        assert events_of(stream[:cut], stream[cut:]) == events, cut


lines = st.sampled_from(
    [
        b"data: a",
        b"data",
        b"data:b",
        b"event: e",
        b"id: 1",
        b"id",
        b"retry: 5",
        b": c",
        b"",
        b"",
        b"\xef\xbb\xbf",
        b"x",
    ]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
streams = st.lists(st.tuples(lines, ends), max_size=12).map(lambda pairs: b"".join(map(b"".join, pairs)))


@settings(max_examples=500, deadline=None, database=None)
@given(stream=st.one_of(streams, st.binary(max_size=60)), cuts=st.lists(st.integers(0, 100), max_size=6))
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert events_of(*[stream[start:end] for start, end in itertools.pairwise(edges)]) == events_of(stream)


def test_an_event_ends_with_its_empty_line_and_not_with_the_next_byte() -> None:
    parser = EventParser()
    assert [event.data for event in parser.feed(b"data: a\r\n\r", received_ns=5)] == ["a"]
    assert parser.feed(b"\n", received_ns=6) == []
    (event,) = parser.feed(b"data: b\r\n\r\n", received_ns=7)
    assert (event.data, event.received_ns) == ("b", 7)


def test_what_is_kept_is_limited() -> None:
    parser = EventParser(max_event_bytes=100)
    for _ in range(50):
        assert parser.feed(b": thirty bytes without an event\nretry: 10\n") == []
    assert len(parser.feed(b"data: " + b"x" * 80 + b"\n\n" + b"data: " + b"y" * 80 + b"\n\n")) == 2
    parser.feed(b"data: " + b"x" * 44)
    parser.feed(b"x" * 44)
    with pytest.raises(RequestFailed, match="response too large"):
        parser.feed(b"x" * 10)
    parser = EventParser(max_event_bytes=100)
    with pytest.raises(RequestFailed, match="response too large"):
        parser.feed(b"data: 123456789\n" * 10)
    parser = EventParser(max_event_bytes=100)
    with pytest.raises(RequestFailed, match="response too large"):
        parser.feed(b"data\n" * 30)


def test_an_endless_line_costs_time_in_proportion() -> None:
    parser = EventParser(max_event_bytes=1 << 30)
    began_s = time.process_time()
    for _ in range(20_000):
        parser.feed(b"x" * 100)
    assert time.process_time() - began_s < 1


def test_events_are_handed_over_as_they_arrive(server: ScriptedServer, client: Client) -> None:
    more = Gate()
    server.answer(HEAD, b"id: 1\ndata: a\n\ndata: b", more, b"\n\ndata: never", CLOSE)
    began_ns = time.perf_counter_ns()
    with client.get("/", stream=True, catch_response=True) as reply:
        events = reply.iter_sse()
        first = next(events)
        gevent.sleep(0.01)
        between_ns = time.perf_counter_ns()
        more.set()
        rest = list(events)
    assert (first.data, [event.data for event in rest]) == ("a", ["b"])
    assert began_ns < first.received_ns < between_ns - 10_000_000 < between_ns < rest[0].received_ns
    assert (client.reasons, client.events[0]["response_length"]) == ([None], 35)


def test_chunks_are_not_lines(server: ScriptedServer, client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.answer(head + b"8\r\ndata: a\r\r\n", PAUSE, b"1\r\n\n\r\n2\r\n\r\n\r\n0\r\n\r\n")
    server.answer(OK)
    with client.get("/", stream=True, catch_response=True) as reply:
        assert [event.data for event in reply.iter_sse()] == ["a"]
    client.get("/")
    assert server.connections == 1


def test_events_of_a_response_that_is_no_stream(server: ScriptedServer, client: Client) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\ndata: a\n\ndata: b\n\n")
    reply = client.get("/")
    assert [(event.data, event.received_ns) for event in reply.iter_sse()] == [
        ("a", reply.received_ns),
        ("b", reply.received_ns),
    ]


@pytest.mark.parametrize("marked", [True, False])
def test_an_endless_line_is_a_failure(server: ScriptedServer, connect: Connect, *, marked: bool) -> None:
    client = connect(server.url, max_response_bytes=200_000)
    server.answer(HEAD, *[b"data: " + b"x" * 100_000, PAUSE] * 2, HANG)
    reply = client.get("/", stream=True, catch_response=marked)
    if marked:
        with reply:
            list(reply.iter_sse())
        assert client.reasons == ["response too large"]
    else:
        with pytest.raises(RequestFailed, match="response too large"):
            list(reply.iter_sse())
    assert server.hung_up.wait(2)


def test_events_in_a_compressed_body(server: ScriptedServer, client: Client) -> None:
    body = gzip.compress(b"data: a\n\n")
    server.answer(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    assert [event.data for event in client.get("/").iter_sse()] == ["a"]
    with client.get("/", stream=True, catch_response=True) as reply:
        list(reply.iter_sse())
    assert client.reasons == [None, "the stream is compressed"]


def test_a_failed_request_has_no_events(connect: Connect) -> None:
    assert list(connect("http://127.0.0.1:1").get("/", stream=True).iter_sse()) == []


def test_a_stream_of_events_that_breaks_is_a_failure(server: ScriptedServer, client: Client) -> None:
    server.answer(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 99\r\n\r\n") + b"data: a\n\n", PAUSE, CLOSE)
    seen: list[Any] = []
    with client.get("/", stream=True, catch_response=True) as reply:
        seen.extend(event.data for event in reply.iter_sse())
    assert client.reasons == ["closed before the response was complete"]
