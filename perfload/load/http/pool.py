"""The connections of one session: one idle one for each origin."""

from __future__ import annotations

from perfload.load.http.connection import Connection
from perfload.load.http.dialer import Dialer
from perfload.load.http.origin import Origin


class Pool:
    """Gives connections out, each to one request at a time, and takes them back."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._idle: dict[Origin, Connection] = {}

    def take(self, origin: Origin) -> Connection | None:
        """Return the idle connection to `origin` if there is one that is still open."""
        connection = self._idle.pop(origin, None)
        return connection if connection is not None and connection.is_open else None

    def dial(self, origin: Origin, deadline_ns: int) -> Connection:
        """Return a new connection; raises `RequestFailed`."""
        return self._dialer.dial(origin, deadline_ns)

    def give(self, origin: Origin, connection: Connection) -> None:
        """Keep `connection` for the next request, if it can take one and none is kept yet."""
        if not connection.is_idle or origin in self._idle:
            connection.close()
        else:
            self._idle[origin] = connection

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.popitem()[1].close()
