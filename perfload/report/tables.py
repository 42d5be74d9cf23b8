"""The report's tables and lists: requests, phases, failures, custom metrics, generators and readings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from perfload.analysis.schema import (
    EventSummary,
    MetricSummary,
    NodeSummary,
    PhaseSummary,
    RequestSummary,
    Spread,
    Summary,
)
from perfload.model import ALL_PHASES
from perfload.report.escape import shortened
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.quantities import NOTHING, clock, count, latency, number, percent, phase_name, quantity
from perfload.report.series import Gap, ReadingSpread

MAX_FAILURES = 50
MAX_READINGS = 200
MAX_GAPS = 20
MAX_EVENTS = 50
"""Longer lists hide what matters; `summary.json` and the record have them whole."""

_REASON_CHARACTERS = 400
_MODELS = {"arrivals": "open", "users": "closed", "pause": "pause"}
_HAPPENED = {"lost": "was lost"}
"""Kinds of events that need more than their name to be a sentence."""


def empty(words: str) -> Markup:
    """Return the sentence that stands where there is nothing to show."""
    return element("p", words, class_="empty")


def requests(summary: Summary) -> Markup:
    """Return every request, its total first and then each phase, with response and service times."""
    rows = summary["requests"]
    if not rows:
        return empty("No request finished.")
    columns = (
        Column("Request"),
        Column("Phase"),
        *numbers("Count", "Failed"),
        *numbers("Errors", unit="%"),
        *numbers("Rate", unit="/s"),
        *numbers("p50", "p95", "p99", "max", group="Response time, ms"),
        *numbers("p50", "p95", "p99", "max", group="Service time, ms"),
    )
    return table(columns, _request_rows(summary), label="Requests by phase")


def _request_rows(summary: Summary) -> Iterable[Row]:
    groups: dict[tuple[str, str], list[RequestSummary]] = defaultdict(list)
    for request in summary["requests"]:
        groups[request["method"], request["name"]].append(request)
    order = [ALL_PHASES, *(phase["name"] for phase in summary["phases"])]
    warmup = {phase["name"] for phase in summary["phases"] if phase["warmup"]}
    for group in groups.values():
        group.sort(
            key=lambda request: order.index(request["phase"]) if request["phase"] in order else len(order)
        )
        for index, request in enumerate(group):
            yield Row(
                _request_cells(request, first=index == 0, warmup=request["phase"] in warmup),
                strong=request["phase"] == ALL_PHASES,
                opens=index == 0,
            )


def _request_cells(request: RequestSummary, *, first: bool, warmup: bool) -> tuple[str, ...]:
    name = request_name(request["method"], request["name"])
    return (
        name if first else element("span", name, class_="unseen"),
        "total" if request["phase"] == ALL_PHASES else phase_name(request["phase"], warmup=warmup),
        count(request["count"]),
        _alarming(request["failures"]),
        percent(100 * request["failures"] / request["count"] if request["count"] else None).removesuffix(
            " %"
        ),
        number(request["rate_per_s"]),
        *_percentiles(request["response_time_ms"]),
        *_percentiles(request["service_time_ms"]),
    )


def request_name(method: str, name: str) -> str:
    """Return a request as people call it: `POST /login`."""
    return f"{method} {name}".strip() or "(no name)"


def _alarming(value: int) -> str:
    return element("span", count(value), class_="bad") if value else "0"


def _percentiles(spread: Spread) -> tuple[str, ...]:
    return tuple(number(value) for value in (spread["p50"], spread["p95"], spread["p99"], spread["max"]))


def phases(summary: Summary) -> Markup:
    """Return what was planned for each phase and what came of it."""
    if not summary["phases"]:
        return empty("The run has no phases.")
    columns = (
        Column("Phase"),
        Column("Model"),
        *numbers("Begins", "Lasts"),
        *numbers("Planned", "Started", "Late", "Dropped", "Lost", "Missed", group="Arrivals"),
        *numbers("p50", "p99", "max", group="Arrival lag, ms"),
        *numbers("Peak users"),
    )
    has_lost = any(phase["arrivals"]["lost"] for phase in summary["phases"])
    rows = (Row(_phase_cells(phase, has_lost=has_lost)) for phase in summary["phases"])
    return table(columns, rows, label="Phases")


def _phase_cells(phase: PhaseSummary, *, has_lost: bool) -> tuple[str, ...]:
    account = phase["arrivals"]
    lag = account["lag_ms"]
    is_open = phase["model"] == "arrivals"

    def shown(value: int) -> str:
        return count(value) if is_open or value else NOTHING

    return (
        phase_name(phase["name"], warmup=phase["warmup"]),
        _MODELS.get(phase["model"], phase["model"]),
        clock(phase["start_s"]),
        clock(phase["duration_s"]),
        shown(account["planned"]),
        shown(account["started"]),
        shown(account["late"]),
        shown(account["dropped"]),
        shown(account["lost"]) if has_lost else "",
        shown(account["missed"]),
        *(number(value) for value in (lag["p50"], lag["p99"], lag["max"])),
        count(phase["peak_users"]),
    )


def failures(summary: Summary) -> Markup:
    """Return the reasons of failures, the most frequent first."""
    found = sorted(summary["failures"], key=lambda failure: -failure["count"])
    if not found:
        return empty("No request failed." if summary["requests"] else "No request finished.")
    total = sum(failure["count"] for failure in found)
    rows = [
        Row(
            (
                request_name(failure["method"], failure["name"]),
                shortened(failure["reason"], _REASON_CHARACTERS),
                count(failure["count"]),
                percent(100 * failure["count"] / total) if total else NOTHING,
            )
        )
        for failure in found[:MAX_FAILURES]
    ]
    columns = (Column("Request"), Column("Reason"), *numbers("Count", "Share"))
    return joined(
        [table(columns, rows, label="Failures"), _left_out(len(found) - MAX_FAILURES, "summary.json")]
    )


def _left_out(more: int, where: str) -> Markup:
    return element("p", f"{count(more)} more in {where}.", class_="muted") if more > 0 else Markup()


def metrics(found: Iterable[MetricSummary]) -> Markup:
    """Return `found`, the scenario's own metrics, each in its unit."""
    titles = ("Mean", "p50", "p90", "p95", "p99", "Max")
    columns = (Column("Metric"), *numbers("Values"), *numbers(*titles))
    rows = [
        Row(
            (
                metric["metric"],
                count(metric["count"]),
                *(quantity(value, metric["unit"]) for value in _metric_values(metric["spread"])),
            )
        )
        for metric in found
    ]
    return table(columns, rows, label="Custom metrics")


