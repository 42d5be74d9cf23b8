"""A server that sends what it is told, and users who ask it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from perfload.load import AnthropicUser, OpenAIUser, plugin
from perfload.load.ai.answer import Answer
from tests.load.http.servers import ScriptedServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
KEY = "kx-0123456789-of-the-test"


def part(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(status: str, body: bytes, *headers: str) -> bytes:
    """Return a response that is not streamed."""
    lines = "".join(f"{header}\r\n" for header in ("Content-Type: application/json", *headers))
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class FakeNode:
    """Stands for the load generator of a run: keeps what is recorded."""

    def __init__(self, count: int = 1) -> None:
        self.metrics: defaultdict[str, list[float]] = defaultdict(list)
        self.units: dict[str, str] = {}
        self.assignment = SimpleNamespace(run_id="run-1", count=count)
        self.clock = SimpleNamespace(zero_ns=0)

    def record_values(self, metric: str, values: Sequence[float], unit: str) -> None:
        self.metrics[metric] += values
        self.units[metric] = unit


class Site:
    """A provider, and one user of it."""

    def __init__(self, server: ScriptedServer, node: FakeNode, make: Callable[..., Any]) -> None:
        self.server, self.node = server, node
        self._make = make
        self.events: list[dict[str, Any]] = []
        self.errors: list[Exception] = []

    def user(self, kind: type[Any] = OpenAIUser, **attributes: Any) -> Any:
        """Return a user of a class with these attributes."""
        host = attributes.pop("host", self.server.url)
        user_class = type("Asker", (kind,), {"model": "m", "host": host, "abstract": False, **attributes})
        environment = self._make(user_class)
        environment.events.request.add_listener(lambda **event: self.events.append(event))
        environment.events.user_error.add_listener(lambda exception, **_: self.errors.append(exception))
        return user_class(environment)

    def ask(
        self, kind: type[Any] = OpenAIUser, *, options: dict[str, Any] | None = None, **more: Any
    ) -> Answer:
        """Return the answer to one question of a new user."""
        answer = self.user(kind, **more).chat("Hello", **(options or {}))
        assert isinstance(answer, Answer)
        return answer

    @property
    def reasons(self) -> list[str | None]:
        return [event["exception"] and str(event["exception"]) for event in self.events]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    fake = FakeNode()
    monkeypatch.setattr(plugin.installed, "node", fake)
    return fake


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.close()


@pytest.fixture
def site(
    server: ScriptedServer,
    node: FakeNode,
    make_environment: Callable[..., Any],
    default_configuration: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    monkeypatch.setenv("OPENAI_TEST_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_TEST_API_KEY", KEY)
    from perfload.load.ai import spending

    monkeypatch.setattr(spending, "_budget", spending.Budget())
    return Site(server, node, make_environment)


BOTH = pytest.mark.parametrize("kind", [OpenAIUser, AnthropicUser], ids=["openai", "anthropic"])
