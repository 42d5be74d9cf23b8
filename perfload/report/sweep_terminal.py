"""The table and the answer of a sweep for a terminal."""

from __future__ import annotations

from perfload.analysis.sweep_schema import LevelSummary, Percentiles, SweepSummary
from perfload.report.escape import visible
from perfload.report.layout import Cell, TextColumn, aligned, wrapped
from perfload.report.quantities import count, latency, number, percent
from perfload.report.sweep_words import VERDICTS, conclusion, level_name, notes

MIN_WIDTH = 40
MAX_WIDTH = 160
"""Lines longer than this are hard to follow with the eye."""

WIDE = 150
"""From this width on there is room for all columns; below, those that say least make way for the others."""

WIDE_WITHOUT_TOKENS = 100
"""The same where no scenario asked a language model."""

_INDENT = "  "
_VERDICT_WIDTH = max(len(word) for word, _, _ in VERDICTS.values())


def render_sweep(summary: SweepSummary, *, width: int) -> str:
    """Return the table of levels, the answer and the notes in lines of at most `width` columns."""
    room = min(max(width, MIN_WIDTH), MAX_WIDTH)
    blocks = [_table(summary, room), wrapped(visible(conclusion(summary)[1]), room)]
    blocks.append(
        [
            line
            for note in notes(summary)
            for line in wrapped(visible(note), room, first=f"{_INDENT}- ", rest=_INDENT * 2)
        ]
    )
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def level_line(level: LevelSummary) -> str:
    """Return what became of one level in a line, for when it has just ended."""
    word, mark, _ = VERDICTS[level["verdict"]]
    figures = level["figures"]
    parts = [
        f"{number(figures['requests_per_s'])} requests/s",
        f"p95 {latency(figures['response_time_ms']['p95'])}",
        f"{percent(figures['error_rate_percent'])} failed",
    ]
    if figures["tokens"]:
        parts.append(f"TTFT p99 {latency(figures['tokens']['ttft_ms']['p99'])}")
    return f"{mark} {word:<{_VERDICT_WIDTH}}  {', '.join(parts)}"


def _columns(*, has_tokens: bool) -> tuple[TextColumn, ...]:
    """Return the columns; where times of tokens need the room of a narrow terminal, those are shown first."""
    beside_tokens = WIDE if has_tokens else 0
    return (
        TextColumn("level", elastic=True),
        TextColumn("result", number=False),
        TextColumn("started/s", min_terminal=WIDE if has_tokens else WIDE_WITHOUT_TOKENS),
        TextColumn("users", min_terminal=beside_tokens),
        TextColumn("requests/s"),
        TextColumn("errors"),
        TextColumn("p50", min_terminal=beside_tokens),
        TextColumn("p95", min_terminal=beside_tokens),
        TextColumn("p99"),
        TextColumn("TTFT p50", min_terminal=WIDE),
        TextColumn("TTFT p99"),
        TextColumn("TPOT p50", min_terminal=WIDE),
        TextColumn("TPOT p99"),
        TextColumn("tokens/s"),
        TextColumn("goodput"),
        TextColumn("good/s", min_terminal=WIDE),
    )


def _table(summary: SweepSummary, width: int) -> list[str]:
    levels = summary["levels"]
    if not levels:
        return []
    columns = _columns(has_tokens=any(level["figures"]["tokens"] for level in levels))
    lines = aligned(columns, [_row(level, summary["model"]) for level in levels], width)
    return [_INDENT.join(cell.text for cell in line).rstrip() for line in lines]


def _row(level: LevelSummary, model: str) -> list[Cell]:
    word, mark, _ = VERDICTS[level["verdict"]]
    figures, tokens = level["figures"], level["figures"]["tokens"]
    errors = percent(figures["error_rate_percent"])
    texts = [
        level_name(level["level"], model),
        f"{mark} {word}",
        number(figures["started_per_s"]) if model == "arrivals" else "",
        number(figures["users_mean"]),
        number(figures["requests_per_s"]),
        f"{count(figures['failures'])} ({errors})" if figures["failures"] else "0",
        *(latency(value) for value in _values(figures["response_time_ms"])),
    ]
    if tokens is None:
        return [Cell(text) for text in (*texts, *[""] * 7)]
    is_judged = tokens["goodput_percent"] is not None
    texts += [
        *(latency(tokens["ttft_ms"][key]) for key in ("p50", "p99")),
        *(latency(tokens["tpot_ms"][key]) for key in ("p50", "p99")),
        number(tokens["output_tokens_per_s"]),
        percent(tokens["goodput_percent"]) if is_judged else "",
        number(tokens["good_per_s"]) if is_judged else "",
    ]
    return [Cell(text) for text in texts]


def _values(spread: Percentiles) -> tuple[float | None, ...]:
    return spread["p50"], spread["p95"], spread["p99"]
