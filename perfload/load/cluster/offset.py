"""How far the master's monotonic clock is from this worker's, without trusting either wall clock.

A beat is sent at t0 and answered at t1 by this worker's clock; the master stamped its answer with m. Whenever
within [t0, t1] that was, m - (t0 + t1) / 2 is off by (t1 - t0) / 2 at most (Cristian 1989). The quickest
round trip knows best. Monotonic clocks drift against each other, so old samples are forgotten.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 120
"""A minute of beats."""


class ClockOffset:
    """Estimates `master - worker` of the two `time.perf_counter` from round trips."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        """(half of the round trip, offset), in seconds."""

    def add(self, sent_s: float, received_s: float, master_s: float) -> None:
        """Take in one round trip: sent and received by this clock, answered by the master's."""
        if received_s >= sent_s:
            self._samples.append(((received_s - sent_s) / 2, master_s - (sent_s + received_s) / 2))

    def forget(self) -> None:
        """Begin again: another master has another clock."""
        self._samples.clear()

    @property
    def samples(self) -> int:
        """How many round trips count."""
        return len(self._samples)

    @property
    def is_known(self) -> bool:
        """Whether there was a round trip."""
        return bool(self._samples)

    @property
    def offset_s(self) -> float:
        """What the master's clock is ahead; by the quickest round trip."""
        return min(self._samples)[1]

    @property
    def error_s(self) -> float:
        """How far `offset_s` may be off."""
        return min(self._samples)[0]
