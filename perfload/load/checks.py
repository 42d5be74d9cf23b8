"""Checks of responses whose failures say what was expected."""

from __future__ import annotations

from typing import Any

_JSON_NAMES: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "boolean"}


def expect_json(response: Any, *, status: int, keys: tuple[str, ...] = (), kind: type = dict) -> Any:
    """Return the JSON value of `response`, or None after marking the request as failed, once.

    `response` is that of `with self.client.post(..., catch_response=True) as response`. The value must come
    with `status` and be a `kind` (dict or list); an object must hold `keys`, none of them null.
    """
    if response.status_code != status:
        reason = _no_response(response) or f"status {response.status_code}, expected {status}"
        response.failure(reason)
        return None
    try:
        body = response.json()
    except ValueError:
        response.failure("the body is not JSON")
        return None
    if not issubclass(type(body), kind):
        found = _JSON_NAMES.get(type(body), "number or null")
        response.failure(f"the body is a JSON {found}, expected {_JSON_NAMES[kind]}")
        return None
    missing = [key for key in keys if body.get(key) is None]
    if missing:
        response.failure(f"the body has no {' and no '.join(missing)}")
        return None
    return body


def expect_status(response: Any, *statuses: int) -> bool:
    """Return whether `response` has one of `statuses`; if not, mark the request as failed, once."""
    if response.status_code in statuses:
        response.success()
        return True
    expected = " or ".join(map(str, statuses))
    response.failure(_no_response(response) or f"status {response.status_code}, expected {expected}")
    return False


def _no_response(response: Any) -> str:
    """Return why there is no response at all, or ""."""
    error = getattr(response, "error", None)
    return "" if response.status_code else f"no response: {error!r}"
