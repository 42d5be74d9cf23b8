"""Where the time of an operation goes: waiting for a connection of the pool, and waiting for the server.

Pymongo tells its listeners in the greenlet that runs the operation, so the parts are put down to the
operation that this greenlet is in. Imports pymongo: import this only where its client is opened.
"""

from __future__ import annotations

from typing import Any

from gevent import getcurrent
from pymongo import monitoring

_HANDSHAKE = frozenset({"hello", "ismaster", "isMaster", "saslStart", "saslContinue", "authenticate"})
"""Commands on the way to a new connection, which is a part of the wait for the pool."""


class Parts:
    """Of one operation, in microseconds; a cursor that comes in batches has several commands."""

    __slots__ = ("pool_wait_us", "server_us")

    def __init__(self) -> None:
        self.pool_wait_us = 0
        self.server_us = 0


def begin() -> Parts:
    """Put down what this greenlet's operations take to the parts that are returned, until `end`."""
    parts = getcurrent().perfload_parts = Parts()
    return parts


def end() -> None:
    """Put down nothing any more."""
    getcurrent().perfload_parts = None


def _current() -> Parts | None:
    return getattr(getcurrent(), "perfload_parts", None)


class PoolListener(monitoring.ConnectionPoolListener):
    """Adds up the waits for a connection, that of those who got none included."""

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """Add a wait that is over; a connection that was made meanwhile is part of it."""
        parts = _current()
        if parts is not None:
            parts.pool_wait_us += round((event.duration or 0.0) * 1e6)

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """Add a wait that came to nothing."""
        parts = _current()
        if parts is not None:
            parts.pool_wait_us += round((event.duration or 0.0) * 1e6)

    def _ignore(self, event: Any) -> None:
        """Nothing to add."""

    pool_created = pool_ready = pool_cleared = pool_closed = _ignore
    connection_created = connection_ready = connection_closed = _ignore
    connection_check_out_started = connection_checked_in = _ignore


class ServerListener(monitoring.CommandListener):
    """Adds up the time from the send of each command to its reply."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Nothing to add."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Add a command that was answered."""
        self._add(event)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Add a command that was refused, or whose connection was lost."""
        self._add(event)

    def _add(self, event: Any) -> None:
        parts = _current()
        if parts is not None and event.command_name not in _HANDSHAKE:
            parts.server_us += event.duration_micros
