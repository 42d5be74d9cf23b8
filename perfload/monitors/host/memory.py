"""Memory, swap and page faults."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perfload.monitors.host.counters import Counters
from perfload.monitors.host.parts import NotHere, Values, read_fields


class Memory:
    """Memory in use, as the system's own view of what is still to be had tells it."""

    units = MappingProxyType(
        {
            "memory_percent": "%",
            "memory_used_bytes": "bytes",
            "memory_available_bytes": "bytes",
            "memory_cached_bytes": "bytes",
        }
    )

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil

    def read(self, at_s: float) -> Values:
        """Return the values of now."""
        del at_s
        memory = self._psutil.virtual_memory()
        # What cannot be had without swapping. psutil's own `used` leaves out other things on each platform.
        used_bytes = memory.total - memory.available
        values = {
            "memory_percent": 100 * used_bytes / memory.total,
            "memory_used_bytes": used_bytes,
            "memory_available_bytes": memory.available,
        }
        cached_bytes = getattr(memory, "cached", None)
        return values if cached_bytes is None else values | {"memory_cached_bytes": cached_bytes}


class DirtyMemory:
    """What still has to be written to a disk."""

    units = MappingProxyType({"memory_dirty_bytes": "bytes"})

    def __init__(self, proc: Path) -> None:
        self._path = proc / "meminfo"

    def read(self, at_s: float) -> Values:
        """Return the value of now: pages that wait to be written, and those being written."""
        del at_s
        fields = read_fields(self._path)
        return {"memory_dirty_bytes": 1024 * (fields["Dirty"] + fields["Writeback"])}


class Swap:
    """How full the swap space is."""

    units = MappingProxyType({"swap_percent": "%", "swap_used_bytes": "bytes"})

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil

    def read(self, at_s: float) -> Values:
        """Return the values of now."""
        del at_s
        swap = self._psutil.swap_memory()
        if not swap.total:
            raise NotHere("this host has no swap")
        return {"swap_percent": 100 * swap.used / swap.total, "swap_used_bytes": swap.used}


class Paging:
    """Pages that had to come from a disk, or go there, for want of memory."""

    units = MappingProxyType(
        {
            "swap_in_bytes_per_s": "bytes/s",
            "swap_out_bytes_per_s": "bytes/s",
            "major_page_faults_per_s": "/s",
        }
    )

    def __init__(self, proc: Path, page_bytes: int = mmap.PAGESIZE) -> None:
        self._path = proc / "vmstat"
        self._page_bytes = page_bytes
        self._counters = Counters()

    def read(self, at_s: float) -> Values:
        """Return rates since the read before."""
        fields = read_fields(self._path)
        pages_in, pages_out = (self._page_bytes * fields.get(name, 0) for name in ("pswpin", "pswpout"))
        gained = self._counters.gained(at_s, {"paging": (pages_in, pages_out, fields["pgmajfault"])})
        return {} if gained is None else dict(zip(self.units, gained.rates(), strict=True))
