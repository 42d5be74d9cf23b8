"""How long a request may take, and the one timer that watches over all of them."""

from __future__ import annotations

import time
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from gevent import get_hub

from perfload.load.http.stamps import KernelClock

TICK_S = 0.05
"""How often deadlines are looked at: a request is given up at most this much late."""

NEVER_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds; None is no limit.

    The reason of a failure names the stage that the request was in: `timed out: connect`, `timed out: first
    byte`, or `timed out: total` once a byte of the response had come.
    """

    connect_s: float | None = 30.0
    """Finding the address, connecting and the TLS handshake."""
    first_byte_s: float | None = 60.0
    """From the end of sending to the first byte of the response."""
    total_s: float | None = 300.0
    """All of it, redirects included."""

    @classmethod
    def of(cls, given: Timeouts | float | tuple[float | None, float | None]) -> Timeouts:
        """Return the limits that `timeout=` of a request means: a number limits everything.

        A pair is that of `requests`: to connect, and to wait for the server.
        """
        if isinstance(given, Timeouts):
            return given
        if isinstance(given, tuple):
            return cls(connect_s=given[0], first_byte_s=given[1])
        return cls(connect_s=given, first_byte_s=given, total_s=given)


class Limits:
    """Timeouts in nanoseconds and the largest response, as the client compares with them."""

    __slots__ = ("connect_ns", "first_byte_ns", "max_bytes", "total_ns")

    def __init__(self, timeouts: Timeouts, max_bytes: int) -> None:
        self.connect_ns = _in_ns(timeouts.connect_s)
        self.first_byte_ns = _in_ns(timeouts.first_byte_s)
        self.total_ns = _in_ns(timeouts.total_s)
        self.max_bytes = max_bytes


def _in_ns(limit_s: float | None) -> int:
    # Added to a time it must stay below NEVER_NS.
    return NEVER_NS // 4 if limit_s is None else min(int(limit_s * 1e9), NEVER_NS // 4)


class Mortal(Protocol):
    """What the reaper watches: something that may be waiting, until `deadline_ns`."""

    deadline_ns: int
    """On `time.perf_counter_ns`; NEVER_NS while nothing is waited for."""

    def expire(self) -> None:
        """Give up; called from the hub, so it must not block."""


class Reaper:
    """Looks at every open connection of a hub a few times a second.

    A timer object per read would cost a request a tenth of its time; a deadline that is only written down
    costs nothing.
    """

    _of_hub: ClassVar[weakref.WeakKeyDictionary[Any, Reaper]] = weakref.WeakKeyDictionary()

    def __init__(self, hub: Any) -> None:
        self._timer = hub.loop.timer(TICK_S, TICK_S)
        self._watched: set[Mortal] = set()
        self.kernel_clock = KernelClock()
        """For the stamps of what is watched; it must be looked at as often."""

    @classmethod
    def current(cls) -> Reaper:
        """Return the reaper of the hub of this thread."""
        hub = get_hub()
        reaper = cls._of_hub.get(hub)
        if reaper is None:
            reaper = cls._of_hub[hub] = cls(hub)
        return reaper

    def watch(self, item: Mortal) -> None:
        """Begin to look at `item`."""
        if not self._watched:
            self.kernel_clock.look()
            self._timer.start(self._look)
        self._watched.add(item)

    def forget(self, item: Mortal) -> None:
        """Look at `item` no more."""
        self._watched.discard(item)
        if not self._watched:
            self._timer.stop()

    def _look(self) -> None:
        self.kernel_clock.look()
        now_ns = time.perf_counter_ns()
        for item in [item for item in self._watched if item.deadline_ns < now_ns]:
            # An earlier one may have woken a greenlet that ended a later one.
            if item.deadline_ns < now_ns:
                item.expire()
