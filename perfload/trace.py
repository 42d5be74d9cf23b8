"""Recorded traces of requests to language models: when each came, and how long it and its answer were.

A file is read as a stream and its format recognised by its columns or keys. docs/trace-replay.md has a line
of each format, and where the public traces are.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TextIO

from perfload.errors import UsageError

BLOCK_TOKENS = 512
"""Tokens of the input that one of Mooncake's hash ids stands for; the last one may stand for fewer."""

MAX_REQUESTS = 1_000_000
"""In a window: about 200 MB in each process that replays it."""

MAX_TOKENS = 10_000_000
"""Of one input or output: a prompt as long as that fills memory enough."""

_MAX_LINE = 1 << 20
_LATEST_S = 1e10
"""Differences of times up to this, of either sign, are exact to about a microsecond."""


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request of a trace."""

    at_s: float
    """Seconds from the start of the window, to the microsecond."""
    input_tokens: int
    output_tokens: int
    """At least 1, as are those of the input: what failed at the time, with an answer of 0, is asked too."""
    blocks: tuple[int, ...] = ()
    """Equal ids stand for equal text: the input's blocks of `BLOCK_TOKENS` tokens, from its start."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The requests in a window of a file, in order of time."""

    requests: tuple[TraceRequest, ...]
    duration_s: float
    """Of the window; at most to the end of the second in which the trace's last request came."""
    digest: str
    """Tells the requests of one window from those of another."""


def read_trace(path: Path, *, start_s: float = 0.0, duration_s: float | None = None) -> Trace:
    """Return the requests of `path` from `start_s` on, for `duration_s` or to the end.

    Times count from the earliest request of the file. Lines may be out of order; of those outside the window
    nothing but the time is looked at. Raises `UsageError`, with file and line, for what is no such file, and
    for a window without requests or with more than `MAX_REQUESTS`.
    """
    start_s = round(start_s, 6)
    end_s = math.inf if duration_s is None else round(start_s + duration_s, 6)
    window = _Window(path, start_s, end_s)
    try:
        window.read()
        if window.earliest_s < window.origin_s:
            window = _Window(path, start_s, end_s, window.earliest_s)
            window.read()
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{path} cannot be read: {reason}", hint="name the file of a trace") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8", hint="save it as UTF-8, or as .gz") from None
    requests = tuple(sorted(window.found, key=attrgetter("at_s")))
    length_s = window.latest_s - window.origin_s
    if not requests:
        raise UsageError(
            f"{path} has no request from {start_s:g} s on"
            + (f" for {duration_s:g} s" if duration_s is not None else ""),
            hint=f"its requests came within {length_s:g} s: choose another window",
        )
    whole_s = math.floor(length_s - start_s) + 1.0
    return Trace(requests, min(round(end_s - start_s, 6), whole_s), _digest(requests))


class _Window:
    """A part of a file, and what a pass over the file has found of it."""

    def __init__(self, path: Path, start_s: float, end_s: float, origin_s: float = math.nan) -> None:
        """Without `origin_s` times count from the first request of the file."""
        self.start_s, self.end_s, self.origin_s = start_s, end_s, origin_s
        self.earliest_s, self.latest_s = math.inf, -math.inf
        self.found: list[TraceRequest] = []
        self._path = path

    def read(self) -> None:
        """Read the file once. If it holds a request before `origin_s`, what is found is not what is there."""
        with _open(self._path) as file:
            source = _source(self._path, file)
            for line, time_s, held in source.entries():
                if math.isnan(self.origin_s):
                    self.origin_s = time_s
                self.earliest_s = min(self.earliest_s, time_s)
                self.latest_s = max(self.latest_s, time_s)
                offset_s = round(time_s - self.origin_s, 6)
                if self.start_s <= offset_s < self.end_s and self.earliest_s >= self.origin_s:
                    self._keep(round(offset_s - self.start_s, 6), source.lengths(line, held))
        if math.isnan(self.origin_s):
            raise UsageError(f"{self._path} holds no requests", hint="add a line for each")

    def _keep(self, at_s: float, lengths: tuple[int, int, tuple[int, ...]]) -> None:
        if len(self.found) == MAX_REQUESTS:
            raise UsageError(
                f"{self._path} holds more than {MAX_REQUESTS:,} requests there",
                hint="choose a shorter window",
            )
        asked, answered, blocks = lengths
        self.found.append(TraceRequest(at_s, max(1, asked), max(1, answered), blocks))


class _Source(Protocol):
    """A file in one of the formats."""

    def entries(self) -> Iterator[tuple[int, float, Any]]:
        """Yield (line, time in seconds, what stands there) for each request, in the order of the file."""

    def lengths(self, line: int, held: Any) -> tuple[int, int, tuple[int, ...]]:
        """Return (input tokens, output tokens, block ids) of what stands in `line`."""


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open("r", encoding="utf-8-sig", newline="")


def _source(path: Path, file: TextIO) -> _Source:
    """Return the file as what its first line shows it to be."""
    lines = iter(partial(file.readline, _MAX_LINE), "")
    first = next(lines, "")
    if first.lstrip().startswith("{"):
        return _JsonLines(path, itertools.chain([first], lines))
    return _Table(path, first, lines)


