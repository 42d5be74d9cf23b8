"""What simulated workers tell the benchmark: lines of JSON on stdout."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

from benchmarks.cluster.traffic import Request

SAY_S = 1.0
"""How often a process with simulated workers says what they have seen."""


class Seen:
    """What the workers of one process have seen, and sent."""

    def __init__(self) -> None:
        self._round_trips_us: list[int] = []
        self._counts: Counter[str] = Counter()
        self._sent: dict[str, list[int]] = {}
        """Name -> [requests, those of them that failed]."""
        self._arrivals = 0

    def round_trip(self, seconds: float) -> None:
        """Note how long a beat and its answer were under way."""
        self._round_trips_us.append(round(seconds * 1e6))

    def note(self, what: str, count: int = 1) -> None:
        """Count something that has happened."""
        self._counts[what] += count

    def add(self, request: Request) -> None:
        """Count a request that is going to be reported."""
        held = self._sent.setdefault(request.name, [0, 0])
        held[0] += 1
        held[1] += request.failed
        self._arrivals += bool(request.lag_us)

    def say(self) -> None:
        """Print what was seen since the last time."""
        _print({"at_s": time.time(), "round_trips_us": self._round_trips_us, "counts": self._counts})
        self._round_trips_us = []
        self._counts.clear()

    def say_sent(self) -> None:
        """Print what was sent in all; the last line."""
        _print({"sent": self._sent, "arrivals": self._arrivals})


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
