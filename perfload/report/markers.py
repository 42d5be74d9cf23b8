"""Load generators that came and went, as thin vertical lines in the charts over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from perfload.model import NodeEvent
from perfload.report.escape import plotly_label, shortened
from perfload.report.palette import GREY, PINK
from perfload.report.series import TimeAxis

MAX_ROWS = 4
"""When more labels would have to stand above each other, there are none: a line tells when pointed at."""

MAX_TOLD = 8
"""Events that are told apart where one point of a chart stands for many."""

_NARROW_PX = 470
"""Width of a plot on the narrowest page on which labels must not lie on each other."""
_CHARACTER_PX = 5.6
_ROW_PX = 13
_LEADER_PX = 6
_GAP_PX = 4
_NODE_CHARACTERS = 20

_TITLES = {PINK: "load generator lost", GREY: "load generator left, joined or returned"}
"""Colour of a line, and what it is called where lines have no labels."""


def draw(layout: dict[str, Any], events: Sequence[NodeEvent], axis: TimeAxis) -> list[dict[str, Any]]:
    """Return the traces that show `events` in a chart over time; make room in its layout, and label them."""
    events = [event for event in events if axis.bin_of(event.at_s) is not None]
    if not events:
        return []
    rows = _rows(events, axis)
    if rows:
        _make_room(layout, _LEADER_PX + _ROW_PX * (1 + max(rows)) + _GAP_PX)
        layout["annotations"] += [
            _label(event, row, is_left=_is_at_end(event, axis))
            for event, row in zip(events, rows, strict=True)
        ]
    layout["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    colors = [color for color in _TITLES if color in map(_color, events)]
    return [*(_lines(events, color, is_named=not rows) for color in colors), _told(events, axis)]


def _lines(events: Sequence[NodeEvent], color: str, *, is_named: bool) -> dict[str, Any]:
    moments = [_moment(event.at_s) for event in events if _color(event) == color]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": _TITLES[color],
        "showlegend": is_named,
        "yaxis": "y2",
        "x": [x for moment in moments for x in (moment, moment, None)],
        "y": [0, 1, None] * len(moments),
        "line": {"color": color, "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _moment(at_s: float) -> float:
    """Return a second of the run in milliseconds, never as a whole number: plotly takes a 2000 for a year."""
    return round(at_s * 1000) + 0.5


def _color(event: NodeEvent) -> str:
    return PINK if event.kind == "lost" else GREY


def _words(event: NodeEvent) -> str:
    return plotly_label(f"{shortened(event.node, _NODE_CHARACTERS)} {event.kind}")


def _make_room(layout: dict[str, Any], height_px: int) -> None:
    """Move the names of the phases up, so that labels have `height_px` between them and the plot."""
    layout["height"] += height_px
    layout["margin"]["t"] += height_px
    for name in layout["annotations"]:
        name["yshift"] = height_px


def _label(event: NodeEvent, row: int, *, is_left: bool) -> dict[str, Any]:
    return {
        "text": _words(event),
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": _color(event),
        "xref": "x",
        "yref": "paper",
        "x": event.at_s * 1000,
        "y": 1,
        "ax": 0,
        "ay": -_LEADER_PX - _ROW_PX * row,
        "xanchor": "right" if is_left else "left",
        "yanchor": "bottom",
        "font": {"size": 10},
    }


def _width_px(event: NodeEvent) -> float:
    return _CHARACTER_PX * (len(shortened(event.node, _NODE_CHARACTERS)) + len(event.kind) + 1)


def _place_px(event: NodeEvent, axis: TimeAxis) -> float:
    return event.at_s / axis.end_s * _NARROW_PX


def _is_at_end(event: NodeEvent, axis: TimeAxis) -> bool:
    """Say whether a label to the right of its line would leave the plot."""
    return _place_px(event, axis) + _width_px(event) > _NARROW_PX


def _rows(events: Sequence[NodeEvent], axis: TimeAxis) -> list[int]:
    """Return the row of each label above the plot, so that none lies on another; none if there is no room.

    A label reaches away from its line, over the lines that follow. So the lines that a label would cover are
    labelled first, and its own stands above theirs.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(MAX_ROWS)]
    rows: dict[int, int] = {}
    for index in sorted(range(len(events)), key=lambda index: _turn(events[index], axis)):
        start_px, end_px = _extent_px(events[index], axis)
        is_free = (not any(start_px < end and start < end_px for start, end in row) for row in taken)
        rows[index] = next((row for row, free in enumerate(is_free) if free), MAX_ROWS)
        if rows[index] == MAX_ROWS:
            return []
        taken[rows[index]].append((start_px, end_px))
    return [rows[index] for index in range(len(events))]


def _turn(event: NodeEvent, axis: TimeAxis) -> tuple[bool, float]:
    is_left = _is_at_end(event, axis)
    return not is_left, event.at_s if is_left else -event.at_s


def _extent_px(event: NodeEvent, axis: TimeAxis) -> tuple[float, float]:
    at_px, width_px = _place_px(event, axis), _width_px(event)
    return (at_px - width_px, at_px) if _is_at_end(event, axis) else (at_px, at_px + width_px)


def _told(events: Sequence[NodeEvent], axis: TimeAxis) -> dict[str, Any]:
    """Return points that cannot be seen, one in each bin with events: pointed at, they say what happened."""
    bins: defaultdict[int, list[NodeEvent]] = defaultdict(list)
    for event in events:
        bins[int(event.at_s // axis.bin_s)].append(event)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "load generators",
        "showlegend": False,
        "yaxis": "y2",
        "x": [_moment(axis.bounds_s(index)[0]) for index in bins],
        "y": [1] * len(bins),
        "marker": {"opacity": 0, "color": GREY},
        "customdata": ["<br>".join(_sentences(happened)) for happened in bins.values()],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _sentences(events: Sequence[NodeEvent]) -> Iterator[str]:
    for event in events[:MAX_TOLD]:
        yield f"{_words(event)} at {event.at_s:.1f} s"
    if len(events) > MAX_TOLD:
        yield f"and {len(events) - MAX_TOLD} more"
