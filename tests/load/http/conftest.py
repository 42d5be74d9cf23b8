"""Servers, sessions and the events that they fire."""

import socket
import ssl
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
    return self_signed(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def serve_tls(certificate: tuple[Path, Path]) -> Iterator[Callable[..., ScriptedServer]]:
    """Return a function that starts servers with TLS, and trust in the clients of one certificate."""
    running: list[ScriptedServer] = []

    def serve(
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, clients: Path | None = None, port: int = 0
    ) -> ScriptedServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.maximum_version = version
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        running.append(ScriptedServer(context=context, port=port))
        running[-1].context = context
        return running[-1]

    yield serve
    for server in running:
        server.close()


def self_signed(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """Make a certificate and its key; return their paths."""
    paths = folder / f"{name}.pem", folder / f"{name}-key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    outputs = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(
        [*command.split(), *names, *outputs, *(options or ["-nodes"])], check=True, capture_output=True
    )
    return paths


def has_ipv6() -> bool:
    """Return whether there is a ::1 to listen at."""
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
