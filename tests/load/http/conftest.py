"""Servers, sessions and the events that they fire."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from locust.clients import HttpSession as RequestsSession
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook

from perfload.load.http import HttpSession
from tests.load.http.servers import ScriptedServer


class Client:
    """A session of one kind, and the request events that it has fired."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self.kind = kind
        self.events: list[dict[str, Any]] = []
        hook = EventHook()
        hook.add_listener(lambda **event: self.events.append(event))
        if kind == "perfload":
            self.session: Any = HttpSession(url, hook, None, **options)
        elif kind == "fasthttp":
            self.session = FastHttpSession(url, hook, None, **options)
        else:
            self.session = RequestsSession(url, hook, None, **options)
            self.session.trust_env = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    @property
    def reasons(self) -> list[str | None]:
        """Why each request has failed, None for those that have not."""
        return [event["exception"] and repr(event["exception"]) for event in self.events]

    def close(self) -> None:
        if self.kind == "fasthttp":
            self.session.client.close()
        else:
            self.session.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Return a function that makes clients, which are closed after the test."""
    made: list[Client] = []

    def make(url: str, kind: str = "perfload", **options: Any) -> Client:
        made.append(Client(kind, url, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(server: ScriptedServer, connect: Callable[..., Client]) -> Client:
    """Our client of the server."""
    return connect(server.url)


@pytest.fixture(params=["perfload", "fasthttp", "requests"])
def any_client(
    request: pytest.FixtureRequest, server: ScriptedServer, connect: Callable[..., Client]
) -> Client:
    """Each of the three clients in turn: what holds for one holds for all."""
    return connect(server.url, request.param)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return (certificate, key) of a server named localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    outputs = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*command.split(), *names, *outputs], check=True, capture_output=True)
    return paths
