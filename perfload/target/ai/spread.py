"""Quantities that vary: constant (`20ms`), log-normal (`20ms/0.4`) or normal (`20ms+-4ms`)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from perfload.errors import UsageError
from perfload.units import parse_duration_s

MAX_SIGMA = 3.0
_FORMS = "a constant (20ms), log-normal as median/sigma (20ms/0.4) or normal as mean+-deviation (20ms+-4ms)"


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution of values that are never negative: `middle` alone, or with exactly one of the others."""

    middle: float
    """The constant, the median of the log-normal, the mean of the normal distribution."""
    sigma: float = 0.0
    """Of the logarithm: the 95th percentile is middle x e^(1.645 sigma)."""
    deviation: float = 0.0
    """Standard deviation; what would be below 0 is 0."""

    @property
    def is_constant(self) -> bool:
        """Whether every draw is `middle`."""
        return not (self.sigma or self.deviation)

    def draw(self, source: random.Random) -> float:
        """Return the next value; a constant takes nothing from `source`."""
        if self.sigma:
            return self.middle * math.exp(self.sigma * source.gauss(0.0, 1.0))
        if self.deviation:
            return max(0.0, source.gauss(self.middle, self.deviation))
        return self.middle

    def draw_count(self, source: random.Random, least: int = 1) -> int:
        """Return the next value as a whole number, `least` at least."""
        return max(least, round(self.draw(source)))


def durations(text: str, what: str) -> Spread:
    """Read a spread of seconds such as `200ms/0.3`; raises `UsageError` that names `what`."""
    return _parse(text, what, lambda part: parse_duration_s(part, what))


def counts(text: str, what: str, *, greatest: float = 1_000_000) -> Spread:
    """Read a spread of numbers such as `100/0.4`; raises `UsageError` that names `what`."""

    def number(part: str) -> float:
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0 <= value <= greatest:
            raise UsageError(
                f"{what}: {part!r} is not a number from 0 to {greatest:g}", hint=f"write {_FORMS}"
            )
        return value

    return _parse(text, what, number)


def share(text: str, what: str) -> float:
    """Read a share such as `5%` or `0.05`, 0 to 1; raises `UsageError` that names `what`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UsageError(f"{what}: {text!r} is not a share from 0% to 100%", hint='write "5%" or 0.05')
    return value


def _parse(text: str, what: str, value: Callable[[str], float]) -> Spread:
    if "+-" in text:
        middle, _, deviation = text.partition("+-")
        return Spread(value(middle.strip()), deviation=value(deviation.strip()))
    middle, slash, sigma = text.partition("/")
    return Spread(value(middle.strip()), sigma=_sigma(sigma, text, what) if slash else 0.0)


def _sigma(sigma: str, text: str, what: str) -> float:
    try:
        number = float(sigma)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_SIGMA:
        raise UsageError(
            f"{what}: {text!r} has no sigma from 0 to {MAX_SIGMA:g} after the slash", hint=f"write {_FORMS}"
        )
    return number
