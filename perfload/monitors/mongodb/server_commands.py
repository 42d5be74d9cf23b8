"""Commands to a MongoDB, and the two ways in which a server says no to one of them.

    MonitorUnavailable
    ├── CommandRefused       not allowed: asking again soon is of no use
    │   └── CommandUnknown   nor does another role help: this server does not have it
    └── CommandFailed        this time only; the connection is still good

Whatever else goes wrong is the end of the connection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.mongodb.connection import (
    HOSTED_ERROR,
    UNAUTHORIZED,
    explained,
    is_login_failure,
    reason_in,
)

if TYPE_CHECKING:
    from pymongo import MongoClient

Document = Mapping[str, Any]

_UNKNOWN_COMMAND = frozenset({59, 115, 20, 40324, HOSTED_ERROR})
"""CommandNotFound, CommandNotSupported, IllegalOperation, an unknown stage, that of hosted clusters."""


class CommandRefused(MonitorUnavailable):
    """The user may not run this command."""


class CommandUnknown(CommandRefused):
    """The server does not know this command, or does not let anybody run it."""


class CommandFailed(MonitorUnavailable):
    """The server could not run this command now."""


class Commands(Protocol):
    """What runs commands: a connection, or recorded answers."""

    def run(self, command: Document, *, database: str = "admin") -> Document:
        """Return the server's answer; raises as the top of this module says."""


class Connection:
    """Runs commands over the one connection of `client`."""

    def __init__(self, client: MongoClient[dict[str, Any]], address: str) -> None:
        self._client = client
        self._address = address

    def run(self, command: Document, *, database: str = "admin") -> Document:
        """Return the server's answer, also from a secondary while there is no primary."""
        from pymongo import ReadPreference, errors

        try:
            answer: Document = self._client[database].command(
                dict(command), read_preference=ReadPreference.PRIMARY_PREFERRED
            )
        except errors.OperationFailure as error:
            raise self._refusal(next(iter(command)), error) from error
        except errors.PyMongoError as error:
            raise explained(error, self._address) from error
        return answer

    def _refusal(self, name: str, error: Any) -> MonitorUnavailable:
        if is_login_failure(error):
            return explained(error, self._address)
        if error.code == UNAUTHORIZED:
            return CommandRefused("the user may not do this")
        if error.code in _UNKNOWN_COMMAND:
            return CommandUnknown(f"this server does not support it: {reason_in(error)}")
        return CommandFailed(f"{name}: {reason_in(error)}")


def first_batch(answer: Document) -> list[Document]:
    """Return the documents of a command that answers with a cursor; later batches are left there."""
    cursor = answer.get("cursor")
    batch = cursor.get("firstBatch") if isinstance(cursor, dict) else None
    return [document for document in batch if isinstance(document, dict)] if isinstance(batch, list) else []


def number_in(value: object) -> float | None:
    """Return `value` if it is a finite number, or a yes (1) or no (0); a server may send anything."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def text_in(value: object, max_chars: int) -> str:
    """Return `value` if it is a text, on one line and cut to length; half characters are replaced."""
    text = value if isinstance(value, str) else ""
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return line if len(line) <= max_chars else f"{line[: max_chars - 1]}…"
