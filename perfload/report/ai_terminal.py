"""What a terminal shows of a run that asked language models: sums in words, and a table of times."""

from __future__ import annotations

from collections.abc import Iterator

from perfload.analysis.schema import MetricSummary, Summary
from perfload.report.ai_metrics import TIMES, KeyFigures, are_in, key_figures, money, those_of
from perfload.report.layout import Cell, TextColumn
from perfload.report.quantities import count, latency, number, percent

COLUMNS = (
    TextColumn("of an answer", number=False, elastic=True),
    TextColumn("values"),
    TextColumn("mean", min_terminal=110),
    TextColumn("p50"),
    TextColumn("p90", min_terminal=110),
    TextColumn("p95"),
    TextColumn("p99"),
    TextColumn("max"),
)

_SHOWN = (*TIMES, "output_tokens_per_s", "output_tokens", "input_tokens")


def rows(summary: Summary) -> Iterator[list[Cell]]:
    """Yield the times and tokens of answers, by the names that thresholds have for them."""
    if are_in(summary):
        yield from map(_row, those_of(summary, _SHOWN))


def _row(metric: MetricSummary) -> list[Cell]:
    show = latency if metric["unit"] == "ms" else number
    spread = metric["spread"]
    values = (spread[key] for key in ("mean", "p50", "p90", "p95", "p99", "max"))
    return [Cell(metric["metric"]), Cell(count(metric["count"])), *(Cell(show(value)) for value in values)]


def sums(summary: Summary) -> Iterator[str]:
    """Yield lines of what is not a spread: tokens, goodput, limits and cost."""
    if not are_in(summary):
        return
    found = key_figures(summary)
    ended = [f"{reason} {count(answers)}" for reason, answers in found.finishes.items()]
    yield _several(found.answers, "whole answer") + (f" ({', '.join(ended)})" if ended else "")
    for parts in (_tokens(found), _judged(found)):
        if line := " · ".join(parts):
            yield line


def _tokens(found: KeyFigures) -> Iterator[str]:
    if found.output_tokens is not None:
        yield f"{found.output_tokens:,.0f} output tokens at {number(found.per_s(found.output_tokens))}/s"
    if found.input_tokens is not None:
        cached = f", {found.cached_tokens:,.0f} of them cached" if found.cached_tokens else ""
        yield f"{found.input_tokens:,.0f} input tokens at {number(found.per_s(found.input_tokens))}/s{cached}"
    if found.uncounted:
        yield f"{_several(found.uncounted, 'answer')} without a count of tokens"


def _judged(found: KeyFigures) -> Iterator[str]:
    if found.goodput_percent is not None:
        yield f"goodput {percent(found.goodput_percent)}, {number(found.per_s(found.good))} answers/s"
    if found.rate_limited:
        yield f"{_several(found.rate_limited, 'request')} rate limited"
    if found.overloaded:
        yield f"{count(found.overloaded)} refused by an overloaded server"
    if found.retries:
        yield "1 retry" if found.retries == 1 else f"{count(found.retries)} retries"
    if found.cost is not None:
        yield f"cost {money(found.cost)}"


def _several(amount: int, noun: str) -> str:
    return f"{count(amount)} {noun}" if amount == 1 else f"{count(amount)} {noun}s"
