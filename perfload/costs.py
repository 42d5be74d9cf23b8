"""What load costs the machines that generate it: the figures that `perfload plan` reckons with."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass

from perfload.errors import UsageError
from perfload.suggest import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """CPU time, memory, files and network, as `python -m benchmarks.generator cost` measures them.

    In brackets: the row of its table that a figure comes from, or another benchmark.
    """

    cpu_us_per_request: float
    """A GET of 300 B over a connection that is kept (10 GET/s)."""
    cpu_us_per_visit: float
    """A virtual user that comes, connects and leaves, without its two requests (1,500 arrivals/s)."""
    cpu_us_per_handshake: float
    """On top of each visit, with TLS: users do not share sessions (TLS)."""
    cpu_percent_per_worker: float
    """Of one core: one whose users wait (1 user)."""
    cpu_percent_of_master_per_worker: float
    """Of one core, for 5,000 requests/s under ten names (`python -m benchmarks.cluster report`)."""
    bytes_per_worker: float
    """Memory that only this process has, with its first user (1 user)."""
    bytes_per_user: float
    """With each further user who is there (1,000 users)."""
    bytes_per_secure_user: float
    """On top of it, with TLS (1,000 users, TLS)."""
    files_per_worker: float
    """File descriptors without connections (1 user)."""
    files_per_user: float
    """With each further user: its connection (1,000 users)."""
    network_bytes_per_visit: float
    """Packets that open and close a connection, both ways (500 arrivals/s)."""
    network_bytes_per_request: float
    """Headers and packets, both ways, without the body of the response (1 GET/s)."""
    network_bytes_per_handshake: float
    """On top of each visit, with TLS and one short certificate (TLS)."""


COSTS = Costs(
    cpu_us_per_request=40,
    cpu_us_per_visit=210,
    cpu_us_per_handshake=530,
    cpu_percent_per_worker=0.4,
    cpu_percent_of_master_per_worker=1.7,
    bytes_per_worker=42_000_000,
    bytes_per_user=15_000,
    bytes_per_secure_user=29_000,
    files_per_worker=10,
    files_per_user=1,
    network_bytes_per_visit=400,
    network_bytes_per_request=470,
    network_bytes_per_handshake=1_800,
)
"""Measured on two cores of an AMD EPYC with CPython 3.11, Locust 2.47 and nginx 1.22: docs/scaling.md."""


_HINT = "python -m benchmarks.generator cost writes benchmarks/results/cost.json"


def parse_costs(text: str) -> Costs:
    """Return the figures in a results file of the benchmark; those that it lacks stay as in `COSTS`.

    Raises `UsageError` if it has none, for a name that is not known, and for what is no number of at least 0.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"costs: this is no JSON: {error}", hint=_HINT) from error
    given = found.get("costs") if isinstance(found, dict) else None
    if not isinstance(given, dict):
        raise UsageError('costs: there is no object "costs"', hint=_HINT)
    known = [field.name for field in dataclasses.fields(Costs)]
    for name, value in given.items():
        if name not in known:
            raise UsageError(
                f"costs: {name!r} is not known", hint=f"{did_you_mean(name, known)}Known: {', '.join(known)}"
            )
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise UsageError(f"costs: {name} is {value!r}", hint="write a number of at least 0")
    return dataclasses.replace(COSTS, **given)
