"""Tunnels through an HTTP proxy: what the system sees, what the proxy sees, and how either fails."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from perfload.hosts import HostRules
from perfload.load.http import Timeouts
from perfload.load.http.proxy import MAX_HEAD_BYTES, Proxy
from tests.load.http.conftest import Client, needs_ipv6
from tests.load.http.servers import CLOSE, HANG, OK, PAUSE, RESET, ConnectProxy, ScriptedServer

Connect = Callable[..., Client]

OPENED = b"HTTP/1.1 200 Connection established\r\nContent-Length: 7\r\n\r\n"
"""A length means nothing in the answer to CONNECT."""


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    running = ConnectProxy()
    yield running
    running.close()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """A proxy that says what the test wants."""
    running = ScriptedServer()
    yield running
    running.close()


def through(proxy: Any, credentials: str = "") -> str:
    return f"http://{credentials}127.0.0.1:{proxy.port}"


def test_the_system_sees_the_same_request(
    connect: Connect, server: ScriptedServer, proxy: ConnectProxy
) -> None:
    server.answer(OK)
    connect(server.url).post("/a?b=1", json={"c": 2})
    client = connect(server.url, proxy=through(proxy))
    assert [client.post("/a?b=1", json={"c": 2}).content for _ in range(3)] == [b"ok"] * 3
    direct, *tunnelled = server.asked
    assert {(asked.head, asked.body) for asked in tunnelled} == {(direct.head, direct.body)}
    (opened,) = proxy.asked
    assert (opened.method, opened.target) == ("CONNECT", f"127.0.0.1:{server.port}")
    assert opened.fields["host"] == f"127.0.0.1:{server.port}"
    assert "proxy-authorization" not in opened.fields
    assert (server.connections, client.reasons) == (2, [None] * 3)


def test_tls_ends_at_the_system(
    connect: Connect,
    serve_tls: Callable[..., ScriptedServer],
    proxy: ConnectProxy,
    certificate: tuple[Path, Path],
) -> None:
    secure = serve_tls()
    body = bytes(range(256)) * 2000
    secure.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    url = f"https://localhost:{secure.port}"
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    client = connect(url, ssl_context=trusting, proxy=through(proxy))
    assert [client.post("/", data=body).content == body for _ in range(2)] == [True, True]
    assert [asked.target for asked in proxy.asked] == [f"localhost:{secure.port}"]
    strict = connect(url, proxy=through(proxy))
    strict.get("/")
    assert strict.reasons == ["certificate not trusted: self-signed certificate"]


@needs_ipv6
def test_an_ipv6_target_is_written_in_brackets(connect: Connect, proxy: ConnectProxy) -> None:
    server = ScriptedServer("::1")
    server.answer(OK)
    assert connect(server.url, proxy=through(proxy)).get("/").content == b"ok"
    assert proxy.asked[0].target == f"[::1]:{server.port}"
    server.close()


def test_the_proxy_finds_the_address(connect: Connect, scripted: ScriptedServer) -> None:
    scripted.answer(OPENED)
    scripted.answer(OK)
    client = connect(
        "http://only.the.proxy.invalid", proxy=through(scripted), host_rules=HostRules(["*.invalid"])
    )
    assert client.get("/").content == b"ok"
    assert [asked.target for asked in scripted.asked] == ["only.the.proxy.invalid:80", "/"]


def test_credentials_go_to_the_proxy_alone(
    connect: Connect, server: ScriptedServer, proxy: ConnectProxy
) -> None:
    server.answer(OK)
    client = connect(server.url, proxy=through(proxy, "me:p%40w@"))
    reply = client.get("/")
    assert proxy.asked[0].fields["proxy-authorization"] == "Basic bWU6cEB3"
    assert "authorization" not in server.asked[0].head.decode().lower()
    shown = f"{client.events} {reply.url} {reply.request_meta} {Proxy(through(proxy, 'me:p%40w@'))}"
    assert "p@w" not in shown
    assert "p%40w" not in shown
    assert "bWU6" not in shown


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((b"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic\r\n\r\n",), "proxy: status 407"),
        ((b"HTTP/1.0 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno",), "proxy: status 502"),
        ((b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",), "proxy: status 302"),
        ((b"HTTP/1.1 101 Switching\r\n\r\n",), "proxy: malformed response"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" * 20, HANG), "proxy: status 100"),
        ((b"HTTP/1.1 2000 OK\r\n\r\n",), "proxy: malformed response"),
        ((b"HTTP/1.1 20 OK\r\n\r\n",), "proxy: malformed response"),
        ((b"SSH-2.0-OpenSSH\r\n", HANG), "proxy: malformed response"),
        ((b"\x15\x03\x01\x00\x02\x02\x28", HANG), "proxy: malformed response"),
        ((b"HTTP/1.1 200 OK\nA: b\n\n", CLOSE), "proxy: closed before the response was complete"),
        ((CLOSE,), "proxy: closed before the response was complete"),
        ((RESET,), "proxy: connection reset"),
        ((b"HTTP/1.1 200 OK\r\n", PAUSE, CLOSE), "proxy: closed before the response was complete"),
        ((b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2 * MAX_HEAD_BYTES, HANG), "proxy: response too large"),
        ((HANG,), "timed out: connect"),
        ((b"HTTP/1.1 200 OK\r\nA: b", HANG), "timed out: connect"),
    ],
)
def test_how_a_proxy_fails(connect: Connect, scripted: ScriptedServer, steps: Any, reason: str) -> None:
    scripted.answer(*steps)
    client = connect(
        "http://127.0.0.1:1", proxy=through(scripted, "me:secret@"), timeouts=Timeouts(connect_s=0.2)
    )
    assert client.get("/").status_code == 0
    assert client.reasons == [reason]
    assert scripted.hung_up.wait(2)
    assert [asked.method for asked in scripted.asked] == ["CONNECT"]


def test_a_proxy_that_is_not_there(connect: Connect) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    client = connect("http://127.0.0.1:1", proxy=f"http://127.0.0.1:{port}")
    client.get("/")
    nowhere = connect("http://127.0.0.1:1", proxy="http://nowhere.localhost.invalid:1")
    nowhere.get("/")
    assert client.reasons + nowhere.reasons == ["proxy: connection refused", "proxy: host not found"]


def test_what_comes_behind_the_head_is_not_lost(connect: Connect, scripted: ScriptedServer) -> None:
    early = b"HTTP/1.1 408 Too Late\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate"
    scripted.answer(OPENED + early)
    client = connect("http://127.0.0.1:1", proxy=through(scripted))
    reply = client.get("/")
    assert (reply.status_code, reply.content, client.reasons) == (408, b"late", ["status 408"])


@pytest.mark.parametrize("cut", range(1, len(OPENED)))
def test_the_head_may_be_cut_anywhere(connect: Connect, scripted: ScriptedServer, cut: int) -> None:
    early = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"
    scripted.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + OPENED[:cut], PAUSE, OPENED[cut:] + early)
    assert connect("http://127.0.0.1:1", proxy=through(scripted)).get("/").content == b"early"


def test_the_hosts_that_are_allowed_stay_the_same(connect: Connect, scripted: ScriptedServer) -> None:
    client = connect("http://elsewhere.example.com", proxy=through(scripted))
    client.get("/")
    assert client.reasons == ["load may not go to elsewhere.example.com"]
    assert scripted.connections == 0


def test_the_environment_chooses_no_proxy(
    connect: Connect, server: ScriptedServer, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer(OK)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, through(scripted))
    assert connect(server.url).get("/").content == b"ok"
    assert scripted.connections == 0


def test_a_stopped_user_leaves_no_tunnel(connect: Connect, scripted: ScriptedServer) -> None:
    scripted.answer(HANG)
    client = connect("http://127.0.0.1:1", proxy=through(scripted))
    waiting = gevent.spawn(client.get, "/")
    while not scripted.asked:
        gevent.sleep(0.001)
    waiting.kill()
    assert scripted.hung_up.wait(2)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:3128",
        "https://127.0.0.1:3128",
        "socks5://127.0.0.1:1080",
        "http://",
        "http://host:99999",
        "http://host/path",
        "http://me:secret@host:port",
    ],
)
def test_what_is_no_proxy(connect: Connect, url: str) -> None:
    with pytest.raises(ValueError, match="a proxy is written http://host:port") as caught:
        connect("http://127.0.0.1:1", proxy=url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
