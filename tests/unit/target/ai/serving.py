"""The layer, called as a server calls it, with a connection that keeps what is written to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from perfload.target.ai.exchange import CONNECTION
from perfload.target.ai.layer import AiLayer
from perfload.target.ai.settings import AiSettings
from perfload.target.ai.spread import Spread
from perfload.target.ai.truth import AiTruth
from perfload.target.asgi import Message, Receive, Scope, Send
from perfload.target.middleware import RECEIVED_NS

FAST = AiSettings(ttft=Spread(0.004), gap=Spread(0.002), tokens=Spread(5), stall_s=0.05)
KEY = {"authorization": "Bearer sk-test-1"}
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
CLAUDE = {"x-api-key": "sk-test-1", "anthropic-version": "2023-06-01"}


class Connection:
    """Keeps what is written, and when."""

    def __init__(self, leaves_after: int = -1, unread: Callable[[], int] = lambda: 0) -> None:
        self.writes: list[tuple[int, bytes]] = []
        self.leaves_after = leaves_after
        self.unread = unread
        self.has_left = False

    def write(self, data: bytes) -> None:
        self.writes.append((time.perf_counter_ns(), data))

    def is_closing(self) -> bool:
        return len(self.writes) == self.leaves_after

    def get_write_buffer_size(self) -> int:
        return self.unread()


class Answer:
    """What one request got: the messages to the server, and the writes past it."""

    def __init__(self, connection: Connection) -> None:
        self.messages: list[Message] = []
        self.connection = connection

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> Any:
        return json.loads(b"".join(message["body"] for message in self.messages[1:]))

    @property
    def is_complete(self) -> bool:
        return not self.messages[-1].get("more_body", False)


async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})


class Server:
    """The layer and what surrounds it."""

    def __init__(self, settings: AiSettings = FAST) -> None:
        self.truth = AiTruth(settings.raw_streams)
        self.layer = AiLayer(
            elsewhere, settings, self.truth, seed=1, clock_ns=time.perf_counter_ns, wall_clock=lambda: 1e9
        )

    async def ask(
        self,
        path: str = CHAT,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        method: str = "POST",
        connection: Connection | None = None,
    ) -> Answer:
        answer = Answer(connection or Connection())
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else ASK).encode()
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(k.encode(), v.encode()) for k, v in (KEY if headers is None else headers).items()],
            CONNECTION: answer.connection,
            RECEIVED_NS: time.perf_counter_ns(),
        }

        unread = [{"type": "http.request", "body": data, "more_body": False}]
        forever = asyncio.Event()

        async def receive() -> Message:
            if answer.connection.has_left:
                return {"type": "http.disconnect"}
            if not unread:
                await forever.wait()
            return unread.pop()

        async def send(message: Message) -> None:
            answer.messages.append(message)

        await asyncio.wait_for(self.layer(scope, receive, send), 10)
        return answer

    def figures(self, provider: str = "openai") -> dict[str, Any]:
        found: Any = self.truth.as_json()[provider]
        return found


def ask(settings: AiSettings = FAST, *arguments: Any, **more: Any) -> tuple[Answer, Server]:
    server = Server(settings)
    return asyncio.run(server.ask(*arguments, **more)), server
