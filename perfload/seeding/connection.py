"""A connection to MongoDB for making load and data, and what goes wrong with one in words for people.

pymongo is imported when it is asked for: perfload works without it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from perfload.errors import TargetUnreachable, UsageError
from perfload.hosts import HostRules

Client = Any
"""`pymongo.MongoClient`, or `pymongo.AsyncMongoClient`."""

_SELECTION_TIMEOUT_MS = 5_000
_MAX_REASON_CHARS = 160


class MongoAddress:
    """What `MONGODB_URL` says, without the secrets in it. Raises `UsageError` for what is no such URL.

    A `mongodb+srv` address is looked up here, in the way of pymongo.
    """

    def __init__(self, url: str) -> None:
        _require_pymongo()
        from pymongo.errors import PyMongoError
        from pymongo.uri_parser import parse_uri

        if not url:
            raise UsageError(
                "MONGODB_URL is not set",
                hint="write MONGODB_URL=mongodb://localhost:27017/perfload_load into .env.performance",
            )
        try:
            with warnings.catch_warnings():
                # pymongo warns of options that it does not know, and may quote their values.
                warnings.simplefilter("ignore")
                parsed = parse_uri(url)
        except (PyMongoError, ValueError, OSError) as error:
            # Its own words may hold a part of a password that is not escaped.
            raise UsageError(
                "MONGODB_URL is no valid address of a MongoDB",
                hint="write mongodb://user:password@host:27017/database?option=value, with %40 for @ in user "
                "and password",
            ) from error
        self.nodes: list[tuple[str, int | None]] = parsed["nodelist"]
        self.database: str = parsed["database"] or ""
        self.options = {name.casefold() for name in parsed["options"]}
        """The names of the options that are given, in small letters."""
        self.has_password = bool(parsed["password"])

    def __str__(self) -> str:
        return ", ".join(_shown(host, port) for host, port in self.nodes)

    def check(self, rules: HostRules) -> None:
        """Raise `UsageError` unless load may go to each of the hosts."""
        for host, port in self.nodes:
            check_node(host, port, rules)


def check_node(host: str, port: int | None, rules: HostRules) -> None:
    """Raise `UsageError` unless load may go to this host; a socket in the file system is of this machine."""
    if not host.startswith("/"):
        rules.check(f"http://{_shown(host, port)}")


def _shown(host: str, port: int | None) -> str:
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_client(url: str, address: MongoAddress, *, app_name: str, **options: Any) -> Client:
    """Return a `MongoClient`; nothing is sent yet. `options` hold where `url` does not say otherwise.

    Raises `UsageError` for options that do not go together.
    """
    from pymongo import MongoClient

    return make_client(MongoClient, url, address, app_name=app_name, **options)


def make_client(
    kind: Any,
    url: str,
    address: MongoAddress,
    *,
    app_name: str,
    forced: Mapping[str, Any] | None = None,
    **options: Any,
) -> Client:
    """Return a client of class `kind`; see `open_client`. What is `forced` holds whatever `url` says."""
    from pymongo.errors import PyMongoError

    options = {"serverSelectionTimeoutMS": _SELECTION_TIMEOUT_MS, "tz_aware": True, **options}
    chosen = {name: value for name, value in options.items() if name.casefold() not in address.options}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(url, **{"appname": app_name, **chosen, **(forced or {})})
    except (PyMongoError, ValueError, OSError) as error:
        raise UsageError(
            f"MONGODB_URL cannot be used: {reason_in(error)}",
            hint="look at its options, and at files it names",
        ) from error


@contextlib.contextmanager
def failures_explained(address: MongoAddress) -> Iterator[None]:
    """Turn what pymongo raises inside into `TargetUnreachable` or `UsageError` with the next step."""
    from pymongo import errors

    try:
        yield
    except errors.ConnectionFailure as error:
        raise TargetUnreachable(
            f"MongoDB at {address} cannot be reached: {reason_in(error)}",
            hint="start it, or correct MONGODB_URL",
        ) from error
    except errors.OperationFailure as error:
        refused = f"MongoDB at {address} refused: {reason_in(error)}"
        raise UsageError(refused, hint="the user in MONGODB_URL needs readWrite on its database") from error
    except errors.PyMongoError as error:
        raise UsageError(f"MongoDB at {address} cannot be used: {reason_in(error)}") from error


def reason_in(error: Exception) -> str:
    """Return the message of a pymongo error in one line, without the driver's settings, cut to length."""
    text = " ".join(str(error).split())
    for tail in (" (configured timeouts", ", full error", ", Timeout:", ", Topology Description"):
        text = text.partition(tail)[0]
    return text if len(text) <= _MAX_REASON_CHARS else f"{text[: _MAX_REASON_CHARS - 1]}…"


def _require_pymongo() -> None:
    try:
        import pymongo
    except ImportError:
        pymongo = None  # type: ignore[assignment]
    if pymongo is None or pymongo.version_tuple[:2] < (4, 10):
        raise UsageError(
            "the MongoDB client pymongo (4.10 or later) is not installed",
            hint="pip install 'perfload[mongodb]'",
        )
