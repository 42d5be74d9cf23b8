"""Chosen processes and their children: processor, memory, threads, files, context switches.

A choice is `name:uvicorn`, `pid:4711` or `port:8000` (who listens there).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Self

import psutil as real_psutil

from perfload.errors import UsageError
from perfload.monitors.base import Measurement, MonitorUnavailable

VARIABLE = "PERFLOAD_MONITOR_PROCESSES"

MAX_CHOICES = 20
MAX_MEMBERS = 200
"""Processes of one choice; each costs a few reads per tick."""

LOOK_EVERY_S = 5.0
"""How often processes are looked for; a child that lives shorter may go unseen."""

KINDS = ("name", "pid", "port")

_INTERPRETERS = ("python", "pypy", "node", "ruby", "perl", "java", "php", "dotnet", "deno", "bun")
"""Programs that run others: `python -m uvicorn` is a uvicorn."""

UNITS = MappingProxyType(
    {
        "process_count": "processes",
        "process_cpu_percent": "%",
        "process_cpu_percent_busiest": "%",
        "process_rss_bytes": "bytes",
        "process_threads": "threads",
        "process_open_files": "files",
        "process_open_files_percent": "%",
        "process_context_switches_per_s": "/s",
    }
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which processes to watch; `kind` is one of `KINDS`."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `text` chooses; raises `UsageError` for anything but `KIND:VALUE`."""
        kind, _, value = (part.strip() for part in text.partition(":"))
        most = {"pid": 2**31 - 1, "port": 65_535}.get(kind, 0)
        is_number = value.isascii() and value.isdigit() and 0 < int(value[:12]) <= most
        if kind not in KINDS or not 0 < len(value) <= 100 or not (kind == "name" or is_number):
            raise UsageError(
                f"processes to watch: {text[:80]!r} chooses none",
                hint="write name:uvicorn, pid:4711 or port:8000 (monitors.processes in perfload.toml)",
            )
        return cls(kind, value)


def parse_choices(texts: Iterable[str]) -> tuple[Choice, ...]:
    """Return the choices, each once; raises `UsageError` for a bad one, and for too many."""
    choices = tuple(dict.fromkeys(Choice.parse(text) for text in texts))
    if len(choices) > MAX_CHOICES:
        raise UsageError(
            f"processes to watch: {len(choices)} choices", hint=f"at most {MAX_CHOICES}; children come along"
        )
    return choices


@dataclass(slots=True)
class _Member:
    """One process of a choice, and its counters at the read before."""

    process: Any
    busy_s: float | None = None
    switches: int | None = None
    files_limit: int | None = None


@dataclass(slots=True)
class _Watched:
    """One choice, and the processes that it means at the moment."""

    choice: Choice
    members: dict[tuple[int, float], _Member] = field(default_factory=dict)
    reason: str = ""
    """Why there are no members, where that is known better than "no such process"."""


