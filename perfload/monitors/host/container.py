"""The limits that hold for this process and what is in a container with it, and how close they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.host.cgroup import Group, find_folders, is_container, read_group
from perfload.monitors.host.counters import Counters
from perfload.monitors.host.parts import Values
from perfload.monitors.host.pressure import stalled_us


class Container:
    """Processor time, memory and processes of the control group, held against its limits.

    Silent, but for `in_container` 0, where there is neither a container nor a limit.
    """

    units = MappingProxyType(
        {
            "in_container": "",
            "container_cpu_cores": "cores",
            "container_cpu_limit_cores": "cores",
            "container_cpu_percent": "%",
            "container_throttled_percent": "%",
            "container_throttled_ms_per_s": "ms/s",
            "container_memory_bytes": "bytes",
            "container_memory_limit_bytes": "bytes",
            "container_memory_percent": "%",
            "container_oom_kills": "kills",
            "container_processes": "processes",
            "container_processes_percent": "%",
            "container_cpu_pressure_some_percent": "%",
            "container_memory_pressure_some_percent": "%",
            "container_io_pressure_some_percent": "%",
        }
    )

    def __init__(self, root: Path) -> None:
        self._is_container = is_container(root)
        self._folders = find_folders(root)
        self._processor = Counters()
        self._bandwidth = Counters()
        self._kills = Counters()
        self._pressure = Counters()

    def read(self, at_s: float) -> Values:
        """Return the values of now and the rates since the read before."""
        group = read_group(self._folders)
        if not self._is_container and not group.has_limit:
            return {"in_container": 0.0}
        return {
            "in_container": float(self._is_container),
            **self._processor_time(at_s, group),
            **self._throttling(at_s, group),
            **self._memory(at_s, group),
            **_processes(group),
            **self._stalls(at_s),
        }

    def _processor_time(self, at_s: float, group: Group) -> dict[str, float]:
        limit = group.cpu_limit_cores
        values = {} if limit is None else {"container_cpu_limit_cores": limit}
        if group.cpu_s is None:
            return values
        gained = self._processor.gained(at_s, {"the container": (group.cpu_s,)})
        if gained is None:
            return values
        (cores,) = gained.rates()
        used = {"container_cpu_cores": cores}
        return (
            values | used if limit is None else values | used | {"container_cpu_percent": 100 * cores / limit}
        )

    def _throttling(self, at_s: float, group: Group) -> dict[str, float]:
        counters = (group.periods, group.throttled_periods, group.throttled_s)
        known = [counter for counter in counters if counter is not None]
        if group.cpu_limit_cores is None or len(known) < len(counters):
            return {}
        gained = self._bandwidth.gained(at_s, {"the container": known})
        if gained is None:
            return {}
        periods, throttled, throttled_s = gained.rates()
        return {
            # Periods in which nothing ran are not counted, and nothing was throttled in them.
            "container_throttled_percent": 100 * throttled / periods if periods else 0.0,
            "container_throttled_ms_per_s": 1000 * throttled_s,
        }

    def _memory(self, at_s: float, group: Group) -> dict[str, float]:
        values: dict[str, float] = {}
        if group.memory_bytes is not None:
            values["container_memory_bytes"] = group.memory_bytes
            if group.memory_limit_bytes:
                values["container_memory_limit_bytes"] = group.memory_limit_bytes
                values["container_memory_percent"] = 100 * group.memory_bytes / group.memory_limit_bytes
        if group.oom_kills is not None:
            gained = self._kills.gained(at_s, {"the container": (group.oom_kills,)})
            if gained is not None:
                values["container_oom_kills"] = gained.by_device["the container"][0]
        return values

    def _stalls(self, at_s: float) -> dict[str, float]:
        own = self._folders.own()
        resources = ("cpu", "memory", "io")
        try:
            stalled: Sequence[int] = (
                [stalled_us(own / f"{name}.pressure")["some"] for name in resources] if own else []
            )
        except (MonitorUnavailable, KeyError):
            # A kernel without pressure information, which the host's own metrics say.
            return {}
        gained = self._pressure.gained(at_s, {"the container": stalled}) if stalled else None
        if gained is None:
            return {}
        return {
            f"container_{name}_pressure_some_percent": min(100.0, 100 * rate / 1e6)
            for name, rate in zip(resources, gained.rates(), strict=True)
        }


def _processes(group: Group) -> dict[str, float]:
    if group.pids is None:
        return {}
    values: dict[str, float] = {"container_processes": group.pids}
    return (
        values | {"container_processes_percent": 100 * group.pids / group.pids_limit}
        if group.pids_limit
        else values
    )
