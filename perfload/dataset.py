"""Data files of a load test: CSV with a header, UTF-8 with or without a byte order mark."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from perfload.errors import UsageError

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of the CSV file `path` as column -> cell, cells as written; empty lines are skipped.

    Each name in `columns` must be in the header; further columns are kept. Raises `UsageError`, with file and
    line, when the file cannot be read, is not UTF-8, lacks a column, has no rows, or has a row with more or
    fewer cells than the header.
    """
    lines = _records(path, _read_text(path))
    _, header = next(lines, (0, []))
    names = [name.strip() for name in header]
    if not names:
        raise UsageError(f"{path} is empty", hint=f"its first line names the columns: {','.join(columns)}")
    _check_header(path, names, columns)
    rows = [_row(path, line, names, cells) for line, cells in lines]
    if not rows:
        raise UsageError(f"{path} has a header but no rows", hint="add at least one line below the header")
    return rows


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", hint=f"looked for {path.resolve()}") from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="name a CSV file that this user may read"
        ) from error
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise UsageError(
            f"{path}, line {line}: byte {column} of the line (0x{data[error.start]:02x}) is not UTF-8",
            hint="save the file as UTF-8",
        ) from error


def _records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line on which the record ends, cells) of every line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {reader.line_num}: {error}",
            hint='a cell with a comma, quote or line break stands in "double quotes", quotes in it doubled',
        ) from error


def _check_header(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"{path}: column {repeated[0]!r} is there twice", hint="give each column a name of its own"
        )
    missing = [column for column in columns if column not in names]
    if missing:
        raise UsageError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, names))}",
            hint=_hint_for_missing(missing[0], names),
        )


def _hint_for_missing(missing: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        for separator, separator_name in _OTHER_SEPARATORS.items():
            if separator in names[0]:
                return f"its cells are separated by {separator_name}: save it with commas"
    nearest = difflib.get_close_matches(missing.casefold(), [name.casefold() for name in names], n=1)
    found = [name for name in names if name.casefold() in nearest]
    return f"rename {found[0]!r} to {missing!r}" if found else f"add {missing!r} to its first line"


def _row(path: Path, line: int, names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(names):
        raise UsageError(
            f"{path}, line {line}: {_cells(len(cells))}, the header has {len(names)}",
            hint=f"write one cell for each of {', '.join(names)}; quote a cell that has a comma in it",
        )
    return dict(zip(names, cells, strict=True))


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
