"""Readings of the machines and databases during a load test, taken in a process of their own.

`perfload.monitors.process.SamplerProcess` starts and stops that process; `perfload.monitors.sampler` is what
runs in it. A monitor is one entry in `BUILT_IN`, or an entry point of another package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from perfload.errors import UsageError
from perfload.monitors.agent import PREFIX as AGENT_PREFIX
from perfload.monitors.agent import agent_factory
from perfload.monitors.base import (
    Finding,
    FinishingMonitor,
    Found,
    Measurement,
    Monitor,
    MonitorFactory,
    MonitorUnavailable,
)
from perfload.monitors.gpu import GpuMonitor
from perfload.monitors.host import HostMonitor
from perfload.monitors.mongodb.monitor import MongoMonitor
from perfload.monitors.mongodb.profiler import ProfilerMonitor
from perfload.monitors.processes import ProcessesMonitor
from perfload.monitors.prometheus import PrometheusMonitor
from perfload.monitors.redis import RedisMonitor

__all__ = [
    "BUILT_IN",
    "ENTRY_POINT_GROUP",
    "Finding",
    "FinishingMonitor",
    "Found",
    "Measurement",
    "Monitor",
    "MonitorFactory",
    "MonitorUnavailable",
    "find_monitor",
    "monitor_names",
]

BUILT_IN: Mapping[str, MonitorFactory] = MappingProxyType(
    {
        "host": HostMonitor.from_environment,
        "processes": ProcessesMonitor.from_environment,
        "mongodb": MongoMonitor.from_environment,
        "mongodb_profiler": ProfilerMonitor.from_environment,
        "redis": RedisMonitor.from_environment,
        "gpu": GpuMonitor.from_environment,
        "prometheus": PrometheusMonitor.from_environment,
    }
)
"""The monitors that perfload ships, by name. An entry point of the same name does not replace one."""

ENTRY_POINT_GROUP = "perfload.monitors"
"""Where other packages register a `MonitorFactory`."""


def _installed() -> Iterable[EntryPoint]:
    return entry_points(group=ENTRY_POINT_GROUP)


def monitor_names(*, installed: Callable[[], Iterable[EntryPoint]] = _installed) -> tuple[str, ...]:
    """Return the names of all monitors there are, but for agents, which the configuration names."""
    return tuple(dict.fromkeys([*BUILT_IN, *sorted(entry.name for entry in installed())]))


def find_monitor(name: str, *, installed: Callable[[], Iterable[EntryPoint]] = _installed) -> MonitorFactory:
    """Return the factory called `name`; raises `UsageError` that lists the names there are.

    Another package's factory is imported when it is first called, thus in the sampler's process and not in
    the one that only checks a name.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name.startswith(AGENT_PREFIX):
        return agent_factory(name)
    others = {entry.name: entry for entry in installed()}
    if name not in others:
        known = ", ".join(sorted({*BUILT_IN, *others}))
        raise UsageError(f"there is no monitor {name!r}", hint=f"the monitors installed here: {known}")

    def load_and_make(environment: Mapping[str, str]) -> Monitor:
        factory: MonitorFactory = others[name].load()
        return factory(environment)

    return load_and_make
