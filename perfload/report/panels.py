"""Charts of what monitors read: a line of `PANELS` for each, in the order of the report.

A metric that no panel names is in the table of all readings; one that should be seen gets a line here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from perfload.model import RunRecord
from perfload.report import series
from perfload.report.drawing import Figure, label, line, over_time
from perfload.report.palette import PALETTE
from perfload.report.series import Series, TimeAxis

MAX_LINES = len(PALETTE)
"""Of one chart, those with the highest peaks; more cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: some metrics of one source, on one axis."""

    source: str
    title: str
    axis: str
    metrics: tuple[str, ...]
    """`cpu_percent` draws `cpu_percent[uvicorn]`, too; `connections[active]` no other label. Empty: all."""
    factor: float = 1.0
    """What values are multiplied by."""

    @property
    def heading(self) -> str:
        """What stands above it."""
        return f"{_SOURCES[self.source]}: {self.title}"


_SOURCES = {
    "host": "Host",
    "processes": "Processes",
    "gpu": "GPU",
    "mongodb": "MongoDB",
    "redis": "Redis",
    "prometheus": "Prometheus",
}


_MB = 1e-6

PANELS = (
    Panel(
        "host",
        "processors by state",
        "%",
        (
            "cpu_user_percent",
            "cpu_system_percent",
            "cpu_iowait_percent",
            "cpu_steal_percent",
            "cpu_percent_max_core",
        ),
    ),
    Panel(
        "host",
        "time in which something waited",
        "%",
        ("cpu_pressure_some_percent", "memory_pressure_some_percent", "io_pressure_some_percent"),
    ),
    Panel("host", "network", "MB/s", ("network_sent_bytes_per_s", "network_received_bytes_per_s"), _MB),
    Panel("host", "disks", "MB/s", ("disk_read_bytes_per_s", "disk_written_bytes_per_s"), _MB),
    Panel(
        "host",
        "container",
        "%",
        ("container_cpu_percent", "container_memory_percent", "container_throttled_percent"),
    ),
    Panel("processes", "processor time", "% of one core", ("process_cpu_percent",)),
    Panel("processes", "memory", "MB", ("process_rss_bytes",), _MB),
    Panel("gpu", "use", "%", ("utilisation_percent", "memory_percent")),
    Panel("gpu", "power", "W", ("power_watts",)),
    Panel("mongodb", "operations", "operations/s", ("operations_per_s",)),
    Panel("mongodb", "mean time of operations", "ms", ("latency_mean_ms",)),
    Panel("mongodb", "connections", "connections", ("connections[current]", "connections[active]")),
    Panel(
        "mongodb", "read without an index", "per second", ("collection_scans_per_s", "sorts_in_memory_per_s")
    ),
    Panel("mongodb", "waiting operations", "operations", ("lock_queue", "ticket_queue")),
    Panel("mongodb", "cache", "%", ("cache_used_percent", "cache_dirty_percent")),
    Panel(
        "mongodb", "time of collections", "ms/s", ("collection_read_ms_per_s", "collection_write_ms_per_s")
    ),
    Panel("mongodb", "replication lag", "s", ("replication_lag_s",)),
    Panel("redis", "commands", "commands/s", ("commands_per_s",)),
    Panel("redis", "hits and misses", "keys/s", ("hits_per_s", "misses_per_s", "evicted_per_s")),
    Panel("redis", "memory", "MB", ("memory_used_bytes", "memory_rss_bytes"), _MB),
    Panel(
        "redis",
        "processor time",
        "% of one core",
        ("cpu_main_thread_percent", "cpu_user_percent", "cpu_system_percent"),
    ),
    Panel("prometheus", "series", "", ()),
)


def build(record: RunRecord, axis: TimeAxis) -> dict[str, Figure]:
    """Return the panels that have something to show, by their heading."""
    found = _series(record, axis)
    figures = {panel.heading: _figure(record, axis, panel, found) for panel in PANELS}
    return {title: figure for title, figure in figures.items() if figure is not None}


Key = tuple[str, str, str]
"""(source, node, metric)."""


def _series(record: RunRecord, axis: TimeAxis) -> dict[Key, Series]:
    found: defaultdict[Key, Series] = defaultdict(axis.empty)
    for reading in record.readings:
        index = axis.bin_of(reading.at_s - record.manifest.started_at_s)
        if index is None or reading.value is None or not series.is_measured(reading):
            continue
        values = found[reading.source, reading.node, reading.metric]
        held = values[index]
        values[index] = reading.value if held is None else max(held, reading.value)
    return dict(found)


def _figure(record: RunRecord, axis: TimeAxis, panel: Panel, found: dict[Key, Series]) -> Figure | None:
    mine = {key: values for key, values in found.items() if _belongs(panel, key)}
    nodes = {node for _, node, _ in mine}
    busiest = sorted(mine, key=lambda key: -max(value for value in mine[key] if value is not None))
    traces = [
        line(
            _name(panel, key, several=len(nodes) > 1),
            [None if value is None else value * panel.factor for value in mine[key]],
            axis,
            color,
        )
        for key, color in zip(sorted(busiest[:MAX_LINES]), PALETTE, strict=False)
    ]
    return over_time(record, axis, traces, panel.axis, height=240) if traces else None


def _belongs(panel: Panel, key: Key) -> bool:
    source, _, metric = key
    names = {metric, metric.partition("[")[0]}
    return source == panel.source and (not panel.metrics or not names.isdisjoint(panel.metrics))


def _name(panel: Panel, key: Key, *, several: bool) -> str:
    """Return what tells a line from others: its metric or its label, and its node if there are several."""
    _, node, metric = key
    own_label = metric.partition("[")[2].removesuffix("]")
    name = own_label if own_label and len(panel.metrics) == 1 else metric
    return label(f"{name}, {node}" if several else name, 60)
