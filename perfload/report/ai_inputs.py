"""Time to first token against the length of the input, which a server has to read before it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perfload.histogram import Histogram
from perfload.report.ai_metrics import INPUTS, Recorded, percentile
from perfload.report.drawing import Figure, base_layout, rounded
from perfload.report.palette import GREEN, ORANGE, PURPLE
from perfload.report.quantities import count

FEW = 20
"""The median of fewer answers is no part of the line."""

_SHOWN = "%{y:,.4~g} ms of %{customdata}"
_LINES = (("p50", 50, GREEN, "solid"), ("p95", 95, ORANGE, "dash"), ("p99", 99, PURPLE, "dot"))


def figure(recorded: Recorded) -> Figure | None:
    """Draw percentiles of each power of two, over the phases that count; None without any input's length."""
    totals = {exponent: recorded.total(metric) for metric, exponent in INPUTS.items()}
    seen = [exponent for exponent, values in totals.items() if values.count]
    if not seen:
        return None
    shown = range(seen[0], seen[-1] + 1)
    enough = {exponent: totals[exponent] for exponent in shown if totals[exponent].count >= FEW}
    few = {exponent: totals[exponent] for exponent in seen if exponent not in enough}
    traces = [_line(name, percent, enough, shown, (color, dash)) for name, percent, color, dash in _LINES]
    traces.append(_loose(few))
    layout = base_layout("time to first token, ms", height=320)
    layout["xaxis"] = {
        "title": {"text": "input tokens, each step twice the one before", "font": {"size": 12}},
        "tickvals": list(shown),
        "ticktext": [tokens_of(exponent) for exponent in shown],
        "range": [shown[0] - 0.5, shown[-1] + 0.5],
        "zeroline": False,
    }
    layout["legend"] = layout["legend"] | {"y": -0.24}
    layout["margin"] = layout["margin"] | {"b": 60}
    return {"data": [trace for trace in traces if any(y is not None for y in trace["y"])], "layout": layout}


def tokens_of(exponent: int) -> str:
    """Return which inputs count under 2^`exponent`."""
    if exponent == max(INPUTS.values()):
        return f"{count(2**exponent)} or more"
    return f"{count(2**exponent)}\N{EN DASH}{count(2 ** (exponent + 1) - 1)}" if exponent else "0 or 1"


def _line(
    name: str, percent: float, totals: Mapping[int, Histogram], shown: Iterable[int], style: tuple[str, str]
) -> dict[str, Any]:
    """Return a percentile of each length, a gap where there is none."""
    color, dash = style
    found = {exponent: totals.get(exponent, Histogram()) for exponent in shown}
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": list(found),
        "y": [_rounded(percentile(values, percent)) for values in found.values()],
        "customdata": [f"{count(values.count)} answers" for values in found.values()],
        "line": {"color": color, "dash": dash, "width": 1.8},
        "marker": {"size": 8, "color": color},
        "connectgaps": False,
        "hovertemplate": _SHOWN,
    }


def _loose(totals: Mapping[int, Histogram]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"p50 of fewer than {FEW} answers",
        "x": list(totals),
        "y": [_rounded(percentile(values, 50)) for values in totals.values()],
        "customdata": [f"{count(values.count)} answers" for values in totals.values()],
        "marker": {"size": 8, "color": GREEN, "symbol": "circle-open"},
        "hovertemplate": _SHOWN,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)
