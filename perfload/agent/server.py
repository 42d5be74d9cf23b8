"""The HTTP side of the agent: three pages, a token, and bounds on what a stranger can take."""

from __future__ import annotations

import hmac
import ipaddress
import json
import math
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from perfload.agent.exposition import expose
from perfload.agent.last_values import LastValues
from perfload.agent.ring import Ring, Slice
from perfload.errors import UsageError
from perfload.monitors.agent.page import PATH, Page, encode_page
from perfload.monitors.base import MonitorUnavailable

MAX_CONNECTIONS = 16
"""A master has one, and so has a Prometheus."""

IDLE_S = 20.0
"""Whoever says nothing for so long is let go."""

LONGEST_WAIT_S = 30.0

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the agent serves, and to whom."""

    node: str
    session: str
    token: str
    """What a reader has to know; empty on a loopback address, where none is asked for."""
    ring: Ring
    last_values: LastValues
    clock: Callable[[], float]
    tell: Callable[[str], None]
    """Takes a line for the person at the terminal."""


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`; any name but `localhost` counts as reachable."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AgentServer(ThreadingHTTPServer):
    """Listens from the moment it is made; raises `UsageError` where it cannot."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, bind: str, port: int, shown: Shown) -> None:
        self.shown = shown
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        try:
            super().__init__((bind, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {bind} port {port}: {getattr(error, 'strerror', None) or error}",
                hint="choose another --bind or --port",
            ) from error

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}"

    def server_bind(self) -> None:
        """Bind without asking a name server for our name, which may take its time."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, if there is a place for it."""
        if not self._places.acquire(blocking=False):
            request.settimeout(1.0)
            try:
                request.sendall(_BUSY)
            except OSError:
                pass
            finally:
                self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a reader that left in the middle."""


class _Refused(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1
    server: AgentServer

    def do_GET(self) -> None:
        received_s = self.server.shown.clock()
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            # A body that nobody asked for would be read as the next request.
            self.close_connection = True
        try:
            self._check_reader()
            parts = urlsplit(self.path)
            if parts.path == PATH:
                self._answer(HTTPStatus.OK, self._readings(parts.query, received_s))
            elif parts.path == "/health":
                self._answer(HTTPStatus.OK, _json({"status": "ok", "node": self.server.shown.node}))
            elif parts.path == "/metrics":
                self._metrics()
            else:
                raise _Refused(HTTPStatus.NOT_FOUND, f"there are {PATH}, /metrics and /health")
        except _Refused as refused:
            self._answer(refused.status, _json({"error": str(refused)}))
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, _json({"error": "a request that cannot be read"}))

    def version_string(self) -> str:
        return "perfload-agent"

    def log_message(self, format: str, *values: Any) -> None:
        """Log no request: a scraper makes thousands."""

    def _check_reader(self) -> None:
        shown = self.server.shown
        if not shown.token:
            # A page in a browser can be made to reach a loopback address, but only under its own name.
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            if not is_loopback(host):
                raise _Refused(HTTPStatus.FORBIDDEN, "without a token only loopback addresses are served")
            return
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {shown.token}".encode()):
            raise _Refused(HTTPStatus.UNAUTHORIZED, "Authorization: Bearer with the agent's token is needed")

    def _readings(self, query: str, received_s: float) -> bytes:
        shown = self.server.shown
        asked = parse_qs(query, max_num_fields=8)
        newest = shown.ring.newest
        session = asked.get("session", [""])[0]
        if "after" not in asked:
            shown.tell(f"readings go to {self.client_address[0]}")
            found = Slice((), newest, 0)
        else:
            # Numbers of another session say nothing here: everything is new to whoever has them.
            is_ours = session in ("", shown.session)
            after = min(_number(asked["after"][0]), newest) if is_ours else 0
            wait_s = min(LONGEST_WAIT_S, _seconds(asked.get("wait", ["0"])[0]))
            found = shown.ring.after(after, wait_s)
            if not is_ours:
                found = Slice(found.lines, found.next, 0)
        return encode_page(
            Page(
                node=shown.node,
                session=shown.session,
                next=found.next,
                lost=found.lost,
                entries=found.lines,
                received_s=received_s,
                now_s=shown.clock(),
            )
        )

    def _metrics(self) -> None:
        shown = self.server.shown
        try:
            exposition = expose(shown.last_values.snapshot(shown.clock()))
        except MonitorUnavailable as error:
            raise _Refused(HTTPStatus.NOT_IMPLEMENTED, str(error)) from error
        self._answer(HTTPStatus.OK, exposition.body, exposition.content_type)

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _json(fields: dict[str, str]) -> bytes:
    return json.dumps(fields).encode("ascii")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _Refused(HTTPStatus.BAD_REQUEST, "after is a number that an answer gave as next")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise _Refused(HTTPStatus.BAD_REQUEST, "wait is a number of seconds")
    return seconds
