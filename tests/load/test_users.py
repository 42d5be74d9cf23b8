"""The HTTP user against real servers: load stays on the hosts that are allowed, redirects included."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from gevent.pywsgi import WSGIServer
from locust.exception import StopUser

from perfload.load import HttpUser
from perfload.load.bridge import reason_of
from tests.load.conftest import wait_for

pytestmark = pytest.mark.usefixtures("default_configuration")

ELSEWHERE = "http://elsewhere.example.com/"


@pytest.fixture
def server() -> Iterator[Any]:
    """A server that notes what it is asked for and sends `/away` elsewhere, `/around` to itself."""
    asked: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., None]) -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        targets = {"/away": ELSEWHERE, "/around": "/here"}
        location = targets.get(environ["PATH_INFO"])
        if location:
            start_response("302 Found", [("Location", location)])
        else:
            start_response("200 OK", [])
        return [b"x" * 10]

    running = WSGIServer(("127.0.0.1", 0), application, log=None)
    running.asked = asked
    running.start()
    yield running
    running.stop()


@pytest.fixture
def user(server: Any, make_environment: Callable[..., Any]) -> Iterator[Any]:
    client: Any = type("Client", (HttpUser,), {"host": f"http://127.0.0.1:{server.server_port}"})
    environment = make_environment(client)
    events: list[dict[str, Any]] = []
    environment.events.request.add_listener(lambda **event: events.append(event))
    visitor = client(environment)
    visitor.events = events
    yield visitor
    visitor.client.close()


def test_requests_to_an_allowed_host_are_sent(user: Any, server: Any) -> None:
    assert user.client.get("/here").status_code == 200
    assert user.client.get("/around").status_code == 200
    assert server.asked == ["/here", "/around", "/here"]
    assert [event["exception"] for event in user.events] == [None, None]


@pytest.mark.parametrize(("path", "asked"), [("/away", ["/away"]), (ELSEWHERE, [])])
def test_nothing_is_sent_to_a_host_that_is_not_allowed(
    user: Any, server: Any, path: str, asked: list[str]
) -> None:
    response = user.client.get(path)
    assert response.status_code == 0
    assert server.asked == asked
    (event,) = user.events
    assert reason_of(event["exception"]) == "load may not go to elsewhere.example.com"


def test_a_user_that_has_left_has_closed_its_connection(
    server: Any, make_environment: Callable[..., Any]
) -> None:
    def visit(user: Any) -> None:
        assert user.client.get("/here").status_code == 200
        raise StopUser

    port = server.server_port
    visitor: Any = type("Visitor", (HttpUser,), {"host": f"http://127.0.0.1:{port}", "tasks": [visit]})
    environment = make_environment(visitor)
    gc.disable()  # the collector would close it too, some time
    try:
        visitor(environment).start(environment.runner.user_greenlets)
        wait_for(lambda: not environment.runner.user_greenlets)
        wait_for(lambda: server.asked == ["/here"] and not connections_to(port))
    finally:
        gc.enable()


def connections_to(port: int) -> list[Any]:
    """Return the connections of this process to `port` that are open."""
    found = psutil.Process().net_connections("tcp")
    return [item for item in found if item.raddr and item.raddr.port == port and item.status == "ESTABLISHED"]
