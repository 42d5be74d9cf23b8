"""The report of one run as a single HTML file that opens with no network."""

from __future__ import annotations

from perfload.analysis.schema import Summary
from perfload.model import RunRecord
from perfload.report import (
    ai,
    ai_metrics,
    causes,
    database,
    figures,
    found,
    overview,
    panels,
    series,
    stages,
    tables,
)
from perfload.report.drawing import Figure
from perfload.report.markup import Markup, element, joined
from perfload.report.page import chart, page
from perfload.report.prose import GLOSSARY, LEDES

SECTIONS = {
    "thresholds": "Thresholds",
    "cause": "Cause",
    "load": "Load",
    "throughput": "Throughput",
    "latency": "Latency",
    "requests": "Requests",
    "ai": "AI APIs",
    "stages": "Stages",
    "generator": "Generator",
    "host": "Host",
    "monitors": "Systems",
    "database": "Database",
    "method": "Method",
}
"""Anchor of each section and its name in the navigation."""


def render(record: RunRecord, summary: Summary) -> str:
    """Return the report of `record`, judged by `summary`, as one HTML document.

    Needs no network, now or when it is opened; the charts over time have a point per second up to
    `series.MAX_BINS` seconds and wider bins above.
    """
    charts = figures.build(record) | {"stages": stages.figure(summary["stages"])}
    axis = series.time_axis(record)
    watched = panels.build(record, axis)
    charts |= watched
    if ai_metrics.are_in(summary):
        charts |= ai.build(record, axis)
    verdict = overview.VERDICTS[summary["verdict"]][0]
    title = f"{verdict} · {summary['target']['host']} · {summary['run_id']}"
    drawn = {name: figure for name, figure in charts.items() if figure}
    return page(title, _body(record, summary, charts, list(watched)), drawn)


def _body(
    record: RunRecord, summary: Summary, charts: dict[str, Figure | None], watched: list[str]
) -> Markup:
    main = element(
        "main",
        overview.header(record, summary),
        _section("thresholds", overview.thresholds(summary)),
        overview.tiles(summary),
        _section("cause", causes.section(summary["bottleneck"]), title="What held it back"),
        _load(summary, charts),
        _throughput(summary, charts),
        _latency(charts),
        _requests(summary),
        _ai(summary, charts),
        _stages(summary, charts),
        _generator(record, summary, charts),
        _host(record, charts),
        _monitors(record, charts, watched),
        _database(summary),
        _method(record),
    )
    return joined([_navigation(summary), main])


def _navigation(summary: Summary) -> Markup:
    left_out = () if ai_metrics.are_in(summary) else ("ai",)
    links = (
        element("a", title, href=f"#{anchor}") for anchor, title in SECTIONS.items() if anchor not in left_out
    )
    return element("nav", element("div", overview.verdict_pill(summary), *links), aria_label="Sections")


def _section(anchor: str, *children: str, title: str = "") -> Markup:
    lede = element("p", LEDES[anchor], class_="lede") if anchor in LEDES else Markup()
    return element("section", element("h2", title or SECTIONS[anchor]), lede, *children, id=anchor)


def _chart(
    charts: dict[str, Figure | None], name: str, title: str, absent: str, *, log: bool = False
) -> Markup:
    """Return the place of a chart, or the sentence `absent` where there is nothing to draw."""
    figure = charts[name]
    if figure is None:
        return joined([element("h3", title), tables.empty(absent)])
    return chart(name, title, figure, log=log)


def _load(summary: Summary, charts: dict[str, Figure | None]) -> Markup:
    return _section(
        "load",
        _chart(charts, "arrivals", "Arrivals: planned and started", "No arrivals were planned or started."),
        _chart(charts, "users", "Virtual users in flight", "No generator reported its users."),
        element("h3", "Phases"),
        tables.phases(summary),
        title="Load: planned and started",
    )


def _throughput(summary: Summary, charts: dict[str, Figure | None]) -> Markup:
    return _section(
        "throughput",
        _chart(charts, "throughput", "Requests finished per second", "No request finished."),
        element("h3", "Failures by reason"),
        tables.failures(summary),
        title="Throughput and failures",
    )


