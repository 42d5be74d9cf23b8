"""What language models gave under which load: a point for each stretch, a colour for each phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from perfload.report.ai_stretches import MIN_ANSWERS, PhaseStretches, Stretch
from perfload.report.drawing import Figure, base_layout, label, rounded
from perfload.report.palette import PALETTE
from perfload.report.quantities import clock, count

_SYMBOLS = ("circle", "square", "triangle-up", "cross")
"""One for each round through the colours."""


class _Point(NamedTuple):
    x: float
    y: float
    about: str


class _Cloud(NamedTuple):
    """The points of one phase, and the one that stands for all of it if its load was steady."""

    name: str
    points: Sequence[_Point]
    whole: _Point | None = None


def tokens(phases: Sequence[PhaseStretches]) -> Figure | None:
    """Draw the output tokens per second against the virtual users in flight, zeros too: a stall is no gap."""
    if not any(part.output_tokens for phase in phases for part in phase.stretches):
        return None
    clouds = [
        _Cloud(
            phase.span.name,
            [
                _Point(sum(part.users) / len(part.users), part.output_tokens / part.width_s, _when(part))
                for part in phase.stretches
                if part.users
            ],
        )
        for phase in phases
    ]
    shown = "%{x:,.4~g} users, %{y:,.4~g} tokens/s<br>%{customdata}"
    return _figure(clouds, shown, "virtual users in flight", "output tokens per second")


def goodput(phases: Sequence[PhaseStretches]) -> Figure | None:
    """Draw the share of good answers against the rate that was offered or, in a closed model, achieved.

    The rate of what was achieved says nothing of what was asked for, so one phase that is closed makes all
    points show it: the two do not belong on one axis.
    """
    answered = [phase for phase in phases if phase.whole().good.count]
    is_open = all(phase.span.model == "arrivals" for phase in answered)
    clouds = [
        _Cloud(
            phase.span.name,
            [_share(part, is_open=is_open) for part in phase.stretches if part.good.count >= MIN_ANSWERS],
            _share(phase.whole(), is_open=is_open) if _is_steady(phase) else None,
        )
        for phase in answered
    ]
    unit = "arrivals/s" if is_open else "answers/s"
    x = "virtual users arriving per second, offered" if is_open else "answers per second, achieved"
    shown = f"%{{x:,.4~g}} {unit}, %{{y:.1f}} % good<br>%{{customdata}}"
    figure = _figure(clouds, shown, x, "% of the answers good")
    if figure:
        figure["layout"]["yaxis"]["range"] = [0, 101]
    return figure


def _share(part: Stretch, *, is_open: bool) -> _Point:
    came = part.arrivals if is_open else part.ended
    return _Point(came / part.width_s, part.good_percent, f"{count(part.good.count)} answers, {_when(part)}")


def _is_steady(phase: PhaseStretches) -> bool:
    has_enough = phase.whole().good.count >= MIN_ANSWERS
    rates = [part.arrivals / part.width_s for part in phase.stretches]
    is_level = phase.span.start == phase.span.end and max(rates) <= 2 * min(rates)  # a trace's is a mean
    return has_enough and len(phase.stretches) > 1 and is_level


def _when(part: Stretch) -> str:
    return f"{clock(part.start_s)} to {clock(part.end_s)}"


def _figure(clouds: Sequence[_Cloud], shown: str, x_title: str, y_title: str) -> Figure | None:
    traces: list[dict[str, Any]] = []
    for index, cloud in enumerate(clouds):
        color, turn = PALETTE[index % len(PALETTE)], index // len(PALETTE)
        group = str(index)
        if cloud.points:
            symbol = _SYMBOLS[turn % len(_SYMBOLS)]
            marker = {"color": color, "symbol": symbol, "size": 7, "opacity": 0.65}
            traces.append(_trace(cloud.name, cloud.points, shown, group) | {"marker": marker})
        if cloud.whole:
            # As large as the eye needs to find it among the others, and in the legend only if it is alone.
            marker = {"color": color, "symbol": "diamond-open", "size": 15, "line": {"width": 2.5}}
            whole = _trace(f"{cloud.name}, all of it", [cloud.whole], shown, group)
            traces.append(whole | {"marker": marker, "showlegend": not cloud.points})
    if not traces:
        return None
    layout = base_layout(y_title, height=300) | {"hovermode": "closest"}
    layout["xaxis"] = {"title": {"text": x_title, "font": {"size": 12}}, "rangemode": "tozero"}
    layout["legend"] = layout["legend"] | {"y": -0.24}
    layout["margin"] = layout["margin"] | {"b": 60}
    return {"data": traces, "layout": layout}


def _trace(name: str, points: Sequence[_Point], shown: str, group: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "cliponaxis": False,
        "name": label(name),
        "legendgroup": group,
        "x": [rounded(point.x) for point in points],
        "y": [rounded(point.y) for point in points],
        "customdata": [point.about for point in points],
        "hovertemplate": shown,
    }
