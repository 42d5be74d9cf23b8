"""Redirects, cookies, TLS, addresses and streams: what a session does over several requests."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from locust.event import EventHook

from perfload.load.http import HttpSession
from perfload.load.http.resolver import Addresses
from tests.load.http.conftest import Client, needs_ipv6
from tests.load.http.servers import CLOSE, HANG, OK, PAUSE, ScriptedServer

Connect = Callable[..., Client]


def moved(status: int, location: str, *lines: str) -> bytes:
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\n{fields}Content-Length: 2\r\n\r\n--".encode()


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    running.answer(OK)
    yield running
    running.close()


@pytest.mark.parametrize(
    ("status", "method", "followed", "keeps_body"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (307, "POST", "POST", True),
        (308, "PUT", "PUT", True),
        (302, "PUT", "PUT", True),
        (302, "GET", "GET", True),
    ],
)
def test_redirects(
    server: ScriptedServer, client: Client, *, status: int, method: str, followed: str, keeps_body: bool
) -> None:
    server.answer(moved(status, "../there?a=1#part"))
    server.answer(OK)
    reply = client.request(method, "/a/b/c", json={"x": 1} if method != "GET" else None)
    assert (reply.status_code, reply.url) == (200, f"{server.url}/a/there?a=1")
    assert [(item.status_code, item.url) for item in reply.history] == [(status, f"{server.url}/a/b/c")]
    first, second = server.asked
    assert (second.method, second.target) == (followed, "/a/there?a=1")
    assert second.body == (first.body if keeps_body else b"")
    assert ("content-type" in second.fields) == (keeps_body and method != "GET")
    (event,) = client.events
    assert (event["request_type"], event["url"]) == (method, f"{server.url}/a/b/c")


def test_redirects_are_followed_by_all(any_client: Client, server: ScriptedServer) -> None:
    server.answer(moved(302, "/there"))
    server.answer(OK)
    assert any_client.get("/").content == b"ok"
    assert (len(any_client.events), [asked.target for asked in server.asked]) == (1, ["/", "/there"])


def test_a_redirect_may_be_left_alone(any_client: Client, server: ScriptedServer) -> None:
    server.answer(moved(302, "/there"))
    reply = any_client.get("/", allow_redirects=False)
    assert (reply.status_code, reply.headers["location"], reply.content) == (302, "/there", b"--")
    assert any_client.reasons == [None]


def test_a_redirect_without_a_location_is_a_response(client: Client, server: ScriptedServer) -> None:
    server.answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")
    assert client.get("/").status_code == 302
    assert client.reasons == [None]


def test_redirects_that_never_end(client: Client, server: ScriptedServer) -> None:
    server.answer(moved(302, "/around"))
    client.get("/around")
    assert (client.reasons, len(server.asked)) == (["too many redirects"], 31)


@pytest.mark.parametrize("location", ["ftp://x/", "http://[x/", "http://x:0/"])
def test_a_redirect_to_nowhere(client: Client, server: ScriptedServer, location: str) -> None:
    server.answer(moved(302, location))
    client.get("/")
    assert client.reasons == ["redirect to a malformed URL"]


def test_secrets_stay_with_their_host(client: Client, server: ScriptedServer, other: ScriptedServer) -> None:
    server.answer(moved(307, f"{other.url}/there"))
    client.get("/", auth=("me", "pw"), headers={"Cookie": "a=b", "X-Own": "1"})
    assert {"authorization", "cookie"} <= server.asked[0].fields.keys()
    assert not {"authorization", "cookie"} & other.asked[0].fields.keys()
    assert other.asked[0].fields["x-own"] == "1"
    assert other.asked[0].fields["host"] == f"127.0.0.1:{other.port}"


def test_credentials_of_the_base_url(connect: Connect, server: ScriptedServer, other: ScriptedServer) -> None:
    server.answer(OK)
    client = connect(server.url.replace("//", "//me:p%40w@"))
    client.get("/")
    client.get(f"{other.url}/")
    assert server.asked[0].fields["authorization"] == "Basic bWU6cEB3"
    assert "authorization" not in other.asked[0].fields
    assert [event["url"] for event in client.events] == [f"{server.url}/", f"{other.url}/"]


def test_cookies_are_sent_back(any_client: Client, server: ScriptedServer) -> None:
    fields = b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Path=/deep\r\n"
    head = b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % fields
    server.answer(head)
    any_client.get("/")
    any_client.get("/other")
    any_client.get("/deep/er")
    assert [asked.fields.get("cookie") for asked in server.asked] == [None, "a=1", "b=2; a=1"]


def test_cookies_come_and_go(client: Client, server: ScriptedServer) -> None:
    server.answer(moved(302, "/in", "Set-Cookie: session=x; HttpOnly"))
    server.answer(OK)
    server.answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=; Max-Age=0\r\nContent-Length: 0\r\n\r\n")
    reply = client.get("/login")
    assert (reply.cookies, reply.history[0].cookies) == ({}, {"session": "x"})
    assert client.cookies["session"] == "x"
    client.get("/out")
    client.get("/")
    assert [asked.fields.get("cookie") for asked in server.asked] == [None, "session=x", "session=x", None]


def test_cookies_that_the_scenario_gives_go_first(client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    client.cookies.set("a", "1")
    client.get("/")
    client.get("/", headers={"cookie": "b=2"})
    assert [asked.fields["cookie"] for asked in server.asked] == ["a=1", "b=2"]
    assert server.asked[1].head.lower().count(b"cookie:") == 1


@needs_ipv6
@pytest.mark.parametrize("kind", ["perfload", "fasthttp", "requests"])
def test_ipv6(connect: Connect, kind: str) -> None:
    server = ScriptedServer("::1")
    server.answer(OK)
    assert connect(server.url, kind).get("/").content == b"ok"
    assert server.asked[0].fields["host"] == f"[::1]:{server.port}"
    server.close()


def test_all_addresses_are_tried(connect: Connect, server: ScriptedServer) -> None:
    server.answer(OK, CLOSE)  # on 127.0.0.1 only, while localhost is ::1 first where there is IPv6
    client = connect(f"http://localhost:{server.port}")
    assert [client.get("/").status_code for _ in range(4)] == [200] * 4


def test_addresses_take_turns_and_failed_ones_come_last() -> None:
    addresses = Addresses([(2, "a"), (2, "b"), (2, "c")])
    assert [[place for _, place in addresses.in_turn()] for _ in range(2)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
    ]
    addresses.failed((2, "c"))
    assert [[place for _, place in addresses.in_turn()] for _ in range(2)] == [
        ["a", "b", "c"],
        ["b", "a", "c"],
    ]


@pytest.fixture
def secure_server(certificate: tuple[Path, Path]) -> Iterator[ScriptedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    running = ScriptedServer(context=context)
    yield running
    running.close()


def test_tls(connect: Connect, secure_server: ScriptedServer, certificate: tuple[Path, Path]) -> None:
    body = bytes(range(256)) * 2000
    secure_server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    client = connect(f"https://localhost:{secure_server.port}", ssl_context=trusting)
    for _ in range(3):
        assert client.post("/", data=body).content == body
    assert client.reasons == [None] * 3
    assert (secure_server.connections, secure_server.asked[2].body == body) == (1, True)


def test_tls_until_the_end_of_the_connection(connect: Connect, secure_server: ScriptedServer) -> None:
    secure_server.answer(b"HTTP/1.1 200 OK\r\n\r\nall", PAUSE, b" of it", CLOSE)
    assert connect(f"https://127.0.0.1:{secure_server.port}", insecure=True).get("/").content == b"all of it"


def test_certificates_are_verified(
    connect: Connect, secure_server: ScriptedServer, certificate: tuple[Path, Path]
) -> None:
    strict = connect(f"https://localhost:{secure_server.port}")
    strict.get("/")
    assert strict.reasons == ["certificate not trusted: self-signed certificate"]
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    elsewhere = connect(f"https://127.0.0.1:{secure_server.port}", ssl_context=trusting)
    elsewhere.get("/")
    (reason,) = elsewhere.reasons
    assert reason is not None
    assert reason.startswith("certificate not trusted: IP address mismatch")
    assert secure_server.asked == []


def test_tls_to_a_server_without_it(connect: Connect, server: ScriptedServer) -> None:
    server.answer(OK)
    client = connect(server.url.replace("http:", "https:"), timeouts=None)
    gevent.spawn_later(0.05, server.close)
    client.get("/", timeout=0.5)
    (reason,) = client.reasons
    assert reason in {"closed before the response was complete", "connection reset"}


def test_a_stream_is_read_as_it_arrives(server: ScriptedServer, client: Client) -> None:
    more = Event()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\ncd\r\n"
    server.answer(head, more, b"4\r\ne\r\nf\r\n", b"0\r\n\r\n")
    with client.get("/", stream=True, catch_response=True) as reply:
        lines = reply.iter_lines()
        assert next(lines) == "ab"
        more.set()
        assert list(lines) == ["cde", "f"]
    client.get("/")
    assert (server.connections, client.reasons) == (1, [None, None])
    assert client.events[0]["response_length"] == 9


def test_a_stream_that_is_left_closes_its_connection(server: ScriptedServer, client: Client) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", HANG)
    with client.get("/", stream=True, catch_response=True) as reply:
        assert next(reply.iter_chunks()) == b"abc"
    assert server.hung_up.wait(2)


def test_a_stream_that_breaks_is_a_failure(server: ScriptedServer, client: Client) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", PAUSE, CLOSE)
    with client.get("/", stream=True, catch_response=True) as reply:
        assert len(reply.content) < 100
    assert client.reasons == ["closed before the response was complete"]


def test_a_stream_is_whole_when_asked_for_its_content(any_client: Client, server: ScriptedServer) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", PAUSE, b"def")
    assert any_client.get("/", stream=True).content == b"abcdef"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n",
        b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabcdef",
    ],
)
def test_a_stream_that_comes_in_one_piece_with_its_head(
    server: ScriptedServer, client: Client, answer: bytes
) -> None:
    server.answer(answer)
    for _ in range(2):
        with client.get("/", stream=True, catch_response=True) as reply:
            assert list(reply.iter_chunks()) == [b"abcdef"]
    assert [event["response_length"] for event in client.events] == [6, 6]
    assert server.connections == (2 if b"close" in answer else 1)


def test_a_reader_moves_the_deadline_of_a_stream(server: ScriptedServer, client: Client) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", *[PAUSE, b"d"] * 40, HANG)
    read = 0
    with client.get("/", stream=True, catch_response=True) as reply:
        for chunk in reply.iter_chunks():
            read += len(chunk)
            reply.stream.wait_until(reply.stream.received_ns + 100_000_000, "too slow")
    assert (read, client.reasons) == (43, ["too slow"])
    assert client.events[0]["response_time"] >= 40 * 5 + 100


def test_the_limit_of_a_whole_stream_stays_whatever_its_reader_says(
    server: ScriptedServer, client: Client
) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", HANG)
    with client.get("/", stream=True, catch_response=True, timeout=0.1) as reply:
        reply.stream.wait_until(1 << 61, "too slow")
        list(reply.iter_chunks())
    assert client.reasons == ["timed out: total"]


def test_a_session_that_is_dropped_closes_its_connections(server: ScriptedServer) -> None:
    server.answer(OK)
    session = HttpSession(server.url, EventHook())
    session.get("/")
    del session
    assert server.hung_up.wait(2)
