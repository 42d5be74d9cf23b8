"""Rate limits: requests and tokens a minute for each key, as buckets that fill steadily."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass

from perfload.target.ai.refusal import RATE_LIMIT, Refusal

_MINUTE_S = 60.0
_MAX_KEYS = 1024
"""Clients may make keys up: whoever was not seen for longest starts with a full bucket again."""


@dataclass(frozen=True, slots=True)
class Level:
    """One limit, as a client is told of it."""

    limit: int
    remaining: int
    reset_s: float
    """Until the bucket is full again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one key is from its limits; None: there is no such limit."""

    requests: Level | None = None
    tokens: Level | None = None


class _Bucket:
    __slots__ = ("at_s", "held", "limit")

    def __init__(self, limit: int, now_s: float) -> None:
        self.limit = limit
        self.held = float(limit)
        self.at_s = now_s

    def fill(self, now_s: float) -> None:
        self.held = min(float(self.limit), self.held + (now_s - self.at_s) * self.limit / _MINUTE_S)
        self.at_s = now_s

    def wait_s(self, amount: int) -> float:
        """Return the seconds until `amount` can be taken; what is above the limit takes a full bucket."""
        return max(0.0, (min(amount, self.limit) - self.held) * _MINUTE_S / self.limit)

    def level(self) -> Level:
        reset_s = (self.limit - self.held) * _MINUTE_S / self.limit
        return Level(self.limit, max(0, math.floor(self.held)), reset_s)


class RateLimits:
    """The limits of all keys. 0: no limit. Times are seconds on any clock that does not go back."""

    def __init__(self, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        self._limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._keys: OrderedDict[bytes, dict[str, _Bucket]] = OrderedDict()

    def take(self, key: str, tokens: int, now_s: float) -> None:
        """Take a request of `tokens` tokens from what `key` may; or takes nothing and raises `Refusal`."""
        buckets = self._buckets(key, now_s)
        amounts = {"requests": 1, "tokens": tokens}
        waits_s = {name: bucket.wait_s(amounts[name]) for name, bucket in buckets.items()}
        limited = max(waits_s, key=waits_s.__getitem__, default="")
        if limited and waits_s[limited] > 0:
            message = f"Rate limit reached: {self._limits[limited]} {limited} per minute."
            raise Refusal(RATE_LIMIT, message, retry_after_s=waits_s[limited], limited=limited)
        for name, bucket in buckets.items():
            bucket.held -= amounts[name]

    def standing(self, key: str, now_s: float) -> Standing:
        """Return how far `key` is from the limits."""
        return Standing(**{name: bucket.level() for name, bucket in self._buckets(key, now_s).items()})

    def _buckets(self, key: str, now_s: float) -> dict[str, _Bucket]:
        # Keys are not kept, not even in memory: a dump of the process would show them.
        known = hashlib.blake2b(key.encode(), digest_size=16).digest()
        buckets = self._keys.get(known)
        if buckets is None:
            buckets = {name: _Bucket(limit, now_s) for name, limit in self._limits.items() if limit}
            self._keys[known] = buckets
            if len(self._keys) > _MAX_KEYS:
                self._keys.popitem(last=False)
        self._keys.move_to_end(known)
        for bucket in buckets.values():
            bucket.fill(now_s)
        return buckets
