"""Commands for MongoDB's shell, from names that come from outside: each quoted where it has to be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)

_OF_DATABASE = frozenset(
    {
        *("admin", "adminCommand", "aggregate", "auth", "changeUserPassword", "cloneDatabase", "commandHelp"),
        *("constructor", "createCollection", "createRole", "createUser", "createView", "currentOp"),
        *("disableFreeMonitoring", "dropDatabase", "dropRole", "dropUser", "enableFreeMonitoring", "eval"),
        *("fsyncLock", "fsyncUnlock", "getCollection", "getMongo", "getName", "getRole", "getRoles"),
        *("getSiblingDB", "getUser", "getUsers", "hello", "help", "hostInfo", "isMaster", "killOp"),
        *("listCommands", "logout", "printReplicationInfo", "resetError", "rotateCertificates", "runCommand"),
        *(
            "serverBits",
            "serverBuildInfo",
            "serverStatus",
            "setLogLevel",
            "setProfilingLevel",
            "shutdownServer",
        ),
        *("sql", "stats", "toJSON", "toString", "updateRole", "updateUser", "version", "watch"),
    }
)
"""Names that mean something else behind `db.` than a collection."""

Keys = tuple[tuple[str, int], ...]
"""(field, 1 or -1) of an index or a sort."""


def collection(name: str) -> str:
    """Return `db.models`, or `db.getCollection("…")` for a name that is not that simple."""
    if _IDENTIFIER.fullmatch(name) and name not in _OF_DATABASE and not name.startswith(("get", "_")):
        return f"db.{name}"
    return f"db.getCollection({text(name)})"


def text(value: str) -> str:
    """Return `value` as a string literal; as JSON in ASCII it is one of JavaScript, whatever it holds."""
    return json.dumps(value)


def document(items: Iterable[tuple[str, str]]) -> str:
    """Return a document with the given names and literals, in just this order."""
    pairs = list(items)
    if any(_DIGITS.fullmatch(name) for name, _ in pairs):
        # JavaScript puts names that are numbers first, whatever the order.
        return f"new Map([{', '.join(f'[{text(name)}, {literal}]' for name, literal in pairs)}])"
    return "{" + ", ".join(f"{_key(name)}: {literal}" for name, literal in pairs) + "}"


def keys(index: Keys) -> str:
    """Return `{owner: 1, created_at: -1}`."""
    return document((name, str(direction)) for name, direction in index)


def create_index(name: str, index: Keys) -> str:
    """Return the command that makes an index on the collection `name`."""
    return f"{collection(name)}.createIndex({keys(index)})"


def _key(name: str) -> str:
    if name == "__proto__":
        # Without brackets this sets the prototype.
        return f"[{text(name)}]"
    return name if _IDENTIFIER.fullmatch(name) else text(name)
