"""One response after another, in every way in which HTTP/1.1 says where a response ends; three clients."""

import gc
import gzip
import json
import zlib
from typing import Any

import brotli
import pytest
from locust.event import EventHook

from perfload.load.http import BadContent, HttpSession
from tests.load.http.conftest import Client
from tests.load.http.servers import CLOSE, OK, PAUSE, ScriptedServer


def response(*lines: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def sized(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return response(f"Content-Length: {len(body)}", *lines, body=body, status=status)


def test_a_get_is_sent_and_its_response_read(any_client: Client, server: ScriptedServer) -> None:
    server.answer(sized(b"hello", "X-Kind: greeting", "Content-Type: text/plain; charset=utf-8"))
    reply = any_client.get("/path?x=1")
    assert (reply.status_code, reply.content, reply.text, reply.ok) == (200, b"hello", "hello", True)
    assert reply.headers["x-kind"] == "greeting"
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == ("GET", "/path?x=1", b"")
    assert asked.fields["host"] == f"127.0.0.1:{server.port}"
    (event,) = any_client.events
    assert (event["request_type"], event["response_length"], event["exception"]) == ("GET", 5, None)
    assert event["url"] == f"{server.url}/path?x=1"
    assert event["name"] == "/path?x=1"
    assert event["response"].status_code == 200


def test_one_connection_serves_all_requests(any_client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    for _ in range(5):
        assert any_client.get("/").content == b"ok"
    assert server.connections == 1


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_json_is_sent(any_client: Client, server: ScriptedServer, method: str) -> None:
    server.answer(sized(b'{"a": [1]}', "Content-Type: application/json"))
    assert getattr(any_client, method)("/", json={"b": 2}).json() == {"a": [1]}
    (asked,) = server.asked
    assert asked.method == method.upper()
    assert json.loads(asked.body) == {"b": 2}
    assert asked.fields["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("data", "body"), [({"a": "1 2", "b": "ä"}, b"a=1+2&b=%C3%A4"), ("text", b"text"), (b"\0\xff", b"\0\xff")]
)
def test_data_is_sent(any_client: Client, server: ScriptedServer, data: Any, body: bytes) -> None:
    server.answer(OK)
    any_client.post("/", data=data)
    assert server.asked[0].body == body
    if isinstance(data, dict):
        assert server.asked[0].fields["content-type"].startswith("application/x-www-form-urlencoded")


def test_a_post_without_a_body_says_so(any_client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    any_client.post("/")
    assert server.asked[0].fields["content-length"] == "0"


def test_chunks_extensions_and_trailers(any_client: Client, server: ScriptedServer) -> None:
    head = response("Transfer-Encoding: chunked", "Trailer: X-Sum")
    server.answer(head, PAUSE, b"5;why=not\r\nhel", PAUSE, b"lo\r\n1\r\n!\r\n0\r\n", b"X-Sum: 7\r\n\r\n")
    assert [any_client.get("/").content for _ in range(2)] == [b"hello!", b"hello!"]
    assert server.connections == 1


def test_interim_responses_are_skipped(server: ScriptedServer, client: Client) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    server.answer(b"HTTP/1.1 100 Continue\r\n\r\n", PAUSE, early + sized(b"hello", "X-Kind: final"))
    for _ in range(2):
        reply = client.get("/")
        assert (reply.status_code, reply.content) == (200, b"hello")
        assert dict(reply.headers) == {"Content-Length": "5", "X-Kind": "final"}
    assert server.connections == 1


@pytest.mark.parametrize("framing", ["Content-Length: 500", "Transfer-Encoding: chunked"])
def test_the_response_to_head_has_no_body(any_client: Client, server: ScriptedServer, framing: str) -> None:
    server.answer(response(framing))
    server.answer(OK)
    reply = any_client.head("/")
    assert (reply.status_code, reply.content or b"") == (200, b"")
    assert any_client.get("/").content == b"ok"
    assert any_client.reasons == [None, None]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body(any_client: Client, server: ScriptedServer, status: str) -> None:
    server.answer(response("ETag: x", status=status))
    server.answer(OK)
    assert any_client.get("/").status_code == int(status[:3])
    assert any_client.get("/").content == b"ok"
    assert (server.connections, any_client.reasons) == (1, [None, None])


def test_connection_close_is_obeyed(any_client: Client, server: ScriptedServer) -> None:
    server.answer(sized(b"bye", "Connection: close"), PAUSE, CLOSE)
    assert [any_client.get("/").content for _ in range(2)] == [b"bye", b"bye"]
    assert server.connections == 2


def test_connection_close_is_obeyed_before_the_server_does(client: Client, server: ScriptedServer) -> None:
    server.answer(sized(b"bye", "Connection: close"))
    client.get("/")
    assert server.hung_up.wait(2)
    client.head("/")
    assert client.get("/").content == b"bye"
    assert (server.connections, len(server.asked)) == (3, 3)


def test_http_1_0_closes_unless_it_says_otherwise(client: Client, server: ScriptedServer) -> None:
    server.answer(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", CLOSE)
    server.answer(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nb")
    assert [client.get("/").content for _ in range(3)] == [b"a", b"b", b"b"]
    assert server.connections == 2


def test_a_body_may_end_with_the_connection(any_client: Client, server: ScriptedServer) -> None:
    server.answer(response("Connection: close"), PAUSE, b"until ", PAUSE, b"the end", CLOSE)
    assert [any_client.get("/").content for _ in range(2)] == [b"until the end"] * 2
    assert any_client.reasons == [None, None]


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
    ],
)
def test_bodies_are_decoded(any_client: Client, server: ScriptedServer, coding: str, encode: Any) -> None:
    body = b'{"numbers": [' + b"1, " * 5000 + b"1]}"
    server.answer(sized(encode(body), f"Content-Encoding: {coding}"))
    assert any_client.get("/").content == body
    assert coding in server.asked[0].fields["accept-encoding"]


def test_a_bare_deflate_stream_is_decoded(client: Client, server: ScriptedServer) -> None:
    server.answer(sized(zlib.compress(b"hello" * 100, wbits=-15), "Content-Encoding: deflate"))
    assert client.get("/").content == b"hello" * 100


def test_several_codings_and_members(client: Client, server: ScriptedServer) -> None:
    body = brotli.compress(gzip.compress(b"hel") + gzip.compress(b"lo"))
    server.answer(sized(body, "Content-Encoding: gzip, br"))
    reply = client.get("/")
    assert reply.content == b"hello"
    assert client.events[0]["response_length"] == len(body)


def test_a_small_body_does_not_become_a_large_one(server: ScriptedServer, connect: Any) -> None:
    for coding, encode in (("gzip", gzip.compress), ("br", brotli.compress)):
        server.answers[:] = [(sized(encode(b"0" * 2_000_000), f"Content-Encoding: {coding}"),)]
        with pytest.raises(BadContent, match="response too large"):
            connect(server.url, max_response_bytes=1_000_000).get("/").content  # noqa: B018


def test_requests_leave_nothing_to_the_collector(server: ScriptedServer) -> None:
    server.answer(OK)
    session = HttpSession(server.url, EventHook())
    session.get("/")
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            session.get("/")
            session.get("http://127.0.0.1:1/")
        server.asked.clear()
        assert gc.collect() < 50
    finally:
        gc.enable()


def test_a_large_body_goes_both_ways(any_client: Client, server: ScriptedServer) -> None:
    body = bytes(range(256)) * 20_000
    server.answer(sized(body))
    for _ in range(2):
        assert any_client.post("/", data=body).content == body
    assert [asked.body == body for asked in server.asked] == [True, True]
    assert server.connections == 1


def test_headers_auth_params_and_default_fields(any_client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    any_client.get(
        "/a", params={"q": "a b", "n": 1}, headers={"X-Own": "1", "accept": "x/y"}, auth=("me", "pw")
    )
    fields = server.asked[0].fields
    assert (fields["x-own"], fields["accept"], fields["authorization"]) == ("1", "x/y", "Basic bWU6cHc=")
    assert server.asked[0].target == "/a?q=a+b&n=1"
    assert server.asked[0].head.lower().count(b"\r\naccept:") == 1


def test_text_that_a_url_cannot_hold_is_quoted(any_client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    any_client.get("/ä b?c=%20#part")
    assert server.asked[0].target == "/%C3%A4%20b?c=%20"


def test_repeated_headers_are_joined(client: Client, server: ScriptedServer) -> None:
    server.answer(sized(b"", "Via: a", "via:  b ", "Empty:"))
    headers = client.get("/").headers
    assert (headers["VIA"], headers.get_all("Via"), headers["empty"]) == ("a, b", ["a", "b"], "")
    assert "nothing" not in headers
    assert headers.get("nothing") is None


def test_statuses_from_400_fail(any_client: Client, server: ScriptedServer) -> None:
    server.answer(sized(b"no", status="404 Not Found"))
    reply = any_client.get("/", name="a page")
    assert (reply.status_code, reply.ok, reply.content) == (404, False, b"no")
    (event,) = any_client.events
    assert event["name"] == "a page"
    assert event["exception"] is not None


def test_the_reason_of_a_status_is_stable(client: Client, server: ScriptedServer) -> None:
    server.answer(sized(b"", status="500 Whatever 0x7f"))
    client.get("/")
    assert client.reasons == ["status 500"]


def test_files_are_sent(any_client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    if any_client.kind == "fasthttp":
        any_client.post("/", data={"a": "1"}, files={"f": ("n.txt", b"content", "text/plain", {})})
    else:
        any_client.post("/", data={"a": "1"}, files={"f": ("n.txt", b"content", "text/plain")})
    asked = server.asked[0]
    boundary = asked.fields["content-type"].partition("boundary=")[2].encode()
    parts = [part.strip(b"\r\n") for part in asked.body.split(b"--" + boundary)]
    assert (parts[0], parts[-1], len(parts)) == (b"", b"--", 4)
    assert b'name="a"' in parts[1]
    assert parts[1].endswith(b"\r\n\r\n1")
    assert b'name="f"; filename="n.txt"\r\nContent-Type: text/plain' in parts[2]
    assert parts[2].endswith(b"\r\n\r\ncontent")
