"""The clock of a run on one node, and waiting for a point on it.

One of the two places in perfload that read a clock; everything else is told the time.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Protocol

import gevent
from gevent import get_hub


class RunClock:
    """Seconds since the run's start, from the monotonic clock."""

    def __init__(self, started_at_s: float, zero_s: float | None = None) -> None:
        """Anchor the run's start, given in seconds since the epoch, on this machine's monotonic clock.

        `zero_s` is the start on `time.perf_counter`, if it is known; else this machine's wall clock is
        trusted.
        """
        self.started_at_s = started_at_s
        self.zero_s = time.perf_counter() - (time.time() - started_at_s) if zero_s is None else zero_s
        self.zero_ns = round(self.zero_s * 1e9)
        """The run's start on `time.perf_counter_ns`."""

    def now_s(self) -> float:
        """Return the seconds since the run's start; negative before it."""
        return time.perf_counter() - self.zero_s

    @staticmethod
    def wall_now_s() -> float:
        """Return the wall clock, seconds since the epoch: what Locust stamps its requests with."""
        return time.time()

    def epoch_s(self, t_s: float) -> float:
        """Return the wall-clock time of second `t_s` of the run."""
        return self.started_at_s + t_s


class Timer(Protocol):
    """Lets one greenlet wait; called by the dispatcher before every arrival."""

    def wait_until(self, perf_s: float) -> None:
        """Return when `time.perf_counter()` has reached `perf_s`, or a little later; never earlier."""
        ...

    def close(self) -> None:
        """Free what the timer holds."""
        ...


class SleepTimer:
    """Waits with the event loop's own timers, which on Linux wake up to a millisecond late."""

    def wait_until(self, perf_s: float) -> None:
        """Sleep until `perf_s`."""
        while (rest_s := perf_s - time.perf_counter()) > 0:
            gevent.sleep(rest_s)

    def close(self) -> None:
        """Nothing to free."""


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class TimerFd:
    """Waits on a Linux timerfd: epoll, which the loop sleeps in, counts milliseconds; a timerfd nanoseconds.

    `time.perf_counter` is CLOCK_MONOTONIC there, so its values are the timer's own. (`os.timerfd_create`
    would do, from Python 3.13 on.)
    """

    _CLOCK_MONOTONIC = 1
    _ABSOLUTE = 1

    def __init__(self) -> None:
        """Raise `OSError` where the system has no timerfd, or another clock behind `perf_counter`."""
        if not time.get_clock_info("perf_counter").implementation.endswith("(CLOCK_MONOTONIC)"):
            raise OSError("perf_counter is not CLOCK_MONOTONIC here")
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd = self._libc.timerfd_create(self._CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError as error:
            raise OSError("this system has no timerfd") from error
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._watcher = get_hub().loop.io(self._fd, 1)

    def wait_until(self, perf_s: float) -> None:
        """Arm the timer for `perf_s` and wait until it fires."""
        while perf_s > time.perf_counter():
            seconds, fraction_s = divmod(perf_s, 1)
            due = _Itimerspec(_Timespec(0, 0), _Timespec(int(seconds), max(1, int(fraction_s * 1e9))))
            self._libc.timerfd_settime(self._fd, self._ABSOLUTE, ctypes.byref(due), None)
            get_hub().wait(self._watcher)
            os.read(self._fd, 8)

    def close(self) -> None:
        """Close the timer's file descriptor."""
        self._watcher.close()
        os.close(self._fd)


def best_timer() -> Timer:
    """Return the most exact timer that this system has."""
    try:
        return TimerFd()
    except OSError:
        return SleepTimer()
