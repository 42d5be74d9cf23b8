"""Faults on demand: what the target does wrong is known, so that a measurement can be held against it.

`Faults` says what goes wrong, as pure functions of time and of a random draw; `ActiveFaults` applies one
`Faults` at a time to the stream of API requests. The clock and the seed are arguments.
"""

from __future__ import annotations

import difflib
import enum
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from perfload.errors import UsageError
from perfload.target import plants
from perfload.units import parse_duration_s


class Outcome(enum.Enum):
    """What happens to one request."""

    NORMAL = "normal"
    THROTTLED = "throttled"
    ERROR = "error"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Span:
    """`duration_s` seconds from `at_s`, which counts from the first API request after the fault was set."""

    duration_s: float
    at_s: float = 0.0

    @classmethod
    def parse(cls, value: object, what: str) -> Span:
        """Read `"5s@10s"` (5 s, at 10 s) or `"5s"` (at once); raises `UsageError` that names `what`."""
        duration, _, at = value.partition("@") if isinstance(value, str) else (value, "", "")
        span = cls(_duration_s(duration, what), _duration_s(at or 0, f"{what}, start"))
        if span.duration_s <= 0:
            raise UsageError(f"{what}: {value!r} has no duration", hint=f"for example {what}=5s@10s")
        return span

    def left_s(self, elapsed_s: float) -> float:
        """Return the seconds from `elapsed_s` to the end of the span; 0 outside of it."""
        left_s = self.at_s + self.duration_s - elapsed_s
        return max(0.0, left_s) if elapsed_s >= self.at_s else 0.0

    def __str__(self) -> str:
        return f"{_seconds(self.duration_s)}@{_seconds(self.at_s)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong with requests to `/api/`. The default: nothing.

    The three rates are disjoint shares (0..1) of all API requests; their sum is at most 1.
    """

    delay_s: float | None = None
    """Replaces the drawn latency of every endpoint; 0 is a latency too."""
    error_rate: float = 0.0
    """Share answered 500, after the latency."""
    throttle_rate: float = 0.0
    """Share answered 429 with `Retry-After`, at once."""
    retry_after_s: int = 1
    truncate_rate: float = 0.0
    """Share of which half the declared body is sent before the connection is closed."""
    slow_body_s: float = 0.0
    """Every body is dribbled over this time, after the headers."""
    stall: Span | None = None
    """No request gets on during it."""
    refuse: Span | None = None
    """The listening socket is closed during it."""
    planted: tuple[str, ...] = ()
    """What is there for an analysis to find: names of `perfload.target.plants`."""

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> Faults:
        """Return the faults that `options` name, such as `{"delay": "50ms", "error_rate": "5%"}`.

        Durations as in `parse_duration_s`, rates as `"5%"` or 0.05, spans as in `Span.parse`. Raises
        `UsageError` for an unknown name, a bad value, or options that do not go together.
        """
        _check_names(options)
        faults = cls(**{_FIELDS[name][0]: _FIELDS[name][1](value, name) for name, value in options.items()})
        total = faults.throttle_rate + faults.error_rate + faults.truncate_rate
        if total > 1 + 1e-9:
            raise UsageError(
                f"throttle_rate, error_rate and truncate_rate add up to {_percent(total)}",
                hint="each is a share of all requests: together they are at most 100%",
            )
        if "retry_after" in options and not faults.throttle_rate:
            raise UsageError("retry_after needs throttle_rate", hint='for example throttle_rate "10%"')
        return faults

    def describe(self) -> dict[str, str]:
        """Return the faults in force as `parse` reads them; empty when there are none."""
        found = {} if self.delay_s is None else {"delay": _seconds(self.delay_s)}
        for name, rate in (
            ("error_rate", self.error_rate),
            ("throttle_rate", self.throttle_rate),
            ("truncate_rate", self.truncate_rate),
        ):
            if rate:
                found[name] = _percent(rate)
        if self.throttle_rate:
            found["retry_after"] = _seconds(self.retry_after_s)
        if self.slow_body_s:
            found["slow_body"] = _seconds(self.slow_body_s)
        for name, span in (("stall", self.stall), ("refuse", self.refuse)):
            if span is not None:
                found[name] = str(span)
        if self.planted:
            found["fault"] = ",".join(self.planted)
        return found

    def outcome(self, draw: float) -> Outcome:
        """Return what happens to a request with the random number `draw` (0 <= draw < 1)."""
        if draw < self.throttle_rate:
            return Outcome.THROTTLED
        if draw < self.throttle_rate + self.error_rate:
            return Outcome.ERROR
        if draw < self.throttle_rate + self.error_rate + self.truncate_rate:
            return Outcome.TRUNCATED
        return Outcome.NORMAL


def pieces(body: bytes, duration_s: float, *, longest_gap_s: float = 0.05) -> list[tuple[float, bytes]]:
    """Return `body` cut into (seconds after the first piece, piece): evenly spaced, the last at `duration_s`.

    There is one piece per `longest_gap_s`, as far as there are bytes; a body of one byte or none is not cut.
    """
    count = min(len(body), math.ceil(duration_s / longest_gap_s) + 1)
    if count < 2:
        return [(0.0, body)]
    cuts = [len(body) * index // count for index in range(count + 1)]
    return [(duration_s * index / (count - 1), body[cuts[index] : cuts[index + 1]]) for index in range(count)]


def _check_names(options: Mapping[str, object]) -> None:
    unknown = [name for name in options if name not in _FIELDS]
    if unknown:
        nearest = difflib.get_close_matches(unknown[0], _FIELDS, n=1)
        meant = f"did you mean {nearest[0]}? " if nearest else ""
        raise UsageError(f"unknown fault {unknown[0]!r}", hint=f"{meant}valid names: {', '.join(_FIELDS)}")


def _duration_s(value: object, what: str) -> float:
    return parse_duration_s(value, what)  # type: ignore[arg-type]  # it refuses what is neither text nor number


def _share(value: object, what: str) -> float:
    text = str(value).strip()
    is_percent = text.endswith("%")
    try:
        share = float(text.removesuffix("%")) / (100 if is_percent else 1)
    except ValueError:
        share = math.nan
    if isinstance(value, bool) or not 0 <= share <= 1:
        raise UsageError(f"{what}: {value!r} is not a share from 0% to 100%", hint='write "5%" or 0.05')
    return share


def _whole_seconds(value: object, what: str) -> int:
    seconds = _duration_s(value, what)
    if not seconds.is_integer():
        raise UsageError(
            f"{what}: {value!r} is not a whole number of seconds", hint='HTTP allows no fractions: write "2s"'
        )
    return int(seconds)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.9g}ms" if 0 < seconds < 1 else f"{seconds:.9g}s"


def _percent(share: float) -> str:
    return f"{share * 100:.9g}%"


_FIELDS: dict[str, tuple[str, Callable[[object, str], Any]]] = {
    "delay": ("delay_s", _duration_s),
    "error_rate": ("error_rate", _share),
    "throttle_rate": ("throttle_rate", _share),
    "retry_after": ("retry_after_s", _whole_seconds),
    "truncate_rate": ("truncate_rate", _share),
    "slow_body": ("slow_body_s", _duration_s),
    "stall": ("stall", Span.parse),
    "refuse": ("refuse", Span.parse),
    "fault": ("planted", plants.parse),
}
"""Name in `POST /_faults` (and, with dashes, on the command line) -> field of `Faults`, parser."""

FAULT_NAMES = tuple(_FIELDS)


class Door(Protocol):
    """The listening socket. Both methods are called from the event loop and return at once."""

    def refuse(self, span: Span) -> None:
        """Close the socket at `span.at_s` from now and open it again after `span.duration_s`."""

    def reopen(self) -> None:
        """Forget what `refuse` planned, and open the socket if it is closed."""


class ActiveFaults:
    """The faults in force and the moment from which their spans count. `clock` returns seconds, monotonic."""

    def __init__(self, faults: Faults, *, seed: int, clock: Callable[[], float], door: Door) -> None:
        self._seed = seed
        self._clock = clock
        self._door = door
        self.replace(faults)

    def replace(self, faults: Faults) -> None:
        """Put `faults` in force; random choices start anew from the seed, spans from the next API request."""
        self.faults = faults
        self._random = random.Random(self._seed)
        self._first_at: float | None = None
        self._door.reopen()

    def arrive(self) -> Outcome:
        """Return what happens to the API request that arrives now."""
        if self._first_at is None:
            self._first_at = self._clock()
            if self.faults.refuse is not None:
                self._door.refuse(self.faults.refuse)
        return self.faults.outcome(self._random.random())

    def stall_left_s(self) -> float:
        """Return how long a request that is in progress now has to wait for the end of a stall."""
        if self.faults.stall is None or self._first_at is None:
            return 0.0
        return self.faults.stall.left_s(self._clock() - self._first_at)
