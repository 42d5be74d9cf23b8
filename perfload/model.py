"""The types at perfload's borders. Frozen, slotted, standard library only; the units are in the names."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from perfload.errors import UsageError
from perfload.histogram import Histogram
from perfload.units import parse_duration_s

SCHEMA_VERSION = 1
"""Version of the run record and of `summary.json`; a reader refuses a newer one."""

ALL_PHASES = "all"
"""What summaries call the row over all phases (without warm-up phases)."""

Model = Literal["arrivals", "users", "pause"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of a load plan, as its author writes it.

    Open model: `arrival_rate` (virtual users per second), optionally `ramp_to`; or `arrival_count` spread
    evenly over the phase. Closed model: `users` (concurrent), optionally `ramp_to_users`. `pause=True`:
    nothing. Exactly one of these four is given; anything else raises `UsageError`.

    `max_users` caps the virtual users in flight (open model): an arrival above it is dropped and counted.
    `poisson_seed` makes the arrivals a Poisson process drawn from that seed; else they are evenly spaced.
    `warmup=True` keeps the phase out of totals and thresholds.
    """

    name: str
    duration: str | float
    arrival_rate: float | None = None
    ramp_to: float | None = None
    arrival_count: int | None = None
    users: int | None = None
    ramp_to_users: int | None = None
    pause: bool = False
    max_users: int | None = None
    poisson_seed: int | None = None
    warmup: bool = False
    duration_s: float = field(init=False)
    model: Model = field(init=False)

    def __new__(cls, **options: object) -> Phase:
        """Refuse an option that does not exist with the nearest one that does, instead of a `TypeError`."""
        known = [option.name for option in fields(cls) if option.init]
        for option in options.keys() - set(known):
            near = difflib.get_close_matches(option, known, n=1)
            raise UsageError(
                f"phase {options.get('name', '?')!r} has an unknown option {option!r}",
                hint=(f"did you mean {near[0]}? " if near else "") + f"Known: {', '.join(known)}",
            )
        return object.__new__(cls)

    def __post_init__(self) -> None:
        duration_s = parse_duration_s(self.duration, f"phase {self.name!r}, duration")
        object.__setattr__(self, "duration_s", duration_s)
        object.__setattr__(self, "model", self._model())
        self._check()

    def _model(self) -> Model:
        given = {
            "arrival_rate": self.arrival_rate is not None,
            "arrival_count": self.arrival_count is not None,
            "users": self.users is not None,
            "pause": self.pause,
        }
        names = [name for name, is_given in given.items() if is_given]
        if len(names) != 1:
            raise self._error(
                f"needs exactly one of {', '.join(given)}; it has {' and '.join(names) or 'none'}",
                'for example Phase(name="Normal", duration="5m", arrival_rate=50)',
            )
        if names[0] == "pause":
            return "pause"
        return "users" if names[0] == "users" else "arrivals"

    def _check(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or self.name == ALL_PHASES:
            raise UsageError(
                f"a phase is named {self.name!r}",
                hint=f"give it a name of its own, other than {ALL_PHASES!r}",
            )
        if self.duration_s <= 0:
            raise self._error("has no duration", 'write a duration above zero, such as "90s"')
        for option in ("arrival_rate", "ramp_to", "arrival_count", "users", "ramp_to_users"):
            value = getattr(self, option)
            if value is not None and (not math.isfinite(value) or value < 0):
                raise self._error(f"{option} is {value}", f"{option} is a number of at least 0")
        if self.max_users is not None and self.max_users < 1:
            raise self._error(f"max_users is {self.max_users}", "max_users is at least 1")
        self._check_pairs()

    def _check_pairs(self) -> None:
        pairs = (
            ("ramp_to", "arrival_rate"),
            ("ramp_to_users", "users"),
            ("max_users", "arrivals"),
            ("poisson_seed", "arrivals"),
        )
        for option, base in pairs:
            if getattr(self, option) is None:
                continue
            if base == "arrivals" and self.model != "arrivals":
                raise self._error(f"{option} needs arrivals", "use it with arrival_rate or arrival_count")
            if base != "arrivals" and getattr(self, base) is None:
                raise self._error(f"{option} needs {base}", f"give {base} too, or leave {option} out")

    def _error(self, message: str, hint: str) -> UsageError:
        return UsageError(f"phase {self.name!r} {message}", hint=hint)

    @property
    def start(self) -> float:
        """Arrivals per second, or concurrent users, at the phase's start."""
        if self.model == "users":
            return float(self.users or 0)
        if self.arrival_count is not None:
            return self.arrival_count / self.duration_s
        return float(self.arrival_rate or 0)

    @property
    def end(self) -> float:
        """Arrivals per second, or concurrent users, at the phase's end."""
        target = self.ramp_to_users if self.model == "users" else self.ramp_to
        return self.start if target is None else float(target)


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase in a run: when it began and what was planned for it."""

    name: str
    start_s: float
    duration_s: float
    """0 in a run without a plan, until it ends: it lasts for as long as the run does."""
    model: Model
    start: float
    end: float
    planned: int
    """Arrivals that the plan holds for this phase; 0 in a closed phase."""
    warmup: bool = False

    @property
    def end_s(self) -> float:
        """Seconds from the run's start to the phase's end; infinite while it is open-ended."""
        return self.start_s + (self.duration_s or math.inf)


def span_at(spans: Sequence[PhaseSpan], t_s: float) -> PhaseSpan:
    """Return the phase in which second `t_s` of the run lies; the last one from its end on."""
    return next((span for span in spans if t_s < span.end_s), spans[-1])


@dataclass(frozen=True, slots=True)
class Window:
    """What one node finished for one request in one second of the run.

    The first six fields are the merge key: a window may be sent twice, late or out of order and counts once.
    `second` counts from the run's start and is that in which the requests *finished*. Latencies are in
    microseconds; `latency` runs from the intended start, `service` from the actual send, both over requests
    that succeeded; `failed` has the latency of those that did not.
    """

    run_id: str
    node: str
    second: int
    phase: str
    method: str
    name: str
    latency: Histogram
    service: Histogram
    failed: Histogram
    received_bytes: int = 0
    due: tuple[tuple[int, int, int], ...] = ()
    """(second in which they were due, succeeded, failed): what availability is computed from."""
    reasons: tuple[tuple[str, int], ...] = ()
    """(failure reason, count)."""

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """The merge key."""
        return (self.run_id, self.node, self.second, self.phase, self.method, self.name)

    @property
    def count(self) -> int:
        """Requests finished, failures included."""
        return self.latency.count + self.failed.count


@dataclass(frozen=True, slots=True)
class ArrivalWindow:
    """What became of one node's virtual users in one second of the run; merge key as in `Window`."""

    run_id: str
    node: str
    second: int
    phase: str
    lag: Histogram
    """Microseconds from the intended to the actual start; its count is the number of arrivals started."""
    dropped: int = 0
    errors: tuple[tuple[str, int], ...] = ()
    """(reason, count) of virtual users that failed in the scenario's own code, not in a request."""

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """The merge key."""
        return (self.run_id, self.node, self.second, self.phase, "arrivals", "")


@dataclass(frozen=True, slots=True)
class MetricWindow:
    """The values that scenario authors recorded for one metric on one node in one second.

    `values` counts value x 1,000, rounded, so that fractions survive.
    """

    run_id: str
    node: str
    second: int
    phase: str
    metric: str
    unit: str
    values: Histogram

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """The merge key."""
        return (self.run_id, self.node, self.second, self.phase, "metric", f"{self.metric} {self.unit}")


METRIC_SCALE = 1000
"""`MetricWindow.values` holds values times this."""

STAGES = ("dns", "connect", "tls", "send", "wait", "receive")
"""The parts of a request in order, as the HTTP Archive format names them; `wait` ends with the first byte."""

STAGE_WINDOW_S = 10
"""Seconds in one `StageWindow`: an explanation of latencies, which needs no resolution of a second."""


@dataclass(frozen=True, slots=True)
class StageWindow:
    """Where the time of one request went on one node, in `STAGE_WINDOW_S` seconds from `second` on.

    Requests that had a response, whatever its status. `dns`, `connect` and `tls` count the connections that
    were made, not the requests that found one open.
    """

    run_id: str
    node: str
    second: int
    phase: str
    method: str
    name: str
    stages: tuple[tuple[str, Histogram], ...]
    """(one of `STAGES`, microseconds), those that occurred."""

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """The merge key."""
        return (self.run_id, self.node, self.second, self.phase, f"stages of {self.method}", self.name)


AnyWindow = Window | ArrivalWindow | MetricWindow | StageWindow


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one monitor at one time (`at_s`: seconds since the epoch).

    A source that cannot be read has `value` None and says why in `unavailable`; it never reports 0 instead.
    """

    at_s: float
    node: str
    source: str
    metric: str
    unit: str
    value: float | None
    unavailable: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a monitor found that is no number: a slow operation, an index, a plan (`at_s` as in `Reading`).

    `kind` says what it is and so which keys `data` has; docs/monitors.md lists them for each monitor.
    """

    at_s: float
    node: str
    source: str
    kind: str
    data: Mapping[str, Any]
    """JSON values."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One load generator in a run: what it was given, and whether all that it measured has arrived.

    Times are seconds of the run. `note` says in words what is wrong with it, if anything is.
    """

    node: str
    index: int
    complete: bool
    last_second: int
    """Second of the run of its last window; -1 when none arrived."""
    note: str = ""
    joined_s: float = 0.0
    left_s: float | None = None
    """When it left, or was last heard of, before the load had ended; None if it stayed."""
    given: int | None = None
    """Arrivals that were its to start; None in a closed load, and in records from before they were noted."""
    lost: tuple[tuple[int, str, int], ...] = ()
    """(second in which they were due, phase, arrivals) that it was given and of which nothing was heard."""
    clock_offset_ms: float | None = None
    """Its monotonic clock minus the master's; None for the node that keeps the record itself."""
    clock_error_ms: float | None = None
    """`clock_offset_ms` is off by this at most: half of the quickest round trip."""


NodeEventKind = Literal["joined", "left", "lost", "returned"]


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """A load generator that came or went in mid-run."""

    at_s: float
    """Seconds of the run."""
    node: str
    kind: NodeEventKind
    note: str = ""
    """What that meant for its share, in words."""


EndReason = Literal["running", "finished", "stopped", "interrupted", "aborted"]
"""`running` in a record that was never closed: its process was killed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`run.json`: what was run, against what, from where, and how it ended."""

    run_id: str
    started_at_s: float
    host: str
    scenarios: tuple[str, ...]
    shape: str
    phases: tuple[PhaseSpan, ...]
    thresholds: tuple[str, ...]
    time_scale: float = 1.0
    max_lag_p95_ms: float = 50.0
    """Above this 95th percentile of arrival lag, the generator and not the target was the limit."""
    max_generator_cpu_percent: float = 90.0
    """The same for the CPU of a generator's process, in percent of one core."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Locust and perfload options, secrets redacted."""
    environment: Mapping[str, object] = field(default_factory=dict)
    """Versions, platform and processors of the machine that wrote the record."""
    nodes: tuple[NodeRecord, ...] = ()
    events: tuple[NodeEvent, ...] = ()
    """In order of time; empty unless a cluster lost, or was joined by, a worker in mid-run."""
    ended_at_s: float | None = None
    end_reason: EndReason = "running"
    end_note: str = ""
    """Why it ended before its time, in words."""
    schema: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything that one run left behind, as read back from its folder."""

    manifest: Manifest
    windows: tuple[Window, ...] = ()
    """Sums over the nodes, as are metrics and stages; `perfload.store.load` can leave them apart."""
    arrivals: tuple[ArrivalWindow, ...] = ()
    metrics: tuple[MetricWindow, ...] = ()
    readings: tuple[Reading, ...] = ()
    damage: tuple[str, ...] = ()
    """Lines that could not be read back, in words: a record cut off by a crash or a full disk."""
    stages: tuple[StageWindow, ...] = ()
    """Empty in records of runs with a foreign client, and in those from before there were stages."""
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One threshold held against one run. `no_data` fails: silence is no success."""

    rule: str
    status: Literal["pass", "fail", "no_data"]
    observed: float | None
    limit: float
    unit: str
    """Of `observed` and `limit`: `ms`, `%`, `/s`, `users`, or a custom metric's own."""
    detail: str = ""

    @property
    def passed(self) -> bool:
        """True only for `pass`."""
        return self.status == "pass"
