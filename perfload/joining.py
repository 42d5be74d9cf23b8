"""Windows of many load generators into windows of all of them together, while they are read.

A hundred nodes have a hundred times as many windows as one, and nobody asks for the latencies of one node. So
their histograms are added one after the other, and what is held is as much as one node has. Windows of
arrivals stay apart: each node is held to its own share of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from perfload.histogram import Histogram
from perfload.model import STAGES, AnyWindow, ArrivalWindow, MetricWindow, StageWindow, Window

ALL_NODES = ""
"""The node of a window that is the sum of several nodes' windows."""


def join(windows: Iterable[AnyWindow]) -> list[AnyWindow]:
    """Return the sums over all nodes of `windows`, in no particular order; one that came twice counts once.

    A sum has `ALL_NODES` as its node. What only one node has measured is returned as it came, and so are all
    arrivals. None of `windows` is changed. They are taken one by one, and let go at once where another node
    has one for the same second, phase and request.
    """
    bits: dict[str, int] = {}
    seen: dict[_Key, int] = {}
    """A bit for each node that has been counted: 40 bytes for a hundred nodes, where a set takes 8 kB."""
    alone: dict[_Key, AnyWindow] = {}
    sums: dict[_Key, _Sum] = {}
    for window in windows:
        run_id, node, second, phase, kind, name = window.key
        apart = node if isinstance(window, ArrivalWindow) else ALL_NODES
        key = (type(window), run_id, apart, second, phase, kind, name)
        bit = bits.setdefault(node, 1 << len(bits))
        before = seen.get(key, 0)
        if before & bit:
            continue
        seen[key] = before | bit
        if not before:
            alone[key] = window
            continue
        if key not in sums:
            sums[key] = _SUMS[type(window)](alone.pop(key))
        sums[key].add(window)
    return [*alone.values(), *(total.window() for total in sums.values())]


_Key = tuple[type[AnyWindow], str, str, int, str, str, str]


class _Sum(Protocol):
    """The sum of windows that differ in nothing but their node."""

    def add(self, window: Any) -> None:
        """Add one window, of the kind that this sum is of; it is not changed."""

    def window(self) -> AnyWindow:
        """Return the sum."""


class _Requests:
    def __init__(self, first: Window) -> None:
        self._head = (first.run_id, ALL_NODES, first.second, first.phase, first.method, first.name)
        self._latency = Histogram()
        self._service = Histogram()
        self._failed = Histogram()
        self._received_bytes = 0
        self._due: dict[int, tuple[int, int]] = {}
        """Second in which requests were due -> succeeded, failed."""
        self._reasons: Counter[str] = Counter()
        self.add(first)

    def add(self, window: Window) -> None:
        self._latency.add(window.latency)
        self._service.add(window.service)
        self._failed.add(window.failed)
        self._received_bytes += window.received_bytes
        for second, succeeded, failed in window.due:
            before = self._due.get(second, (0, 0))
            self._due[second] = (before[0] + succeeded, before[1] + failed)
        for reason, count in window.reasons:
            self._reasons[reason] += count

    def window(self) -> Window:
        return Window(
            *self._head,
            latency=self._latency,
            service=self._service,
            failed=self._failed,
            received_bytes=self._received_bytes,
            due=tuple((second, *counts) for second, counts in sorted(self._due.items())),
            # The most frequent first; else by name, so that the order in which nodes came does not show.
            reasons=tuple(sorted(self._reasons.items(), key=lambda row: (-row[1], row[0]))),
        )


class _Metric:
    def __init__(self, first: MetricWindow) -> None:
        self._head = (first.run_id, ALL_NODES, first.second, first.phase, first.metric, first.unit)
        self._values = Histogram()
        self.add(first)

    def add(self, window: MetricWindow) -> None:
        self._values.add(window.values)

    def window(self) -> MetricWindow:
        return MetricWindow(*self._head, values=self._values)


class _Stages:
    def __init__(self, first: StageWindow) -> None:
        self._head = (first.run_id, ALL_NODES, first.second, first.phase, first.method, first.name)
        self._stages: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.add(first)

    def add(self, window: StageWindow) -> None:
        for stage, histogram in window.stages:
            self._stages[stage].add(histogram)

    def window(self) -> StageWindow:
        stages = tuple((stage, self._stages[stage]) for stage in STAGES if stage in self._stages)
        return StageWindow(*self._head, stages=stages)


_SUMS: dict[type[AnyWindow], Callable[[Any], _Sum]] = {
    Window: _Requests,
    MetricWindow: _Metric,
    StageWindow: _Stages,
}
