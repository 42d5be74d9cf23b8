"""Opens connections: finds the addresses, tries them all, and shakes hands where the origin wants TLS."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from typing import Any

import gevent
from gevent import monkey
from gevent.socket import wait_read, wait_write

from perfload.load.http.connection import READ_BYTES, Connection
from perfload.load.http.failures import CLOSED, RESET, ConnectionLost, RequestFailed, reason_of
from perfload.load.http.origin import Origin
from perfload.load.http.resolver import Address, Resolver
from perfload.load.http.tls import Channel

# gevent's own socket would wait by itself, which is what the connection does better.
_socket: Any = monkey.get_original("socket", "socket")

_TIMED_OUT = "timed out: connect"


class Dialer:
    """Opens connections with one resolver and one TLS context."""

    def __init__(self, resolver: Resolver, context: ssl.SSLContext) -> None:
        self._resolver = resolver
        self._context = context

    def dial(self, origin: Origin, deadline_ns: int) -> Connection:
        """Return a new connection to `origin`; raise `RequestFailed` when there is none by `deadline_ns`."""
        with gevent.Timeout(_rest_s(deadline_ns), RequestFailed(_TIMED_OUT)):
            addresses = self._resolver.find(origin.host, origin.port)
        failure = RequestFailed(_TIMED_OUT)
        left = len(addresses)
        for address in addresses.in_turn():
            # An address that does not answer must leave time for the next.
            limit_s = _rest_s(deadline_ns) / left
            left -= 1
            try:
                return self._open(origin, address, limit_s, deadline_ns)
            except _NoConnection as error:
                addresses.failed(address)
                failure = RequestFailed(error.reason)
        raise failure

    def _open(self, origin: Origin, address: Address, limit_s: float, deadline_ns: int) -> Connection:
        family, place = address
        try:
            connecting = _socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise _NoConnection(reason_of(error)) from error
        try:
            connecting.setblocking(False)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _connect(connecting, place, limit_s)
            channel = None
            if origin.is_secure:
                channel = Channel(self._context, origin.host)
                _shake_hands(connecting, channel, deadline_ns)
            return Connection(connecting, channel)
        except BaseException:
            connecting.close()
            raise


class _NoConnection(RequestFailed):
    """One address that gave no connection; there may be others."""


def _connect(connecting: Any, place: Any, limit_s: float) -> None:
    code = connecting.connect_ex(place)
    if code in {errno.EINPROGRESS, errno.EAGAIN}:
        wait_write(connecting.fileno(), timeout=max(limit_s, 0.001), timeout_exc=_NoConnection(_TIMED_OUT))
        code = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise _NoConnection(reason_of(OSError(code, os.strerror(code))))


def _shake_hands(connected: Any, channel: Channel, deadline_ns: int) -> None:
    """Do the TLS handshake; `RequestFailed` means that another address would not help."""
    received = b""
    while True:
        try:
            is_done = channel.handshake(received)
        finally:
            _send_all(connected, channel.outgoing(), deadline_ns)
        if is_done:
            return
        timed_out = RequestFailed(_TIMED_OUT)
        wait_read(connected.fileno(), timeout=_rest_s(deadline_ns), timeout_exc=timed_out)
        try:
            received = connected.recv(READ_BYTES)
        except BlockingIOError:
            received = b""
            continue
        except OSError as error:
            raise ConnectionLost(RESET, heard=False) from error
        if not received:
            raise ConnectionLost(CLOSED, heard=False)


def _send_all(connected: Any, data: bytes, deadline_ns: int) -> None:
    while data:
        try:
            data = data[connected.send(data) :]
        except BlockingIOError:
            timed_out = RequestFailed(_TIMED_OUT)
            wait_write(connected.fileno(), timeout=_rest_s(deadline_ns), timeout_exc=timed_out)
        except OSError:
            return  # the reading side says why


def _rest_s(deadline_ns: int) -> float:
    return max((deadline_ns - time.perf_counter_ns()) / 1e9, 0.001)
