"""The report's section on language models. docs/ai.md defines its numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from perfload.analysis.schema import MetricSummary, Spread, Summary
from perfload.analysis.tally import counted_phases
from perfload.model import RunRecord
from perfload.report import ai_charts, ai_inputs, ai_load, ai_stretches, tables
from perfload.report.ai_metrics import (
    AMOUNTS,
    DETAILS,
    INPUTS,
    PARTS,
    TIMES,
    KeyFigures,
    Recorded,
    key_figures,
    money,
    those_of,
)
from perfload.report.drawing import Figure
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.overview import tile
from perfload.report.quantities import NOTHING, count, latency, number, percent, quantity
from perfload.report.series import TimeAxis


class Chart(NamedTuple):
    """What stands above a chart, and below it."""

    title: str
    note: str = ""
    log: bool = False
    """Whether its scale can be made logarithmic."""


CHARTS = {
    "ai-ttft": Chart(
        "Time to first token",
        "p95 is drawn where 20 answers or more ended, p99 where 100 did: of fewer it would be the slowest.",
        log=True,
    ),
    "ai-gaps": Chart("Time per output token, and from chunk to chunk", log=True),
    "ai-spectrum": Chart(
        "Percentile spectrum of the time to first token and per output token: share that took no longer",
        log=True,
    ),
    "ai-inputs": Chart(
        "Time to first token against the length of the input",
        "By the input tokens that the server counted, those from its cache too. p95 is drawn from 20 answers "
        "on, p99 from 100.",
        log=True,
    ),
    "ai-tokens": Chart("Output tokens per second"),
    "ai-load": Chart(
        "Output tokens per second against virtual users in flight",
        "A point is a stretch of at least 5 s. Where the points stop rising, more users only wait longer.",
    ),
    "ai-goodput": Chart("Goodput: share of the answers that met all objectives"),
    "ai-goodput-rate": Chart(
        "Goodput against rate",
        "A point is a stretch of at least 5 s and 20 answers, failed ones included; a diamond is a whole "
        "phase of steady load. Answers count where they ended, in the phase in which their user was due "
        "(open model), so that goodput follows a change of the rate a little later.",
    ),
    "ai-left": Chart(
        "What was left of the provider's rate limits",
        "The lowest that any response's headers said. Each provider, key and model has limits of its own.",
    ),
    "ai-refused": Chart("Requests refused by a limit"),
}
"""In the order of the section."""


def build(record: RunRecord, axis: TimeAxis) -> dict[str, Figure]:
    """Return the charts that have something to show, by their names in `CHARTS`."""
    recorded = Recorded(record.metrics, counted_phases(record.manifest))
    answers = ai_charts.axis_of_answers(record, recorded)
    phases = ai_stretches.cut(record, recorded)
    figures = {
        "ai-ttft": ai_charts.first_token(record, recorded, answers),
        "ai-gaps": ai_charts.gaps(record, recorded, answers),
        "ai-spectrum": ai_charts.times_spectrum(recorded),
        "ai-inputs": ai_inputs.figure(recorded),
        "ai-tokens": ai_charts.tokens(record, recorded, answers),
        "ai-load": ai_load.tokens(phases),
        "ai-goodput": ai_charts.goodput(record, recorded, answers),
        "ai-goodput-rate": ai_load.goodput(phases),
        "ai-left": ai_charts.left(record, recorded, axis),
        "ai-refused": ai_charts.refused(record, recorded, axis),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def section(summary: Summary, charts: Iterable[str]) -> Markup:
    """Return the key figures, the tables and the places of `charts`, over the phases that count."""
    heading = element("h3", "Times and tokens of answers")
    return joined([_tiles(key_figures(summary)), heading, _table(summary), *charts, _details(summary)])


def _tiles(found: KeyFigures) -> Markup:
    return element(
        "div",
        tile("Whole answers", count(found.answers), _finishes(found)),
        tile("Output tokens", _rate(found, found.output_tokens), _in_all(found, found.output_tokens)),
        tile(
            "Input tokens",
            _rate(found, found.input_tokens),
            _in_all(found, found.input_tokens) + _cached(found),
        ),
        tile("Goodput", percent(found.goodput_percent), _good(found)),
        tile("Rate limited", percent(found.rate_limited_percent), _refused(found)),
        tile("Cost", money(found.cost), _price(found)),
        class_="tiles",
    )


def _rate(found: KeyFigures, amount: float | None) -> str:
    rate = found.per_s(amount)
    return NOTHING if rate is None else f"{number(rate)}/s"


def _in_all(found: KeyFigures, amount: float | None) -> str:
    if amount is None:
        return "not counted by the server" if found.answers else "no whole answers"
    return f"{amount:,.0f} in all"


def _cached(found: KeyFigures) -> str:
    return f", {found.cached_tokens:,.0f} from a cache" if found.cached_tokens else ""


def _finishes(found: KeyFigures) -> str:
    words = [f"{reason} {count(answers)}" for reason, answers in found.finishes.items()]
    uncounted = [f"{count(found.uncounted)} without a count of tokens"] if found.uncounted else []
    return ", ".join(words + uncounted)


def _good(found: KeyFigures) -> str:
    if found.goodput_percent is None:
        return "no objectives"
    return f"met all objectives: {number(found.per_s(found.good))} answers per second"


def _refused(found: KeyFigures) -> str:
    overloaded = f"; overloaded: {count(found.overloaded)}" if found.overloaded else ""
    return f"{count(found.rate_limited)} of the requests{overloaded}"


def _price(found: KeyFigures) -> str:
    if found.cost is None:
        return "no prices"
    if not found.answers:
        return "in all"
    return f"in all, {money(1000 * found.cost / found.answers)} for 1,000 whole answers"


_SPREAD = numbers("Mean", "p50", "p90", "p95", "p99", "Max")


def _table(summary: Summary) -> Markup:
    titles = TIMES | AMOUNTS
    columns = (Column("Of an answer"), Column("Metric"), *numbers("Values"), *_SPREAD)
    rows = [
        Row((titles[metric["metric"]], *_cells(metric)), opens=metric["metric"] == "output_tokens_per_s")
        for metric in those_of(summary, titles)
        if metric["spread"]["max"] or metric["metric"] not in PARTS
    ]
    if not rows:
        return tables.empty("No answer was whole, so there are no times.")
    return table(columns, rows, label="Times and tokens of answers")


def _cells(metric: MetricSummary) -> tuple[str, ...]:
    show = latency if metric["unit"] == "ms" else number
    return element("code", metric["metric"]), count(metric["count"]), *map(show, _values(metric["spread"]))


def _values(spread: Spread) -> tuple[float | None, ...]:
    return spread["mean"], spread["p50"], spread["p90"], spread["p95"], spread["p99"], spread["max"]


def _details(summary: Summary) -> Markup:
    """Return what is recorded besides: good for a threshold, or to explain something odd."""
    metrics = those_of(summary, (*INPUTS, *DETAILS))
    if not metrics:
        return Markup()
    rows = (
        Row(
            (
                element("code", metric["metric"]),
                count(metric["count"]),
                *(quantity(value, metric["unit"]) for value in _values(metric["spread"])),
            )
        )
        for metric in metrics
    )
    columns = (Column("Metric"), *numbers("Values"), *_SPREAD)
    shown = table(columns, rows, label="More metrics of language models")
    has_inputs = any(metric["metric"] in INPUTS for metric in metrics)
    title = "Time to first token by length of the input, and other metrics" if has_inputs else "Other metrics"
    return element("details", element("summary", title), element("div", shown))
