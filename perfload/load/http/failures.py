"""Why a request failed, in words that are the same for the same failure.

locust.exception.CatchResponseError
└── RequestFailed          its text is the reason: `timed out: first byte`, `status 500`
    ├── ConnectionLost     the server closed or reset the connection before the response was complete
    └── BadContent         (also a ValueError) a body that cannot be decoded
"""

from __future__ import annotations

import errno
import os

from locust.exception import CatchResponseError

CLOSED = "closed before the response was complete"
MALFORMED = "malformed response"
REFUSED = "connection refused"
RESET = "connection reset"
TOO_LARGE = "response too large"
TOO_MANY_REDIRECTS = "too many redirects"
BAD_REDIRECT = "redirect to a malformed URL"
NOT_FOUND = "host not found"
REQUEST_TOO_LARGE = "request too large"
TIMED_OUT_OUTSIDE = "timed out: by the scenario"
CUT_OFF = "no response when the run ended"

_REASONS = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
    errno.ECONNABORTED: RESET,
    errno.ETIMEDOUT: "timed out: connect",
    errno.EHOSTUNREACH: "host not reachable",
    errno.ENETUNREACH: "network not reachable",
    errno.EADDRNOTAVAIL: "no free local port",
    errno.EMFILE: "too many open files",
    errno.ENOENT: "unix socket not found",
}


class RequestFailed(CatchResponseError):
    """A request that failed; `reason` is short and holds nothing that differs between two such failures."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __repr__(self) -> str:
        # Locust groups failures by this text.
        return self.reason


class ConnectionLost(RequestFailed):
    """The connection ended before the response did.

    `may_repeat` is whether it looks as if the connection, which was idle, had ended before the request came,
    and sending it again does no harm: the server answered it with a reset, or twice has the effect of once.
    """

    def __init__(self, reason: str, *, may_repeat: bool = False) -> None:
        super().__init__(reason)
        self.may_repeat = may_repeat


class BadContent(RequestFailed, ValueError):
    """A body that is not in the encoding that its response declares, or is too large when decoded."""


def reason_of(error: OSError) -> str:
    """Return the stable reason for a socket's error."""
    code = error.errno or 0
    return _REASONS.get(code) or f"connection failed: {os.strerror(code)}"
