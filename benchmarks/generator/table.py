"""Tables in plain text."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.generator.paired import Spread


def render(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: the first column to the left, the others to the right, under their headings."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [title]
    for line in lines:
        first, *rest = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        text.append("  " + "  ".join((first, *rest)).rstrip())
    return "\n".join(text) + "\n"


def with_range(spread: Spread, form: str = ",.0f") -> str:
    """Return `median (low .. high)`."""
    return f"{spread.median:{form}} ({spread.low:{form}} .. {spread.high:{form}})"