class _JsonLines:
    """Mooncake's format: one JSON object a line, with times in milliseconds."""

    _EXAMPLE = 'write {"timestamp": 250, "input_length": 600, "output_length": 120, "hash_ids": [7, 8]}'
    _KEYS = ("timestamp", "input_length", "output_length")

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self._path, self._lines = path, lines

    def entries(self) -> Iterator[tuple[int, float, dict[str, Any]]]:
        """Yield (line, time in seconds, object)."""
        for number, line in enumerate(self._lines, start=1):
            if not line.strip():
                continue
            try:
                held = json.loads(line)
            except (ValueError, RecursionError):
                held = None
            if not isinstance(held, dict):
                raise self._error(number, "is no JSON object")
            missing = [key for key in self._KEYS if key not in held]
            if missing:
                raise self._error(number, f"has no {' and no '.join(missing)}")
            time_ms = held["timestamp"]
            is_number = isinstance(time_ms, int | float) and not isinstance(time_ms, bool)
            if not (is_number and abs(time_ms) < _LATEST_S * 1000):
                raise self._error(number, f"timestamp is {_shown(time_ms)}, which are no milliseconds")
            yield number, time_ms / 1000, held

    def lengths(self, line: int, held: dict[str, Any]) -> tuple[int, int, tuple[int, ...]]:
        """Return (input tokens, output tokens, block ids)."""
        counts = [held[key] for key in self._KEYS[1:]]
        for key, count in zip(self._KEYS[1:], counts, strict=True):
            if type(count) is not int or not 0 <= count <= MAX_TOKENS:
                raise self._error(line, f"{key} is {_shown(count)}, which is no count of tokens")
        blocks = held.get("hash_ids") or []
        if not isinstance(blocks, list) or not all(type(block) is int for block in blocks):
            raise self._error(line, "hash_ids is no list of whole numbers")
        if len(blocks) > math.ceil(counts[0] / BLOCK_TOKENS):
            raise self._error(
                line, f"{len(blocks)} hash_ids of {BLOCK_TOKENS} tokens are more than {counts[0]} tokens"
            )
        return counts[0], counts[1], tuple(blocks)

    def _error(self, line: int, what: str) -> UsageError:
        return UsageError(f"{self._path}, line {line}: {what}", hint=self._EXAMPLE)


def _seconds(cell: str) -> float:
    return float(cell)


def _date(cell: str) -> float:
    """Return the seconds since the epoch of a date and time; one without a zone is taken for UTC."""
    at = datetime.fromisoformat(cell)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True)
class _Columns:
    """A CSV format: the columns of time, input and output tokens; how a time is read; a line of it."""

    names: tuple[str, str, str]
    time_s: Callable[[str], float]
    example: str


_TABLES = (
    _Columns(("TIMESTAMP", "ContextTokens", "GeneratedTokens"), _date, "2023-11-16 12:00:00.1234567,600,120"),
    _Columns(("Timestamp", "Request tokens", "Response tokens"), _seconds, "5,ChatGPT,600,120,720,API log"),
    _Columns(("at_s", "input_tokens", "output_tokens"), _seconds, "0.25,600,120"),
)
"""Azure's, BurstGPT's, and one of our own. Further columns are left alone."""


class _Table:
    """A CSV file whose first line names its columns, whatever their order and case."""

    def __init__(self, path: Path, header: str, lines: Iterable[str]) -> None:
        self._path = path
        self._rows = csv.reader(lines, strict=True)
        try:
            names = [name.strip().casefold() for name in next(csv.reader([header], strict=True), [])]
        except csv.Error:
            names = []
        for columns in _TABLES:
            wanted = [name.casefold() for name in columns.names]
            if all(name in names for name in wanted):
                self._columns, self._width = columns, len(names)
                self._time, self._input, self._output = (names.index(name) for name in wanted)
                return
        known = "; or ".join(",".join(columns.names) for columns in _TABLES)
        raise UsageError(
            f"{path} is no trace: its first line is {_shown(header.strip())}",
            hint=f"it holds JSON as Mooncake's, or begins with {known}",
        )

    def entries(self) -> Iterator[tuple[int, float, list[str]]]:
        """Yield (line, time in seconds, cells)."""
        read_time, column = self._columns.time_s, self._time
        try:
            for cells in self._rows:
                if not cells:
                    continue
                line = self._rows.line_num + 1  # the header was read before
                if len(cells) != self._width:
                    raise self._error(line, f"{len(cells)} cells, the first line has {self._width}")
                try:
                    time_s = read_time(cells[column])
                except (ValueError, OverflowError):
                    time_s = math.nan
                if not abs(time_s) < _LATEST_S:
                    raise self._error(line, f"{_shown(cells[column])} is no time")
                yield line, time_s, cells
        except csv.Error as error:
            raise self._error(self._rows.line_num + 1, str(error)) from None

    def lengths(self, line: int, held: list[str]) -> tuple[int, int, tuple[int, ...]]:
        """Return (input tokens, output tokens, no block ids)."""
        return self._tokens(line, held[self._input]), self._tokens(line, held[self._output]), ()

    def _tokens(self, line: int, cell: str) -> int:
        try:
            count = float(cell)  # what has gone through a spreadsheet may say 472.0
        except ValueError:
            count = math.nan
        if not (0 <= count <= MAX_TOKENS and count.is_integer()):
            raise self._error(line, f"{_shown(cell)} is no count of tokens")
        return int(count)

    def _error(self, line: int, what: str) -> UsageError:
        return UsageError(f"{self._path}, line {line}: {what}", hint=f"write {self._columns.example}")


def _shown(value: object) -> str:
    """Return what stands in a file, for a message: short, and with no control characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} …"


def _digest(requests: Iterable[TraceRequest]) -> str:
    hashed = hashlib.sha256()
    for request in requests:
        hashed.update(struct.pack("<dII", request.at_s, request.input_tokens, request.output_tokens))
        if request.blocks:
            hashed.update(repr(request.blocks).encode())
    return hashed.hexdigest()
