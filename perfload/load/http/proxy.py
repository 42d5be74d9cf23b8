"""A tunnel through an HTTP proxy, by CONNECT (RFC 9110, 9.3.6), so that the system sees the same requests."""

from __future__ import annotations

import functools
import re
import socket

from perfload import __version__
from perfload.load.http.failures import MALFORMED, TOO_LARGE, RequestFailed
from perfload.load.http.origin import Origin, Place
from perfload.load.http.request import basic
from perfload.load.http.wire import MAX_HEAD_BYTES, READ_BYTES, TIMED_OUT, Wire

_MAX_HEADS = 10
"""Those of interim responses included."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n")
_BEGINNING = b"HTTP/1."
_END = b"\r\n\r\n"


class Proxy:
    """A proxy, from `http://user:password@host:port`; raises ValueError for any other URL."""

    __slots__ = ("_authorization", "host", "port")

    def __init__(self, url: str) -> None:
        try:
            place = Place(url)
        except ValueError:
            place = None
        if place is None or place.origin.is_secure or place.target != "/":
            raise ValueError("a proxy is written http://host:port or http://user:password@host:port")
        self.host, self.port = place.origin.host, place.origin.port
        self._authorization = ""
        if place.credentials:
            self._authorization = f"Proxy-Authorization: {basic(*place.credentials)}\r\n"

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"

    def open_tunnel(self, wire: Wire, origin: Origin) -> None:
        """Turn `wire`, which is connected to the proxy, into one to `origin`.

        What the origin sends on its own stays on the wire. Raises `RequestFailed`.
        """
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        target = f"{host}:{origin.port}"
        fields = f"Host: {target}\r\n{self._authorization}User-Agent: perfload/{__version__}\r\n"
        wire.send(f"CONNECT {target} HTTP/1.1\r\n{fields}\r\n".encode("latin-1"))
        status = 0
        for _ in range(_MAX_HEADS):
            match = _STATUS_LINE.match(_head_on(wire))
            if match is None or (status := int(match[1])) == 101:
                raise RequestFailed(MALFORMED)
            if status >= 200:
                break
        if not 200 <= status < 300:
            raise RequestFailed(f"status {status}")


@functools.lru_cache(64)
def proxy_for(url: str) -> Proxy:
    """Return the proxy that all sessions with this URL share."""
    return Proxy(url)


def of_the_proxy(failure: RequestFailed) -> RequestFailed:
    """Return `failure` as one of the proxy and not of the system, unless it is a timeout of connecting."""
    if failure.reason == TIMED_OUT:
        return failure
    return RequestFailed(f"proxy: {failure.reason}")


def _head_on(wire: Wire) -> bytes:
    """Return the next head that comes, with the empty line at its end, and take nothing else off the wire."""
    head = b""
    while True:
        peeked = wire.receive(READ_BYTES, socket.MSG_PEEK)
        seen = head + peeked
        if not seen.startswith(_BEGINNING[: len(seen)]):
            raise RequestFailed(MALFORMED)
        end = seen.find(_END)
        if end >= 0:
            return head + wire.receive(end + len(_END) - len(head))
        if len(seen) > MAX_HEAD_BYTES:
            raise RequestFailed(TOO_LARGE)
        head += wire.receive(len(peeked))
