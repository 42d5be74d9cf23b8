"""The types at perfload's borders. Frozen, slotted, standard library only; the units are in the names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from perfload.histogram import Histogram
from perfload.phase import ALL_PHASES as ALL_PHASES  # noqa: PLC0414  # a type of these borders too
from perfload.phase import Model as Model  # noqa: PLC0414
from perfload.phase import Phase as Phase  # noqa: PLC0414

SCHEMA_VERSION = 1
"""Version of the run record and of `summary.json`; a reader refuses a newer one."""


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
