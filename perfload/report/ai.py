"""The report on AI APIs: times of tokens, tokens per second, goodput. Only where a scenario asked one.

The metrics are those that `perfload.load.ai` records; docs/ai.md defines them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from perfload.analysis.tally import counted_phases, load_end_s, ran_s, users_by_second
from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, RunRecord
from perfload.report import series
from perfload.report.drawing import Figure, base_layout, line, over_time, rounded
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.overview import tile
from perfload.report.palette import BLUE, GREEN, ORANGE, PURPLE, RED
from perfload.report.quantities import NOTHING, count, latency, number, percent
from perfload.report.series import Series, TimeAxis

TIMES = {
    "ttft": "Time to first token",
    "ttfo": "Time to first token of content",
    "tpot": "Time per output token",
    "icl": "From chunk to chunk",
    "e2e": "To the last token",
}
"""Metrics in milliseconds, in the order of the table."""

CHARTS = {
    "ai-ttft": "Time to first token",
    "ai-gaps": "Time per output token, and from chunk to chunk",
    "ai-tokens": "Output tokens per second",
    "ai-load": "Output tokens per second against virtual users in flight",
    "ai-goodput": "Goodput: answers that met all objectives",
}


def is_there(record: RunRecord) -> bool:
    """Say whether the run has anything of an AI API."""
    return any(window.metric in TIMES for window in record.metrics)


def build(record: RunRecord, axis: TimeAxis) -> dict[str, Figure]:
    """Return the charts that have something to show, by their names in `CHARTS`."""
    if not is_there(record):
        return {}
    figures = {
        "ai-ttft": _percentiles(record, axis, "ttft", "time to first token, ms"),
        "ai-gaps": _gaps(record, axis),
        "ai-tokens": _tokens(record, axis),
        "ai-load": _load(record),
        "ai-goodput": _goodput(record, axis),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def section(record: RunRecord) -> Markup:
    """Return the key figures and the table of times, over the phases that count."""
    totals = _totals(record)
    columns = (Column("Time"), Column("Metric"), *numbers("Count", "p50", "p90", "p95", "p99", "Max"))
    rows = [Row(_cells(metric, totals[metric])) for metric in TIMES if totals[metric].count]
    return joined([_tiles(record, totals), table(columns, rows, label="Times of tokens")])


def _cells(metric: str, times: Histogram) -> tuple[str, ...]:
    spread = (latency(value / METRIC_SCALE) for value in times.percentiles([50, 90, 95, 99, 100]))
    return TIMES[metric], element("code", metric), count(times.count), *spread


def _totals(record: RunRecord) -> defaultdict[str, Histogram]:
    phases = counted_phases(record.manifest)
    totals: defaultdict[str, Histogram] = defaultdict(Histogram)
    for window in record.metrics:
        if window.phase in phases:
            totals[window.metric].add(window.values)
    return totals


def _tiles(record: RunRecord, totals: dict[str, Histogram]) -> Markup:
    ended_s = load_end_s(record)
    counted = [span for span in record.manifest.phases if not span.warmup]
    lasted_s = sum(ran_s(span, ended_s) for span in counted) or ended_s
    tokens = {name: totals[f"{name}_tokens"].sum / METRIC_SCALE for name in ("output", "input", "cached")}
    good, limited = totals["good"], totals["rate_limited"]
    return element(
        "div",
        tile("Output tokens", f"{number(tokens['output'] / lasted_s)}/s", f"{tokens['output']:,.0f} in all"),
        tile(
            "Input tokens", f"{number(tokens['input'] / lasted_s)}/s", f"{tokens['cached']:,.0f} from a cache"
        ),
        tile(
            "Goodput",
            percent(_mean(good)),
            "of the answers met all objectives" if good.count else "no objectives",
        ),
        tile("Rate limited", percent(_mean(limited)), "of the requests"),
        tile(
            "Cost",
            number(totals["cost"].sum / METRIC_SCALE) if totals["cost"].count else NOTHING,
            "as priced",
        ),
        class_="tiles",
    )


def _mean(values: Histogram) -> float | None:
    return values.mean / METRIC_SCALE if values.count else None


def _binned(record: RunRecord, axis: TimeAxis, metric: str) -> list[Histogram]:
    bins = [Histogram() for _ in range(axis.bins)]
    for window in record.metrics:
        index = axis.bin_of(window.second)
        if window.metric == metric and index is not None:
            bins[index].add(window.values)
    return bins


def _percentiles(record: RunRecord, axis: TimeAxis, metric: str, title: str) -> Figure | None:
    bins = _binned(record, axis, metric)
    if not any(values.count for values in bins):
        return None
    lines = (("p50", 50, GREEN, "solid"), ("p95", 95, ORANGE, "dash"), ("p99", 99, PURPLE, "dot"))
    traces = [
        line(name, _percentile(bins, share), axis, color, "%{y:,.4~g} ms", dash=dash)
        for name, share, color, dash in lines
    ]
    return over_time(record, axis, traces, title)


def _percentile(bins: list[Histogram], share: float) -> Series:
    return [values.percentile(share) / METRIC_SCALE if values.count else None for values in bins]


def _gaps(record: RunRecord, axis: TimeAxis) -> Figure | None:
    tpot, icl = _binned(record, axis, "tpot"), _binned(record, axis, "icl")
    lines = (
        ("time per output token, p50", tpot, 50, GREEN, "solid"),
        ("time per output token, p99", tpot, 99, GREEN, "dot"),
        ("from chunk to chunk, p50", icl, 50, BLUE, "solid"),
        ("from chunk to chunk, p99", icl, 99, BLUE, "dot"),
    )
    traces = [
        line(name, _percentile(bins, share), axis, color, "%{y:,.4~g} ms", dash=dash)
        for name, bins, share, color, dash in lines
        if any(values.count for values in bins)
    ]
    return over_time(record, axis, traces, "ms") if traces else None


def _tokens_per_s(record: RunRecord, axis: TimeAxis) -> Series:
    """Return the output tokens of answers that ended in each bin, per second of it."""
    bins = _binned(record, axis, "output_tokens")
    return [
        values.sum / METRIC_SCALE / axis.width_s(index) if values.count else None
        for index, values in enumerate(bins)
    ]


def _tokens(record: RunRecord, axis: TimeAxis) -> Figure | None:
    tokens = _tokens_per_s(record, axis)
    if not any(tokens):
        return None
    trace = line("output tokens of answers that ended", tokens, axis, BLUE, "%{y:,.4~g}/s", shape="hv")
    return over_time(record, axis, [trace], "tokens per second", height=240)


def _load(record: RunRecord) -> Figure | None:
    seconds = TimeAxis(series.time_axis(record).end_s)
    users = users_by_second(record.readings, record.manifest.started_at_s)
    points = [
        (users[second], tokens)
        for second, tokens in enumerate(_tokens_per_s(record, seconds))
        if tokens is not None and second in users
    ]
    if not points:
        return None
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "a second of the run",
        "x": [x for x, _ in points],
        "y": [rounded(y) for _, y in points],
        "marker": {"color": BLUE, "size": 6, "opacity": 0.6},
        "hovertemplate": "%{x} users, %{y:,.4~g} tokens/s<extra></extra>",
    }
    layout = base_layout("output tokens per second", height=280) | {"hovermode": "closest"}
    layout["xaxis"] = {
        "title": {"text": "virtual users in flight", "font": {"size": 12}},
        "rangemode": "tozero",
    }
    layout["margin"] = layout["margin"] | {"b": 60}
    return {"data": [trace], "layout": layout}


def _goodput(record: RunRecord, axis: TimeAxis) -> Figure | None:
    bins = _binned(record, axis, "good")
    values: Series = [_mean(found) for found in bins]
    if all(value is None for value in values):
        return None
    figure = over_time(record, axis, [line("goodput", values, axis, RED, "%{y:.1f} %")], "%", height=240)
    figure["layout"]["yaxis"]["range"] = [0, 101]
    return figure
