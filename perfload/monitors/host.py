"""Processor, memory, load, network and disk of the machine that the sampler runs on, read with psutil."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import psutil as real_psutil

from perfload.monitors.base import Measurement, MonitorUnavailable

_GUEST_FIELDS = frozenset({"guest", "guest_nice"})
"""Linux counts these in `user` and `nice` too."""

_IDLE_FIELDS = frozenset({"idle", "iowait"})
"""A processor that waits for a disk has time for other work: idle, as psutil and `top` have it."""

Values = Sequence[float] | None
"""The values of a part's metrics, in their order; None while there is no earlier read to compare with."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Metrics that come from one call of the source, and so fail together."""

    metrics: tuple[tuple[str, str], ...]
    """(metric, unit)."""
    read: Callable[[float], Values]


class HostMonitor:
    """The host's own counters. `psutil` is the source: the module, or a recorded stand-in in tests.

    Metrics and units are listed in `docs/monitors.md`. A part that fails reports why; the others go on.
    """

    def __init__(self, *, psutil: Any = real_psutil) -> None:
        self._psutil = psutil
        self._processors = _Processors()
        self._network = _Rates()
        self._disk = _Rates()
        self._parts = (
            _Part((("cpu_percent", "%"), ("cpu_percent_max_core", "%")), self._read_cpu),
            _Part((("memory_percent", "%"), ("memory_used_bytes", "bytes")), self._read_memory),
            _Part((("swap_percent", "%"),), self._read_swap),
            _Part((("load_1m", "processes"),), self._read_load),
            _Part(
                (("network_sent_bytes_per_s", "bytes/s"), ("network_received_bytes_per_s", "bytes/s")),
                self._read_network,
            ),
            _Part(
                (("disk_read_bytes_per_s", "bytes/s"), ("disk_written_bytes_per_s", "bytes/s")),
                self._read_disk,
            ),
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return a monitor of this host; it needs nothing from `environment`."""
        del environment
        return cls()

    def open(self) -> None:
        """Do nothing: there is no connection."""

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def read(self, at_s: float) -> list[Measurement]:
        """Return every metric, but on the first read no rates and no processor use, which are differences."""
        return [measurement for part in self._parts for measurement in _measure(part, at_s)]

    def _read_cpu(self, at_s: float) -> Values:
        # Not psutil.cpu_percent: its state belongs to the process, its first answer is a 0 that means
        # nothing, and a stand-in for it could only repeat what a test puts in.
        return self._processors.use([times._asdict() for times in self._psutil.cpu_times(percpu=True)])

    def _read_memory(self, at_s: float) -> Values:
        memory = self._psutil.virtual_memory()
        # What cannot be had without swapping. psutil's own `used` leaves out other things on each platform.
        used_bytes = memory.total - memory.available
        return 100 * used_bytes / memory.total, used_bytes

    def _read_swap(self, at_s: float) -> Values:
        swap = self._psutil.swap_memory()
        if not swap.total:
            raise MonitorUnavailable("this host has no swap")
        return (100 * swap.used / swap.total,)

    def _read_load(self, at_s: float) -> Values:
        return (self._psutil.getloadavg()[0],)

    def _read_network(self, at_s: float) -> Values:
        counters = self._psutil.net_io_counters(pernic=True) or {}
        interfaces = {
            name: (counter.bytes_sent, counter.bytes_recv)
            for name, counter in counters.items()
            if not _is_loopback(name)
        }
        if not interfaces:
            raise MonitorUnavailable("this host has no network interface but loopback")
        return self._network.rates(at_s, interfaces)

    def _read_disk(self, at_s: float) -> Values:
        counter = self._psutil.disk_io_counters()
        if counter is None:
            raise MonitorUnavailable("this host has no disk counters")
        return self._disk.rates(at_s, {"all": (counter.read_bytes, counter.write_bytes)})


def _is_loopback(interface: str) -> bool:
    """Say whether it is called `lo` (Linux), `lo0` (macOS, BSD) or `Loopback Pseudo-…` (Windows)."""
    return interface.lower().startswith("loopback") or interface.rstrip("0123456789") == "lo"


def _measure(part: _Part, at_s: float) -> Iterable[Measurement]:
    try:
        values = part.read(at_s)
    except Exception as error:
        reason = str(error) if isinstance(error, MonitorUnavailable) else f"{type(error).__name__}: {error}"
        return [Measurement(metric, unit, None, reason) for metric, unit in part.metrics]
    if values is None:
        return []
    return [Measurement(*metric, value) for metric, value in zip(part.metrics, values, strict=True)]


class _Processors:
    """Processor use between two reads of the processors' time counters (seconds since boot, by state)."""

    def __init__(self) -> None:
        self._before: list[dict[str, float]] | None = None

    def use(self, times: list[dict[str, float]]) -> tuple[float, float] | None:
        """Return the use of all processors and of the busiest one, in percent; None on the first read."""
        before, self._before = self._before, times
        if before is None:
            return None
        if len(before) != len(times):
            raise MonitorUnavailable(f"the number of processors changed from {len(before)} to {len(times)}")
        spent = [_busy_and_total_s(old, new) for old, new in zip(before, times, strict=True)]
        by_core = [100 * busy_s / total_s for busy_s, total_s in spent if total_s > 0]
        if not by_core:
            raise MonitorUnavailable("the processor time counters did not move between two reads")
        busy_s, total_s = (sum(column) for column in zip(*spent, strict=True))
        return 100 * busy_s / total_s, max(by_core)


def _busy_and_total_s(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[float, float]:
    # Single states can run backwards by a tick (psutil issues 392, 645, 1210): such a step counts as none.
    spent_s = {state: max(0.0, after[state] - before[state]) for state in after if state not in _GUEST_FIELDS}
    total_s = sum(spent_s.values())
    return sum(seconds for state, seconds in spent_s.items() if state not in _IDLE_FIELDS), total_s


class _Rates:
    """Pairs of byte counters, by device, as bytes per second since the read before."""

    def __init__(self) -> None:
        self._before: tuple[float, Mapping[str, tuple[int, int]]] | None = None

    def rates(self, at_s: float, counters: Mapping[str, tuple[int, int]]) -> tuple[float, float] | None:
        """Return both rates, summed over the devices seen at both reads; None on the first read."""
        before, self._before = self._before, (at_s, counters)
        if before is None:
            return None
        before_s, before_counters = before
        if at_s <= before_s:
            raise MonitorUnavailable("no time passed between two reads")
        devices = sorted(counters.keys() & before_counters.keys())
        if not devices:
            raise MonitorUnavailable("every device was replaced between two reads")
        first = second = 0
        for device in devices:
            gained = [new - old for new, old in zip(counters[device], before_counters[device], strict=True)]
            if min(gained) < 0:
                raise MonitorUnavailable(f"the counters of {device} were reset")
            first += gained[0]
            second += gained[1]
        return first / (at_s - before_s), second / (at_s - before_s)
