"""When bytes came: the kernel's own stamps, carried over to the clock that everything else is measured with.

A process that is busy reads late. The kernel notes when a packet arrived (`SO_TIMESTAMPNS`), so the time that
an answer then lay there is not taken for time that the server needed. Its stamps are of CLOCK_REALTIME, which
is slewed and sometimes set; `KernelClock` follows it, and stamps that cannot be true are not used.
"""

from __future__ import annotations

import platform
import socket
import struct
import sys
import time
from typing import Any, NamedTuple

_SO_TIMESTAMPNS = 35
"""Of <asm-generic/socket.h>, which the architectures below share; `socket` does not name it."""
_MACHINES = frozenset({"x86_64", "amd64", "aarch64", "arm64", "riscv64", "ppc64le", "s390x"})
_TIMESPEC = struct.Struct("qq")
_TIMESPEC_BYTES, _unpack = _TIMESPEC.size, _TIMESPEC.unpack
ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0

HAS_KERNEL_STAMPS = sys.platform == "linux" and platform.machine() in _MACHINES

_LOOKS = 3


class DialTimes(NamedTuple):
    """What it took to make a connection, in nanoseconds; None for what was not needed."""

    dns_ns: int | None
    connect_ns: int
    """Through a proxy, its tunnel included."""
    tls_ns: int | None


def ask_for_stamps(connected: Any) -> bool:
    """Have the kernel stamp what comes over the socket `connected`; return whether it will."""
    # Over a Unix socket there are none, and its peer could send descriptors in their place.
    if not HAS_KERNEL_STAMPS or connected.family == socket.AF_UNIX:
        return False
    try:
        connected.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


class KernelClock:
    """The distance from CLOCK_REALTIME to `time.perf_counter_ns`; look at it several times a second."""

    __slots__ = ("offset_ns",)

    def __init__(self) -> None:
        self.offset_ns = 0
        self.look()

    def look(self) -> None:
        """Measure the distance anew: NTP slews the clock by up to 0.5 ms a second, and may set it."""
        best_ns = 1 << 62
        for _ in range(_LOOKS):
            before_ns = time.perf_counter_ns()
            real_ns = time.time_ns()
            width_ns = time.perf_counter_ns() - before_ns
            # The narrowest look is the one in which this process was not interrupted.
            if width_ns < best_ns:
                best_ns = width_ns
                self.offset_ns = real_ns - before_ns - width_ns // 2

    def stamp(self, ancillary: list[tuple[int, int, bytes]], earliest_ns: int, now_ns: int) -> int:
        """Return when the bytes came that `ancillary` came with, on `time.perf_counter_ns`.

        Without a stamp, or with one that lies before `earliest_ns` or after `now_ns` because the clock was
        set, that is `now_ns`.
        """
        if not ancillary:
            return now_ns
        _, kind, data = ancillary[0]
        if kind != _SO_TIMESTAMPNS or len(data) != _TIMESPEC_BYTES:
            return now_ns
        seconds, nanoseconds = _unpack(data)
        stamp_ns: int = seconds * 1_000_000_000 + nanoseconds - self.offset_ns
        return stamp_ns if earliest_ns <= stamp_ns <= now_ns else now_ns


def describe_source() -> str:
    """Return what receive times of this process come from, for the run record."""
    return "kernel (SO_TIMESTAMPNS)" if HAS_KERNEL_STAMPS else "process (perf_counter_ns)"
