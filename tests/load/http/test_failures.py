"""How requests fail: one event each, with a reason that is the same for the same failure."""

import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event
from locust.exception import LocustError, ResponseError

from perfload.hosts import HostRules
from perfload.load.bridge import reason_of
from perfload.load.checks import expect_json, expect_status
from perfload.load.http import RequestFailed, Timeouts
from perfload.load.http.timeouts import TICK_S
from tests.load.conftest import wait_for
from tests.load.http.conftest import Client
from tests.load.http.servers import CLOSE, HANG, OK, PAUSE, RESET, ScriptedServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CUT_SHORT = "closed before the response was complete"

Connect = Callable[..., Client]


def refused_url() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["perfload", "fasthttp", "requests"])
def test_a_refused_connection_is_a_failure(connect: Connect, kind: str) -> None:
    client = connect(refused_url(), kind)
    assert client.get("/").status_code == 0
    assert len(client.reasons) == 1
    assert client.reasons[0]


def test_a_refused_connection(connect: Connect) -> None:
    client = connect(refused_url())
    reply = client.get("/")
    assert (reply.status_code, reply.ok, reply.content, reply.text, len(reply.headers)) == (
        0,
        False,
        b"",
        "",
        0,
    )
    assert client.reasons == ["connection refused"]
    with pytest.raises(RequestFailed, match="connection refused"):
        reply.raise_for_status()
    with pytest.raises(ValueError, match="Expecting value"):
        reply.json()


def test_a_host_without_an_address(connect: Connect) -> None:
    client = connect("http://nowhere.localhost.invalid", host_rules=HostRules(["*.invalid"]))
    client.get("/")
    client.get("/")
    assert client.reasons == ["host not found"] * 2


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((CLOSE,), CUT_SHORT),
        ((RESET,), "connection reset"),
        ((b"HTTP/1.1 200", CLOSE), CUT_SHORT),
        ((HEAD, b"12345", PAUSE, CLOSE), CUT_SHORT),
        ((HEAD, b"12345", PAUSE, RESET), "connection reset"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", CLOSE), CUT_SHORT),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE), CUT_SHORT),
        ((b"SSH-2.0-OpenSSH\r\n",), "malformed response"),
        ((b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",), "malformed response"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc",), "malformed response"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",), "malformed response"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",), "malformed response"),
        ((b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000, HANG), "response too large"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, HANG), "response too large"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000, HANG), "response too large"),
        ((b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000, CLOSE), "response too large"),
    ],
)
def test_broken_responses(server: ScriptedServer, connect: Connect, steps: Any, reason: str) -> None:
    server.answer(*steps)
    client = connect(server.url, max_response_bytes=100_000, timeouts=Timeouts(total_s=0.3))
    client.get("/")
    assert client.reasons == [reason]
    assert server.hung_up.wait(2)


def test_a_damaged_body_is_told_from_a_good_one(server: ScriptedServer, client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    server.answer(head + b"nope")
    with client.get("/", catch_response=True) as reply:
        assert expect_json(reply, status=200) is None
    with client.get("/", catch_response=True) as reply:
        assert reply.text == "never"
    assert client.reasons == ["CatchResponseError('the body is not JSON')", "the body is damaged"]


def test_no_byte_of_a_response_in_time(server: ScriptedServer, connect: Connect) -> None:
    server.answer(HANG)
    client = connect(server.url, timeouts=Timeouts(first_byte_s=0.1))
    began_s = time.perf_counter()
    client.get("/")
    assert client.reasons == ["timed out: first byte"]
    assert 0.1 <= time.perf_counter() - began_s < 0.1 + 2 * TICK_S + 0.1
    assert client.events[0]["response_time"] >= 100


def test_the_limit_to_the_first_byte_ends_with_it(server: ScriptedServer, connect: Connect) -> None:
    server.answer(HEAD + b"12345", *[PAUSE] * 60, b"67890")
    client = connect(server.url, timeouts=Timeouts(first_byte_s=0.1, total_s=5))
    assert client.get("/").content == b"1234567890"
    assert client.events[0]["response_time"] > 200


def test_a_response_that_never_ends(server: ScriptedServer, client: Client) -> None:
    server.answer(HEAD, *[b"1", PAUSE] * 8, HANG)
    client.get("/", timeout=0.15)
    assert client.reasons == ["timed out: total"]
    assert server.hung_up.wait(2)


def test_a_server_that_does_not_accept(connect: Connect) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for other in crowd:
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
        client = connect(f"http://127.0.0.1:{port}", timeouts=Timeouts(connect_s=0.1))
        client.get("/")
        for other in crowd:
            other.close()
    assert client.reasons == ["timed out: connect"]


def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    any_client: Client, server: ScriptedServer
) -> None:
    server.answer(OK, PAUSE, CLOSE)
    assert any_client.get("/").content == b"ok"
    gevent.sleep(0.02)
    assert any_client.get("/").content == b"ok"
    assert any_client.reasons == [None, None]


