"""The charts of a sweep: latency against throughput, and everything else against the level of load."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from perfload.analysis.sweep_plan import level_text
from perfload.analysis.sweep_schema import LevelFigures, LevelSummary, SweepSummary, TokenFigures
from perfload.report.drawing import Figure, base_layout, rounded
from perfload.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from perfload.report.sweep_words import level_name

CHARTS = {
    "sweep-curve": "Response time against throughput",
    "sweep-rate": "Throughput against the load",
    "sweep-ttft": "Time to first token against the load",
    "sweep-tpot": "Time per output token against the load",
    "sweep-tokens": "Output tokens per second against the load",
    "sweep-goodput": "Goodput against the load: answers per second, and those that met all objectives",
}
"""Name of each chart, in the order of the page, and its title."""

SPANS_DECADES = 10.0
"""An axis whose greatest value is more than so many times its smallest is logarithmic: both ends are seen."""

_HEIGHT_PX = 340
_SHAPES = {"met": "circle", "missed": "x", "unjudged": "circle"}
"""Verdict of a level: the mark of its points. Others are open circles: they are not to be believed."""

Value = Callable[[LevelFigures], float | None]


def build(summary: SweepSummary) -> dict[str, Figure]:
    """Return the charts that have something to show, by their names in `CHARTS`."""
    levels = summary["levels"]
    axis = _load_axis(summary)
    figures = {
        "sweep-curve": _curve(summary),
        "sweep-rate": _against_load(summary, axis, _rates(summary), "per second", "/s"),
        "sweep-ttft": _against_load(summary, axis, _times(_ttft), "time to first token, ms", " ms"),
        "sweep-tpot": _against_load(summary, axis, _times(_tpot), "time per output token, ms", " ms"),
        "sweep-tokens": _against_load(summary, axis, [_TOKENS], "tokens per second", "/s"),
        "sweep-goodput": _against_load(summary, axis, _GOODPUT, "answers per second", "/s"),
    }
    return {name: figure for name, figure in figures.items() if figure is not None and levels}


def _token(pick: Callable[[TokenFigures], float | None]) -> Value:
    return lambda figures: pick(figures["tokens"]) if figures["tokens"] else None


def _ttft(key: str) -> Value:
    return _token(lambda tokens: tokens["ttft_ms"][key])  # type: ignore[literal-required]


def _tpot(key: str) -> Value:
    return _token(lambda tokens: tokens["tpot_ms"][key])  # type: ignore[literal-required]


def _response(key: str) -> Value:
    return lambda figures: figures["response_time_ms"][key]  # type: ignore[literal-required]


_Line = tuple[str, Value, str, str]
"""Name, value, colour and dash."""

_TOKENS: _Line = ("output tokens/s", _token(lambda tokens: tokens["output_tokens_per_s"]), BLUE, "solid")
_GOODPUT: Sequence[_Line] = (
    ("all answers", _token(lambda tokens: tokens["answers_per_s"]), GREY, "dash"),
    ("good answers", _token(lambda tokens: tokens["good_per_s"]), RED, "solid"),
)


def _times(of: Callable[[str], Value]) -> Sequence[_Line]:
    return (
        ("p50", of("p50"), GREEN, "solid"),
        ("p95", of("p95"), ORANGE, "dash"),
        ("p99", of("p99"), PURPLE, "dot"),
    )


def _rates(summary: SweepSummary) -> Iterator[_Line]:
    if summary["model"] == "arrivals":
        yield "virtual users started", lambda figures: figures["started_per_s"], GREY, "dash"
    yield "requests finished", lambda figures: figures["requests_per_s"], BLUE, "solid"


def _curve(summary: SweepSummary) -> Figure | None:
    """Return response times over requests per second, a point for each level, joined in their order."""
    levels = [level for level in summary["levels"] if level["figures"]["requests_per_s"] is not None]
    rates = [level["figures"]["requests_per_s"] for level in levels]
    traces = [_trace(summary, levels, rates, line, " ms") for line in _times(_response)]
    if not any(value is not None for trace in traces for value in trace["y"]):
        return None
    layout = _layout("response time, ms", "requests finished per second")
    layout["yaxis"] |= _scale([value for trace in traces for value in trace["y"]])
    layout["hovermode"] = "closest"
    layout["xaxis"]["rangemode"] = "tozero"
    for trace in traces:
        trace["hovertemplate"] = "%{text}: %{x:,.4~g} requests/s, %{y:,.4~g} ms"
    labelled = traces[-1]
    labelled |= {"mode": "lines+markers+text", "textposition": "top center", "cliponaxis": False}
    return {"data": traces, "layout": layout}


def _against_load(
    summary: SweepSummary,
    axis: dict[str, Any],
    lines: Sequence[_Line] | Iterator[_Line],
    title: str,
    unit: str,
) -> Figure | None:
    levels = summary["levels"]
    offered = [level["level"] for level in levels]
    traces = [_trace(summary, levels, offered, line, unit) for line in lines]
    values = [value for trace in traces for value in trace["y"]]
    if all(value is None for value in values):
        return None
    layout = _layout(title, "")
    layout["xaxis"] = axis
    if unit == " ms":
        layout["yaxis"] |= _scale(values)
    layout["shapes"], layout["annotations"] = _best_line(summary, is_log=axis.get("type") == "log")
    return {"data": traces, "layout": layout}


def _trace(
    summary: SweepSummary,
    levels: Sequence[LevelSummary],
    places: Sequence[float | None],
    line: _Line,
    unit: str,
) -> dict[str, Any]:
    name, value, color, dash = line
    values = [value(level["figures"]) for level in levels]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": places,
        "y": [None if found is None else rounded(found) for found in values],
        "text": [level_name(level["level"], summary["model"]) for level in levels],
        "line": {"color": color, "dash": dash, "width": 1.8},
        "marker": {
            "size": 8,
            "symbol": [_SHAPES.get(level["verdict"], "circle-open") for level in levels],
        },
        "hovertemplate": f"%{{y:,.4~g}}{unit}",
    }


def _layout(title: str, below: str) -> dict[str, Any]:
    layout = base_layout(title, height=_HEIGHT_PX)
    layout["xaxis"] = {"title": {"text": below, "font": {"size": 12}}}
    layout["margin"] = layout["margin"] | {"b": 76}
    layout["legend"] = layout["legend"] | {"y": -0.26}
    return layout


def _load_axis(summary: SweepSummary) -> dict[str, Any]:
    levels = [level["level"] for level in summary["levels"]]
    below = "virtual users per second" if summary["model"] == "arrivals" else "virtual users at once"
    axis: dict[str, Any] = {
        "title": {"text": below, "font": {"size": 12}},
        "tickmode": "array",
        "tickvals": levels,
        "ticktext": [level_text(level) for level in levels],
    }
    return axis | _scale(list(levels))


def _scale(values: Sequence[float | None]) -> dict[str, Any]:
    """Return the type of an axis: logarithmic where its smallest value would not be seen otherwise."""
    known = [value for value in values if value]
    if known and max(known) / min(known) > SPANS_DECADES:
        return {"type": "log", "rangemode": "normal"}
    return {"rangemode": "tozero"}


def _best_line(summary: SweepSummary, *, is_log: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a line, and what it says, at the highest level that meets the objectives."""
    best = summary["best"]
    if best is None:
        return [], []
    # Plotly takes logarithms for the places of annotations, and only for those.
    place = math.log10(best) if is_log else best
    line = {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": best,
        "x1": best,
        "y0": 0,
        "y1": 1,
        "line": {"color": GREEN, "width": 1.4, "dash": "dot"},
    }
    words = {
        "text": "highest that meets the objectives",
        "showarrow": False,
        "xref": "x",
        "yref": "paper",
        "x": place,
        "y": 1,
        "yanchor": "bottom",
        "font": {"size": 11},
    }
    return [line], [words]
