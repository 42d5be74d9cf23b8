"""What users, requests and arrivals cost perfload: the figures that `perfload plan` reckons with.

CPU, memory and files are those of the process that generates the load; the monitors have a process of their
own. Network is what IP sent on the whole machine, headers included. `python -m benchmarks.cluster` measures
what a worker costs its master.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.generator import arriving, proc
from benchmarks.generator.arriving import Arrivals
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Child, cores
from benchmarks.generator.core import Watches
from benchmarks.generator.memory import waiting
from benchmarks.generator.nginx import LOGIN_BYTES, SMALL_BYTES, Nginx
from benchmarks.generator.results import progress
from benchmarks.generator.starting import start
from benchmarks.generator.table import render
from benchmarks.generator.tools import FOREVER_S, TOOLS, Load
from benchmarks.generator.window import DISTURBED, Patience

USERS = 1000
REQUESTS_PER_ARRIVAL = 2
PACES_PER_S = (1, 10)
"""Requests of each user. A request costs less the more there are: fewer of them have to wake the process, and
it is the worker with a lot to do whose CPU matters."""
ARRIVALS_PER_S = (500, 1500)
SETTLE_S = 4.0
PATIENCE = 10


@dataclass(frozen=True)
class Look:
    """What one process had and did in one window."""

    requests_per_s: float
    cpu_percent: float
    memory_bytes: float
    files: float
    network_bytes_per_s: float
    others: float = 0.0
    """Share of the process's or the target's core that somebody else had."""


@dataclass(frozen=True)
class Looks:
    """The median look of each row of the table."""

    one_user: Look
    users: Look
    tls_users: Look
    requests: Look
    many_requests: Look
    arrivals: Look
    many_arrivals: Look
    tls_arrivals: Look

    def costs(self) -> dict[str, float]:
        """Return what one user, request and visit cost, named as in `perfload.costs`: differences of rows."""
        request_us = _cpu_us(self.many_requests, self.users) / self.many_requests.requests_per_s
        arrival_us = _cpu_us(self.many_arrivals, self.one_user) / _arrivals_per_s(self.many_arrivals)
        handshake_us = _cpu_us(self.tls_arrivals, self.arrivals) / _arrivals_per_s(self.arrivals)
        request_bytes = self.requests.network_bytes_per_s / self.requests.requests_per_s - SMALL_BYTES
        arrival_bytes = self.arrivals.network_bytes_per_s / _arrivals_per_s(self.arrivals)
        tls_arrival_bytes = self.tls_arrivals.network_bytes_per_s / _arrivals_per_s(self.tls_arrivals)
        visit_bytes = arrival_bytes - REQUESTS_PER_ARRIVAL * request_bytes - SMALL_BYTES - LOGIN_BYTES
        return {
            "cpu_us_per_request": request_us,
            "cpu_us_per_visit": arrival_us - REQUESTS_PER_ARRIVAL * request_us,
            "cpu_us_per_handshake": handshake_us,
            "cpu_percent_per_worker": self.one_user.cpu_percent,
            "bytes_per_worker": self.one_user.memory_bytes,
            "bytes_per_user": (self.users.memory_bytes - self.one_user.memory_bytes) / (USERS - 1),
            "bytes_per_secure_user": (self.tls_users.memory_bytes - self.users.memory_bytes) / USERS,
            "files_per_worker": self.one_user.files - 1,
            "files_per_user": (self.users.files - self.one_user.files) / (USERS - 1),
            "network_bytes_per_visit": visit_bytes,
            "network_bytes_per_request": request_bytes,
            "network_bytes_per_handshake": tls_arrival_bytes - arrival_bytes,
        }


def _cpu_us(look: Look, base: Look) -> float:
    return (look.cpu_percent - base.cpu_percent) * 1e4


def _arrivals_per_s(look: Look) -> float:
    return look.requests_per_s / REQUESTS_PER_ARRIVAL


LABELS = {
    "one_user": "1 user who waits",
    "users": f"{USERS:,} users who wait",
    "tls_users": f"{USERS:,} users who wait, TLS",
    "requests": f"{USERS:,} users, {PACES_PER_S[0]} GET/s each",
    "many_requests": f"{USERS:,} users, {PACES_PER_S[1]} GET/s each",
    "arrivals": f"{ARRIVALS_PER_S[0]:,} arrivals/s, login and GET",
    "many_arrivals": f"{ARRIVALS_PER_S[1]:,} arrivals/s, login and GET",
    "tls_arrivals": f"{ARRIVALS_PER_S[0]:,} arrivals/s, login and GET, TLS",
}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every row; print the rows, and the costs that follow from them."""
    looks: dict[str, list[Look]] = {field.name: [] for field in fields(Looks)}
    patience = Patience(PATIENCE)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        Nginx(Path(name) / "nginx") as target,
    ):
        for number in range(options.rounds):
            for row, begin in _ROWS.items():
                progress(f"  round {number + 1} of {options.rounds}, {LABELS[row]}")
                folder = Path(name) / f"{row}-{number}"
                with begin(target, folder) as child:
                    time.sleep(SETTLE_S)
                    looks[row].append(_look(child, target, options.seconds, patience))
    medians = {row: median(found) for row, found in looks.items()}
    costs = Looks(**medians).costs()
    title = f"what load costs; median of {options.rounds} windows of {options.seconds:g} s"
    if count := sum(look.others > DISTURBED for found in looks.values() for look in found):
        title += (
            f"; in {count} of {len(looks) * options.rounds} windows other processes took over 5 % of a core"
        )
    print(_table(medians, title))
    rows = [(name, f"{value:,.4g}") for name, value in costs.items()]
    print(render("costs, as `perfload plan --costs` reads them", ("", ""), rows))
    return {
        "costs": {name: float(f"{value:.4g}") for name, value in costs.items()},
        "looks": {row: [asdict(look) for look in found] for row, found in looks.items()},
    }


