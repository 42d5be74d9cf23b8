"""The report's charts as plotly figures: plain dictionaries in plotly's JSON schema.

They have no colours of text and background: the page sets those for its light and dark theme.

A figure is None when there is nothing to draw; the page says so in words. All charts over time have the same
x axis (milliseconds since the run's start, shown as mm:ss) and the same bands for the phases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfload.histogram import Histogram
from perfload.model import RunRecord
from perfload.report import series, spectrum
from perfload.report.drawing import Figure, bars, label, line, over_time, tint
from perfload.report.palette import BLUE, GREEN, GREY, ORANGE, PALETTE, PINK, PURPLE, RED
from perfload.report.series import Series, TimeAxis
from perfload.report.spectrum import Curve

MAX_NODES = len(PALETTE)
"""A chart draws this many nodes, those with the highest peaks; more lines cannot be told apart."""


def build(record: RunRecord) -> dict[str, Figure | None]:
    """Return every chart of the report by its name."""
    axis = series.time_axis(record)
    requests = series.requests(record, axis)
    arrivals = series.arrivals(record, axis)
    return {
        "arrivals": _arrivals(record, axis, arrivals),
        "users": _users(record, axis),
        "throughput": _throughput(record, axis, requests),
        "latency": _latency(record, axis, requests.latency),
        "spectrum": _spectrum(record),
        "generator-cpu": _generator_cpu(record, axis),
        "loop-lag": _loop_lag(record, axis),
        "arrival-lag": _arrival_lag(record, axis, arrivals.lag),
        "host": _host(record, axis),
    }


def _arrivals(record: RunRecord, axis: TimeAxis, arrivals: series.Arrivals) -> Figure | None:
    planned = series.planned_per_s(record.manifest.phases, axis)
    if not any(planned) and not any(arrivals.started_per_s) and not any(arrivals.dropped_per_s):
        return None
    shown = "%{y:,.4~g}/s"
    traces = [
        line(
            "started",
            arrivals.started_per_s,
            axis,
            BLUE,
            shown,
            fill="tozeroy",
            fillcolor=tint(BLUE),
            shape="hv",
        ),
        line("planned", planned, axis, GREY, shown, dash="dash", shape="hv"),
    ]
    if any(arrivals.late_per_s):
        traces.append(bars("started late (> 5 ms)", arrivals.late_per_s, axis, ORANGE, shown))
    if any(arrivals.dropped_per_s):
        traces.append(bars("dropped (max_users)", arrivals.dropped_per_s, axis, RED, shown))
    if any(arrivals.lost_per_s):
        traces.append(bars("lost (with a load generator)", arrivals.lost_per_s, axis, PINK, shown))
    return over_time(record, axis, traces, "arrivals per second")


def _users(record: RunRecord, axis: TimeAxis) -> Figure | None:
    in_flight = series.summed(series.readings_by_node(record, axis, "generator", "users"), axis)
    planned = series.planned_users(record.manifest.phases, axis)
    if not _has_data(in_flight) and not any(planned):
        return None
    traces = [line("in flight", in_flight, axis, PURPLE, fill="tozeroy", fillcolor=tint(PURPLE), shape="hv")]
    if _has_data(planned):
        traces.append(line("planned (closed model)", planned, axis, GREY, dash="dash", shape="hv"))
    return over_time(record, axis, traces, "virtual users")


def _throughput(record: RunRecord, axis: TimeAxis, requests: series.Requests) -> Figure | None:
    if not _has_data(requests.succeeded_per_s):
        return None
    shown = "%{y:,.4~g}/s"
    traces = [
        line("succeeded", requests.succeeded_per_s, axis, GREEN, shown, shape="hv"),
        bars("failed", requests.failed_per_s, axis, RED, shown),
    ]
    return over_time(record, axis, traces, "requests per second")


def _latency(record: RunRecord, axis: TimeAxis, merged: Sequence[Histogram]) -> Figure | None:
    if not any(histogram.count for histogram in merged):
        return None
    lines = (
        ("p50", 50, GREEN, "solid"),
        ("p95", 95, BLUE, "solid"),
        ("p99", 99, PURPLE, "dash"),
        ("max", 100, GREY, "dot"),
    )
    traces = [
        line(name, series.percentile_ms(merged, percent), axis, color, "%{y:,.4~g} ms", dash=dash)
        for name, percent, color, dash in lines
    ]
    return over_time(record, axis, traces, "response time, ms", height=340)


def _spectrum(record: RunRecord) -> Figure | None:
    response, service, failed = series.total_latencies(record)
    curves = (
        Curve("response time", response, BLUE, "solid"),
        Curve("service time", service, ORANGE, "dash"),
        Curve("time to failure", failed, RED, "dot"),
    )
    return spectrum.figure(curves, "took at most, ms")


def _generator_cpu(record: RunRecord, axis: TimeAxis) -> Figure | None:
    by_node = series.readings_by_node(record, axis, "generator", "cpu_percent")
    return _by_node(record, axis, by_node, "CPU of one core, %", "%{y:.1f} %")


def _loop_lag(record: RunRecord, axis: TimeAxis) -> Figure | None:
    by_node = series.readings_by_node(record, axis, "generator", "loop_lag_ms")
    return _by_node(record, axis, by_node, "event-loop lag, ms", "%{y:,.4~g} ms")


def _arrival_lag(record: RunRecord, axis: TimeAxis, lag: Sequence[Histogram]) -> Figure | None:
    if not any(histogram.count for histogram in lag):
        return None
    shown = "%{y:,.4~g} ms"
    traces = [
        line("p50", series.percentile_ms(lag, 50), axis, GREEN, shown),
        line("p99", series.percentile_ms(lag, 99), axis, PURPLE, shown, dash="dash"),
    ]
    return over_time(record, axis, traces, "arrival lag, ms", height=240)


def _host(record: RunRecord, axis: TimeAxis) -> Figure | None:
    cpu = series.readings_by_node(record, axis, "host", "cpu_percent")
    memory = series.readings_by_node(record, axis, "host", "memory_percent")
    nodes = _busiest(cpu | {node: memory[node] for node in memory.keys() - cpu.keys()})
    colors = dict(zip(nodes, PALETTE, strict=False))
    traces = []
    for what, by_node, dash in (("CPU", cpu, "solid"), ("memory", memory, "dash")):
        for node in nodes:
            if node in by_node:
                name = f"{what}, {label(node)}"
                traces.append(line(name, by_node[node], axis, colors[node], "%{y:.1f} %", dash=dash))
    if not traces:
        return None
    figure = over_time(record, axis, traces, "host, % in use")
    figure["layout"]["yaxis"]["range"] = [0, 100]
    return figure


def _by_node(
    record: RunRecord, axis: TimeAxis, by_node: Mapping[str, Series], title: str, shown: str
) -> Figure | None:
    traces = [
        line(label(node), by_node[node], axis, color, shown)
        for node, color in zip(_busiest(by_node), PALETTE, strict=False)
    ]
    return over_time(record, axis, traces, title, height=240) if traces else None


def _busiest(by_node: Mapping[str, Series]) -> list[str]:
    """Return the `MAX_NODES` nodes with the highest peaks, in the order of their names."""

    def peak(node: str) -> float:
        return max(value for value in by_node[node] if value is not None)

    return sorted(sorted(by_node, key=peak, reverse=True)[:MAX_NODES])


def _has_data(values: Series) -> bool:
    return any(value is not None for value in values)
