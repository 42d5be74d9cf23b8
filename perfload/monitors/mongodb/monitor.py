"""The monitor `mongodb`: what a MongoDB server says of itself.

Every part of it needs rights of its own. What is refused is named with the role that would allow it, and the
rest goes on: any user will do, also one without any role.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from perfload.monitors.base import Found, MonitorUnavailable
from perfload.monitors.mongodb.connection import (
    ADDRESS_VARIABLE,
    ANSWER_WITHIN_S,
    address_of,
    connect,
)
from perfload.monitors.mongodb.current_operations import CurrentOperations
from perfload.monitors.mongodb.parts import Moment, PacedPart, of_node
from perfload.monitors.mongodb.replication import Replication
from perfload.monitors.mongodb.server_commands import (
    CommandFailed,
    CommandRefused,
    Connection,
    Document,
    text_in,
)
from perfload.monitors.mongodb.server_status import ServerStatus
from perfload.monitors.mongodb.sizes import Sizes
from perfload.monitors.mongodb.top import Top
from perfload.units import parse_duration_s

if TYPE_CHECKING:
    from pymongo import MongoClient

FINISH_WITHIN_S = 3.0
"""For the sizes after the run; the sampler waits for five."""


class MongoMonitor:
    """Reads one server: that of the address, or the primary of its replica set.

    Metrics and units are listed in `docs/monitors/mongodb.md`.
    """

    def __init__(
        self,
        url: str,
        *,
        slow_ms: float = 100.0,
        connect: Callable[[str], MongoClient[dict[str, Any]]] = connect,
    ) -> None:
        self._url = url
        self._address = address_of(url)
        self._connect = connect
        self._client: MongoClient[dict[str, Any]] | None = None
        self._sizes = Sizes()
        self._parts = [
            PacedPart(part)
            for part in (ServerStatus(), Top(), CurrentOperations(slow_ms), Replication(), self._sizes)
        ]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return a monitor of `MONGODB_URL`; `PERFLOAD_MONGODB_SLOW` says from when an operation is slow."""
        slow_s = parse_duration_s(environment.get("PERFLOAD_MONGODB_SLOW", "100ms"), "PERFLOAD_MONGODB_SLOW")
        return cls(environment.get(ADDRESS_VARIABLE, ""), slow_ms=1000 * slow_s)

    def open(self) -> None:
        """Connect, log in, and see that somebody answers."""
        if not self._url:
            raise MonitorUnavailable(f"{ADDRESS_VARIABLE} is not set", hint="mongodb://host:27017")
        self._client = self._connect(self._url)
        with self._connection(ANSWER_WITHIN_S) as connection:
            self._hello(connection)

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()

    def read(self, at_s: float) -> Found:
        """Return what is due now."""
        with self._connection(ANSWER_WITHIN_S) as connection:
            hello = self._hello(connection)
            moment = Moment(at_s, _start_of(hello), is_replica_set=bool(hello.get("setName")))
            found = [item for part in self._parts for item in part.read(connection, moment)]
        return of_node(found, self._node(hello))

    def finish(self, at_s: float) -> Found:
        """Return the sizes after the run."""
        del at_s
        with self._connection(FINISH_WITHIN_S) as connection:
            hello = self._hello(connection)
            return of_node(self._sizes.finish(connection), self._node(hello))

    @contextlib.contextmanager
    def _connection(self, within_s: float) -> Iterator[Connection]:
        """Give the connection for `within_s`, after which every command on it fails."""
        import pymongo

        if self._client is None:
            raise MonitorUnavailable("not connected")
        with pymongo.timeout(within_s):
            yield Connection(self._client, self._address)

    def _hello(self, connection: Connection) -> Document:
        # Needs no rights, says which start of which server answers, and fails where nothing else can work.
        try:
            return connection.run({"hello": 1})
        except (CommandRefused, CommandFailed) as error:
            raise MonitorUnavailable(
                f"MongoDB at {self._address} does not answer: {error.message}"
            ) from error

    def _node(self, hello: Document) -> str:
        return text_in(hello.get("me"), 120) or self._address


def _start_of(hello: Document) -> str:
    version = hello.get("topologyVersion")
    process = version.get("processId") if isinstance(version, dict) else ""
    return f"{process} {text_in(hello.get('me'), 120)}"