class ProcessesMonitor:
    """Adds up each choice's processes and all their descendants. `psutil` is the module, or a stand-in."""

    def __init__(self, choices: Sequence[Choice], *, psutil: Any = real_psutil, own_pid: int = 0) -> None:
        self._psutil = psutil
        self._own_pid = own_pid or os.getpid()
        self._watched = [_Watched(choice) for choice in choices]
        self._looked_at_s: float | None = None
        self._read_at_s: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return a monitor of `PERFLOAD_MONITOR_PROCESSES`; raises `UsageError` as `parse_choices`."""
        texts = environment.get(VARIABLE, "").split(",")
        return cls(parse_choices(text for text in texts if text.strip()))

    def open(self) -> None:
        """Raise `MonitorUnavailable` when nothing was chosen."""
        if not self._watched:
            raise MonitorUnavailable(
                "no processes were chosen", hint='monitors.processes = ["name:uvicorn"] in perfload.toml'
            )

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def read(self, at_s: float) -> list[Measurement]:
        """Return each choice's sums; no processor use for a process that is seen for the first time."""
        is_due = self._looked_at_s is None or at_s - self._looked_at_s >= LOOK_EVERY_S
        if is_due or any(self._has_gone(watched) for watched in self._watched):
            self._look()
            self._looked_at_s = at_s
        before_s, self._read_at_s = self._read_at_s, at_s
        elapsed_s = 0.0 if before_s is None else at_s - before_s
        return [found for watched in self._watched for found in self._measure(watched, elapsed_s)]

    def _has_gone(self, watched: _Watched) -> bool:
        gone = [key for key, member in watched.members.items() if not member.process.is_running()]
        for key in gone:
            del watched.members[key]
        return bool(gone)

    def _look(self) -> None:
        """Find the processes of every choice in one list of all there are."""
        processes = {process.pid: process for process in self._psutil.process_iter(["ppid", "name"])}
        processes.pop(self._own_pid, None)
        children: dict[int, list[int]] = {}
        for pid, process in processes.items():
            children.setdefault(process.info["ppid"], []).append(pid)
        for watched in self._watched:
            try:
                roots, watched.reason = self._roots(watched, processes), ""
            except MonitorUnavailable as error:
                roots, watched.reason = [], f"{error.message}; {error.hint}"
            members = {}
            for pid in _descendants(roots, children)[:MAX_MEMBERS]:
                with contextlib.suppress(self._psutil.Error):
                    key = (pid, processes[pid].create_time())
                    members[key] = watched.members.get(key) or _Member(processes[pid])
            watched.members = members

    def _roots(self, watched: _Watched, processes: Mapping[int, Any]) -> list[int]:
        choice = watched.choice
        if choice.kind == "pid":
            return [int(choice.value)] if int(choice.value) in processes else []
        if choice.kind == "name":
            return [pid for pid, process in processes.items() if self._is_called(process, choice.value)]
        # Who listens is expensive to find out, and changes only with the process.
        listening = [pid for pid, _ in watched.members if pid in processes]
        return listening or [pid for pid in self._listeners(int(choice.value)) if pid in processes]

    def _is_called(self, process: Any, name: str) -> bool:
        if process.info["name"] == name:
            return True
        if not process.info["name"] or not process.info["name"].startswith(_INTERPRETERS):
            return False
        try:
            return name in _programs(process.cmdline())
        except self._psutil.Error:
            return False

    def _listeners(self, port: int) -> list[int]:
        found = [
            connection.pid
            for connection in self._psutil.net_connections(kind="tcp")
            if connection.status == self._psutil.CONN_LISTEN and connection.laddr.port == port
        ]
        if found and None in found:
            raise MonitorUnavailable(
                f"the process that listens on port {port} belongs to somebody else",
                hint="run as the same user or as root",
            )
        return sorted({pid for pid in found if pid is not None})

    def _measure(self, watched: _Watched, elapsed_s: float) -> list[Measurement]:
        sums = _Sums()
        for member in list(watched.members.values()):
            try:
                self._add(sums, member)
            except self._psutil.NoSuchProcess:
                # It ended since it was looked for; what it did in this interval is lost.
                continue
            except self._psutil.AccessDenied:
                sums.refuse("process_rss_bytes", member, "may not be read")
        label = str(watched.choice)
        if not sums.values.get("process_count"):
            reason = watched.reason or sums.refusal or f"no process is {label}"
            return [Measurement(f"{metric}[{label}]", unit, None, reason) for metric, unit in UNITS.items()]
        return list(sums.measurements(label, elapsed_s))

    def _add(self, sums: _Sums, member: _Member) -> None:
        process = member.process
        with process.oneshot():
            times, switched = process.cpu_times(), process.num_ctx_switches()
            busy_s, switches = times.user + times.system, switched.voluntary + switched.involuntary
            rss_bytes, threads = process.memory_info().rss, process.num_threads()
        sums.add("process_count", 1)
        sums.add("process_rss_bytes", rss_bytes)
        sums.add("process_threads", threads)
        if member.busy_s is not None and member.switches is not None:
            spent_s = max(0.0, busy_s - member.busy_s)
            sums.busy_s, sums.busiest_s = (sums.busy_s or 0.0) + spent_s, max(sums.busiest_s, spent_s)
            sums.switches = (sums.switches or 0) + max(0, switches - member.switches)
        member.busy_s, member.switches = busy_s, switches
        self._add_files(sums, member)

    def _add_files(self, sums: _Sums, member: _Member) -> None:
        try:
            count = member.process.num_fds()
            if member.files_limit is None:
                member.files_limit = member.process.rlimit(self._psutil.RLIMIT_NOFILE)[0]
        except self._psutil.AccessDenied:
            sums.refuse("process_open_files", member, "its open files may not be counted")
        except AttributeError:
            # psutil has no such thing on this platform.
            return
        else:
            sums.add("process_open_files", count)
            if member.files_limit > 0:
                sums.most("process_open_files_percent", 100 * count / member.files_limit)


class _Sums:
    """What the processes of one choice add up to."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.busy_s: float | None = None
        """Of the processes seen before; None where there are none."""
        self.busiest_s = 0.0
        """Of that, the one that spent most."""
        self.switches: int | None = None
        self._refused: dict[str, str] = {}

    @property
    def refusal(self) -> str:
        return next(iter(self._refused.values()), "")

    def add(self, metric: str, value: float) -> None:
        self.values[metric] = self.values.get(metric, 0) + value

    def most(self, metric: str, value: float) -> None:
        self.values[metric] = max(self.values.get(metric, 0), value)

    def refuse(self, metric: str, member: _Member, what: str) -> None:
        self._refused[metric] = f"process {member.process.pid}: {what}; run as the same user or as root"

    def measurements(self, label: str, elapsed_s: float) -> Iterable[Measurement]:
        values: dict[str, float] = dict(self.values)
        if elapsed_s > 0 and self.busy_s is not None and self.switches is not None:
            values["process_cpu_percent"] = 100 * self.busy_s / elapsed_s
            values["process_cpu_percent_busiest"] = 100 * self.busiest_s / elapsed_s
            values["process_context_switches_per_s"] = self.switches / elapsed_s
        for metric, unit in UNITS.items():
            if metric in self._refused:
                # A sum without one of its processes would be too small.
                yield Measurement(f"{metric}[{label}]", unit, None, self._refused[metric])
            elif metric in values:
                yield Measurement(f"{metric}[{label}]", unit, values[metric])


def _programs(command: Sequence[str]) -> list[str]:
    """Return what an interpreter was told to run: `uvicorn` for `python -m uvicorn` and `…/bin/uvicorn`."""
    names: list[str] = []
    for position, word in enumerate(command[1:8], start=1):
        if word in ("-m", "-jar"):
            names += command[position + 1 : position + 2]
            break
        if not word.startswith("-"):
            names.append(word)
            break
    return [program for name in names for program in (PurePath(name).name, PurePath(name).stem)]


def _descendants(roots: Iterable[int], children: Mapping[int, Sequence[int]]) -> list[int]:
    found: dict[int, None] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop(0)
        if pid not in found:
            found[pid] = None
            waiting.extend(children.get(pid, ()))
    return list(found)
