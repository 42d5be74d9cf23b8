"""HTML by elements: every string is escaped unless an element made it, so that forgetting cannot hurt."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from perfload.report.escape import visible


class Markup(str):
    """HTML that is known to be safe: made by `element`, or read from perfload's own assets."""

    __slots__ = ()


def escaped(content: str) -> Markup:
    """Return `content` as HTML: itself if it is `Markup`, else with every special character escaped."""
    return content if isinstance(content, Markup) else Markup(html.escape(visible(content)))


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """Return `<tag …>children</tag>`; `class_` and `data_figure` become `class` and `data-figure`."""
    inner = "".join(map(escaped, children))
    return Markup(f"<{tag}{_attributes(attributes)}>{inner}</{tag}>")


def joined(parts: Iterable[str]) -> Markup:
    """Return `parts` one after the other, each escaped unless it is `Markup`."""
    return Markup("".join(map(escaped, parts)))


def _attributes(attributes: dict[str, str]) -> str:
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(visible(value))}"'
        for name, value in attributes.items()
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its header, the unit below it, and whether it holds numbers."""

    title: str
    unit: str = ""
    number: bool = False
    group: str = ""
    """Neighbours of one group share a header above theirs."""


def numbers(*titles: str, unit: str = "", group: str = "") -> tuple[Column, ...]:
    """Return a number column for each of `titles`."""
    return tuple(Column(title, unit=unit, number=True, group=group) for title in titles)


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row; `strong` marks a total, `opens` the first row of a group."""

    cells: Sequence[str]
    strong: bool = False
    opens: bool = False


def table(columns: Sequence[Column], rows: Iterable[Row], *, label: str) -> Markup:
    """Return a table that scrolls sideways when the page is narrow; columns without any content are left out.

    The first cell of a row is its header.
    """
    columns, rows = _filled(columns, list(rows))
    head = joined([_group_heads(columns), element("tr", *map(_head, columns))])
    body = joined(_row(columns, row) for row in rows)
    grid = element("table", element("thead", head), element("tbody", body))
    return element("div", grid, class_="scroll", tabindex="0", role="region", aria_label=label)


def _filled(columns: Sequence[Column], rows: list[Row]) -> tuple[Sequence[Column], list[Row]]:
    """Leave out the columns that are empty in every row."""
    kept = [index for index in range(len(columns)) if any(row.cells[index] for row in rows)]
    return (
        [columns[index] for index in kept],
        [replace(row, cells=[row.cells[index] for index in kept]) for row in rows],
    )


def _group_heads(columns: Sequence[Column]) -> Markup:
    if not any(column.group for column in columns):
        return Markup()
    heads: list[Markup] = []
    start = 0
    for index in range(1, len(columns) + 1):
        if index < len(columns) and columns[index].group == columns[start].group:
            continue
        group = columns[start].group
        heads.append(element("th", group, colspan=str(index - start), class_="group" if group else "none"))
        start = index
    return element("tr", *heads)


def _head(column: Column) -> Markup:
    unit = element("small", column.unit) if column.unit else Markup()
    title = joined([column.title, " ", unit]) if unit else column.title
    return element("th", title, scope="col", class_="number" if column.number else "text")


def _row(columns: Sequence[Column], row: Row) -> Markup:
    cells = [
        _cell(cell, "number" if column.number else "text", is_header=index == 0)
        for index, (column, cell) in enumerate(zip(columns, row.cells, strict=True))
    ]
    classes = " ".join(name for name, is_on in (("strong", row.strong), ("opens", row.opens)) if is_on)
    return element("tr", *cells, class_=classes) if classes else element("tr", *cells)


def _cell(content: str, kind: str, *, is_header: bool) -> Markup:
    if is_header:
        return element("th", content, scope="row", class_=kind)
    return element("td", content, class_=kind)
