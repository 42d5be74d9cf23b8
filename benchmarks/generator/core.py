"""How much of a core went to processes that are no part of the benchmark.

The kernel accounts for a core by a sample at every tick: wrong for short bursts between them. How long a
process waited for its core is exact, but its own threads and children make it wait, too. Where both
say that others were there, they were.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator.child import Child, cores

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STAT = Path("/proc/stat")


@dataclass(frozen=True)
class CoreTimes:
    """Seconds that a core has spent since the machine started."""

    busy_s: float
    """In processes and in the kernel."""
    stolen_s: float
    """With other virtual machines."""

    @classmethod
    def read(cls, core: int, stat: Path = STAT) -> CoreTimes:
        """Return the times of one core; raises ValueError if the kernel does not list it."""
        for line in stat.read_text("utf-8").splitlines():
            name, *fields = line.split()
            if name == f"cpu{core}":
                user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
                return cls((user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S)
        raise ValueError(f"{stat} does not have core {core}")


class Watch:
    """Looks at a core and at the one process tree that should have it, from now on."""

    def __init__(self, core: int, child: Child) -> None:
        self._core = core
        self._child = child
        self._began_s = time.perf_counter()
        self._before = self._read()

    def _read(self) -> tuple[CoreTimes, float, float]:
        return CoreTimes.read(self._core), self._child.cpu_s(), self._child.waited_s()

    def others(self) -> float:
        """Return the share of the time in which somebody else had the core."""
        seconds = time.perf_counter() - self._began_s
        before, after = self._before, self._read()
        return others_share(
            before[0], after[0], own_s=after[1] - before[1], waited_s=after[2] - before[2], seconds=seconds
        )


class Watches:
    """Looks at the cores of a tool and of its target, from now on."""

    def __init__(self, tool: Child, target: Child) -> None:
        target_core, tool_core = cores()
        self._watches = Watch(target_core, target), Watch(tool_core, tool)

    def others(self) -> float:
        """Return the share that others had of the core where they had more."""
        return max(watch.others() for watch in self._watches)


def others_share(
    before: CoreTimes, after: CoreTimes, *, own_s: float, waited_s: float, seconds: float
) -> float:
    """Return the share of `seconds` that others had, as far as the core and who waited for it agree."""
    beside_s = after.busy_s - before.busy_s + after.stolen_s - before.stolen_s - own_s
    return max(0.0, min(beside_s, waited_s)) / seconds
