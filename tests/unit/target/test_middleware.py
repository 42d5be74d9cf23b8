from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perfload.target.asgi import Message, Receive, Scope, Send, client_is_gone, is_loopback
from perfload.target.faults import ActiveFaults, Faults
from perfload.target.middleware import ControlLayer, TruthLayer
from perfload.target.plants import Plants
from perfload.target.truth import Truth


class ClosedDoor:
    def refuse(self, span: object) -> None:
        raise AssertionError("no fault refuses here")

    def reopen(self) -> None:
        pass


def http(method: str, path: str, client: tuple[str, int] | None = ("127.0.0.1", 40000)) -> Scope:
    return {"type": "http", "method": method, "path": path, "headers": [], "client": client}


def client(body: bytes = b"", *, leaves: bool = False) -> Receive:
    """A client that sends `body`, then waits for its answer, or closes the connection at once."""
    sent: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        for message in sent:
            return message
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return receive


def call(app: Callable[..., Any], scope: Scope, receive: Receive) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def answering(*messages: Message) -> Callable[..., Any]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PART: Message = {"type": "http.response.body", "body": b"a", "more_body": True}
END: Message = {"type": "http.response.body", "body": b"b", "more_body": False}


def truth_of(app: Callable[..., Any], receive: Receive) -> dict[str, Any]:
    truth = Truth()
    ticks_ns = iter([1_000_000, 43_000_000])
    call(TruthLayer(app, truth, lambda: next(ticks_ns)), http("GET", "/health"), receive)
    row: dict[str, Any] = truth.rows["GET /health"].as_json()
    return row


def test_an_answer_is_timed_from_arrival_to_its_last_byte() -> None:
    row = truth_of(answering(START, PART, END), client())
    assert (row["received"], row["by_status"], row["in_progress"]) == (1, {"200": 1}, 0)
    assert (row["latency"]["count"], row["latency"]["max_ms"]) == (1, 42.0)


def test_an_answer_without_its_end_is_truncated() -> None:
    row = truth_of(answering(START, PART), client())
    assert (row["by_status"], row["truncated"], row["failed"], row["aborted"]) == ({"200": 1}, 1, 1, 0)
    assert row["failed_latency"]["max_ms"] == 42.0
    assert row["latency"]["count"] == 0


@pytest.mark.parametrize("messages", [(), (START, PART), (START, PART, END)])
def test_a_client_that_left_aborted_its_request(messages: tuple[Message, ...]) -> None:
    row = truth_of(answering(*messages), client(leaves=True))
    assert (row["received"], row["by_status"], row["aborted"], row["in_progress"]) == (1, {}, 1, 0)


def test_a_request_that_breaks_is_over_too() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    truth = Truth()
    with pytest.raises(asyncio.CancelledError):
        call(TruthLayer(broken, truth, lambda: 0), http("GET", "/health"), client())
    assert truth.rows["GET /health"].aborted == 1
    assert truth.rows["GET /health"].in_progress == 0


def test_paths_that_clients_make_up_share_one_row() -> None:
    truth = Truth()
    layer = TruthLayer(answering(START, END), truth, lambda: 0)
    for path in ("/a", "/b"):
        call(layer, http("GET", path), client())
    assert {name: row.received for name, row in truth.rows.items()} == {"other requests": 2}


def test_asking_whether_the_client_is_gone_never_waits() -> None:
    async def ask(receive: Receive) -> bool:
        return client_is_gone(receive)

    assert asyncio.run(ask(client(b"unread"))) is False
    assert asyncio.run(ask(client(b"unread", leaves=True))) is True


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.5", False),
        ("::ffff:10.0.0.5", False),
        ("fe80::1%eth0", False),
        (None, False),
    ],
)
def test_what_loopback_is(address: str | None, expected: bool) -> None:
    assert is_loopback({"client": (address, 1) if address else None}) is expected


def control(method: str, path: str, address: str, body: bytes = b"") -> tuple[int, Any]:
    faults = ActiveFaults(Faults(error_rate=0.5), seed=1, clock=lambda: 0.0, door=ClosedDoor())
    layer = ControlLayer(answering(START, END), Truth(), faults, Plants())
    start, end = call(layer, http(method, path, (address, 1)), client(body))
    return start["status"], json.loads(end["body"])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/_truth"), ("DELETE", "/_truth"), ("GET", "/_faults"), ("POST", "/_faults")]
)
def test_other_machines_control_nothing(method: str, path: str) -> None:
    status, answer = control(method, path, "10.0.0.5", b"{}")
    assert (status, answer) == (403, {"detail": "only for clients on the target's own machine"})


def test_faults_are_replaced_as_a_whole() -> None:
    assert control("GET", "/_faults", "127.0.0.1") == (200, {"error_rate": "50%"})
    assert control("POST", "/_faults", "127.0.0.1", b'{"delay": 0.25}') == (200, {"delay": "250ms"})
    assert control("POST", "/_faults", "127.0.0.1", b"{}") == (200, {})


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"slow": "1s"}', "unknown fault 'slow'\n  did you mean slow_body? valid names: delay, error_rate"),
        (b'{"delay": "x"}', "delay: 'x' is not a duration"),
        (b"[]", "not a JSON object; {} clears all faults"),
        (b"{", "not JSON: "),
        (
            b'{"fault": "locks"}',
            "fault: no fault is called 'locks'\n  did you mean lock? there are missing-index",
        ),
        (b'{"fault": "slow-query"}', "fault: slow-query needs a MongoDB\n  pass --mongodb as well"),
    ],
)
def test_faults_that_cannot_be_read(body: bytes, detail: str) -> None:
    status, answer = control("POST", "/_faults", "127.0.0.1", body)
    assert status == 422
    assert answer["detail"].startswith(detail)


def test_other_control_paths() -> None:
    assert control("PUT", "/_truth", "127.0.0.1")[0] == 404
