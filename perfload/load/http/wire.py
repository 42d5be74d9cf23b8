"""A socket in the making: what is said over it before a connection takes it, all by one deadline."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Any

import gevent
from gevent import monkey
from gevent.socket import wait_read, wait_write

from perfload.load.http.failures import CLOSED, RESET, ConnectionLost, RequestFailed, reason_of

READ_BYTES = 65536
MAX_HEAD_BYTES = 65536
"""Status line and headers, interim responses included."""
TIMED_OUT = "timed out: connect"

# gevent's own socket would wait by itself, which is what the connection does better.
_socket: Any = monkey.get_original("socket", "socket")

_FULL_QUEUE_S = 0.01


class NoConnection(RequestFailed):
    """One address that gave no connection; there may be others."""


class Wire:
    """A non-blocking socket whose waits end at `deadline_ns` with `timed out: connect`."""

    __slots__ = ("_deadline_ns", "_family", "socket")

    def __init__(self, family: int, deadline_ns: int) -> None:
        self._family, self._deadline_ns = family, deadline_ns
        try:
            self.socket = _socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise NoConnection(reason_of(error)) from error
        self.socket.setblocking(False)

    def connect(self, place: Any, limit_s: float) -> None:
        """Connect to `place` within `limit_s` seconds; raises `NoConnection`."""
        if self._family == socket.AF_UNIX:
            code = self._connect_here(place)
        else:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self.socket.connect_ex(place)
            if code in {errno.EINPROGRESS, errno.EAGAIN}:
                timed_out = NoConnection(TIMED_OUT)
                wait_write(self.socket.fileno(), timeout=max(limit_s, 0.001), timeout_exc=timed_out)
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise NoConnection(reason_of(OSError(code, os.strerror(code))))

    def _connect_here(self, path: str) -> int:
        """Connect to a Unix socket, whose full queue cannot be waited for; return an error number or 0."""
        while (code := self.socket.connect_ex(path)) == errno.EAGAIN:
            if time.perf_counter_ns() >= self._deadline_ns:
                raise NoConnection(TIMED_OUT)
            gevent.sleep(_FULL_QUEUE_S)
        return int(code)

    def send(self, data: bytes) -> None:
        """Send all of `data`; when the other side has hung up, `receive` says how."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                timed_out = RequestFailed(TIMED_OUT)
                wait_write(self.socket.fileno(), timeout=rest_s(self._deadline_ns), timeout_exc=timed_out)
            except OSError:
                return

    def receive(self, size: int = READ_BYTES, flags: int = 0) -> bytes:
        """Return what has come, at least one byte and at most `size`; raises `ConnectionLost` at the end."""
        while True:
            try:
                data: bytes = self.socket.recv(size, flags)
            except BlockingIOError:
                timed_out = RequestFailed(TIMED_OUT)
                wait_read(self.socket.fileno(), timeout=rest_s(self._deadline_ns), timeout_exc=timed_out)
                continue
            except OSError as error:
                raise ConnectionLost(RESET) from error
            if not data:
                raise ConnectionLost(CLOSED)
            return data

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def rest_s(deadline_ns: int) -> float:
    """Return the seconds until `deadline_ns`, as a timer takes them."""
    return max((deadline_ns - time.perf_counter_ns()) / 1e9, 0.001)
