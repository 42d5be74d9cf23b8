"""Disks: bytes, operations, how busy they were and how long operations waited."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from perfload.monitors.host.counters import Counters
from perfload.monitors.host.parts import NotHere, Values

MAX_DISKS = 20
"""Disks with a series of their own: the busiest."""

_VIRTUAL = re.compile(r"(?:loop|ram|zram|dm-|md|sr|fd|nbd)\d+")
"""Not a disk, or one that is made of other disks, whose traffic would be counted twice."""


class Disks:
    """All physical disks together, and how busy the busiest is."""

    units = MappingProxyType(
        {
            "disk_read_bytes_per_s": "bytes/s",
            "disk_written_bytes_per_s": "bytes/s",
            "disk_reads_per_s": "/s",
            "disk_writes_per_s": "/s",
            "disk_wait_ms": "ms",
            "disk_busy_percent_max": "%",
            "disk_busy_percent[]": "%",
        }
    )

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        self._counters = Counters()

    def read(self, at_s: float) -> Values:
        """Return rates since the read before; no waiting time when nothing was read or written."""
        # nowrap would hide that counters were reset.
        found = self._psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        disks = {name: _numbers(found[name]) for name in _physical(found)}
        if not disks:
            raise NotHere("this host has no disk counters")
        gained = self._counters.gained(at_s, disks)
        if gained is None:
            return {}
        read, written, reads, writes, wait_ms, _ = gained.rates()
        values = {
            "disk_read_bytes_per_s": read,
            "disk_written_bytes_per_s": written,
            "disk_reads_per_s": reads,
            "disk_writes_per_s": writes,
        }
        if reads + writes:
            values["disk_wait_ms"] = wait_ms / (reads + writes)
        busy = {disk: counts[5] / gained.elapsed_s / 10 for disk, counts in gained.by_device.items()}
        has_busy_time = all(hasattr(counter, "busy_time") for counter in found.values())
        return values | _busy(busy) if has_busy_time else values


def _busy(percent_by_disk: Mapping[str, float]) -> dict[str, float]:
    # The kernel counts in ticks of its own, which do not end where ours do.
    capped = {disk: min(100.0, percent) for disk, percent in percent_by_disk.items()}
    busiest = sorted(capped, key=lambda disk: (-capped[disk], disk))[:MAX_DISKS]
    return {"disk_busy_percent_max": max(capped.values())} | {
        f"disk_busy_percent[{disk[:40]}]": capped[disk] for disk in sorted(busiest)
    }


def _numbers(counter: Any) -> tuple[float, ...]:
    return (
        counter.read_bytes,
        counter.write_bytes,
        counter.read_count,
        counter.write_count,
        counter.read_time + counter.write_time,
        getattr(counter, "busy_time", 0),
    )


def _physical(names: Iterable[str]) -> list[str]:
    """Return the disks without their partitions; virtual ones only where there is nothing else."""
    names = set(names)
    whole = {name for name in names if not _is_partition(name, names)}
    return sorted({name for name in whole if not _VIRTUAL.fullmatch(name)} or whole)


def _is_partition(name: str, names: set[str]) -> bool:
    """Say whether it is the `sda1` of an `sda`, or the `nvme0n1p1` of an `nvme0n1`."""
    disk = name.rstrip("0123456789")
    if disk == name:
        return False
    return disk in names or (disk.endswith("p") and disk[:-1] in names and disk[-2:-1].isdigit())
