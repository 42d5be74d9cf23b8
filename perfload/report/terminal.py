"""The verdict of a run for a terminal: what failed and by how much, then load, requests and failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from perfload.analysis.database_schema import Advice
from perfload.analysis.schema import (
    Bottleneck,
    FailureSummary,
    MetricSummary,
    PhaseSummary,
    RequestSummary,
    Summary,
    ThresholdSummary,
)
from perfload.model import ALL_PHASES
from perfload.report import ai_metrics, ai_terminal
from perfload.report.escape import visible
from perfload.report.layout import Cell, TextColumn, aligned, fitted, wrapped
from perfload.report.overview import VERDICTS, load_model, when
from perfload.report.quantities import (
    NOTHING,
    count,
    latency,
    number,
    observed_and_limit,
    percent,
    phase_name,
    quantity,
)
from perfload.report.tables import request_name
from perfload.units import format_duration

MIN_WIDTH = 40
MAX_WIDTH = 160
"""Lines longer than this are hard to follow with the eye."""

WIDE = 110
"""From this width on, tables show all of their columns."""

TOP_FAILURES = 5
MAX_EVIDENCE = 4
MAX_ADVICE = 3

_INDENT = "  "
_RESET = "\x1b[0m"
_STYLES = {
    "good": "\x1b[32m",
    "bad": "\x1b[1;31m",
    "doubt": "\x1b[1;33m",
    "head": "\x1b[1m",
    "faint": "\x1b[2m",
}
_STATUSES = {"pass": ("pass", "good"), "fail": ("FAIL", "bad"), "no_data": ("NO DATA", "bad")}


def render_verdict(summary: Summary, *, width: int, color: bool) -> str:
    """Return the verdict and its tables in lines of at most `width` columns (at least `MIN_WIDTH`).

    Escape sequences for colour appear only if `color`; those in names and messages never reach the terminal.
    """
    return _Page(min(max(width, MIN_WIDTH), MAX_WIDTH), color).render(summary)


class _Page:
    """Lines of one width, with or without colour."""

    def __init__(self, width: int, color: bool) -> None:
        self.width = width
        self.color = color

    def render(self, summary: Summary) -> str:
        blocks = (
            self._head(summary),
            self._table("Thresholds", _THRESHOLDS, map(_threshold, summary["thresholds"])),
            self._table("Phases", _PHASES, _phases(summary["phases"])),
            self._table("Requests", _REQUESTS, map(_request, _totals(summary))),
            self._failures(summary["failures"]),
            self._language_models(summary),
            self._table("Metrics", _METRICS, map(_metric, ai_metrics.others(summary))),
            self._cause(summary["bottleneck"]),
            self._advice(summary["advice"]),
            self._notes(summary["notes"]),
        )
        return "\n\n".join("\n".join(block) for block in map(list, blocks) if block) + "\n"

    def _head(self, summary: Summary) -> Iterator[str]:
        word, mark, kind, meaning = VERDICTS[summary["verdict"]]
        key = f"{mark} {word}"
        yield f"{self._styled(key, kind)}  {fitted(visible(summary['run_id']), self.width - len(key) - 2)}"
        reasons = summary["reasons"] or [meaning if summary["thresholds"] else "No thresholds were set."]
        for reason in reasons:
            yield from self._wrapped(reason, first=f"{_INDENT}- ")
        yield ""
        yield from self._wrapped(_what(summary), first=_INDENT)
        yield from self._wrapped(_figures(summary), first=_INDENT)

    def _table(
        self, title: str, columns: Sequence[TextColumn], rows: Iterable[Sequence[Cell]]
    ) -> Iterator[str]:
        grid = [[Cell(visible(cell.text), cell.style) for cell in row] for row in rows]
        if not grid:
            return
        yield self._styled(title, "head")
        for line in aligned(columns, grid, self.width - len(_INDENT)):
            ending = Cell(line[-1].text.rstrip(), line[-1].style)
            shown = (self._styled(cell.text, cell.style) for cell in (*line[:-1], ending))
            yield (_INDENT + _INDENT.join(shown)).rstrip()

    def _failures(self, failures: list[FailureSummary]) -> Iterator[str]:
        most = sorted(failures, key=lambda failure: -failure["count"])
        yield from self._table("Failures", _FAILURES, map(_failure, most[:TOP_FAILURES]))
        more = len(most) - TOP_FAILURES
        if more > 0:
            yield self._styled(f"{_INDENT}{count(more)} more in the report", "faint")

    def _language_models(self, summary: Summary) -> Iterator[str]:
        yield from self._table("Language models", ai_terminal.COLUMNS, ai_terminal.rows(summary))
        for words in ai_terminal.sums(summary):
            yield from self._wrapped(words, first=_INDENT)

    def _cause(self, found: Bottleneck) -> Iterator[str]:
        if found["kind"] == "none":
            return
        yield self._styled("What held it back", "head")
        yield from self._wrapped(found["conclusion"], first=_INDENT)
        for words in found["evidence"][:MAX_EVIDENCE]:
            yield from self._wrapped(words, first=f"{_INDENT}- ")

    def _advice(self, advice: list[Advice]) -> Iterator[str]:
        if advice:
            yield self._styled("What to try", "head")
        for piece in advice[:MAX_ADVICE]:
            yield from self._wrapped(f"{piece['severity']}: {piece['title']}", first=f"{_INDENT}- ")
            yield from self._wrapped(piece["command"], first=_INDENT * 3)
        more = len(advice) - MAX_ADVICE
        if more > 0:
            yield self._styled(f"{_INDENT}{count(more)} more in the report", "faint")

    def _notes(self, notes: list[str]) -> Iterator[str]:
        if notes:
            yield self._styled("Notes", "head")
        for note in notes:
            yield from self._wrapped(note, first=f"{_INDENT}- ")

    def _wrapped(self, text: str, *, first: str) -> list[str]:
        return wrapped(visible(text), self.width, first=first, rest=" " * len(first))

    def _styled(self, text: str, style: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if self.color and style and text else text


def _what(summary: Summary) -> str:
    target = summary["target"]
    parts = (
        target["host"],
        ", ".join(target["scenarios"]),
        target["shape"],
        when(summary["started_at"]),
        format_duration(summary["duration_s"]) if summary["duration_s"] > 0 else "",
        load_model(phase["model"] for phase in summary["phases"]),
    )
    return " · ".join(part for part in parts if part not in ("", NOTHING))


def _figures(summary: Summary) -> str:
    totals = summary["totals"]
    return " · ".join(
        (
            f"{count(totals['requests'])} requests at {number(totals['rate_per_s'])}/s",
            f"{count(totals['failures'])} failed ({percent(totals['error_rate_percent'])})",
            f"available {percent(totals['availability_percent'])}",
            f"p95 {latency(totals['response_time_ms']['p95'])}",
            f"peak {count(totals['peak_users'])} users",
        )
    )


_THRESHOLDS = (
    TextColumn("status", number=False),
    TextColumn("rule", number=False, elastic=True),
    TextColumn("observed"),
    TextColumn("limit"),
    TextColumn("detail", number=False, max_width=40, min_terminal=WIDE),
)


def _threshold(rule: ThresholdSummary) -> list[Cell]:
    words, style = _STATUSES[rule["status"]]
    observed, limit = observed_and_limit(rule["observed"], rule["limit"], rule["unit"])
    return [Cell(words, style), Cell(rule["rule"]), Cell(observed), Cell(limit), Cell(rule["detail"])]


_PHASES = (
    TextColumn("phase", number=False, elastic=True),
    TextColumn("planned"),
    TextColumn("started"),
    TextColumn("late"),
    TextColumn("dropped"),
    TextColumn("lost"),
    TextColumn("missed"),
    TextColumn("lag p99"),
    TextColumn("lag max", min_terminal=WIDE),
    TextColumn("peak users", min_terminal=WIDE),
    TextColumn("lasts", min_terminal=WIDE),
)


def _phases(phases: Sequence[PhaseSummary]) -> Iterator[list[Cell]]:
    has_lost = any(phase["arrivals"]["lost"] for phase in phases)
    for phase in phases:
        yield _phase(phase, has_lost=has_lost)


def _phase(phase: PhaseSummary, *, has_lost: bool) -> list[Cell]:
    account = phase["arrivals"]
    is_open = phase["model"] == "arrivals"
    name = phase_name(phase["name"], warmup=phase["warmup"])

    def shown(value: int, style: str = "") -> Cell:
        return Cell(count(value) if is_open else NOTHING, style if value else "")

    return [
        Cell(name if is_open else f"{name} ({phase['model']})"),
        shown(account["planned"]),
        shown(account["started"]),
        shown(account["late"], "doubt"),
        shown(account["dropped"], "bad"),
        shown(account["lost"], "bad") if has_lost else Cell(""),
        shown(account["missed"], "bad"),
        Cell(latency(account["lag_ms"]["p99"])),
        Cell(latency(account["lag_ms"]["max"])),
        Cell(count(phase["peak_users"])),
        Cell(format_duration(phase["duration_s"])),
    ]


_REQUESTS = (
    TextColumn("request (ms)", number=False, elastic=True),
    TextColumn("count"),
    TextColumn("failed"),
    TextColumn("rate/s"),
    TextColumn("p50"),
    TextColumn("p90", min_terminal=WIDE),
    TextColumn("p95"),
    TextColumn("p99"),
    TextColumn("p99.9", min_terminal=WIDE),
    TextColumn("max"),
    TextColumn("service p95", min_terminal=WIDE),
)


def _totals(summary: Summary) -> list[RequestSummary]:
    return [request for request in summary["requests"] if request["phase"] == ALL_PHASES]


def _request(request: RequestSummary) -> list[Cell]:
    spread = request["response_time_ms"]
    return [
        Cell(request_name(request["method"], request["name"])),
        Cell(count(request["count"])),
        Cell(count(request["failures"]), "bad" if request["failures"] else ""),
        Cell(number(request["rate_per_s"])),
        *(Cell(number(spread[key])) for key in ("p50", "p90", "p95", "p99", "p99_9", "max")),
        Cell(number(request["service_time_ms"]["p95"])),
    ]


_FAILURES = (
    TextColumn("failure", number=False, elastic=True),
    TextColumn("count"),
)


def _failure(failure: FailureSummary) -> list[Cell]:
    return [
        Cell(f"{request_name(failure['method'], failure['name'])}: {failure['reason']}"),
        Cell(count(failure["count"]), "bad"),
    ]


_METRICS = (
    TextColumn("metric", number=False, elastic=True),
    TextColumn("values"),
    TextColumn("mean", min_terminal=WIDE),
    TextColumn("p50"),
    TextColumn("p95"),
    TextColumn("p99"),
    TextColumn("max"),
)


def _metric(metric: MetricSummary) -> list[Cell]:
    spread = metric["spread"]
    return [
        Cell(metric["metric"]),
        Cell(count(metric["count"])),
        *(Cell(quantity(spread[key], metric["unit"])) for key in ("mean", "p50", "p95", "p99", "max")),
    ]