def _metric_values(spread: Spread) -> tuple[float | None, ...]:
    return spread["mean"], spread["p50"], spread["p90"], spread["p95"], spread["p99"], spread["max"]


def nodes(summary: Summary) -> Markup:
    """Return the load generators, what became of their arrivals, and whether all they measured has arrived.

    What makes sense in a cluster only is left out where there was none.
    """
    if not summary["nodes"]:
        return empty("The record names no load generator.")
    columns = (
        Column("Generator"),
        Column("Data"),
        *numbers("Joined", "Left", "Last window"),
        *numbers("Given", "Started", "Dropped", "Lost", group="Arrivals"),
        *numbers("Clock offset", unit="ms"),
        *numbers("CPU", "Loop lag", group="Highest"),
    )
    has_changed = any(node["joined_s"] or node["left_s"] is not None for node in summary["nodes"])
    rows = (Row(_node_cells(node, has_changed=has_changed)) for node in summary["nodes"])
    return table(columns, rows, label="Load generators")


def _node_cells(node: NodeSummary, *, has_changed: bool) -> tuple[str, ...]:
    words, kind = ("✓ complete", "good") if node["complete"] else ("✗ INCOMPLETE", "bad")
    pill = element("span", words, class_=f"pill {kind}")
    left = NOTHING if node["left_s"] is None else clock(node["left_s"])
    return (
        f"{node['node']} (#{node['index']})",
        joined([pill, " ", node["note"]]) if node["note"] else pill,
        *((clock(node["joined_s"]), left) if has_changed else ("", "")),
        clock(node["last_second"]) if node["last_second"] >= 0 else "none",
        *_account(node),
        _clock_offset(node),
        quantity(node["cpu_percent_max"], "%"),
        latency(node["loop_lag_ms_max"]),
    )


def _account(node: NodeSummary) -> tuple[str, ...]:
    if node["given"] is None:
        return ("",) * 4
    counts = (node["given"], node["started"], node["dropped"])
    return *map(count, counts), _alarming(node["lost"])


def _clock_offset(node: NodeSummary) -> str:
    if node["clock_offset_ms"] is None:
        return ""
    return f"{number(node['clock_offset_ms'])} ± {number(node['clock_error_ms'])}"


def events(summary: Summary) -> Markup:
    """Return in words which load generators came and went."""
    happened = summary["events"]
    items = (element("li", _event_words(event)) for event in happened[:MAX_EVENTS])
    return joined(
        [element("ul", *items, class_="gaps"), _left_out(len(happened) - MAX_EVENTS, "summary.json")]
    )


def _event_words(event: EventSummary) -> str:
    words = f"{clock(event['at_s'])} {event['node']} {_HAPPENED.get(event['kind'], event['kind'])}"
    return f"{words}: {shortened(event['note'], _REASON_CHARACTERS)}" if event["note"] else words


def gaps(found: Iterable[Gap]) -> Markup:
    """Return in words what could not be read: never a zero in its place."""
    entries = list(found)
    items = [element("li", _gap_words(gap)) for gap in entries[:MAX_GAPS]]
    if not items:
        return Markup()
    return joined(
        [element("ul", *items, class_="gaps"), _left_out(len(entries) - MAX_GAPS, "the record")],
    )


def _gap_words(gap: Gap) -> str:
    what = f" ({shortened(', '.join(gap.metrics), 200)})" if gap.metrics else ""
    times = "once" if gap.count == 1 else f"{count(gap.count)} times"
    reason = shortened(gap.reason, _REASON_CHARACTERS)
    return f"Not available: {gap.source} on {gap.node}{what}, {times}: {reason}"


def readings(spreads: Iterable[ReadingSpread]) -> Markup:
    """Return the lowest, mean and highest value of each metric of the monitors."""
    found = list(spreads)
    columns = (
        Column("Source"),
        Column("Node"),
        Column("Metric"),
        *numbers("Readings", "Lowest", "Mean", "Highest"),
    )
    rows = [
        Row(
            (
                spread.source,
                spread.node,
                spread.metric,
                count(spread.count),
                *(quantity(value, spread.unit) for value in (spread.lowest, spread.mean, spread.highest)),
            )
        )
        for spread in found[:MAX_READINGS]
    ]
    return joined(
        [table(columns, rows, label="Readings"), _left_out(len(found) - MAX_READINGS, "the record")]
    )
