"""What a plan takes, before it runs: users in flight, requests, and the workers that make them.

Arithmetic over a plan and what is expected of one visit; docs/scaling.md has the method with examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from perfload.costs import COSTS, Costs
from perfload.errors import UsageError
from perfload.model import Model, Phase, PhaseSpan, RunRecord
from perfload.plan import Plan

MAX_CPU_PERCENT = 60.0
"""Of one core, for a worker at the peak of a plan. From 90 % on a run is invalid, so that leaves room for a
machine 1.5 times as slow as the one that was measured, or for scenarios that do more."""

STALL_S = 60.0
"""How long the client waits for the first byte of a response (`Timeouts`): no stall keeps a user longer."""

TIME_WAIT_S = 60.0
"""For so long Linux keeps the port of a connection that it closed (TCP_TIMEWAIT_LEN in include/net/tcp.h)."""

MAX_PORTS = 28_232
"""From one address of a worker to one address and port of the target: Linux's net.ipv4.ip_local_port_range,
32768 to 60999."""

MAX_FILES = 10_000
"""What Locust raises a lower limit of open files to, in each of its processes."""

_STEPS = 200
"""Parts of a phase at whose ends users are counted; the most are at an end of the phase, or close to one."""

_FUZZ = 1e-6
"""Differences of long sums of arrivals are off by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What one virtual user does from its arrival until it leaves; in a closed phase, in one round."""

    duration_s: float = 3.0
    """Think time included."""
    requests: float = 2.0
    """All over one connection."""
    response_bytes: float = 1000.0
    """Mean body of a response."""
    has_tls: bool = False
    cpu_us: float | None = None
    """CPU time of the worker for all of it, where that was measured; None: reckoned from `Costs`."""

    @classmethod
    def of(cls, record: RunRecord) -> Visit:
        """Return the mean visit of a run; raises `UsageError` for one that does not tell.

        The time that all users were there, summed up, is arrivals x mean visit: Little's law times the length
        of the run. Readings are the most users of each second, so visits much shorter than that seem longer.
        """
        manifest = record.manifest
        visits = sum(window.lag.count for window in record.arrivals)
        requests = sum(window.count for window in record.windows)
        users_s = _seconds(record, "users")
        if any(span.model == "users" for span in manifest.phases) or not (visits and requests and users_s):
            raise UsageError(
                f"run {manifest.run_id} does not tell what a visit is: it takes requests in open phases",
                hint="name another run, or give --visit and --requests-per-visit",
            )
        return cls(
            duration_s=users_s / visits,
            requests=requests / visits,
            response_bytes=sum(window.received_bytes for window in record.windows) / requests,
            has_tls=manifest.host.startswith("https:"),
            cpu_us=_seconds(record, "cpu_percent") / 100 * 1_000_000 / visits,
        )


def _seconds(record: RunRecord, metric: str) -> float:
    """Return the sum of what the generators say of themselves, each reading for the second before it."""
    return sum(
        reading.value or 0.0
        for reading in record.readings
        if reading.source == "generator" and reading.metric == metric
    )


@dataclass(frozen=True, slots=True)
class PhaseNeed:
    """What one phase takes at its peak."""

    name: str
    model: Model
    duration_s: float
    arrivals: int
    visits_per_s: float
    """In its busiest second; in a closed phase, rounds."""
    requests_per_s: float
    users: int
    users_in_stall: int
    ports: int
    """Held to one address and port of the target, when users stay for a stall."""
    cpu_percent: float
    """Of one core, all workers together, without what they need when they wait."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that there is so much of, and how much of it a plan takes."""

    name: str
    needed: float
    available: float
    unit: str

    @property
    def used_percent(self) -> float:
        """Above 100 the plan asks for more than there is."""
        return 100 * self.needed / self.available


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a whole plan takes, as `estimate` returns it."""

    visit: Visit
    stall_s: float
    costs: Costs
    phases: tuple[PhaseNeed, ...]
    workers: int
    bytes_per_worker: int
    files_per_worker: int
    network_bits_per_s: float
    """Both ways, in the busiest phase."""
    limits: tuple[Limit, ...]
    """The one that is reached first comes first."""


def estimate(plan: Plan, visit: Visit, *, stall_s: float = STALL_S, costs: Costs = COSTS) -> Capacity:
    """Return what `plan` takes if every visit is like `visit` and the system may stop for `stall_s`."""
    phases = tuple(
        _phase(plan.spans, phase, span, visit=visit, stall_s=stall_s, costs=costs)
        for phase, span in zip(plan.phases, plan.spans, strict=True)
    )
    cpu_percent = max(phase.cpu_percent for phase in phases)
    # At least 1 %, for costs of a machine on which a worker is busy with itself.
    room_percent = max(1.0, MAX_CPU_PERCENT - costs.cpu_percent_per_worker)
    workers = max(1, math.ceil(cpu_percent / room_percent - _FUZZ))
    users = math.ceil(max(phase.users_in_stall for phase in phases) / workers)
    files = math.ceil(costs.files_per_worker + users * costs.files_per_user)
    per_user = costs.bytes_per_user + (costs.bytes_per_secure_user if visit.has_tls else 0)
    limits = [
        Limit("CPU of a worker", costs.cpu_percent_per_worker + cpu_percent / workers, MAX_CPU_PERCENT, "%"),
        Limit("open files of a worker", files, MAX_FILES, ""),
        Limit("ports to the target", max(phase.ports for phase in phases), MAX_PORTS, ""),
    ]
    if workers > 1:
        master_percent = workers * costs.cpu_percent_of_master_per_worker
        limits.append(Limit("CPU of the master", master_percent, MAX_CPU_PERCENT, "%"))
    return Capacity(
        visit=visit,
        stall_s=stall_s,
        costs=costs,
        phases=phases,
        workers=workers,
        bytes_per_worker=round(costs.bytes_per_worker + users * per_user),
        files_per_worker=files,
        network_bits_per_s=8 * max(_network_bytes_per_s(phase, visit, costs) for phase in phases),
        limits=tuple(sorted(limits, key=lambda limit: -limit.used_percent)),
    )


def _phase(
    spans: Sequence[PhaseSpan], phase: Phase, span: PhaseSpan, *, visit: Visit, stall_s: float, costs: Costs
) -> PhaseNeed:
    is_open = span.model != "users"
    flow = (
        _open(spans, phase, span, visit.duration_s, stall_s) if is_open else _closed(span, visit.duration_s)
    )
    return PhaseNeed(
        name=span.name,
        model=span.model,
        duration_s=span.duration_s,
        arrivals=span.planned,
        visits_per_s=flow.visits_per_s,
        requests_per_s=flow.visits_per_s * visit.requests,
        users=flow.users,
        users_in_stall=flow.users_in_stall,
        ports=flow.ports,
        cpu_percent=flow.visits_per_s * _cpu_us(visit, costs, is_open=is_open) / 10_000,
    )


@dataclass(frozen=True, slots=True)
class _Flow:
    """How users come and stay; fields as in `PhaseNeed`."""

    visits_per_s: float
    users: int
    users_in_stall: int
    ports: int


def _closed(span: PhaseSpan, visit_s: float) -> _Flow:
    """Return the flow of users who come once and keep their connections, by Little's law: lambda = L / W."""
    users = int(max(span.start, span.end))
    return _Flow(users / visit_s, users, users, users)


