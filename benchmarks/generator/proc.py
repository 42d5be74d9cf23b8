"""What /proc says of processes: descendants, CPU time, memory, files; and of the network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int, proc: Path = PROC) -> list[int]:
    """Return `pid` and all its descendants that are there, parents first."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            parent = _parent(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for known in found:
        found.extend(children.get(known, ()))
    return [known for known in found if (proc / str(known)).is_dir()]


def _parent(process: Path) -> int | None:
    text = _read(process / "stat")
    # The name stands in brackets and may hold anything, so what follows is counted from the last bracket.
    return int(text.rpartition(")")[2].split()[1]) if text else None


def cpu_s(pids: Iterable[int], proc: Path = PROC) -> float:
    """Return the CPU seconds of these processes: to the nanosecond where the kernel keeps `schedstat`."""
    return sum(_cpu_of(proc / str(pid)) for pid in pids)


def waited_s(pids: Iterable[int], proc: Path = PROC) -> float:
    """Return for how long their threads could have run, but something else had the core: 0 if not known."""
    return sum(int(text.split()[1]) / 1e9 for pid in pids for text in _schedstats(proc / str(pid)))


def _cpu_of(process: Path) -> float:
    schedstats = _schedstats(process)
    if schedstats:
        return sum(int(text.split()[0]) for text in schedstats) / 1e9
    text = _read(process / "stat")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S if text else 0.0


def _schedstats(process: Path) -> list[str]:
    """Return a line for each thread: nanoseconds on a core, nanoseconds waiting for one, and how often."""
    try:
        return [text for task in (process / "task").iterdir() if (text := _read(task / "schedstat"))]
    except OSError:
        return []


def memory_bytes(pids: Iterable[int], proc: Path = PROC) -> int:
    """Return the memory that only these processes have (USS); without that figure, what is resident."""
    return sum(_memory_of(proc / str(pid)) for pid in pids)


def _memory_of(process: Path) -> int:
    rollup = _fields(_read(process / "smaps_rollup"))
    if rollup:
        return rollup["Private_Clean"] + rollup["Private_Dirty"]
    return _fields(_read(process / "status")).get("VmRSS", 0)


def files(pid: int, proc: Path = PROC) -> int:
    """Return how many file descriptors a process has open."""
    return sum(1 for _ in (proc / str(pid) / "fd").iterdir())


def sent_bytes(proc: Path = PROC) -> int:
    """Return what IP has sent on this machine, over loopback too, headers included; both ways of loopback."""
    names, values = (
        line.split() for line in _read(proc / "net" / "netstat").splitlines() if line.startswith("IpExt:")
    )
    return int(values[names.index("OutOctets")])


def _fields(text: str) -> dict[str, int]:
    """Return the lines of the form `Name:  123 kB`, in bytes."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
