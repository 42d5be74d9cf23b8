"""What a scenario relies on, held against all three clients, or against those that can do it."""

import contextlib
import gzip
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from locust.contrib.fasthttp import FastHttpSession

from perfload.load.http import HttpSession
from tests.load.http.conftest import Client
from tests.load.http.servers import CLOSE, HANG, OK, PAUSE, RESET, ScriptedServer

Connect = Callable[..., Client]
KINDS = ["perfload", "fasthttp", "requests"]


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    running.answer(OK)
    yield running
    running.close()


def moved(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_method_and_body(
    any_client: Client, server: ScriptedServer, status: int
) -> None:
    server.answer(moved(status, "/there"))
    server.answer(OK)
    assert any_client.post("/", json={"a": 1}).content == b"ok"
    first, second = server.asked
    assert (second.method, second.target, second.body) == ("POST", "/there", first.body)
    assert second.fields["content-type"] == "application/json"


@pytest.mark.parametrize("status", [302, 303])
def test_a_redirect_that_becomes_a_get(any_client: Client, server: ScriptedServer, status: int) -> None:
    server.answer(moved(status, "/there"))
    server.answer(OK)
    assert any_client.post("/", data={"a": "1"}).content == b"ok"
    assert (server.asked[1].method, server.asked[1].body) == ("GET", b"")
    assert "content-type" not in server.asked[1].fields


@pytest.mark.parametrize("kind", ["perfload", "requests"])
def test_credentials_stay_with_their_host(
    connect: Connect, server: ScriptedServer, other: ScriptedServer, kind: str
) -> None:
    server.answer(moved(302, f"http://localhost:{other.port}/"))
    assert connect(server.url, kind).get("/", auth=("me", "pw")).content == b"ok"
    assert server.asked[0].fields["authorization"] == "Basic bWU6cHc="
    assert "authorization" not in other.asked[0].fields


@pytest.mark.parametrize("kind", ["perfload", "requests"])
def test_interim_responses(connect: Connect, server: ScriptedServer, kind: str) -> None:
    server.answer(b"HTTP/1.1 100 Continue\r\n\r\n", PAUSE, OK)
    client = connect(server.url, kind)
    assert [client.get("/").content for _ in range(2)] == [b"ok", b"ok"]


def test_trailers_are_not_headers(any_client: Client, server: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    server.answer(head + b"2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")
    for _ in range(2):
        reply = any_client.get("/")
        assert (reply.content, reply.headers.get("x-sum")) == (b"ok", None)
    assert server.connections == 1


def test_a_compressed_body_in_chunks_of_one_byte(any_client: Client, server: ScriptedServer) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in gzip.compress(b"hello" * 100))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.answer(head + body + b"0\r\n\r\n")
    assert any_client.get("/").text == "hello" * 100


def test_params(any_client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    any_client.get("/a?z=0", params={"many": ["1", "2"], "none": None, "text": "ä&b"})
    any_client.get("/a", params=[("b", "1"), ("a", "2")])
    targets = [asked.target for asked in server.asked]
    if any_client.kind == "fasthttp":
        targets[0] = targets[0].replace("&none=None", "")  # it sends what is None
    assert targets == ["/a?z=0&many=1&many=2&text=%C3%A4%26b", "/a?b=1&a=2"]


@pytest.mark.parametrize("kind", ["perfload", "requests"])
def test_files_from_a_disk(connect: Connect, server: ScriptedServer, tmp_path: Path, kind: str) -> None:
    server.answer(OK)
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)))
    client = connect(server.url, kind)
    with path.open("rb") as file:
        client.post("/", files={"upload": file})
    with path.open("rb") as file:
        client.put("/", data=file)
    asked = server.asked[0]
    boundary = asked.fields["content-type"].partition("boundary=")[2].encode()
    _, part, end = asked.body.split(b"--" + boundary)
    head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
    assert b'name="upload"; filename="data.bin"' in head
    assert (content, end.strip()) == (bytes(range(256)).removesuffix(b"\r\n"), b"--")
    assert server.asked[1].body == bytes(range(256))


@pytest.mark.parametrize("kind", ["perfload", "requests"])
def test_a_field_may_come_several_times(connect: Connect, server: ScriptedServer, kind: str) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nVary: a\r\nVary: b\r\nContent-Length: 0\r\n\r\n")
    assert connect(server.url, kind).get("/").headers["vary"] == "a, b"


def test_a_cookie_may_be_taken_back(any_client: Client, server: ScriptedServer) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n")
    server.answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=; Path=/; Max-Age=0\r\nContent-Length: 0\r\n\r\n")
    server.answer(OK)
    for _ in range(3):
        any_client.get("/")
    assert [asked.fields.get("cookie") for asked in server.asked] == [None, "a=1", None]


@pytest.mark.parametrize(
    "steps", [(CLOSE,), (RESET,), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", CLOSE)]
)
def test_a_response_that_does_not_come(any_client: Client, server: ScriptedServer, steps: Any) -> None:
    server.answer(*steps)
    any_client.get("/")
    assert [reason is None for reason in any_client.reasons] == [False]


@pytest.mark.parametrize("kind", ["perfload", "requests"])
def test_a_time_limit_to_the_first_byte(connect: Connect, server: ScriptedServer, kind: str) -> None:
    server.answer(HANG)
    client = connect(server.url, kind)
    assert client.get("/", timeout=0.1).status_code == 0
    assert [reason is None for reason in client.reasons] == [False]
    assert client.events[0]["response_time"] >= 95


@pytest.mark.parametrize("kind", KINDS)
def test_tls_without_verification(
    connect: Connect, serve_tls: Callable[..., ScriptedServer], kind: str
) -> None:
    server = serve_tls()
    server.answer(OK)
    client = connect(
        f"https://localhost:{server.port}", kind, **({} if kind == "requests" else {"insecure": True})
    )
    options = {"verify": False} if kind == "requests" else {}
    with pytest.warns(Warning, match="Unverified") if kind == "requests" else contextlib.nullcontext():
        assert [client.get("/", **options).content for _ in range(2)] == [b"ok", b"ok"]
    assert server.connections == 1


def test_text_by_its_charset(any_client: Client, server: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=iso-8859-15\r\nContent-Length: 1\r\n\r\n"
    server.answer(head + b"\xa4")
    assert any_client.get("/").text == "€"


def test_a_session_has_the_arguments_of_locusts() -> None:
    theirs = set(inspect.signature(FastHttpSession.request).parameters) - {"kwargs"}
    assert theirs <= set(inspect.signature(HttpSession.request).parameters)