def test_a_request_is_sent_again_only_once(server: ScriptedServer, client: Client) -> None:
    server.answer(OK)
    server.answer(CLOSE)
    client.get("/")
    client.get("/")
    assert client.reasons == [None, CUT_SHORT]
    assert len(server.asked) == 3


def test_a_request_that_was_being_answered_is_not_sent_again(server: ScriptedServer, client: Client) -> None:
    server.answer(OK)
    server.answer(b"HTTP", PAUSE, CLOSE)
    client.get("/")
    client.get("/")
    assert client.reasons == [None, CUT_SHORT]
    assert len(server.asked) == 2


def test_a_second_response_is_nobodys(server: ScriptedServer, client: Client) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
    server.answer(OK + smuggled)
    server.answer(OK, PAUSE, smuggled[:7])
    server.answer(OK)
    assert [client.get("/").content, client.get("/").content] == [b"ok", b"ok"]
    gevent.sleep(0.02)
    assert client.get("/").content == b"ok"
    assert server.connections == 3


def test_an_early_answer_to_a_large_upload(server: ScriptedServer, client: Client) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        gevent.sleep(0.05)
        connection.close()

    refusing = gevent.spawn(refuse)
    reply = client.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", data=b"x" * 20_000_000)
    assert (reply.status_code, reply.content) == (413, b"big")
    refusing.join()
    listener.close()


def test_a_request_that_is_too_large(server: ScriptedServer, connect: Connect) -> None:
    client = connect(server.url, max_request_bytes=10)
    client.post("/", data=b"x" * 11)
    assert client.reasons == ["request too large"]
    assert server.asked == []


@pytest.mark.parametrize("warm", [False, True])
def test_the_end_of_the_run_is_a_failure_of_a_request_that_waits(
    server: ScriptedServer, client: Client, warm: bool
) -> None:
    if warm:
        server.answer(OK)
        client.get("/warm")
    server.answer(HEAD, b"123", HANG)
    asked = len(server.asked)
    waiting = gevent.spawn(client.get, "/", name="slow")
    wait_for(lambda: len(server.asked) > asked)
    waiting.kill()
    assert isinstance(waiting.value, gevent.GreenletExit)
    assert client.events[-1]["name"] == "slow"
    assert reason_of(client.events[-1]["exception"]) == "no response when the run ended"
    assert len(client.events) == 1 + warm
    assert server.hung_up.wait(2)


def test_a_user_that_is_stopped_as_it_connects_has_sent_nothing(
    connect: Connect, server: ScriptedServer
) -> None:
    client = connect(server.url)
    starting = gevent.spawn(client.get, "/")
    gevent.sleep(0)
    starting.kill()
    assert client.events == []


def test_a_timeout_of_the_scenario_cuts_the_request_off(server: ScriptedServer, client: Client) -> None:
    server.answer(HANG)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        client.get("/")
    assert client.reasons == ["timed out: by the scenario"]
    assert server.hung_up.wait(2)


