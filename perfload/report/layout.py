"""Tables and paragraphs in columns of a terminal, where a Chinese character is two columns wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

ELLIPSIS = "…"
_GAP = "  "
_MIN_ELASTIC = 12


def columns_of(text: str) -> int:
    """Return how many columns of a terminal `text` takes; it holds no control characters."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> tuple[str, str]:
    """Return the start of `text` that fits into `width` columns, and the rest."""
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:index], text[index:]
    return text, ""


def fitted(text: str, width: int) -> str:
    """Return `text` in at most `width` columns; a longer one loses its middle, since both its ends tell."""
    if columns_of(text) <= width:
        return text
    tail_width = max(0, width - 1) // 2
    tail = cut(text[::-1], tail_width)[0][::-1]
    head = cut(text, width - 1 - columns_of(tail))[0]
    return f"{head}{ELLIPSIS}{tail}"


def wrapped(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """Return `text` in lines of at most `width` columns; `first` and `rest` stand before the lines."""
    lines: list[str] = []
    line = ""
    for word in _pieces(text, max(1, width - max(columns_of(first), columns_of(rest)))):
        prefix = rest if lines else first
        longer = f"{line} {word}" if line else word
        if line and columns_of(prefix + longer) > width:
            lines.append(prefix + line)
            line = word
        else:
            line = longer
    return [*lines, (rest if lines else first) + line]


def _pieces(text: str, width: int) -> list[str]:
    pieces = []
    for word in text.split():
        rest = word
        while columns_of(rest) > width:
            piece, rest = cut(rest, width)
            if not piece:  # one character wider than the line
                piece, rest = rest[0], rest[1:]
            pieces.append(piece)
        pieces.append(rest)
    return pieces


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of a table in the terminal."""

    title: str
    number: bool = True
    elastic: bool = False
    """Gives way to the others when room is short; one column of each table is."""
    max_width: int = 16
    """A wider cell is shortened: one long value must not push the others out. Not for the elastic column."""
    min_terminal: int = 0
    """Shown only in terminals of at least this width."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell, and whether it is to be seen at once."""

    text: str
    style: str = ""


def aligned(columns: Sequence[TextColumn], rows: Sequence[Sequence[Cell]], width: int) -> list[list[Cell]]:
    """Return header, rule and rows as padded cells, together at most `width` columns wide.

    Columns without any content are left out. The elastic column gives way when the others need the room.
    Columns that still do not fit are left out from the right, which only terminals under 80 columns see.
    """
    shown = [
        index
        for index, column in enumerate(columns)
        if width >= column.min_terminal and (column.elastic or any(row[index].text for row in rows))
    ]
    widths = {index: _width(columns[index], [row[index] for row in rows]) for index in shown}
    elastic = next(index for index in shown if columns[index].elastic)
    while (
        room := width - sum(widths[index] + len(_GAP) for index in shown if index != elastic)
    ) < _MIN_ELASTIC:
        if shown[-1] == elastic:
            break
        shown.pop()
    widths[elastic] = min(widths[elastic], max(1, room))
    header = [Cell(column.title, "head") for column in columns]
    rule = [Cell("─" * widths.get(index, 0), "faint") for index in range(len(columns))]
    return [
        [_padded(line[index], widths[index], is_number=columns[index].number) for index in shown]
        for line in (header, rule, *rows)
    ]


def _width(column: TextColumn, cells: Sequence[Cell]) -> int:
    widest = max(columns_of(column.title), *(columns_of(cell.text) for cell in cells))
    return widest if column.elastic else min(widest, column.max_width)


def _padded(cell: Cell, width: int, *, is_number: bool) -> Cell:
    text = fitted(cell.text, width)
    padding = " " * (width - columns_of(text))
    return Cell(padding + text if is_number else text + padding, cell.style)
