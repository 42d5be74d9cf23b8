"""Where the time of requests goes: set-up of connections, server or transfer; as tiles, bars and a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from perfload.analysis.schema import Breakdown, RequestBreakdown, StagesSummary
from perfload.analysis.stages import SETUP, share_percent
from perfload.model import STAGES
from perfload.report.drawing import Figure, rounded
from perfload.report.escape import plotly_label, shortened
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.overview import tile
from perfload.report.palette import BLUE, GREEN, GREY, ORANGE, PINK, PURPLE
from perfload.report.quantities import NOTHING, count, latency, number, percent
from perfload.report.tables import empty, request_name

MAX_BARS = 20
"""The chart shows this many requests, those with the most time in all; the table shows every one."""

ALL_REQUESTS = "All requests"

_STAGES = {
    "dns": ("DNS", PINK),
    "connect": ("Connect", ORANGE),
    "tls": ("TLS", PURPLE),
    "send": ("Send", GREY),
    "wait": ("Wait", GREEN),
    "receive": ("Receive", BLUE),
}
"""Names and colours as in the waterfalls of browsers."""

_READ_AS = (
    "The slowest request first. p50 and p95 are over the requests in which a stage occurred; "
    f"{NOTHING} where it never did."
)
_LABEL_CHARACTERS = 40
_HINT_CHARACTERS = 80
_BAR_PX = 30
_AROUND_PX = 92


def section(summary: StagesSummary, chart: Markup) -> Markup:
    """Return the content of the section: shares in all, `chart` (of `figure`), a table by request."""
    total = summary["total"]
    if not total["stages"]:
        return empty("Not recorded: only perfload's own HTTP client takes its requests apart.")
    return joined(
        [
            _tiles(total),
            chart,
            _left_out(summary),
            element("h3", "Stages of each request"),
            element("p", _READ_AS, class_="muted"),
            _table(summary),
        ]
    )


def _tiles(total: Breakdown) -> Markup:
    def share(*names: str) -> str:
        return percent(share_percent(total, names))

    connections = total["connections_per_100_requests"]
    return element(
        "div",
        tile("Connection set-up", share(*SETUP), "DNS, connect and TLS"),
        tile("Waiting for the server", share("wait"), "to the first byte"),
        tile("Transfer", share("send", "receive"), "send and receive"),
        tile("Connections per 100 requests", number(connections), "0: all found one open, 100: none did"),
        class_="tiles",
    )


def _slowest_first(requests: Iterable[RequestBreakdown]) -> list[RequestBreakdown]:
    return sorted(requests, key=lambda request: -(request["mean_ms"] or 0.0))


def _drawn(requests: Iterable[RequestBreakdown]) -> list[RequestBreakdown]:
    by_time = sorted(requests, key=lambda request: -(request["mean_ms"] or 0.0) * request["responses"])
    return _slowest_first(by_time[:MAX_BARS])


def _left_out(summary: StagesSummary) -> Markup:
    more = len(summary["requests"]) - MAX_BARS
    if more <= 0:
        return Markup()
    return element("p", f"{count(more)} more, which took less time in all, are in the table.", class_="muted")


def _rows(summary: StagesSummary, requests: Iterable[RequestBreakdown]) -> Iterator[tuple[str, Breakdown]]:
    """Yield the names and breakdowns to show: all requests together first, if there are several."""
    if len(summary["requests"]) > 1:
        yield ALL_REQUESTS, summary["total"]
    for request in requests:
        yield request_name(request["method"], request["name"]), request


def _table(summary: StagesSummary) -> Markup:
    columns = (
        Column("Request"),
        *numbers("Responses"),
        *numbers("per 100", group="Connections"),
        *numbers("Mean", unit="ms"),
        *(column for title, _ in _STAGES.values() for column in numbers("p50", "p95", group=f"{title}, ms")),
    )
    rows = (
        Row(_cells(name, breakdown), strong=breakdown is summary["total"])
        for name, breakdown in _rows(summary, _slowest_first(summary["requests"]))
    )
    return table(columns, rows, label="Stages of each request")


def _cells(name: str, breakdown: Breakdown) -> tuple[str, ...]:
    times = {stage["stage"]: stage["time_ms"] for stage in breakdown["stages"]}
    return (
        name,
        count(breakdown["responses"]),
        number(breakdown["connections_per_100_requests"]),
        number(breakdown["mean_ms"]),
        *(
            number(times[stage][key]) if stage in times else NOTHING
            for stage in STAGES
            for key in ("p50", "p95")
        ),
    )


def figure(summary: StagesSummary) -> Figure | None:
    """Return a stacked bar per request: on the left the shares of its time, on the right its mean time."""
    if not summary["total"]["responses"]:
        return None
    rows = list(_rows(summary, _drawn(summary["requests"])))
    traces = [
        trace
        for stage in STAGES
        if any(_part(stage, breakdown) for _, breakdown in rows)
        for trace in _traces(stage, rows)
    ]
    return {"data": traces, "layout": _layout([name for name, _ in rows])}


def _part(stage: str, breakdown: Breakdown) -> float:
    """Return the share of `stage`, in percent; 0 when it did not occur, which makes no bar."""
    return share_percent(breakdown, (stage,)) or 0.0


def _traces(stage: str, rows: Sequence[tuple[str, Breakdown]]) -> Iterator[dict[str, Any]]:
    """Yield the bars of one stage: in percent for the left half, in milliseconds for the right half."""
    title, color = _STAGES[stage]
    shares = [_part(stage, breakdown) for _, breakdown in rows]
    times_ms = [
        share / 100 * (breakdown["mean_ms"] or 0.0)
        for share, (_, breakdown) in zip(shares, rows, strict=True)
    ]
    hints = [
        f"{plotly_label(shortened(name, _HINT_CHARACTERS))}<br>"
        f"{title}: {percent(share)} of the time, {latency(time_ms)} per request"
        for share, time_ms, (name, _) in zip(shares, times_ms, rows, strict=True)
    ]
    for axis, values in (("x", shares), ("x2", times_ms)):
        yield {
            "type": "bar",
            "orientation": "h",
            "name": title,
            "legendgroup": stage,
            "showlegend": axis == "x",
            "xaxis": axis,
            "x": [rounded(value) for value in values],
            "y": list(range(len(rows))),
            "width": 0.6,
            "marker": {"color": color, "line": {"width": 0}},
            "customdata": hints,
            "hovertemplate": "%{customdata}<extra></extra>",
        }


def _layout(names: Sequence[str]) -> dict[str, Any]:
    """Return the layout of two halves that share their rows; rows have numbers, as names may be equal."""
    axis = {"rangemode": "tozero", "fixedrange": True, "separatethousands": True, "exponentformat": "none"}
    return {
        "height": _AROUND_PX + _BAR_PX * len(names),
        "margin": {"l": 16, "r": 16, "t": 34, "b": 44},
        "hovermode": "closest",
        "barmode": "stack",
        "showlegend": True,
        "legend": {"orientation": "h", "traceorder": "normal", "x": 0, "y": 1, "yanchor": "bottom"},
        "xaxis": axis | {"domain": [0, 0.46], "range": [0, 100], "title": _title("share, %")},
        "xaxis2": axis | {"domain": [0.54, 1], "title": _title("mean, ms")},
        "yaxis": {
            "tickvals": list(range(len(names))),
            "ticktext": [plotly_label(shortened(name, _LABEL_CHARACTERS)) for name in names],
            "range": [len(names) - 0.5, -0.5],
            "fixedrange": True,
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
        },
    }


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12}}
