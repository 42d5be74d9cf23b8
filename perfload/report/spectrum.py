"""Percentile spectra: all of a distribution, drawn so that each nine of its tail has the same room."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from perfload.histogram import Histogram
from perfload.report.drawing import Figure, base_layout, rounded

_STEPS_PER_DECADE = 24
_FEWEST_DECADES, _MOST_DECADES = 0.8, 4
"""Of values: with fewer plotly's labels are as on a linear axis, with more those of 2 and 5 do not fit."""


class Curve(NamedTuple):
    """One distribution; `values` divided by 1,000 are milliseconds."""

    name: str
    values: Histogram
    color: str
    dash: str


def figure(curves: Iterable[Curve], title: str) -> Figure | None:
    """Return the spectra of those `curves` that have any values; None if none has."""
    traces = [_trace(curve) for curve in curves if curve.values.count]
    if not traces:
        return None
    nines = range(1, 10)
    layout = base_layout(title, height=320) | {"hovermode": "closest"}
    layout["yaxis"] |= {"type": "log", "tickformat": ",.6~r"} | _ticks(traces)
    layout["xaxis"] = {
        "type": "log",
        # A lone marker would have room to its left, below 0 %.
        "range": [0, math.log10(max(2.0, *(trace["x"][-1] for trace in traces)))],
        "tickvals": [1, 2, *(10**exponent for exponent in nines)],
        "ticktext": ["0 %", "50 %", *(f"{100 - 100 / 10**e:.{max(0, e - 2)}f} %" for e in nines)],
    }
    return {"data": traces, "layout": layout}


def _ticks(traces: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return how many labels to ask plotly for, so that it writes 1, 2, 5, 10: all nine do not fit.

    From one decade to four it takes 1, 2 and 5 when a label has 0.3 to 0.7 decades, above that powers of ten.
    """
    values = [y for trace in traces for y in trace["y"] if y > 0]
    decades = math.log10(max(values) / min(values)) if values else 0.0
    if decades < _FEWEST_DECADES:
        return {}
    return {"nticks": max(3, math.ceil(2 * decades)) if decades <= _MOST_DECADES else math.ceil(decades)}


def _trace(curve: Curve) -> dict[str, Any]:
    """Return the percentiles of a curve, spaced as in HdrHistogram's plots: 1 / (1 - p) on a log axis."""
    values = curve.values
    steps = range(math.ceil(math.log10(values.count) * _STEPS_PER_DECADE))
    inverses = [*(10 ** (step / _STEPS_PER_DECADE) for step in steps), float(values.count)]
    percents = [*(100 - 100 / inverse for inverse in inverses[:-1]), 100.0]
    return {
        "type": "scatter",
        "mode": "lines" if len(inverses) > 1 else "markers",
        "cliponaxis": len(inverses) > 1,
        "name": curve.name,
        "x": [rounded(inverse) for inverse in inverses],
        "y": [rounded(value / 1000) for value in values.percentiles(percents)],
        "customdata": [f"{percent:.6g}" for percent in percents],
        "line": {"color": curve.color, "dash": curve.dash, "width": 2},
        "hovertemplate": f"{curve.name}: %{{customdata}} % within %{{y:,.4~g}} ms<extra></extra>",
    }
