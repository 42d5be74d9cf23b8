"""Checks, made in a real user's with-block on responses of a real server: one request, one event."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer
from locust import FastHttpUser
from locust.exception import CatchResponseError

from perfload.load import expect_json, expect_status
from perfload.load.bridge import reason_of


def application(environ: dict[str, Any], start_response: Callable[..., None]) -> list[bytes]:
    """Answer `/<status>` with the body in the query."""
    start_response(f"{environ['PATH_INFO'][1:]} Whatever", [("Content-Type", "application/json")])
    return [bytes.fromhex(environ["QUERY_STRING"])]


@pytest.fixture
def url() -> Iterator[str]:
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stop()


class Checked:
    """What a check made of one request."""

    def __init__(self, make_environment: Callable[..., Any], host: str) -> None:
        self._events: list[dict[str, Any]] = []
        client: Any = type("Client", (FastHttpUser,), {"host": host})
        environment = make_environment(client)
        environment.events.request.add_listener(lambda **event: self._events.append(event))
        self._user = client(environment)

    def leave(self) -> None:
        """Close the user's connections."""
        self._user.client.client.close()

    def ask(self, check: Callable[[Any], Any], *, status: int = 200, body: bytes = b"{}") -> tuple[Any, str]:
        """Return what `check` returned, and why the request failed, or ""."""
        self._events.clear()
        with self._user.client.get(f"/{status}?{body.hex()}", catch_response=True) as response:
            calls: list[str] = []
            failure = response.failure
            response.failure = lambda reason: (calls.append(reason), failure(reason))
            result = check(response)
        (event,) = self._events
        error = event["exception"]
        if error is None:
            assert calls == []
            return result, ""
        assert isinstance(error, CatchResponseError)
        assert calls == [reason_of(error)]  # marked as failed exactly once
        return result, calls[0]


@pytest.fixture
def checked(make_environment: Callable[..., Any], url: str) -> Iterator[Checked]:
    user = Checked(make_environment, url)
    yield user
    user.leave()


def login(response: Any) -> Any:
    return expect_json(response, status=200, keys=("access_token",))


def listing(response: Any) -> Any:
    return expect_json(response, status=200, kind=list)


def test_the_value_that_was_expected_is_returned(checked: Checked) -> None:
    assert checked.ask(login, body=b'{"access_token": "t", "more": null}') == (
        {"access_token": "t", "more": None},
        "",
    )
    assert checked.ask(listing, body=b"[1, 2]") == ([1, 2], "")
    assert checked.ask(listing, body=b"[]") == ([], "")
    assert checked.ask(lambda response: expect_json(response, status=201), status=201) == ({}, "")


@pytest.mark.parametrize(
    ("check", "status", "body", "reason"),
    [
        (login, 500, b"{}", "status 500, expected 200"),
        (login, 201, b'{"access_token": "t"}', "status 201, expected 200"),
        (login, 200, b"<html>", "the body is not JSON"),
        (login, 200, b"", "the body is not JSON"),
        (login, 200, b"\xff", "the body is not JSON"),
        (login, 200, b"[]", "the body is a JSON array, expected object"),
        (login, 200, b'"text"', "the body is a JSON string, expected object"),
        (login, 200, b"true", "the body is a JSON boolean, expected object"),
        (login, 200, b"5", "the body is a JSON number or null, expected object"),
        (login, 200, b"null", "the body is a JSON number or null, expected object"),
        (login, 200, b"{}", "the body has no access_token"),
        (login, 200, b'{"access_token": null}', "the body has no access_token"),
        (listing, 200, b"{}", "the body is a JSON object, expected array"),
        (listing, 404, b"[]", "status 404, expected 200"),
        (
            lambda response: expect_json(response, status=200, keys=("a", "b", "c")),
            200,
            b'{"b": 0}',
            "the body has no a and no c",
        ),
    ],
)
def test_anything_else_fails_once_and_says_what_was_expected(
    checked: Checked, check: Callable[[Any], Any], status: int, body: bytes, reason: str
) -> None:
    assert checked.ask(check, status=status, body=body) == (None, reason)


def test_a_status_that_was_expected_is_a_success_even_if_http_calls_it_an_error(checked: Checked) -> None:
    assert checked.ask(lambda response: expect_status(response, 404), status=404) == (True, "")
    assert checked.ask(lambda response: expect_status(response, 200, 204), status=204, body=b"") == (True, "")


def test_a_status_that_was_not_expected_fails_once(checked: Checked) -> None:
    one = checked.ask(lambda response: expect_status(response, 201), status=200)
    two = checked.ask(lambda response: expect_status(response, 200, 204), status=503)
    assert one == (False, "status 200, expected 201")
    assert two == (False, "status 503, expected 200 or 204")


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a port that is ours and refuses connections."""
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{owner.getsockname()[1]}"


@pytest.mark.parametrize("check", [login, lambda response: expect_status(response, 200) or None])
def test_without_a_response_the_reason_is_why_there_is_none(
    make_environment: Callable[..., Any], nobody: str, check: Callable[[Any], Any]
) -> None:
    result, reason = Checked(make_environment, nobody).ask(check)
    assert result is None
    assert reason.startswith("no response: ConnectionRefusedError(")
