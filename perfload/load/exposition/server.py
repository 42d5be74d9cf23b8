"""Serves `/metrics` while the load goes on, and never holds it up: others get their turn in between."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from perfload.errors import UsageError
from perfload.load.exposition.families import LiveCollector
from perfload.load.exposition.histograms import histograms
from perfload.load.live import Live
from perfload.load.web import is_own_host

logger = logging.getLogger("perfload")

MAX_CONNECTIONS = 16
CONNECTION_S = 60.0
"""How long a connection may last, so that a few idle ones do not keep others out."""
OPENMETRICS_END = b"# EOF\n"

MIN_AGE_S = 0.5
"""A second scraper gets the same answer for so long: however many there are, this is all that they cost."""


class Exposition:
    """`/metrics` on a port of its own."""

    def __init__(
        self, live: Live, *, bind: str, port: int, workers: Callable[[], int | None] = lambda: None
    ) -> None:
        """Listen; raises `UsageError` if that is not possible, or `prometheus_client` is missing."""
        if importlib.util.find_spec("prometheus_client") is None:
            raise UsageError(
                "--prometheus-port needs a package that is not installed",
                hint="pip install 'perfload[prometheus]'",
            )
        self._live = live
        self._collector = LiveCollector(live, self._pause, workers)
        self._bind = bind
        self._texts: dict[str, tuple[float, bytes]] = {}
        """Content type -> when it was written, and what."""
        self._writing = BoundedSemaphore()
        self._server = WSGIServer(
            _listen(bind, port),
            self._answer,
            log=None,
            error_log=logger,
            handler_class=_Handler,
            spawn=Pool(MAX_CONNECTIONS),
        )
        self._server.start()

    @staticmethod
    def _pause() -> None:
        gevent.sleep(0)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_port)

    def stop(self) -> None:
        """Listen no more."""
        self._server.stop(timeout=1)

    def _answer(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        status, kind, body = "200 OK", "text/plain; charset=utf-8", b""
        if not self._is_meant(request.get("HTTP_HOST", "")):
            status, body = "403 Forbidden", b"perfload: this is not the address of /metrics\n"
        elif request["PATH_INFO"] != "/metrics":
            status, body = "404 Not Found", b"perfload: look at /metrics\n"
        elif request["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, body = "405 Method Not Allowed", b"perfload: only GET\n"
        else:
            kind, body = self.text(request.get("HTTP_ACCEPT", ""))
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if request["REQUEST_METHOD"] == "HEAD" else body]

    def _is_meant(self, host: str) -> bool:
        """Say whether a request for `host` means this: a page that calls itself by another name does not.

        Only loopback has such guests, in the browser of this machine.
        """
        try:
            is_loopback = ipaddress.ip_address(self._bind).is_loopback
        except ValueError:
            is_loopback = self._bind == "localhost"
        return not is_loopback or is_own_host(host, self._bind)

    def text(self, accept: str) -> tuple[str, bytes]:
        """Return the content type that suits `accept`, and everything that is known now."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(accept)
        with self._writing:
            written_s, body = self._texts.get(kind, (0.0, b""))
            if not body or time.monotonic() - written_s >= MIN_AGE_S:
                registry = CollectorRegistry()
                registry.register(self._collector)
                body = encode(registry)
                end = OPENMETRICS_END if body.endswith(OPENMETRICS_END) else b""
                body = body.removesuffix(end) + histograms(self._live, self._pause).encode() + end
                self._texts = {kind: (time.monotonic(), body)}
        return kind, body


def _listen(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        return socket.create_server((bind, port), family=family)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else str(error)
        raise UsageError(
            f"Prometheus cannot be served at {bind}:{port}: {reason.lower()}",
            hint="choose another --prometheus-port, or an address of this machine as prometheus.bind",
        ) from error


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent has no types
    """Ends a connection that lasts too long."""

    def handle(self) -> None:
        with gevent.Timeout(CONNECTION_S, False):
            super().handle()
