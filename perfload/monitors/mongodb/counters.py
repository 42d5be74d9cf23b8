"""Counters of a server that only grow while it runs, and what they gained between two reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perfload.monitors.base import MonitorUnavailable


@dataclass(frozen=True, slots=True)
class Interval:
    """The time between two reads. `broken` says why nothing can be said about it, if that is so."""

    seconds: float
    before: Mapping[str, float]
    after: Mapping[str, float]
    broken: str = ""

    def gained(self, counter: str) -> float:
        """Return by how much `counter` grew; raises `MonitorUnavailable` where that is not known."""
        if self.broken:
            raise MonitorUnavailable(self.broken)
        if counter not in self.before:
            raise MonitorUnavailable("the read before this one did not have it")
        gained = self.after[counter] - self.before[counter]
        if gained < 0:
            raise MonitorUnavailable("the counter ran back: it was reset")
        return gained

    def per_s(self, counter: str) -> float:
        """Return the growth of `counter` per second; raises as `gained`."""
        return self.gained(counter) / self.seconds


class CounterHistory:
    """The counters of the last read."""

    def __init__(self) -> None:
        self._before: tuple[float, str, Mapping[str, float]] | None = None

    def advance(self, at_s: float, server: str, now: Mapping[str, float]) -> Interval | None:
        """Return the interval since the read before, None for the first one.

        `server` is another one for every start of a server: counters begin at 0 then, and may have grown past
        their old values in the meantime.
        """
        before, self._before = self._before, (at_s, server, now)
        if before is None:
            return None
        before_s, before_server, counters = before
        broken = ""
        if server != before_server:
            broken = "the server was restarted, or another one answers now"
        elif at_s <= before_s:
            broken = "no time passed between two reads"
        return Interval(at_s - before_s, counters, now, broken)
