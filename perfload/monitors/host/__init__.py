"""The machine that the sampler runs on: from psutil, and the kernel's files where psutil has nothing.

docs/monitors/host.md says what each metric is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil as real_psutil

from perfload.monitors.base import Measurement
from perfload.monitors.host.container import Container
from perfload.monitors.host.disks import Disks
from perfload.monitors.host.memory import DirtyMemory, Memory, Paging, Swap
from perfload.monitors.host.network import Interfaces, Listeners, Retransmissions
from perfload.monitors.host.parts import Part, PartReader
from perfload.monitors.host.pressure import Pressure
from perfload.monitors.host.processors import Load, Processors, Scheduler
from perfload.monitors.host.sockets import Conntrack, Files, Sockets

__all__ = ["HostMonitor"]


class HostMonitor:
    """The host's own counters.

    `psutil` is the module, or a recorded stand-in in tests; `root` the file system with the kernel's files. A
    part that fails says why, at each read; what a host does not have is said once a minute. The others go on.
    """

    def __init__(self, *, psutil: Any = real_psutil, root: Path = Path("/")) -> None:
        self._psutil = psutil
        self._root = root
        self._readers: list[PartReader] = []

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return a monitor of this host; it needs nothing from `environment`."""
        del environment
        return cls()

    def open(self) -> None:
        """Find out what there is to read; nothing stays open."""
        psutil, proc = self._psutil, self._root / "proc"
        parts: list[Part] = [Processors(psutil), Load(psutil), Memory(psutil), Swap(psutil)]
        parts += [Interfaces(psutil), Disks(psutil)]
        # Other systems have none of these files, which would only be said over and over.
        if (proc / "stat").exists():
            parts += [Scheduler(proc), Paging(proc), DirtyMemory(proc)]
            parts += [Pressure(proc, resource) for resource in ("cpu", "memory", "io")]
            parts += [Retransmissions(proc), Listeners(proc), Sockets(proc), Files(proc), Conntrack(proc)]
            parts += [Container(self._root)]
        self._readers = [PartReader(part) for part in parts]

    def read(self, at_s: float) -> list[Measurement]:
        """Return every metric, but on the first read no rates and no processor use, which are differences."""
        return [measurement for reader in self._readers for measurement in reader.measure(at_s)]

    def close(self) -> None:
        """Forget the counters of the read before."""
        self._readers = []