def _open(spans: Sequence[PhaseSpan], phase: Phase, span: PhaseSpan, visit_s: float, stall_s: float) -> _Flow:
    """Return the flow of users who arrive; a port is held until TIME_WAIT_S after its user has left."""
    users, users_in_stall, leaving, ports = (
        _in_flight(spans, phase, span, stay_s)
        for stay_s in (visit_s, visit_s + stall_s, TIME_WAIT_S, visit_s + stall_s + TIME_WAIT_S)
    )
    if phase.max_users is not None:
        users, users_in_stall = min(users, phase.max_users), min(users_in_stall, phase.max_users)
        ports = min(ports, phase.max_users + leaving)
    return _Flow(busiest_second(phase, span), users, users_in_stall, ports)


def _cpu_us(visit: Visit, costs: Costs, *, is_open: bool) -> float:
    """Return the CPU time of one visit; users of a closed phase come once and keep their connections."""
    if visit.cpu_us is not None:
        return visit.cpu_us
    found = visit.requests * costs.cpu_us_per_request
    if is_open:
        found += costs.cpu_us_per_visit + (costs.cpu_us_per_handshake if visit.has_tls else 0.0)
    return found


def busiest_second(phase: Phase, span: PhaseSpan) -> float:
    """Return the most arrivals per second of an open phase.

    A ramp is a staircase of whole arrivals per second, of which the last step or the first is the highest.
    """
    if phase.arrival_times is not None:
        return most_due(phase, span, 1.0)
    highest = max(span.start, span.end)
    if phase.poisson_seed is not None:
        return at_random(highest, span.duration_s)
    return math.floor(highest + 0.5 + _FUZZ) if phase.ramp_to is not None else highest


