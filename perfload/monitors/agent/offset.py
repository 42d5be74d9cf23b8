"""How far an agent's clock is from ours, by Cristian's method: half of a round trip is the error at most."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT = 60
"""Round trips that the estimate is chosen from: a minute of ticks."""

DRIFT = 50e-6
"""How fast two unsteered clocks part: with this much per second an old round trip loses its worth."""


@dataclass(frozen=True, slots=True)
class Offset:
    """The other clock minus ours, and by how much that may be wrong."""

    seconds: float
    error_s: float


@dataclass(frozen=True, slots=True)
class _Trip:
    at_s: float
    offset_s: float
    error_s: float


class OffsetEstimate:
    """Keeps the recent round trips and trusts the best of them."""

    def __init__(self) -> None:
        self._trips: deque[_Trip] = deque(maxlen=KEPT)

    def add(self, sent_s: float, received_s: float, answered_s: float, arrived_s: float) -> Offset:
        """Note one round trip and return the best estimate at its end.

        The outer two times are of our clock, the inner two of the other's. What it needs to make its answer
        is no part of the way.
        """
        way_s = max(0.0, (arrived_s - sent_s) - (answered_s - received_s))
        offset_s = ((received_s - sent_s) + (answered_s - arrived_s)) / 2
        self._trips.append(_Trip(arrived_s, offset_s, way_s / 2))
        errors = {trip: trip.error_s + DRIFT * (arrived_s - trip.at_s) for trip in self._trips}
        best = min(errors, key=lambda trip: errors[trip])
        return Offset(best.offset_s, errors[best])
