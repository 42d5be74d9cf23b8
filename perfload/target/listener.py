"""The listening socket, which can be closed for a while (so that connects are refused) and opened again."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from perfload.errors import UsageError
from perfload.target.faults import Span

logger = logging.getLogger(__name__)

BACKLOG = 2048
_RETRY_S = 0.1


class Port:
    """An address to listen on. Raises `UsageError` when it cannot be had; `port` 0 takes any free one."""

    def __init__(self, host: str, port: int) -> None:
        self._family, self._host = _resolve(host)
        self.number = port
        self._reservation: socket.socket | None = None
        if sys.platform == "linux":
            # A socket that is bound but never listens keeps the port from everyone else while the listening
            # one is closed: otherwise a client could be given this very port, and connect to itself.
            self._reservation = self._bind()
            self.number = self._reservation.getsockname()[1]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self._host).is_loopback

    @property
    def url(self) -> str:
        """The address as a URL, such as `http://127.0.0.1:8000`."""
        host = f"[{self._host}]" if self._family == socket.AF_INET6 else self._host
        return f"http://{host}:{self.number}"

    def listen(self) -> socket.socket:
        """Return a new socket that listens here; raises `UsageError`."""
        listener = self._bind()
        self.number = listener.getsockname()[1]
        try:
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise _cannot_listen(self._host, self.number, error) from error
        return listener

    def release(self) -> None:
        """Give the port up."""
        if self._reservation is not None:
            self._reservation.close()

    def _bind(self) -> socket.socket:
        # asyncio sets TCP_NODELAY only where the protocol is stated; without it, every answer on a connection
        # that is kept open waits 40 ms for the client's delayed acknowledgement of its headers.
        bound = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":
                # Only there it means no more than this: connections that just ended do not block the port.
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self.number))
        except (OSError, OverflowError) as error:
            bound.close()
            raise _cannot_listen(self._host, self.number, error) from error
        return bound


def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(
            f"{host!r} is no address of this machine: {error}", hint="use --bind 127.0.0.1"
        ) from error
    family, _, _, _, address = found[0]
    return family, str(address[0])


def _cannot_listen(host: str, port: int, error: OSError | OverflowError) -> UsageError:
    if not isinstance(error, OSError):
        return UsageError(
            f"there is no port {port}", hint="use a port from 1 to 65535, or --port 0 for any free one"
        )
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {port} on {host} is in use",
            hint="stop what listens there, or use another --port (0 takes any free one)",
        )
    if error.errno == errno.EACCES:
        return UsageError(f"port {port} needs privileges", hint="use a --port of 1024 or above, such as 8000")
    return UsageError(f"cannot listen on {host} port {port}: {error.strerror}", hint="use --bind 127.0.0.1")


class ListeningDoor:
    """The `Door` of a running server: its listening socket on `port`.

    It accepts connections itself: an `asyncio.Server` that is closed loses those that it has just accepted,
    and their clients wait for ever. Every method but the constructor is called from the event loop.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._factory: Callable[[], asyncio.Protocol] | None = None
        self._listener: socket.socket | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._connecting: set[asyncio.Task[Any]] = set()

    def open(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Listen, and let `factory` make the protocol of each connection; raises `UsageError`."""
        self._listen()
        self._factory = factory

    def close(self) -> None:
        """Stop listening for good; connections stay."""
        self._cancel()
        self._shut()
        self._factory = None
        self._port.release()

    def refuse(self, span: Span) -> None:
        """See `Door.refuse`."""
        self._cancel()
        loop = asyncio.get_running_loop()
        if span.at_s > 0:
            self._timers.append(loop.call_later(span.at_s, self._shut))
        else:
            # Before the request that started it is answered: its client finds the port closed.
            self._shut()
        self._timers.append(loop.call_later(span.at_s + span.duration_s, self.reopen))

    def reopen(self) -> None:
        """See `Door.reopen`."""
        self._cancel()
        if self._factory is None or self._listener is not None:
            return
        try:
            self._listen()
        except UsageError as error:
            logger.error("the target cannot listen again, and keeps trying: %s", error)
            self._timers.append(asyncio.get_running_loop().call_later(_RETRY_S, self.reopen))

    def _listen(self) -> None:
        self._listener = self._port.listen()
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _shut(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        """Take every connection that waits, as the loop found the listening socket readable."""
        loop = asyncio.get_running_loop()
        while self._listener is not None and self._factory is not None:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely out of file descriptors: trying on at once would keep the processor busy.
                logger.error("the target cannot accept connections for a moment: %s", error)
                loop.remove_reader(self._listener)
                loop.call_later(_RETRY_S, self._accept_again)
                return
            connection.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(self._factory, connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _accept_again(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []
