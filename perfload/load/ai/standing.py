"""How far a client is from the provider's rate limits, as the headers of every response say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

_REQUESTS = ("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining")
_TOKENS = ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left until the limits are set back, and when to try again; None where nothing is said."""

    requests: int | None = None
    tokens: int | None = None
    retry_after_s: float | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Standing:
        """Read the headers of either provider; what is no number is not there."""
        after_ms, after_s = _number(headers, "retry-after-ms"), _number(headers, "retry-after")
        return cls(
            _count(headers, _REQUESTS),
            _count(headers, _TOKENS),
            after_s if after_ms is None else after_ms / 1000,
        )


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
