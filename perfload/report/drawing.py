"""What all charts over time are drawn from: lines, bars, the time axis and the bands of the phases."""

from __future__ import annotations

from typing import Any, TypedDict

from perfload.model import PhaseSpan, RunRecord
from perfload.report import markers
from perfload.report.escape import plotly_label, shortened
from perfload.report.quantities import phase_name
from perfload.report.series import Series, TimeAxis

_PLOT_WIDTH_PX = 1040
_CHARACTER_WIDTH_PX = 6.5


class Figure(TypedDict):
    """What plotly draws."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


def label(text: str, longest: int = 40) -> str:
    """Return a name from outside as the label of a line."""
    return plotly_label(shortened(text, longest))


def line(
    name: str,
    values: Series,
    axis: TimeAxis,
    color: str,
    shown: str = "%{y:,.4~g}",
    *,
    dash: str = "solid",
    shape: str = "linear",
    **more: str,
) -> dict[str, Any]:
    """Return a line with gaps; shape `hv` draws steps, as becomes what is counted or planned per second."""
    lone = _has_lone_points(values)
    return {
        "type": "scatter",
        "mode": "lines+markers" if lone else "lines",
        "marker": {"size": 4},
        "name": name,
        **_points(values, axis),
        "line": {"color": color, "dash": dash, "width": 1.8, "shape": shape},
        "connectgaps": False,
        "hovertemplate": shown,
        **more,
    }


def _has_lone_points(values: Series) -> bool:
    """Return whether some value has a gap on both sides: a line alone would not show it."""
    padded = [None, *values, None]
    return any(
        value is not None and before is None and after is None
        for before, value, after in zip(padded, padded[1:], padded[2:], strict=False)
    )


def bars(name: str, values: Series, axis: TimeAxis, color: str, shown: str) -> dict[str, Any]:
    """Return bars, one for each bin; those of several traces stand on each other."""
    return {
        "type": "bar",
        "name": name,
        **_points(values, axis),
        "width": axis.bin_s * 1000,
        "offset": 0,
        "marker": {"color": color, "line": {"width": 0}},
        "hovertemplate": shown,
    }


def _points(values: Series, axis: TimeAxis) -> dict[str, Any]:
    return {
        "x0": 0,
        "dx": axis.bin_s * 1000,
        "y": [None if value is None else rounded(value) for value in values],
    }


def rounded(value: float) -> float:
    """Return `value` to five significant digits: finer than a pixel, and a third of the file's size."""
    return float(f"{value:.5g}")


def tint(color: str) -> str:
    """Return `color` as a pale filling."""
    red, green, blue = (int(color[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"


def over_time(
    record: RunRecord, axis: TimeAxis, traces: list[dict[str, Any]], title: str, *, height: int = 280
) -> Figure:
    """Return `traces` over the time of the run, with the bands of its phases and what befell its cluster."""
    phases = record.manifest.phases
    layout = base_layout(title, height=height)
    clock = "%H:%M:%S" if axis.end_s >= 3600 else "%M:%S"
    layout["xaxis"] = {
        "type": "date",
        "range": [0, axis.end_s * 1000],
        "tickformat": clock if axis.end_s < 86_400 else "day %-j %H:%M",
        "hoverformat": clock if axis.end_s < 86_400 else "day %-j %H:%M:%S",
    }
    layout["meta"] = {"time": True, "range": [0, axis.end_s * 1000]}
    layout["shapes"] = [_band(span, index) for index, span in enumerate(phases)]
    layout["annotations"] = [_band_label(span, axis) for span in phases]
    return {"data": traces + markers.draw(layout, record.manifest.events, axis), "layout": layout}


def base_layout(title: str, *, height: int) -> dict[str, Any]:
    """Return the layout that all charts share; `title` is that of the y axis."""
    return {
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 26, "b": 36},
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "traceorder": "normal", "x": 0, "y": -0.14, "yanchor": "top"},
        "bargap": 0,
        "barmode": "stack",
        "yaxis": {
            "title": {"text": title, "font": {"size": 12}},
            "rangemode": "tozero",
            "automargin": True,
            "separatethousands": True,
            "exponentformat": "none",
        },
    }


def _band(span: PhaseSpan, index: int) -> dict[str, Any]:
    return {
        "type": "rect",
        "layer": "below",
        "xref": "x",
        "yref": "paper",
        "x0": span.start_s * 1000,
        "x1": span.end_s * 1000,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": "rgba(200,150,40,0.13)"
        if span.warmup
        else f"rgba(128,140,160,{0.13 if index % 2 else 0.04})",
    }


def _band_label(span: PhaseSpan, axis: TimeAxis) -> dict[str, Any]:
    """Return the phase's name above its band, shortened to the band's width; the whole name on hover."""
    name = phase_name(span.name, warmup=span.warmup)
    shown_s = max(0.0, min(span.end_s, axis.end_s) - span.start_s)
    room = int(shown_s / axis.end_s * _PLOT_WIDTH_PX / _CHARACTER_WIDTH_PX)
    return {
        "text": plotly_label(shortened(name, room)) if room > 1 else "",
        "hovertext": plotly_label(name),
        "showarrow": False,
        "xref": "x",
        "yref": "paper",
        "x": (span.start_s + shown_s / 2) * 1000,
        "y": 1,
        "yanchor": "bottom",
        "font": {"size": 11},
    }
