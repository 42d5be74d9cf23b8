"""Processor time, load and the scheduler's counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.host.counters import Counters
from perfload.monitors.host.parts import Values, read_fields

MAX_CORES = 64
"""Cores with a series of their own, the first ones; `cpu_percent_max_core` has all of them."""

_GUEST_FIELDS = frozenset({"guest", "guest_nice"})
"""Linux counts these in `user` and `nice` too."""

_IDLE_FIELDS = frozenset({"idle", "iowait"})
"""A processor that waits for a disk has time for other work: idle, as psutil and `top` have it."""

_STATES = MappingProxyType(
    {
        "cpu_user_percent": ("user", "nice"),
        "cpu_system_percent": ("system", "irq", "softirq"),
        "cpu_iowait_percent": ("iowait",),
        "cpu_steal_percent": ("steal",),
    }
)

Times = Mapping[str, float]
"""Seconds since boot, by state."""


class Processors:
    """Processor use between two reads of the processors' time counters."""

    units = MappingProxyType(
        {
            "cpu_percent": "%",
            "cpu_percent_max_core": "%",
            **dict.fromkeys(_STATES, "%"),
            "cpu_count": "processors",
            "cpu_core_percent[]": "%",
        }
    )

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        self._before: Sequence[Times] | None = None

    def read(self, at_s: float) -> Values:
        """Return the use of all processors, of the busiest one, by state and by core."""
        # Not psutil.cpu_percent: its state belongs to the process, its first answer is a 0 that means
        # nothing, and a stand-in for it could only repeat what a test puts in.
        times: list[Times] = [core._asdict() for core in self._psutil.cpu_times(percpu=True)]
        before, self._before = self._before, times
        if before is None:
            return {"cpu_count": len(times)}
        if len(before) != len(times):
            raise MonitorUnavailable(f"the number of processors changed from {len(before)} to {len(times)}")
        return {**_use(before, times), "cpu_count": len(times)}


def _use(before: Sequence[Times], after: Sequence[Times]) -> dict[str, float]:
    spent = [_spent_s(old, new) for old, new in zip(before, after, strict=True)]
    total_s = sum(sum(core.values()) for core in spent)
    if total_s <= 0:
        raise MonitorUnavailable("the processor time counters did not move between two reads")
    by_core = {
        number: 100 * _busy_s(core) / sum(core.values())
        for number, core in enumerate(spent)
        if sum(core.values()) > 0
    }
    return {
        "cpu_percent": 100 * sum(_busy_s(core) for core in spent) / total_s,
        "cpu_percent_max_core": max(by_core.values()),
        **{
            metric: 100 * sum(core.get(state, 0.0) for core in spent for state in states) / total_s
            for metric, states in _STATES.items()
            if states[0] in spent[0]
        },
        **{f"cpu_core_percent[{number}]": use for number, use in by_core.items() if number < MAX_CORES},
    }


def _spent_s(before: Times, after: Times) -> dict[str, float]:
    # Single states can run backwards by a tick (psutil issues 392, 645, 1210): such a step counts as none.
    return {state: max(0.0, after[state] - before[state]) for state in after if state not in _GUEST_FIELDS}


def _busy_s(spent_s: Mapping[str, float]) -> float:
    return sum(seconds for state, seconds in spent_s.items() if state not in _IDLE_FIELDS)


class Load:
    """The system's load averages."""

    units = MappingProxyType({"load_1m": "processes", "load_5m": "processes", "load_15m": "processes"})

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil

    def read(self, at_s: float) -> Values:
        """Return the three averages."""
        del at_s
        return dict(zip(self.units, self._psutil.getloadavg(), strict=True))


class Scheduler:
    """Who wants a processor right now, and how often they change hands."""

    units = MappingProxyType(
        {
            "processes_running": "processes",
            "processes_blocked": "processes",
            "context_switches_per_s": "/s",
            "interrupts_per_s": "/s",
        }
    )

    def __init__(self, proc: Path) -> None:
        self._path = proc / "stat"
        self._counters = Counters()

    def read(self, at_s: float) -> Values:
        """Return queue lengths of now and rates since the read before."""
        fields = read_fields(self._path)
        values = {
            "processes_running": float(fields["procs_running"]),
            "processes_blocked": float(fields["procs_blocked"]),
        }
        gained = self._counters.gained(at_s, {"the scheduler": (fields["ctxt"], fields["intr"])})
        if gained is None:
            return values
        return values | dict(zip(("context_switches_per_s", "interrupts_per_s"), gained.rates(), strict=True))
