"""How long each endpoint takes: log-normal distributions, drawn from a seed so that a run can be repeated."""

from __future__ import annotations

import difflib
import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perfload.errors import UsageError
from perfload.target.routes import API_PREFIX, ROUTES
from perfload.units import parse_duration_s

ENDPOINTS = tuple(route.endpoint for route in ROUTES if route.template.startswith(API_PREFIX))
"""The endpoints that have a latency; `/health` answers at once."""

MAX_SIGMA = 3.0
"""At this, one request in a thousand takes 10,000 times the median: no service behaves worse."""

_SETTING = re.compile(r"\s*([^=]*?)\s*=\s*([^/]*?)\s*(?:/\s*(.*?)\s*)?")


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Latencies whose logarithm is normal: `median_s` x e^(sigma z), z standard normal.

    The 95th percentile is `median_s` x e^(1.645 sigma): with sigma 0.4 about twice the median.
    Sigma 0: constant.
    """

    median_s: float
    sigma: float

    def at(self, z: float) -> float:
        """Return the latency in seconds `z` standard deviations (of its logarithm) from the median."""
        return self.median_s * math.exp(self.sigma * z)


DEFAULTS: Mapping[str, LogNormal] = {
    "login": LogNormal(0.060, 0.3),
    "me": LogNormal(0.005, 0.3),
    "available": LogNormal(0.015, 0.4),
    "test-connection": LogNormal(0.120, 0.5),
    "performance-metrics": LogNormal(0.025, 0.4),
    "create": LogNormal(0.030, 0.4),
    "delete": LogNormal(0.020, 0.4),
}


def parse_latencies(
    settings: Iterable[str], base: Mapping[str, LogNormal] = DEFAULTS
) -> dict[str, LogNormal]:
    """Return `base` changed by `settings` such as `"login=80ms/0.4"` (median/sigma; sigma may be left out).

    Raises `UsageError` that quotes the setting.
    """
    latencies = dict(base)
    for setting in settings:
        endpoint, latency = _parse(setting, latencies)
        latencies[endpoint] = latency
    return latencies


def _parse(setting: str, base: Mapping[str, LogNormal]) -> tuple[str, LogNormal]:
    match = _SETTING.fullmatch(setting)
    if match is None:
        raise UsageError(
            f"latency {setting!r} is not of the form endpoint=median/sigma",
            hint="for example login=80ms/0.4, or login=80ms to keep its sigma",
        )
    endpoint, median, sigma = match.groups()
    if endpoint not in base:
        nearest = difflib.get_close_matches(endpoint, base, n=1)
        meant = f"did you mean {nearest[0]}? " if nearest else ""
        raise UsageError(
            f"latency {setting!r}: no endpoint is called {endpoint!r}",
            hint=f"{meant}there are {', '.join(base)}",
        )
    median_s = parse_duration_s(median, f"latency {setting!r}, median")
    return endpoint, LogNormal(
        median_s, base[endpoint].sigma if sigma is None else _parse_sigma(sigma, setting)
    )


def _parse_sigma(text: str, setting: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = math.nan
    if not 0 <= sigma <= MAX_SIGMA:
        raise UsageError(
            f"latency {setting!r}: sigma {text!r} is not a number from 0 to {MAX_SIGMA:g}",
            hint="0 is a constant latency, 0.4 a usual spread, 1 a very wide one",
        )
    return sigma


class LatencyModel:
    """Draws the latency of each request.

    Every endpoint has a sequence of its own, so that the n-th request to one gets the same latency for the
    same seed, whatever reaches the others. No latencies at all: `LatencyModel({}, seed)`.
    """

    def __init__(self, latencies: Mapping[str, LogNormal], seed: int) -> None:
        self._latencies = dict(latencies)
        self._random = {endpoint: random.Random(f"{seed}:{endpoint}") for endpoint in latencies}

    def draw_s(self, endpoint: str) -> float:
        """Return the latency in seconds of the next request to `endpoint`; 0 when it has none."""
        latency = self._latencies.get(endpoint)
        return 0.0 if latency is None else latency.at(self._random[endpoint].gauss(0.0, 1.0))
