"""The little of HTTP and ASGI that the target needs: requests and responses as values, errors as exceptions.

A framework is not used on purpose: the target shares the machine with the load generator, and FastAPI would
cost 40 % more processor time per request (measured; see docs/target.md).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

MAX_BODY_BYTES = 1 << 20


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class HttpError(Exception):
    """A request that is answered with `status` and `{"detail": detail}`."""

    def __init__(self, status: HTTPStatus, detail: object, headers: Headers = ()) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers

    def response(self) -> Response:
        """Return the answer that this error stands for."""
        return json_response({"detail": self.detail}, self.status, self.headers)


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request: its body as received, its header names in lower case."""

    headers: dict[bytes, bytes]
    body: bytes = b""
    parameter: str = ""
    """What the variable part of the route stands for, such as the id in `DELETE /api/ai-models/{id}`."""


@dataclass(frozen=True, slots=True)
class Response:
    """One complete answer; `headers` include content type and length."""

    status: HTTPStatus
    body: bytes
    headers: Headers


def json_response(content: object, status: HTTPStatus = HTTPStatus.OK, headers: Headers = ()) -> Response:
    """Return `content` as a JSON answer."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    own = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return Response(status, body, own + headers)


async def send_response(send: Send, response: Response) -> None:
    """Hand `response` to the server in one piece."""
    await send(
        {
            "type": "http.response.start",
            "status": int(response.status),
            "headers": list(response.headers),
        }
    )
    await send({"type": "http.response.body", "body": response.body, "more_body": False})


async def read_body(receive: Receive, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return the whole request body; raises `ClientGone`, or `HttpError` 413 above `limit_bytes`."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is above {limit_bytes} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def client_is_gone(receive: Receive) -> bool:
    """Return whether the client has already closed the connection; never waits.

    ASGI tells of a disconnect only through `receive`, which waits while the client is there. Running it up to
    its first wait, and no further, answers the question without a task for every request.
    """
    while True:
        waiting = receive().__await__()
        try:
            next(waiting)
        except StopIteration as done:
            if done.value["type"] == "http.disconnect":
                return True
        else:
            waiting.close()
            return False


def is_loopback(scope: Scope) -> bool:
    """Return whether the request comes from this machine's loopback interface."""
    client = scope.get("client")
    if not client:
        return False
    address = ipaddress.ip_address(client[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