def test_a_killed_greenlet_is_not_woken_by_its_response(server: ScriptedServer, client: Client) -> None:
    release = Event()
    server.answer(release, OK)
    server.answer(OK)
    waiting = gevent.spawn(client.get, "/")
    wait_for(lambda: bool(server.asked))
    waiting.kill(block=False)
    release.set()
    gevent.sleep(0.02)
    assert waiting.dead
    assert client.get("/").content == b"ok"
    assert server.connections == 2


def test_requests_at_the_same_time_have_a_connection_each(server: ScriptedServer, client: Client) -> None:
    server.answer(PAUSE, OK)
    replies = [gevent.spawn(client.get, f"/{number}") for number in range(5)]
    gevent.joinall(replies)
    assert [reply.value.content for reply in replies] == [b"ok"] * 5
    assert server.connections == 5


def test_hosts_that_are_not_allowed(connect: Connect, server: ScriptedServer) -> None:
    client = connect(server.url)
    assert client.get("http://elsewhere.example.com/").status_code == 0
    assert client.reasons == ["load may not go to elsewhere.example.com"]
    server.answer(
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example.com/\r\nContent-Length: 0\r\n\r\n"
    )
    assert client.get("/").status_code == 0
    assert client.reasons[1:] == ["load may not go to elsewhere.example.com"]


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "http://a b/", "http://x:99999/", "http://a@b@c/"])
def test_a_url_that_is_none_is_the_scenarios_mistake(connect: Connect, url: str) -> None:
    client = connect("")
    with pytest.raises(ValueError, match="not a URL"):
        client.get(url)


@pytest.mark.parametrize("place", ["my host", "localhost:99999", "localhost:port", ""])
def test_what_is_no_url_is_told_without_its_password(connect: Connect, place: str) -> None:
    url = f"http://bob:hunter2@{place}/"
    with pytest.raises(ValueError, match="not a URL") as caught:
        connect(url)
    with pytest.raises(ValueError, match="not a URL") as later:
        connect("").get(url)
    assert "hunter2" not in f"{caught.value} {later.value}"


@pytest.mark.parametrize(
    "headers", [{"A": "1\r\nB: 2"}, {"A b": "1"}, {"A": "€"}, {"Transfer-Encoding": "chunked"}]
)
def test_headers_that_would_be_another_request(client: Client, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"header|Transfer"):
        client.get("/", headers=headers)


def test_marking_by_hand(any_client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    server.answer(OK)
    server.answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    with any_client.get("/", catch_response=True, context={"a": 1}) as reply:
        assert any_client.events == []
        reply.failure("not good")
    with any_client.get("/", catch_response=True) as reply:
        raise ResponseError("neither")
    with any_client.get("/", catch_response=True, name="x") as reply:
        reply.request_meta["name"] = "renamed"
        assert expect_status(reply, 404)
    with any_client.get("/", catch_response=True):
        pass
    assert [event["exception"] is None for event in any_client.events] == [False, False, True, False]
    assert reason_of(any_client.events[0]["exception"]) == "not good"
    assert any_client.events[0]["context"] == {"a": 1}
    assert any_client.events[2]["name"] == "renamed"


def test_only_a_request_that_says_so_is_marked(server: ScriptedServer, client: Client) -> None:
    server.answer(OK)
    with pytest.raises(LocustError), client.get("/"):
        pass
    with pytest.raises(LocustError):
        client.get("/", catch_response=True).success()


def test_an_error_in_the_with_block_does_not_lose_the_request(server: ScriptedServer, client: Client) -> None:
    server.answer(OK)
    with pytest.raises(KeyError), client.get("/", catch_response=True):
        raise KeyError("token")
    assert client.reasons == [None]


def test_names(client: Client, server: ScriptedServer) -> None:
    server.answer(OK)
    with client.rename_request("group"):
        client.get("/1")
        client.get("/2", name="own")
    client.get("/3")
    assert [event["name"] for event in client.events] == ["group", "own", "/3"]
