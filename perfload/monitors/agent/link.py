"""The HTTP connection to one agent. Follows no redirects and asks no proxy: an agent needs neither."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

from perfload.errors import UsageError
from perfload.monitoring import AGENT_TOKEN
from perfload.monitors.agent.page import MAX_PAGE_BYTES, PATH, Page, decode_page
from perfload.monitors.base import MonitorUnavailable

DEFAULT_PORT = 9465

PATIENCE_S = 1.5
"""For a whole answer: less than the time limit of a read, so that the reason is known."""

_PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class AgentUrl:
    """Where an agent answers."""

    is_secure: bool
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, name: str) -> Self:
        """Return the parts of the `url` of the agent `name`; raises `UsageError` for what is no address."""
        error = UsageError(
            f"agent {name[:80]!r}: its url is no address of an agent",
            hint=f'write url = "http://db-1:{DEFAULT_PORT}", without user and password',
        )
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:
            raise error from None
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise error
        default_port = 443 if parts.scheme == "https" else DEFAULT_PORT
        path = quote(parts.path.rstrip("/"), safe="/%")
        return cls(parts.scheme == "https", parts.hostname, port or default_port, path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.is_secure else ''}://{host}:{self.port}{self.path}"


class AgentUnreachable(Exception):
    """Nothing answers, or not in time; the next attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One page, and when it was asked for and arrived by the clock of the link."""

    page: Page
    sent_s: float
    arrived_s: float


class AgentLink:
    """Asks one agent; the connection stays open in between. `clock` returns seconds of any steady clock."""

    def __init__(self, url: AgentUrl, token: str, *, clock: Callable[[], float]) -> None:
        self._url = url
        self._token = token
        self._clock = clock
        self._connection: http.client.HTTPConnection | None = None

    def fetch(self, query: str) -> Exchange:
        """Return what the agent says to `query`.

        Raises `AgentUnreachable`, and `MonitorUnavailable` when what answers refuses us or is no agent.
        """
        deadline_s = self._clock() + PATIENCE_S
        was_open = self._connection is not None
        try:
            try:
                return self._exchange(query, deadline_s)
            except (ConnectionError, http.client.BadStatusLine):
                # The other end may close a connection that was idle; a new one must work.
                if not was_open:
                    raise
                self.close()
                return self._exchange(query, deadline_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise AgentUnreachable(_why(error)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next `fetch` opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _exchange(self, query: str, deadline_s: float) -> Exchange:
        connection = self._connected(deadline_s)
        # The connection forgets it when the answer is its last.
        wire = connection.sock
        wire.settimeout(self._left_s(deadline_s))
        sent_s = self._clock()
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        connection.request("GET", f"{self._url.path}{PATH}?{query}", headers=headers)
        with connection.getresponse() as response:
            body = self._read(response, wire, deadline_s)
        arrived_s = self._clock()
        if response.status != http.HTTPStatus.OK:
            raise _refusal(response.status, self._url)
        try:
            return Exchange(decode_page(body), sent_s, arrived_s)
        except ValueError as error:
            raise _no_agent(self._url, str(error)[:100]) from error

    def _connected(self, deadline_s: float) -> http.client.HTTPConnection:
        if self._connection is None or self._connection.sock is None:
            make = http.client.HTTPSConnection if self._url.is_secure else http.client.HTTPConnection
            self._connection = make(self._url.host, self._url.port, timeout=self._left_s(deadline_s))
            # Not on request: the way there and back is what the clocks are compared by.
            self._connection.connect()
        return self._connection

    def _read(self, response: http.client.HTTPResponse, wire: socket.socket, deadline_s: float) -> bytes:
        body = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            body += piece
            if len(body) > MAX_PAGE_BYTES:
                raise _no_agent(self._url, "its answer has no end")
            left_s = self._left_s(deadline_s)
            if wire.fileno() >= 0:
                wire.settimeout(left_s)
        if response.length:
            raise http.client.IncompleteRead(bytes(body[:100]), response.length)
        return bytes(body)

    def _left_s(self, deadline_s: float) -> float:
        left_s = deadline_s - self._clock()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_S:g} s"
    return getattr(error, "strerror", None) or type(error).__name__


def _refusal(status: int, url: AgentUrl) -> MonitorUnavailable:
    if status == http.HTTPStatus.UNAUTHORIZED:
        return MonitorUnavailable(
            f"the agent at {url} refuses the token", hint=f"set {AGENT_TOKEN} to the one that it was given"
        )
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return MonitorUnavailable(f"the agent at {url} has too many readers", hint="stop some of them")
    return _no_agent(url, f"status {status}")


def _no_agent(url: AgentUrl, why: str) -> MonitorUnavailable:
    return MonitorUnavailable(
        f"what answers at {url} is no perfload agent: {why}", hint="check the url, and that versions match"
    )
