"""Opens connections: to an address, a Unix socket or through a proxy, with TLS where the origin wants it."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import time
from typing import Any

import gevent

from perfload.load.http.connection import Connection
from perfload.load.http.failures import RequestFailed
from perfload.load.http.origin import Origin
from perfload.load.http.proxy import of_the_proxy, proxy_for
from perfload.load.http.resolver import Resolver
from perfload.load.http.stamps import DialTimes
from perfload.load.http.tls import Channel, Tickets
from perfload.load.http.wire import TIMED_OUT, NoConnection, Wire, rest_s

_perf_counter_ns = time.perf_counter_ns

_MAX_PATH_BYTES = 107 if sys.platform == "linux" else 103


class Dialer:
    """Opens the connections of one session; the resolver and the TLS context are shared with others.

    With a `proxy` (its URL) or a `unix_socket` (its path), all of them go there, whatever the origin. Raises
    ValueError for both at once, and for what is neither.
    """

    def __init__(
        self,
        resolver: Resolver,
        context: ssl.SSLContext,
        *,
        proxy: str | None = None,
        unix_socket: str | None = None,
        resume_tls: bool = True,
    ) -> None:
        if proxy and unix_socket:
            raise ValueError("connections go through a proxy or to a unix_socket, not both: take one away")
        if unix_socket and len(os.fsencode(unix_socket)) > _MAX_PATH_BYTES:
            raise ValueError(f"the path of a unix_socket has {_MAX_PATH_BYTES} bytes at most: {unix_socket}")
        self._resolver = resolver
        self._context = context
        self._proxy = proxy_for(proxy) if proxy else None
        self._unix_socket = unix_socket
        self._tickets = Tickets() if resume_tls else None

    def dial(self, origin: Origin, deadline_ns: int) -> Connection:
        """Return a new connection to `origin`; raise `RequestFailed` when there is none by `deadline_ns`."""
        began_ns = _perf_counter_ns()
        wire, dns_ns = self._reach(origin, deadline_ns)
        try:
            reached_ns = _perf_counter_ns()
            channel = tls_ns = None
            if origin.is_secure:
                channel = self._secure(wire, origin)
                tls_ns = _perf_counter_ns() - reached_ns
            connect_ns = reached_ns - began_ns - (dns_ns or 0)
            return Connection(wire.socket, channel, DialTimes(dns_ns, connect_ns, tls_ns))
        except BaseException:
            wire.close()
            raise

    def _reach(self, origin: Origin, deadline_ns: int) -> tuple[Wire, int | None]:
        """Return a wire at whose other end `origin` is, and what finding an address took."""
        if self._unix_socket:
            return _connected(socket.AF_UNIX, self._unix_socket, rest_s(deadline_ns), deadline_ns), None
        if self._proxy is None:
            return self._call(origin.host, origin.port, deadline_ns)
        try:
            wire, dns_ns = self._call(self._proxy.host, self._proxy.port, deadline_ns)
            try:
                self._proxy.open_tunnel(wire, origin)
            except BaseException:
                wire.close()
                raise
        except RequestFailed as failure:
            raise of_the_proxy(failure) from failure
        return wire, dns_ns

    def _call(self, host: str, port: int, deadline_ns: int) -> tuple[Wire, int | None]:
        """Return a wire to the first address of `host` that answers, and what the look-up took."""
        dns_ns = None
        addresses = self._resolver.known(host, port)
        if addresses is None:
            began_ns = _perf_counter_ns()
            with gevent.Timeout(rest_s(deadline_ns), RequestFailed(TIMED_OUT)):
                addresses = self._resolver.find(host, port)
            dns_ns = _perf_counter_ns() - began_ns
        failure = RequestFailed(TIMED_OUT)
        left = len(addresses)
        for address in addresses.in_turn():
            # An address that does not answer must leave time for the next.
            limit_s = rest_s(deadline_ns) / left
            left -= 1
            try:
                return _connected(*address, limit_s, deadline_ns), dns_ns
            except NoConnection as error:
                addresses.failed(address)
                failure = RequestFailed(error.reason)
        raise failure

    def _secure(self, wire: Wire, origin: Origin) -> Channel:
        tickets = self._tickets
        if tickets is None:
            channel = Channel(self._context, origin.host)
        else:
            channel = Channel(self._context, origin.host, tickets.last_for(origin))
            tickets.expect(origin, channel)
        _shake_hands(wire, channel)
        return channel


def _connected(family: int, place: Any, limit_s: float, deadline_ns: int) -> Wire:
    wire = Wire(family, deadline_ns)
    try:
        wire.connect(place, limit_s)
    except BaseException:
        wire.close()
        raise
    return wire


def _shake_hands(wire: Wire, channel: Channel) -> None:
    """Do the TLS handshake; `RequestFailed` means that another address would not help."""
    received = b""
    while True:
        try:
            is_done = channel.handshake(received)
        finally:
            wire.send(channel.outgoing())
        if is_done:
            return
        received = wire.receive()
