"""The connections of one session: one idle one for each origin."""

from __future__ import annotations

from perfload.load.http.connection import Connection
from perfload.load.http.dialer import Dialer
from perfload.load.http.origin import Origin


class Pool:
    """Gives connections out, each to one request at a time, and takes them back.

    Nearly every user talks to one origin, so the connection to the last one is kept where it is at hand.
    """

    __slots__ = ("_dialer", "_last", "_last_origin", "_others")

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._last: Connection | None = None
        self._last_origin: Origin | None = None
        self._others: dict[Origin, Connection] | None = None

    def take(self, origin: Origin) -> Connection | None:
        """Return the idle connection to `origin` if there is one that is still open."""
        if origin is self._last_origin:
            connection, self._last = self._last, None
        else:
            connection = self._others.pop(origin, None) if self._others else None
        return connection if connection is not None and connection.is_open else None

    def dial(self, origin: Origin, deadline_ns: int) -> Connection:
        """Return a new connection; raises `RequestFailed`."""
        return self._dialer.dial(origin, deadline_ns)

    def give(self, origin: Origin, connection: Connection) -> None:
        """Keep `connection` for the next request, if it can take one and none is kept yet."""
        if not connection.is_idle:
            connection.close()
        elif origin is self._last_origin and self._last is None:
            self._last = connection
        else:
            self._keep(origin, connection)

    def _keep(self, origin: Origin, connection: Connection) -> None:
        """Keep `connection` as the last one used, and what was that until now among the others."""
        if origin is self._last_origin:
            connection.close()  # requests at the same time had one each
            return
        others = self._others = self._others or {}
        if self._last is not None and self._last_origin is not None:
            others[self._last_origin] = self._last
        kept = others.pop(origin, None)
        if kept is not None:
            kept.close()
        self._last_origin, self._last = origin, connection

    def close(self) -> None:
        """Close the idle connections."""
        idle = [*(self._others or {}).values(), *([self._last] if self._last is not None else [])]
        self._last = self._others = None
        for connection in idle:
            connection.close()