def _latency(charts: dict[str, Figure | None]) -> Markup:
    nothing = "No request succeeded, so there is no response time."
    return _section(
        "latency",
        _chart(charts, "latency", "Response time over time, all requests", nothing, log=True),
        _chart(
            charts,
            "spectrum",
            "Percentile spectrum: share of the requests that took no longer",
            nothing,
            log=True,
        ),
    )


def _requests(summary: Summary) -> Markup:
    metrics = Markup()
    own = ai_metrics.others(summary)
    if own:
        metrics = joined([element("h3", "Metrics of the scenario"), tables.metrics(own)])
    return _section("requests", tables.requests(summary), metrics, title="Requests by phase")


def _ai(summary: Summary, charts: dict[str, Figure | None]) -> Markup:
    if not ai_metrics.are_in(summary):
        return Markup()
    places: list[Markup] = []
    for name, words in ai.CHARTS.items():
        if name in charts:
            places.append(_chart(charts, name, words.title, "", log=words.log))
            places += [element("p", element("small", words.note))] if words.note else []
    return _section("ai", ai.section(summary, places), title="Language models")


def _stages(summary: Summary, charts: dict[str, Figure | None]) -> Markup:
    drawn = _chart(charts, "stages", "Mean time of a request by stage", "No request had a response.")
    return _section("stages", stages.section(summary["stages"], drawn), title="Where the time goes")


def _generator(record: RunRecord, summary: Summary, charts: dict[str, Figure | None]) -> Markup:
    missing = [gap for gap in series.gaps(record) if gap.source == "generator"]
    unread = "No generator reported this."
    damage = element("ul", *(element("li", line) for line in record.damage[: tables.MAX_GAPS]), class_="gaps")
    story = joined([element("h3", "What happened to the cluster"), tables.events(summary)])
    return _section(
        "generator",
        tables.nodes(summary),
        story if summary["events"] else Markup(),
        joined([element("h3", "Damage to the record"), damage]) if record.damage else Markup(),
        _chart(
            charts,
            "arrival-lag",
            "Arrival lag: from the intended to the actual start",
            "No arrivals started.",
        ),
        _chart(charts, "generator-cpu", "CPU of each generator process", unread),
        _chart(charts, "loop-lag", "Event-loop lag of each generator", unread),
        tables.gaps(missing),
        title="The generator's own health",
    )


def _host(record: RunRecord, charts: dict[str, Figure | None]) -> Markup:
    missing = [gap for gap in series.gaps(record) if gap.source == "host"]
    spreads = [spread for spread in series.reading_spreads(record) if spread.source == "host"]
    absent = "Not available, for the reasons below." if missing else "No monitor read the host in this run."
    folded = element(
        "details", element("summary", "All readings of the host"), element("div", tables.readings(spreads))
    )
    return _section(
        "host",
        _chart(charts, "host", "CPU and memory", absent),
        tables.gaps(missing),
        folded if spreads else Markup(),
        title="Host CPU and memory",
    )


def _monitors(record: RunRecord, charts: dict[str, Figure | None], watched: list[str]) -> Markup:
    shown_above = ("generator", "host")
    spreads = [spread for spread in series.reading_spreads(record) if spread.source not in shown_above]
    missing = [gap for gap in series.gaps(record) if gap.source not in shown_above]
    if not spreads and not missing:
        nothing = "No other monitor ran: perfload monitors lists those that could, and what each one needs."
        return _section("monitors", tables.empty(nothing), title="The systems around it")
    folded = element(
        "details", element("summary", "All their readings"), element("div", tables.readings(spreads))
    )
    return _section(
        "monitors",
        *(_chart(charts, name, name, "") for name in watched),
        found.section(record),
        tables.gaps(missing),
        folded if spreads else Markup(),
        title="The systems around it",
    )


def _database(summary: Summary) -> Markup:
    body = database.section(summary["database"], summary["advice"])
    nothing = "MongoDB's profiler was left as it is: mongodb.profile switches it on for a run."
    return _section("database", body or tables.empty(nothing), title="Database operations and advice")


def _method(record: RunRecord) -> Markup:
    terms = (joined([element("dt", term), element("dd", words)]) for term, words in GLOSSARY.items())
    return _section(
        "method",
        element("dl", *terms, class_="prose"),
        overview.conditions(record.manifest),
        title="How these numbers are made",
    )
