"""The newest values in Prometheus' exposition format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfload.agent.last_values import Snapshot
from perfload.monitors.base import MonitorUnavailable

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


@dataclass(frozen=True, slots=True)
class Exposition:
    """A body and its content type."""

    body: bytes
    content_type: str


def expose(snapshot: Snapshot) -> Exposition:
    """Return `snapshot` as gauges; raises `MonitorUnavailable` where the client library is missing."""
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    except ImportError as error:
        raise MonitorUnavailable(
            "prometheus-client is not installed", hint="pip install 'perfload[prometheus]'"
        ) from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(lambda: _metrics(snapshot)))
    return Exposition(generate_latest(registry), CONTENT_TYPE_LATEST)


@dataclass(frozen=True, slots=True)
class _Collector:
    """What a registry asks for metrics."""

    metrics: Callable[[], Iterable[Metric]]

    def collect(self) -> Iterable[Metric]:
        return self.metrics()


def _metrics(snapshot: Snapshot) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    readings = GaugeMetricFamily(
        "perfload_reading",
        "The newest value of a monitor's metric.",
        labels=["node", "source", "metric", "unit"],
    )
    for reading in snapshot.readings:
        if reading.value is not None:
            readings.add_metric([reading.node, reading.source, reading.metric, reading.unit], reading.value)
    yield readings
    is_up = GaugeMetricFamily(
        "perfload_monitor_up", "Whether the last read of a monitor worked.", labels=["source"]
    )
    for source, value in snapshot.is_up.items():
        is_up.add_metric([source], float(value))
    yield is_up
    yield GaugeMetricFamily(
        "perfload_series_left_out",
        "Metrics that are missing here because there are too many.",
        value=snapshot.left_out,
    )
