"""The report's section on what held the system back."""

from __future__ import annotations

from perfload.analysis.schema import Bottleneck, PhaseStrain
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.quantities import NOTHING, clock, quantity

_PLACES = {"host": "host", "generator": "generator"}
"""Where the chart is that shows readings of a source; all others are among those of the monitors."""


def section(found: Bottleneck) -> Markup:
    """Return the conclusion, what speaks for it, and how every phase stood."""
    kind = {"none": "good", "unidentified": "doubt"}.get(found["kind"], "bad")
    conclusion = element("p", element("strong", found["conclusion"]), class_=f"conclusion {kind}")
    items = (element("li", words) for words in found["evidence"])
    return joined(
        [
            conclusion,
            element("ul", *items, class_="notes") if found["evidence"] else Markup(),
            _phases(found["phases"]) if found["phases"] else Markup(),
            _watched(found["watched"]),
        ]
    )


def _phases(phases: list[PhaseStrain]) -> Markup:
    columns = (
        Column("Phase"),
        Column("Strain"),
        Column("Nearest to its limit"),
        *numbers("Held", "Limit", "Full since"),
    )
    return table(columns, [Row(_cells(phase)) for phase in phases], label="Phases")


def _cells(phase: PhaseStrain) -> tuple[str, ...]:
    use = phase["fullest"]
    if use is None:
        return phase["phase"], phase["strain"] or "none", "nothing was watched", NOTHING, NOTHING, NOTHING
    link = element("a", use["resource"], href=f"#{_PLACES.get(use['source'], 'monitors')}")
    since = NOTHING if use["full_since_s"] is None else clock(use["full_since_s"])
    held, limit = (quantity(value, use["unit"]) for value in (use["highest"], use["limit"]))
    return phase["phase"], phase["strain"] or "none", link, held, limit, since


def _watched(watched: list[str]) -> Markup:
    words = f"Watched: {', '.join(watched)}." if watched else "Nothing was watched: no monitor had values."
    return element("p", words, class_="muted")
