"""How far a client is from the provider's rate limits, as the headers of every response say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_REQUESTS = ("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining")
_TOKENS = ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining")

_PART = r"(?:([0-9]+(?:\.[0-9]+)?){})?"
_DURATION = re.compile("".join(_PART.format(unit) for unit in ("d", "h", "m(?!s)", "s", "ms")))
_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left until the limits are set back, and when to try again; None where nothing is said."""

    requests: int | None = None
    tokens: int | None = None
    retry_after_s: float | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Standing:
        """Read the headers of either provider; what is no number is not there."""
        return cls(_count(headers, _REQUESTS), _count(headers, _TOKENS), _wait_s(headers))


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Return how long to wait: as the server says, or until the limit that is used up is set back."""
    after_ms, after_s = _number(headers, "retry-after-ms"), _number(headers, "retry-after")
    if after_ms is not None:
        return after_ms / 1000
    if after_s is not None:
        return after_s
    return _until_date_s(headers) if "retry-after" in headers else _until_reset_s(headers)


def _until_date_s(headers: Mapping[str, str]) -> float | None:
    """Return how long it is until the date in `retry-after`, by the server's own clock."""
    try:
        until, now = (parsedate_to_datetime(headers[name]) for name in ("retry-after", "date"))
        return max(0.0, (until - now).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _until_reset_s(headers: Mapping[str, str]) -> float | None:
    """Return when those of OpenAI's limits are set back of which nothing is left: `20ms`, `1s`, `6m0s`."""
    waits_s = [
        _duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in ("requests", "tokens")
        if _number(headers, f"x-ratelimit-remaining-{kind}") == 0
    ]
    return max((wait_s for wait_s in waits_s if wait_s is not None), default=None)


def _duration_s(text: str) -> float | None:
    match = _DURATION.fullmatch(text.strip())
    if match is None or not match[0] or len(match[0]) > 64:
        return None
    return sum(float(part) * unit_s for part, unit_s in zip(match.groups(), _SECONDS, strict=True) if part)


def _count(headers: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    found = (_number(headers, name) for name in names)
    count = next((value for value in found if value is not None), None)
    return None if count is None else int(count)


def _number(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name, "").strip()
    try:
        value = float(text) if text[:1].isdigit() else math.nan
    except ValueError:
        return None
    return value if 0 <= value < 1e12 else None
