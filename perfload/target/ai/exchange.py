"""One request on its way through the emulator, and how an answer is handed to the server."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perfload.target.ai.provider import HeaderList, Identity, Provider
from perfload.target.asgi import Receive, Scope, Send

CONNECTION = "perfload.connection"
"""Key of the scope under which the server hands over the connection of the request."""


@dataclass(slots=True)
class Exchange:
    """One request, what is known of it, and where its answer goes."""

    scope: Scope
    receive: Receive
    send: Send
    headers: Mapping[bytes, bytes]
    provider: Provider
    identity: Identity
    received_ns: int
    source: random.Random
    """What its answer and its times are drawn from."""
    key: str = ""
    """That of the client, once it is known to be right."""

    def id_headers(self) -> HeaderList:
        """Return the id of the request under the names that clients look for it."""
        request_id = self.identity.request_id.encode()
        return [(name, request_id) for name in sorted({b"x-request-id", self.provider.request_id_header})]

    async def send_whole(
        self,
        status: int,
        body: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        sent: bytes | None = None,
    ) -> None:
        """Send a whole answer; `sent`, if given, is all of its body that really goes out."""
        own: HeaderList = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        own += [*headers, *self.id_headers()]
        await self.send({"type": "http.response.start", "status": status, "headers": own})
        shown = body if sent is None else sent
        await self.send({"type": "http.response.body", "body": shown, "more_body": sent is not None})
