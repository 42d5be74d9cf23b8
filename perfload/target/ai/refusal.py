"""Errors as the providers tell them: a status before the answer, or an event within a stream.

Sources: https://platform.openai.com/docs/guides/error-codes, https://docs.anthropic.com/en/api/errors
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of error, in the words of both providers."""

    name: str
    message: str
    openai: tuple[int, str, str | None]
    """Status, `type`, `code`."""
    anthropic: tuple[int, str]
    """Status, `type`."""


_INVALID = "invalid_request_error"

BAD_REQUEST = Kind("bad_request", "The request is not valid.", (400, _INVALID, None), (400, _INVALID))
CONTEXT = Kind(
    "context", "The prompt is too long.", (400, _INVALID, "context_length_exceeded"), (400, _INVALID)
)
AUTHENTICATION = Kind(
    "authentication",
    "The API key is missing or not valid.",
    (401, _INVALID, "invalid_api_key"),
    (401, "authentication_error"),
)
PERMISSION = Kind(
    "permission", "This key may not use this model.", (403, _INVALID, None), (403, "permission_error")
)
NOT_FOUND = Kind(
    "not_found", "There is no such model.", (404, _INVALID, "model_not_found"), (404, "not_found_error")
)
UNKNOWN_URL = Kind(
    "unknown_url", "There is nothing at this URL.", (404, _INVALID, "unknown_url"), (404, "not_found_error")
)
METHOD = Kind(
    "method",
    "This method is not allowed here.",
    (405, _INVALID, "method_not_supported"),
    (405, _INVALID),
)
TOO_LARGE = Kind("too_large", "The request is too large.", (413, _INVALID, None), (413, "request_too_large"))
RATE_LIMIT = Kind(
    "rate_limit", "Rate limit reached.", (429, "requests", "rate_limit_exceeded"), (429, "rate_limit_error")
)
QUOTA = Kind(
    "quota",
    "The quota is used up: check plan and billing.",
    (429, "insufficient_quota", "insufficient_quota"),
    (402, "billing_error"),
)
SERVER_ERROR = Kind(
    "server_error", "Something went wrong in the server.", (500, "server_error", None), (500, "api_error")
)
OVERLOADED = Kind(
    "overloaded",
    "The server is overloaded: try again later.",
    (503, "server_error", "overloaded"),
    (529, "overloaded_error"),
)
TIMEOUT = Kind(
    "timeout", "The answer took too long.", (504, "server_error", "timeout"), (504, "timeout_error")
)

ON_DEMAND = {
    kind.name: kind
    for kind in (
        BAD_REQUEST,
        AUTHENTICATION,
        PERMISSION,
        NOT_FOUND,
        TOO_LARGE,
        RATE_LIMIT,
        QUOTA,
        SERVER_ERROR,
        OVERLOADED,
        TIMEOUT,
    )
}
"""The kinds that a fault may name."""


class Refusal(Exception):
    """A request that is answered with an error. `message` replaces that of the kind, never names a key."""

    def __init__(
        self,
        kind: Kind,
        message: str = "",
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        limited: str = "requests",
    ) -> None:
        super().__init__(f"{kind.name}: {message or kind.message}")
        self.kind = kind
        self.message = message or kind.message
        self.param = param
        self.code = code
        """More exact than that of the kind: OpenAI's only."""
        self.retry_after_s = retry_after_s
        self.limited = limited
        """Of a rate limit: `requests` or `tokens`."""
