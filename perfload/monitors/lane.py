"""When one monitor is read, and what is reported in place of its values: a pure function of time.

waiting ──tick──► reading ──answered──► waiting
   ▲                 ├──failed───► waiting, but ticks pass unread until the pause is over
   │                 └──time limit─► overdue ──answered, failed──► as above
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from perfload.units import format_duration

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""A database that is back after a restart is seen again within this time."""


def pause_s(failures: int) -> float:
    """Return how long a monitor rests after so many failures in a row: 1, 2, 4, 8, 16, then 30 seconds."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))


class _State(enum.Enum):
    WAITING = enum.auto()
    READING = enum.auto()
    OVERDUE = enum.auto()


@dataclass(frozen=True, slots=True)
class Turn:
    """What a moment asks for: to start a read, to report why there is no value, or neither."""

    read: bool = False
    unavailable: str = ""


class Lane:
    """The ticks, the time limit and the pauses of one monitor. The caller brings the time and does the work.

    Ticks lie at `start_s + n * interval_s`, so nothing adds up over a run. Ticks that pass during a read, or
    while the whole process was stopped, are left out and never made up for in a burst.
    """

    def __init__(self, *, start_s: float, interval_s: float, timeout_s: float) -> None:
        self._start_s = start_s
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._state = _State.WAITING
        self._next_tick = 0
        self._asked_at_s = 0.0
        self._failures = 0
        self._reason = ""
        self._retry_tick = 0

    @property
    def wake_at_s(self) -> float:
        """When `turn` next has something to say, unless the read ends before."""
        if self._state is _State.READING:
            return self._asked_at_s + self._timeout_s
        return self._start_s + self._next_tick * self._interval_s

    def turn(self, now_s: float) -> Turn:
        """Return what is to be done at `now_s`. After `Turn(read=True)`, call `answered` or `failed` once."""
        if now_s < self.wake_at_s:
            return Turn()
        self._leave_out_ticks_until(now_s)
        if self._state is not _State.WAITING:
            self._state = _State.OVERDUE
            return Turn(unavailable=f"no answer within {format_duration(self._timeout_s)}")
        if self._next_tick - 1 < self._retry_tick:
            return Turn(unavailable=self._reason)
        self._state = _State.READING
        self._asked_at_s = now_s
        return Turn(read=True)

    def answered(self, now_s: float) -> bool:
        """Note that the read ended well; False if it was overdue: its values are of an unknown time."""
        self._failures = 0
        return self._end_read(now_s)

    def failed(self, reason: str, now_s: float) -> bool:
        """Note that the read failed, to be made anew after a pause; False if it was reported as overdue."""
        self._failures += 1
        self._reason = reason
        in_time = self._end_read(now_s)
        # Counted in ticks, since the failure itself always comes a little after its tick.
        pause_ticks = math.ceil(pause_s(self._failures) / self._interval_s)
        self._retry_tick = self._next_tick - 1 + pause_ticks
        return in_time

    def _end_read(self, now_s: float) -> bool:
        in_time = self._state is _State.READING
        self._state = _State.WAITING
        self._leave_out_ticks_until(now_s)
        return in_time

    def _leave_out_ticks_until(self, now_s: float) -> None:
        passed = math.floor((now_s - self._start_s) / self._interval_s)
        self._next_tick = max(self._next_tick, passed + 1)
        # The division may round to just below a tick that the product, which `wake_at_s` is, has reached.
        if self._start_s + self._next_tick * self._interval_s <= now_s:
            self._next_tick += 1
