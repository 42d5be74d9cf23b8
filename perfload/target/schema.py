"""JSON bodies read field by field; what is wrong with them is reported all at once, as a 422.

The problems have the shape that FastAPI and pydantic give them: a list of `{type, loc, msg}`.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus

from perfload.target.asgi import HttpError


class Fields:
    """The fields of one JSON object. Read them all, then call `check`."""

    def __init__(self, body: bytes) -> None:
        self._values = _parse_object(body)
        self._problems: list[dict[str, object]] = []

    def text(
        self,
        name: str,
        *,
        default: str | None = None,
        pattern: str = r"[\s\S]*\S[\s\S]*",
        rule: str = "not blank",
    ) -> str:
        """Return the string `name`, which matches `pattern` (in words: `rule`); `default` None: required."""
        if name not in self._values:
            if default is None:
                self._add("missing", name, "Field required")
            return default or ""
        value = self._values[name]
        if not isinstance(value, str):
            self._add("string_type", name, "Input should be a valid string")
            return ""
        if re.fullmatch(pattern, value) is None:
            self._add("string_pattern_mismatch", name, f"String should be {rule}")
        return value

    def number(self, name: str, *, default: float, lowest: float, highest: float) -> float:
        """Return the number `name` between `lowest` and `highest`, or `default` when it is not there."""
        if name not in self._values:
            return default
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._add("float_type", name, "Input should be a valid number")
            return default
        if not lowest <= value <= highest:
            self._add("out_of_range", name, f"Input should be from {lowest:g} to {highest:g}")
        return float(value)

    def check(self) -> None:
        """Raise `HttpError` 422 that lists every problem found so far, if there is one."""
        if self._problems:
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, self._problems)

    def _add(self, kind: str, name: str, message: str) -> None:
        self._problems.append(_problem(kind, ["body", name], message))


def _parse_object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        problem = _problem("json_invalid", ["body"], f"JSON decode error: {error}")
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, [problem]) from error
    if not isinstance(value, dict):
        problem = _problem("model_attributes_type", ["body"], "Input should be a valid dictionary")
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, [problem])
    return value


def _problem(kind: str, location: list[str], message: str) -> dict[str, object]:
    return {"type": kind, "loc": location, "msg": message}
