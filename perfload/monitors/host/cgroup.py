"""What the control groups of Linux say of the group that this process is in: limits and use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.host.parts import read_fields, read_file

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 says "no limit" with the largest number of whole pages."""

_CONTAINER_WORDS = ("docker", "kubepods", "containerd", "libpod", "lxc", "crio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Counters and gauges of now; None where the kernel keeps none, or there is no such limit."""

    cpu_s: float | None = None
    cpu_limit_cores: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_s: float | None = None
    memory_bytes: int | None = None
    """Without file pages that could be dropped at once, as the tools of containers show it."""
    memory_limit_bytes: int | None = None
    oom_kills: int | None = None
    pids: int | None = None
    pids_limit: int | None = None

    @property
    def has_limit(self) -> bool:
        """Whether the processors or the memory are limited."""
        return self.cpu_limit_cores is not None or self.memory_limit_bytes is not None


@dataclass(frozen=True, slots=True)
class GroupFolders:
    """Where this process's group is: from its own folder up to the root, by version 1's controller.

    Version 2 has one hierarchy, under `""`.
    """

    by_controller: Mapping[str, Sequence[Path]]

    @property
    def version(self) -> int:
        """Of the control groups: 1 or 2."""
        return 2 if "" in self.by_controller else 1

    def own(self) -> Path | None:
        """Return the group's own folder in version 2."""
        return self.by_controller[""][0] if self.version == 2 else None


def find_folders(root: Path) -> GroupFolders:
    """Return where the group of this process is, below the file system at `root`."""
    mounted = root / "sys" / "fs" / "cgroup"
    names = _own_names(root)
    if (mounted / "cgroup.controllers").exists():
        return GroupFolders({"": _chain(mounted, names.get("", "/"))})
    return GroupFolders(
        {
            controller: _chain(mounted / controller, names.get(controller, "/"))
            for controller in ("cpu", "cpuacct", "memory", "pids")
        }
    )


def is_container(root: Path) -> bool:
    """Say whether this process runs in a container, as far as one can tell from inside."""
    if (root / ".dockerenv").exists() or (root / "run" / ".containerenv").exists():
        return True
    # The root of all groups has no type; what looks like the root in a container does.
    if (root / "sys" / "fs" / "cgroup" / "cgroup.type").exists():
        return True
    return any(word in name for name in _own_names(root).values() for word in _CONTAINER_WORDS)


def read_group(folders: GroupFolders) -> Group:
    """Return the group's values of now; a file that is not there leaves its values out."""
    if folders.version == 2:
        return _read_version_2(folders.by_controller[""])
    return _read_version_1(folders.by_controller)


def _own_names(root: Path) -> dict[str, str]:
    """Return the name of this process's group by controller; version 2's is under `""`."""
    try:
        lines = read_file(root / "proc" / "self" / "cgroup").splitlines()
    except MonitorUnavailable:
        return {}
    names = {}
    for line in lines:
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        names.update(dict.fromkeys(controllers.split(","), name))
    return names


def _chain(mounted: Path, name: str) -> list[Path]:
    """Return the folder called `name` and those above it, as far as they are to be seen from here."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    folders = [mounted.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]
    return [folder for folder in folders if folder.is_dir()] or [mounted]


def _read_version_2(chain: Sequence[Path]) -> Group:
    cpu, quota = _tightest(chain, _cpu_limit_2)
    memory, limit_bytes = _tightest(chain, lambda folder: _number(folder / "memory.max"))
    pids, most = _tightest(chain, lambda folder: _number(folder / "pids.max"))
    cpu_stat = _fields(cpu / "cpu.stat")
    return Group(
        cpu_s=_scaled(cpu_stat.get("usage_usec"), 1e-6),
        cpu_limit_cores=quota,
        periods=cpu_stat.get("nr_periods"),
        throttled_periods=cpu_stat.get("nr_throttled"),
        throttled_s=_scaled(cpu_stat.get("throttled_usec"), 1e-6),
        memory_bytes=_without(_number(memory / "memory.current"), memory, "inactive_file"),
        memory_limit_bytes=_whole(limit_bytes),
        oom_kills=_fields(memory / "memory.events").get("oom_kill"),
        pids=_whole(_number(pids / "pids.current")),
        pids_limit=_whole(most),
    )


def _read_version_1(chains: Mapping[str, Sequence[Path]]) -> Group:
    cpu, quota = _tightest(chains["cpu"], _cpu_limit_1)
    memory, limit_bytes = _tightest(
        chains["memory"], lambda folder: _number(folder / "memory.limit_in_bytes")
    )
    pids, most = _tightest(chains["pids"], lambda folder: _number(folder / "pids.max"))
    cpu_stat = _fields(cpu / "cpu.stat")
    return Group(
        cpu_s=_scaled(_number(chains["cpuacct"][0] / "cpuacct.usage"), 1e-9),
        cpu_limit_cores=quota,
        periods=cpu_stat.get("nr_periods"),
        throttled_periods=cpu_stat.get("nr_throttled"),
        throttled_s=_scaled(cpu_stat.get("throttled_time"), 1e-9),
        memory_bytes=_without(_number(memory / "memory.usage_in_bytes"), memory, "total_inactive_file"),
        memory_limit_bytes=_whole(limit_bytes),
        oom_kills=_fields(memory / "memory.oom_control").get("oom_kill"),
        pids=_whole(_number(pids / "pids.current")),
        pids_limit=_whole(most),
    )


def _tightest(chain: Sequence[Path], limit_of: Callable[[Path], float | None]) -> tuple[Path, float | None]:
    """Return the folder with the smallest limit, which is the one that holds, and that limit."""
    limits = [(limit, folder) for folder in chain if (limit := limit_of(folder)) is not None]
    if not limits:
        return chain[0], None
    limit, folder = min(limits, key=lambda pair: pair[0])
    return (folder, limit) if limit < _NO_LIMIT_BYTES else (chain[0], None)


def _cpu_limit_2(folder: Path) -> float | None:
    quota_us, _, period_us = _text(folder / "cpu.max").partition(" ")
    return int(quota_us) / int(period_us) if quota_us.isdigit() and period_us.isdigit() else None


def _cpu_limit_1(folder: Path) -> float | None:
    quota_us, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us else None


def _without(total_bytes: float | None, folder: Path, field: str) -> int | None:
    if total_bytes is None:
        return None
    return max(0, int(total_bytes) - _fields(folder / "memory.stat").get(field, 0))


def _number(path: Path) -> float | None:
    """Return the number in a file; None for `max`, `-1` and a file that is not there."""
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return read_file(path).strip()
    except (MonitorUnavailable, OSError):
        return ""


def _fields(path: Path) -> dict[str, int]:
    try:
        return read_fields(path)
    except (MonitorUnavailable, OSError):
        return {}


def _scaled(number: float | None, factor: float) -> float | None:
    return None if number is None else number * factor


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
