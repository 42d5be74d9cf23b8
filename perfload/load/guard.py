"""Checks before the load: whether the host is allowed, and whether anything answers there."""

from __future__ import annotations

import logging
import socket
import time
from urllib.parse import urlsplit

import gevent

from perfload.errors import TargetUnreachable, UsageError
from perfload.hosts import HostRules
from perfload.redact import redact
from perfload.units import format_duration

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
RETRY_S = 0.5


def check_host(host: str, rules: HostRules) -> None:
    """Raise `UsageError` unless `host` is a URL that load may go to."""
    if not host:
        raise UsageError(
            "no host to test",
            hint="pass --host http://localhost:8000, or set BACKEND_URL in .env.performance",
        )
    rules.check(host)


def wait_for_target(host: str, wait_s: float) -> None:
    """Return once something accepts connections at `host`; try once, or for `wait_s` seconds.

    Raises `TargetUnreachable` with the last reason.
    """
    deadline_s = time.monotonic() + wait_s
    announced = False
    while reason := _refusal(host):
        if time.monotonic() >= deadline_s:
            raise _unreachable(host, reason, wait_s)
        if not announced:
            logger.info("waiting up to %s for %s (%s)", format_duration(wait_s), redact(host), reason)
            announced = True
        gevent.sleep(RETRY_S)


def _refusal(host: str) -> str:
    """Return why nobody answers at `host`, or ""."""
    parts = urlsplit(host)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_TIMEOUT_S).close()
    except TimeoutError:
        return f"no answer within {format_duration(CONNECT_TIMEOUT_S)}"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _unreachable(host: str, reason: str, wait_s: float) -> TargetUnreachable:
    waited = f" within {format_duration(wait_s)}" if wait_s else ""
    return TargetUnreachable(
        f"nothing answers at {redact(host)}{waited}: {reason}",
        hint="start the system under test, correct --host, or give it time with --wait-for-target 60s",
    )
