"""Requests, arrivals and metrics of one node, counted into windows of a second.

The caller says which second and phase a sample belongs to: nothing here reads a clock. A window is handed out
once, when its second is over, and never changes afterwards; `merge` makes a list of windows from many nodes,
some sent twice, into one in which each counts once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from perfload.errors import UsageError
from perfload.histogram import Histogram
from perfload.model import (
    METRIC_SCALE,
    STAGE_WINDOW_S,
    STAGES,
    AnyWindow,
    ArrivalWindow,
    MetricWindow,
    StageWindow,
    Window,
)

MAX_REASONS = 50
"""Distinct failure reasons kept per window; the rest are counted under `OTHER_REASONS`."""
OTHER_REASONS = "(other reasons)"
MAX_REASON_LENGTH = 500

MAX_METRIC = 1e15
"""Times 1,000 it still is a 64-bit number, as encoded histograms need."""

AnyWindowT = TypeVar("AnyWindowT", bound=AnyWindow)


class RequestCell:
    """The mutable counts behind one `Window`."""

    __slots__ = ("due", "failed", "late", "prompt", "reasons", "received_bytes", "service_of_late")

    def __init__(self) -> None:
        self.prompt = Histogram()
        """Requests whose latency is their service time: nearly all, so they are counted once for both."""
        self.late = Histogram()
        """Latencies of those that were sent after their intended start."""
        self.service_of_late = Histogram()
        self.failed = Histogram()
        self.received_bytes = 0
        self.due: defaultdict[int, list[int]] = defaultdict(_none_due)
        """Second of the intended start -> [succeeded, failed]."""
        self.reasons: Counter[str] = Counter()

    def passed(self, latency_us: int, service_us: int, due_second: int, received_bytes: int) -> None:
        """Count a request that has succeeded; called once per request, on the hot path."""
        self.due[due_second][0] += 1
        self.received_bytes += received_bytes
        if latency_us == service_us:
            self.prompt.record(service_us)
        else:
            self.late.record(latency_us)
            self.service_of_late.record(service_us)

    def has_failed(self, latency_us: int, due_second: int, received_bytes: int, reason: str) -> None:
        """Count a request that has failed."""
        self.due[due_second][1] += 1
        self.received_bytes += received_bytes
        self.failed.record(latency_us)
        _count_reason(self.reasons, reason)


def _none_due() -> list[int]:
    return [0, 0]


class StageCell:
    """The mutable counts behind one `StageWindow`."""

    __slots__ = STAGES

    def __init__(self) -> None:
        for stage in STAGES:
            setattr(self, stage, Histogram())

    dns: Histogram
    connect: Histogram
    tls: Histogram
    send: Histogram
    wait: Histogram
    receive: Histogram


class _Arrivals:
    """The mutable counts behind one `ArrivalWindow`."""

    __slots__ = ("dropped", "errors", "lag")

    def __init__(self) -> None:
        self.lag = Histogram()
        self.dropped = 0
        self.errors: Counter[str] = Counter()


def _count_reason(reasons: Counter[str], reason: str) -> None:
    reason = reason[:MAX_REASON_LENGTH]
    if reason not in reasons and len(reasons) >= MAX_REASONS:
        reason = OTHER_REASONS
    reasons[reason] += 1


class Recorder:
    """Counts what one node does; `take` hands out the windows whose seconds are over."""

    def __init__(self, run_id: str, node: str) -> None:
        self.run_id = run_id
        self.node = node
        self._requests: dict[int, defaultdict[tuple[str, str, str], RequestCell]] = {}
        self._stages: defaultdict[tuple[int, str, str, str], StageCell] = defaultdict(StageCell)
        self._arrivals: defaultdict[tuple[int, str], _Arrivals] = defaultdict(_Arrivals)
        self._units: dict[str, str] = {}
        self._metrics: defaultdict[tuple[int, str, str, str], Histogram] = defaultdict(Histogram)

    def cell(self, second: int, phase: str, method: str, name: str) -> RequestCell:
        """Return where the requests that end in `second` are counted; to be kept no longer than that."""
        cells = self._requests.get(second)
        if cells is None:
            cells = self._requests[second] = defaultdict(RequestCell)
        return cells[phase, method, name]

    def stage_cell(self, second: int, phase: str, method: str, name: str) -> StageCell:
        """Return where the stages of requests that end in `second` are counted."""
        return self._stages[second - second % STAGE_WINDOW_S, phase, method, name]

    def request(
        self,
        second: int,
        phase: str,
        method: str,
        name: str,
        *,
        latency_us: int,
        service_us: int,
        due_second: int,
        received_bytes: int = 0,
        reason: str | None = None,
    ) -> None:
        """Count one finished request.

        `second` is that of its end, `due_second` that of its intended start. A `reason` makes it a failure.
        """
        cell = self.cell(second, phase, method, name)
        if reason is None:
            cell.passed(latency_us, service_us, due_second, received_bytes)
        else:
            cell.has_failed(latency_us, due_second, received_bytes, reason)

    def arrival(self, second: int, phase: str, lag_us: int) -> None:
        """Count an arrival that was started `lag_us` after its intended time."""
        self._arrivals[second, phase].lag.record(lag_us)

    def drop(self, second: int, phase: str) -> None:
        """Count an arrival that was not started because `max_users` were in flight."""
        self._arrivals[second, phase].dropped += 1

    def scenario_error(self, second: int, phase: str, reason: str) -> None:
        """Count a virtual user whose own code failed: an exception in a task, no data row left."""
        _count_reason(self._arrivals[second, phase].errors, reason)

    def metric(self, second: int, phase: str, metric: str, unit: str, value: float) -> None:
        """Count one value of an author's metric; raises `UsageError` if it is negative or no number."""
        self.metrics(second, phase, metric, unit, (value,))

    def metrics(self, second: int, phase: str, metric: str, unit: str, values: Sequence[float]) -> None:
        """Count many values of one metric, or none if one is wrong: cheaper than `metric` for each."""
        for value in values:
            if not 0 <= value <= MAX_METRIC:
                raise UsageError(
                    f"metric {metric!r} was given {value!r}",
                    hint=f"record(metric, value, unit) takes numbers from 0 to {MAX_METRIC:g}",
                )
        if self._units.setdefault(metric, unit) != unit:
            raise UsageError(
                f"metric {metric!r} was given in {unit!r} and before in {self._units[metric]!r}",
                hint="give each unit a metric of its own",
            )
        record = self._metrics[second, phase, metric, unit].record
        for value in values:
            record(round(value * METRIC_SCALE))

    def take(self, before: int | None = None) -> list[AnyWindow]:
        """Remove and return the windows of all seconds below `before` (None: all), oldest first."""
        taken: list[AnyWindow] = []
        for second in sorted(self._requests):
            if before is None or second < before:
                taken += [self._window(second, key, cell) for key, cell in self._requests.pop(second).items()]
        for key in sorted(self._stages):
            if before is None or key[0] + STAGE_WINDOW_S <= before:
                taken.append(self._stage_window(key, self._stages.pop(key)))
        for second, phase in sorted(self._arrivals):
            if before is None or second < before:
                cell = self._arrivals.pop((second, phase))
                errors = tuple(cell.errors.most_common())
                window = ArrivalWindow(self.run_id, self.node, second, phase, cell.lag, cell.dropped, errors)
                taken.append(window)
        for key in sorted(self._metrics):
            if before is None or key[0] < before:
                taken.append(MetricWindow(self.run_id, self.node, *key, self._metrics.pop(key)))
        return taken

    def _window(self, second: int, key: tuple[str, str, str], cell: RequestCell) -> Window:
        latency, service = cell.late, cell.service_of_late
        latency.add(cell.prompt)
        service.add(cell.prompt)
        return Window(
            self.run_id,
            self.node,
            second,
            *key,
            latency=latency,
            service=service,
            failed=cell.failed,
            received_bytes=cell.received_bytes,
            due=tuple((due_second, ok, failed) for due_second, (ok, failed) in sorted(cell.due.items())),
            reasons=tuple(cell.reasons.most_common()),
        )

    def _stage_window(self, key: tuple[int, str, str, str], cell: StageCell) -> StageWindow:
        counted = ((stage, getattr(cell, stage)) for stage in STAGES)
        stages = tuple((stage, histogram) for stage, histogram in counted if histogram.count)
        return StageWindow(self.run_id, self.node, *key, stages=stages)


def merge(windows: Iterable[AnyWindowT]) -> list[AnyWindowT]:
    """Return `windows` without those that came twice (same key), in order of time.

    Sending again, late or out of order changes nothing: merging is idempotent and commutative.
    """
    unique = {window.key: window for window in windows}
    return sorted(unique.values(), key=lambda window: (window.second, window.key))