def at_random(mean: float, looks: float) -> float:
    """Return what a Poisson number of this mean exceeds once in so many looks at it.

    Taken as a normal variable, whose variance is the mean too.
    """
    if looks <= 2:
        return mean
    return mean + NormalDist().inv_cdf(1 - 1 / looks) * math.sqrt(mean)


def _in_flight(spans: Sequence[PhaseSpan], phase: Phase, span: PhaseSpan, stay_s: float) -> int:
    """Return the most users at once in an open phase if each stays so long, rounded up.

    Random arrivals in flight are a Poisson number too, and with each of them it may be the highest.
    """
    users = most_within(spans, span, stay_s)
    if phase.arrival_times is not None:
        users = max(users, most_due(phase, span, stay_s))
    if phase.poisson_seed is not None:
        users = at_random(users, span.planned)
    return math.ceil(users - _FUZZ)


def most_within(spans: Sequence[PhaseSpan], span: PhaseSpan, window_s: float) -> float:
    """Return the most arrivals in `window_s` seconds that end in `span`.

    Where each user stays for W = `window_s`, these are the users in flight: at a steady rate lambda, Little's
    L = lambda W (Little 1961), and less at the start of a phase, or in one shorter than W.
    """
    ends_s = (span.start_s + span.duration_s * step / _STEPS for step in range(_STEPS + 1))
    return max(_arrived(spans, end_s) - _arrived(spans, end_s - window_s) for end_s in ends_s)


def most_due(phase: Phase, span: PhaseSpan, window_s: float) -> int:
    """Return the most of a phase's arrival times that lie in any `window_s` seconds, its end left out."""
    times = phase.arrival_times or ()
    window_s *= phase.duration_s / span.duration_s  # as long as that is before the time scale
    most = first = 0
    for last, time_s in enumerate(times):
        while time_s - times[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def _arrived(spans: Sequence[PhaseSpan], t_s: float) -> float:
    """Return the arrivals until `t_s`: the integral of the planned rate."""
    total = 0.0
    for span in spans:
        if span.model == "arrivals":
            passed_s = min(max(0.0, t_s - span.start_s), span.duration_s)
            bend = (span.end - span.start) / span.duration_s
            total += passed_s * (span.start + bend * passed_s / 2)
    return total


def _network_bytes_per_s(phase: PhaseNeed, visit: Visit, costs: Costs) -> float:
    found = phase.requests_per_s * (costs.network_bytes_per_request + visit.response_bytes)
    if phase.model == "arrivals":
        handshake = costs.network_bytes_per_handshake if visit.has_tls else 0.0
        found += phase.visits_per_s * (costs.network_bytes_per_visit + handshake)
    return found