def median(looks: Sequence[Look]) -> Look:
    """Return the median of each figure."""
    return Look(*(statistics.median(getattr(look, field.name) for look in looks) for field in fields(Look)))


def _table(looks: dict[str, Look], title: str) -> str:
    header = ("perfload", "requests/s", "CPU % of a core", "MB", "files", "Mbit/s")
    rows = [
        (
            LABELS[row],
            f"{look.requests_per_s:,.0f}",
            f"{look.cpu_percent:.1f}",
            f"{look.memory_bytes / 1e6:.1f}",
            f"{look.files:,.0f}",
            f"{look.network_bytes_per_s * 8 / 1e6:.2f}",
        )
        for row, look in looks.items()
    ]
    return render(title, header, rows)


def _look(child: Child, target: Nginx, seconds: float, patience: Patience) -> Look:
    """Return what the process of `child` does in a window that others leave alone, if patience lasts."""
    pid = child.process.pid
    while True:
        watch = Watches(child, target.child)
        began_s, cpu_s = time.perf_counter(), proc.cpu_s([pid])
        sent, requests = proc.sent_bytes(), target.requests()
        time.sleep(seconds)
        took_s, cpu_s = time.perf_counter() - began_s, proc.cpu_s([pid]) - cpu_s
        sent, requests = proc.sent_bytes() - sent, target.requests() - requests
        if not child.is_running():
            raise child.failed("ended too early")
        others = watch.others()
        if others <= DISTURBED or not patience.lasts():
            break
    return Look(
        requests_per_s=requests / took_s,
        cpu_percent=100 * cpu_s / took_s,
        memory_bytes=proc.memory_bytes([pid]),
        files=proc.files(pid),
        network_bytes_per_s=sent / took_s,
        others=others,
    )


def _users(target: Nginx, folder: Path, *, case: str = "get", users: int = USERS) -> Child:
    load = Load(target.base_url(CASES[case]), CASES[case], users, folder)
    return start(waiting(TOOLS["perfload"]), load, target)


def _requests(target: Nginx, folder: Path, *, pace_per_s: float) -> Child:
    load = Load(target.base_url(CASES["get"]), CASES["get"], USERS, folder, pace_per_s=pace_per_s)
    return start(TOOLS["perfload"], load, target)


def _arrivals(target: Nginx, folder: Path, *, per_s: int, case: str = "get") -> Child:
    folder.mkdir()
    arrivals = Arrivals(target.base_url(CASES[case]), per_s, FOREVER_S, folder)
    command = arriving.perfload(arrivals)
    before = target.requests()
    child = Child("perfload", command.argv, core=cores()[1], folder=folder, env=command.env)
    return _under_way(child, lambda: target.requests() > before, "its first request")


def _under_way(child: Child, condition: Callable[[], bool], what: str) -> Child:
    """Return `child` once `condition()` holds; end it if that does not come."""
    try:
        child.wait_for(condition, what, 60.0)
    except BaseException:
        child.kill()
        raise
    return child


_ROWS: dict[str, Callable[[Nginx, Path], Child]] = {
    "one_user": partial(_users, users=1),
    "users": _users,
    "tls_users": partial(_users, case="tls"),
    "requests": partial(_requests, pace_per_s=PACES_PER_S[0]),
    "many_requests": partial(_requests, pace_per_s=PACES_PER_S[1]),
    "arrivals": partial(_arrivals, per_s=ARRIVALS_PER_S[0]),
    "many_arrivals": partial(_arrivals, per_s=ARRIVALS_PER_S[1]),
    "tls_arrivals": partial(_arrivals, per_s=ARRIVALS_PER_S[0], case="tls"),
}
"""How each row is started, by its name in `Looks`."""
