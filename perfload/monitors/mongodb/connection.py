"""The one connection to MongoDB that a monitor has, and what it says when there is none.

pymongo is imported when a connection is opened: perfload works without it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from perfload.monitors.base import MonitorUnavailable

if TYPE_CHECKING:
    from pymongo import MongoClient

APP_NAME = "perfload"
"""How perfload's own operations are told from those of the system under test."""

ADDRESS_VARIABLE = "MONGODB_URL"

ANSWER_WITHIN_S = 1.5
"""The sampler waits 2 s for a read, and a reason has to come before that."""

UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
HOSTED_ERROR = 8000
"""What hosted clusters say for reasons of their own."""

_MAX_ADDRESS_CHARS = 100
_MAX_REASON_CHARS = 120


def connect(url: str, *, answer_within_s: float = ANSWER_WITHIN_S) -> MongoClient[dict[str, Any]]:
    """Return a client with one connection for commands; it is made when the first of them is sent.

    Replica set, TLS and login are what `url` says. Nothing is tried twice and nothing waits for longer than
    `answer_within_s`. Raises `MonitorUnavailable` when pymongo is not installed or `url` is malformed; what
    goes wrong later is put into words by `failures_explained`.
    """
    try:
        import pymongo
    except ImportError as error:
        raise MonitorUnavailable(
            "the MongoDB client is not installed", hint="pip install 'perfload[mongodb]'"
        ) from error
    answer_within_ms = int(1000 * answer_within_s)
    try:
        # pymongo warns of options that it does not know, and may quote their values.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pymongo.MongoClient(
                url,
                appname=APP_NAME,
                minPoolSize=0,
                maxPoolSize=1,
                # Less than the limit, so that it is the reason of the failure that is told.
                serverSelectionTimeoutMS=int(0.8 * answer_within_ms),
                connectTimeoutMS=int(0.7 * answer_within_ms),
                socketTimeoutMS=answer_within_ms,
                waitQueueTimeoutMS=answer_within_ms,
                serverMonitoringMode="poll",
                retryReads=False,
                retryWrites=False,
                unicode_decode_error_handler="replace",
            )
    except OSError as error:
        raise MonitorUnavailable(
            f"a file that {ADDRESS_VARIABLE} names cannot be read: {error}",
            hint="look at tlsCAFile and tlsCertificateKeyFile in it",
        ) from error
    except (pymongo.errors.PyMongoError, ValueError) as error:
        # Its own words are left out: where a password is not escaped, they may hold a part of it.
        raise MonitorUnavailable(
            f"{ADDRESS_VARIABLE} is no valid address of a MongoDB",
            hint="mongodb://user:password@host:27017/?option=value, with %40 for @, %3A for : and %2F for / "
            "in user and password",
        ) from error


def address_of(url: str) -> str:
    """Return the hosts that `url` names, cut to length; nothing of its user, password or options."""
    _, _, behind_scheme = url.partition("://")
    # From the last @ on: a password that is not escaped may hold others, and / and ? too.
    hosts = behind_scheme.rpartition("@")[2].partition("/")[0].partition("?")[0]
    return hosts[:_MAX_ADDRESS_CHARS] or "?"


@contextlib.contextmanager
def failures_explained(address: str) -> Iterator[None]:
    """Turn what pymongo raises inside into a `MonitorUnavailable` with the next step; others pass."""
    import pymongo.errors

    try:
        yield
    except pymongo.errors.PyMongoError as error:
        raise explained(error, address) from error


def explained(error: Exception, address: str) -> MonitorUnavailable:
    """Return what the pymongo error `error` of the server at `address` means to a person."""
    from pymongo import errors

    if is_login_failure(error):
        return MonitorUnavailable(
            f"MongoDB at {address} refused the login",
            hint=f"check user, password and authSource in {ADDRESS_VARIABLE}",
        )
    if isinstance(error, errors.OperationFailure) and not error.timeout:
        return MonitorUnavailable(f"MongoDB at {address} refused: {reason_in(error)}")
    if isinstance(error, errors.ConfigurationError):
        return MonitorUnavailable(
            f"the connection to MongoDB at {address} is not possible as {ADDRESS_VARIABLE} has it: "
            f"{reason_in(error)}"
        )
    if isinstance(error, errors.ServerSelectionTimeoutError):
        reason = reason_in(error)
        return MonitorUnavailable(f"MongoDB at {address} cannot be reached: {reason}", hint=_hint_for(reason))
    if error_timed_out(error):
        return MonitorUnavailable(f"MongoDB at {address} does not answer: {reason_in(error)}")
    return MonitorUnavailable(f"the connection to MongoDB at {address} failed: {reason_in(error)}")


def _hint_for(reason: str) -> str:
    """Return what to look at when a server cannot be reached for `reason`."""
    if "SSL" in reason:
        return f"look at tls and tlsCAFile in {ADDRESS_VARIABLE}"
    if "connection closed" in reason:
        return f"if it wants TLS, add tls=true to {ADDRESS_VARIABLE}"
    return "does it run? if it is of a set whose names are not known here: directConnection=true"


def is_login_failure(error: Exception) -> bool:
    """Say whether the pymongo error `error` means that user and password are not those of the server."""
    code = getattr(error, "code", None)
    return code == AUTHENTICATION_FAILED or (code == HOSTED_ERROR and "bad auth" in str(error))


def error_timed_out(error: Exception) -> bool:
    """Say whether the pymongo error `error` means that the server took too long."""
    return bool(getattr(error, "timeout", False))


def reason_in(error: Exception) -> str:
    """Return the message of a pymongo error without the driver's own settings, in one line, cut to length."""
    text = " ".join(str(error).split())
    for tail in (" {", " (configured timeouts", ", full error", ", Timeout:", ", Topology Description"):
        text = text.partition(tail)[0]
    return text if len(text) <= _MAX_REASON_CHARS else f"{text[: _MAX_REASON_CHARS - 1]}…"
