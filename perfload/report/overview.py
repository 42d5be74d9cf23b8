"""The top of the report: what was run, the verdict in words, the thresholds and the key figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from perfload.analysis.schema import Summary, ThresholdSummary
from perfload.model import Manifest, RunRecord
from perfload.report.escape import shortened
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.quantities import NOTHING, count, latency, number, observed_and_limit, percent
from perfload.units import format_duration

VERDICTS = {
    "passed": ("PASSED", "✓", "good", "Every threshold holds."),
    "failed": ("FAILED", "✗", "bad", "At least one threshold does not hold."),
    "invalid": ("INVALID", "!", "doubt", "These numbers do not describe the system under test."),
    "incomplete": ("INCOMPLETE", "…", "doubt", "Part of the measurement is missing."),
}
"""Verdict: its word, mark, class in the style sheet, and what it means when the summary gives no reason."""

_STATUSES = {"pass": ("✓ pass", "good"), "fail": ("✗ FAIL", "bad"), "no_data": ("? NO DATA", "bad")}

_MODELS = {"arrivals": "open", "users": "closed"}


def verdict_pill(summary: Summary) -> Markup:
    """Return the verdict as a small badge."""
    word, mark, kind, _ = VERDICTS[summary["verdict"]]
    return element("span", f"{mark} {word}", class_=f"pill {kind}")


def header(record: RunRecord, summary: Summary) -> Markup:
    """Return the title, the verdict with its reasons, the facts of the run and its notes."""
    target = summary["target"]
    return element(
        "header",
        element("p", f"perfload report · run {summary['run_id']}", class_="eyebrow"),
        element("h1", target["host"] or "no target named"),
        _verdict(summary),
        _facts(record.manifest, summary),
        _notes(summary["notes"]),
    )


def _verdict(summary: Summary) -> Markup:
    word, mark, kind, meaning = VERDICTS[summary["verdict"]]
    reasons = summary["reasons"]
    if len(reasons) > 1:
        words = element("ul", *(element("li", reason) for reason in reasons))
    elif reasons:
        words = element("p", reasons[0])
    else:
        words = element("p", meaning if summary["thresholds"] else "No thresholds were set.")
    badge = element("strong", f"{mark} {word}")
    return element(
        "div", badge, element("div", words, class_="words"), class_=f"verdict {kind}", role="status"
    )


def _facts(manifest: Manifest, summary: Summary) -> Markup:
    target = summary["target"]
    facts = {
        "Scenarios": ", ".join(target["scenarios"]) or NOTHING,
        "Shape": target["shape"] or NOTHING,
        "Started": when(summary["started_at"]),
        "Duration": _duration(summary),
        "Load model": load_model(phase["model"] for phase in summary["phases"]),
        "Ended": f"{summary['end_reason']}{f': {manifest.end_note}' if manifest.end_note else ''}",
        "Generators": _generators(summary),
    }
    pairs = (
        element("div", element("dt", name), element("dd", shortened(value, 300)))
        for name, value in facts.items()
    )
    return element("dl", *pairs, class_="facts")


def when(started_at: str) -> str:
    """Return an ISO 8601 time as `2026-01-31 14:05:09 UTC`; what is no such time, as it is."""
    try:
        moment = datetime.fromisoformat(started_at)
    except ValueError:
        return started_at
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or ''}".rstrip()


def _duration(summary: Summary) -> str:
    duration = format_duration(summary["duration_s"]) if summary["duration_s"] > 0 else NOTHING
    scale = summary["time_scale"]
    return duration if scale == 1 else f"{duration} (time scale {scale:g}: phases that much shorter)"


def load_model(models: Iterable[str]) -> str:
    """Return in words which load models the phases use."""
    names = sorted({_MODELS[model] for model in models if model in _MODELS})
    if names == ["closed"]:
        return "closed: a number of concurrent users"
    if names == ["open"]:
        return "open: users arrive at a rate"
    return "open and closed, by phase" if names else NOTHING


def _generators(summary: Summary) -> str:
    nodes = summary["nodes"]
    complete = sum(node["complete"] for node in nodes)
    return f"{count(complete)} of {count(len(nodes))} complete" if nodes else NOTHING


def _notes(notes: list[str]) -> Markup:
    return element("ul", *(element("li", note) for note in notes), class_="notes") if notes else Markup()


def thresholds(summary: Summary) -> Markup:
    """Return the thresholds with what was observed; the words of a status stand beside its colour."""
    rules = summary["thresholds"]
    if not rules:
        return element("p", "No thresholds were set, so nothing was judged.", class_="empty")
    columns = (Column("Status"), Column("Rule"), *numbers("Observed", "Limit"), Column("Detail"))
    return table(columns, [Row(_threshold_cells(rule)) for rule in rules], label="Thresholds")


def _threshold_cells(rule: ThresholdSummary) -> tuple[str, ...]:
    words, kind = _STATUSES[rule["status"]]
    observed, limit = observed_and_limit(rule["observed"], rule["limit"], rule["unit"])
    status = element("span", words, class_=f"pill {kind}")
    return status, element("code", rule["rule"]), observed, limit, rule["detail"]


def tiles(summary: Summary) -> Markup:
    """Return the run's key figures."""
    totals = summary["totals"]
    spread = totals["response_time_ms"]
    return element(
        "div",
        tile("Requests", count(totals["requests"]), f"{number(totals['rate_per_s'])} per second"),
        tile("Error rate", percent(totals["error_rate_percent"]), f"{count(totals['failures'])} failed"),
        tile(
            "Availability",
            percent(totals["availability_percent"]),
            "of the seconds had a success",
        ),
        tile(
            "Response time p95",
            latency(spread["p95"]),
            f"p50 {_unbroken(latency(spread['p50']))}, p99 {_unbroken(latency(spread['p99']))}",
        ),
        tile("Peak users", count(totals["peak_users"]), "in flight at once"),
        _arrivals_tile(summary),
        class_="tiles",
    )


def _arrivals_tile(summary: Summary) -> Markup:
    account = summary["totals"]["arrivals"]
    if not account["planned"] and not account["started"]:
        return tile("Arrivals", NOTHING, "no arrivals planned")
    below = f"of {count(account['planned'])} planned, {count(account['late'])} late"
    lost = f", {count(account['lost'])} lost" if account["lost"] else ""
    return tile("Arrivals started", count(account["started"]), below + lost)


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def tile(title: str, value: str, below: str) -> Markup:
    """Return one figure with its title above and a remark below."""
    return element(
        "div", element("h3", title), element("strong", value), element("small", below), class_="tile"
    )


def conditions(manifest: Manifest) -> Markup:
    """Return the options and the environment of the run as recorded, folded away."""
    groups = (("Options", manifest.options), ("Environment", manifest.environment))
    tables = joined(_mapping(title, values) for title, values in groups if values)
    if not tables:
        return Markup()
    return element(
        "details", element("summary", "Options and environment of this run"), element("div", tables)
    )


def _mapping(title: str, values: Mapping[str, object]) -> Markup:
    rows = (Row((str(name), element("code", _plain(value)))) for name, value in sorted(values.items()))
    return joined(
        [element("h3", title), table((Column("Name"), Column("Value")), rows, label=title)],
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
