"""The page of a sweep: the answer, the levels side by side, throughput against latency.

One HTML file that opens with no network, as the report of a run (`perfload.report.html`). It links to those
of its levels.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from perfload.analysis.sweep_schema import LevelSummary, Percentiles, SweepSummary
from perfload.report import sweep_charts
from perfload.report.drawing import Figure
from perfload.report.escape import shortened
from perfload.report.markup import Column, Markup, Row, element, joined, numbers, table
from perfload.report.overview import load_model, tile, when
from perfload.report.page import chart, page
from perfload.report.quantities import NOTHING, latency, number, percent
from perfload.report.sweep_words import (
    VERDICTS,
    conclusion,
    level_name,
    levels_in_words,
    notes,
    why_not,
)
from perfload.store import REPORT
from perfload.units import format_duration

SECTIONS = {"levels": "Levels", "curve": "Throughput", "tokens": "Tokens", "method": "Method"}
"""Anchor of each section and its name in the navigation."""

_REASON_CHARACTERS = 300

CAME_SHARE = 0.01
"""A rate that was started counts as that of its level when it differs by no more than this share."""

_MARKS = {"good": "✓", "bad": "✗", "doubt": "!"}

LEDES = {
    "levels": "Requests and tokens per second are those that were finished while the level was measured. "
    "Percentiles and errors are over all that began in it, whenever they ended. Users: the most at "
    "once in each second, on average. Each level links to the whole report of its run.",
    "curve": "A point for each level, joined in their order. Up to the knee more load means more throughput; "
    "beyond it only more waiting. A cross: missed an objective. An open circle: not to be believed.",
    "tokens": "Over answers that are whole, from the intended start of the user in the open model.",
}

GLOSSARY = {
    "Highest level": "The highest that meets all objectives, as every level below it does. One that meets "
    "them above one that does not is luck, or a system that was still warming up, and does not count.",
    "Objectives": "The thresholds of the configuration or of --threshold, and the least goodput. Those that "
    "ask for load, such as peak_users >= 100, are left out: the level sets the load.",
    "Invalid level": "The load generator and not the system was the limit, so the numbers do not describe "
    "the system. More processes (--processes) or more machines reach further.",
    "Goodput": "Answers that are whole and met every objective that the scenario states. Its percentage is "
    "of the answers to users that began while the level was measured.",
    "TTFT and TPOT": "Time to first token: from the start to the first piece of an answer with something in "
    "it. Time per output token: from the first piece to the last, for each token after the first.",
}
"""Term and explanation."""


def render(summary: SweepSummary) -> str:
    """Return the page as one HTML document. Links to runs are relative to the folder of the sweep."""
    charts = sweep_charts.build(summary)
    kind, _ = conclusion(summary)
    title = f"{_MARKS[kind]} {_answer(summary)} · {summary['host']} · {summary['sweep_id']}"
    return page(title, joined([_navigation(summary, charts), _main(summary, charts)]), charts)


def _answer(summary: SweepSummary) -> str:
    if summary["best"] is not None:
        return level_name(summary["best"], summary["model"])
    return "NONE" if conclusion(summary)[0] == "bad" else "NOT JUDGED"


def _main(summary: SweepSummary, charts: dict[str, Figure]) -> Markup:
    return element(
        "main",
        _header(summary),
        _tiles(summary),
        _section("levels", _levels(summary), title="The levels side by side"),
        _section(
            "curve", *_charts(charts, ("sweep-curve", "sweep-rate")), title="Throughput and response time"
        ),
        _section("tokens", *_charts(charts, _TOKEN_CHARTS), title="Language models")
        if _has_tokens(summary)
        else Markup(),
        _section("method", _method(), title="How these numbers are made"),
    )


_TOKEN_CHARTS = ("sweep-ttft", "sweep-tpot", "sweep-tokens", "sweep-goodput")


def _has_tokens(summary: SweepSummary) -> bool:
    return any(level["figures"]["tokens"] for level in summary["levels"])


def _navigation(summary: SweepSummary, charts: dict[str, Figure]) -> Markup:
    kind, _ = conclusion(summary)
    pill = element("span", f"{_MARKS[kind]} {_answer(summary)}", class_=f"pill {kind}")
    shown = {"tokens": _has_tokens(summary), "curve": bool(charts)}
    links = (
        element("a", title, href=f"#{anchor}")
        for anchor, title in SECTIONS.items()
        if shown.get(anchor, True)
    )
    return element("nav", element("div", pill, *links), aria_label="Sections")


def _section(anchor: str, *children: str, title: str) -> Markup:
    lede = element("p", LEDES[anchor], class_="lede") if anchor in LEDES else Markup()
    return element("section", element("h2", title), lede, *children, id=anchor)


def _header(summary: SweepSummary) -> Markup:
    kind, words = conclusion(summary)
    return element(
        "header",
        element("p", f"perfload sweep · {summary['sweep_id']}", class_="eyebrow"),
        element("h1", summary["host"] or "no target named"),
        element(
            "div",
            element("strong", f"{_MARKS[kind]} {_answer(summary)}"),
            element("div", element("p", words), class_="words"),
            class_=f"verdict {kind}",
            role="status",
        ),
        _facts(summary),
        element("ul", *(element("li", note) for note in notes(summary)), class_="notes"),
    )


def _facts(summary: SweepSummary) -> Markup:
    asked = list(summary["rules"])
    if summary["goodput_percent"] is not None and _has_tokens(summary):
        asked.append(f"goodput >= {summary['goodput_percent']:g}%")
    facts = {
        "Scenario": summary["scenario"],
        "Levels": levels_in_words(summary["planned"], summary["model"]),
        "Started": when(summary["started_at"]),
        "Load model": load_model([summary["model"]]),
        "Objectives": ", ".join(asked) or NOTHING,
        "Pause between levels": format_duration(summary["pause_s"]) if summary["pause_s"] else "none",
    }
    pairs = (
        element("div", element("dt", name), element("dd", shortened(value, _REASON_CHARACTERS)))
        for name, value in facts.items()
    )
    return element("dl", *pairs, class_="facts")


def _tiles(summary: SweepSummary) -> Markup:
    """Return what the system does at the highest level that meets the objectives; nothing without one."""
    best = next((level for level in summary["levels"] if level["level"] == summary["best"]), None)
    if best is None:
        return Markup()
    figures, tokens = best["figures"], best["figures"]["tokens"]
    spread = figures["response_time_ms"]
    there = f"at {level_name(best['level'], summary['model'])}"
    shown = [
        tile("Throughput", f"{number(figures['requests_per_s'])}/s", f"requests {there}"),
        tile("Response time p95", latency(spread["p95"]), f"p99 {latency(spread['p99'])}"),
        tile("Users", number(figures["users_mean"]), f"at once, {there}"),
    ]
    if tokens:
        ttft, tpot = tokens["ttft_ms"], tokens["tpot_ms"]
        shown += [
            tile("TTFT p99", latency(ttft["p99"]), f"p50 {latency(ttft['p50'])}"),
            tile("TPOT p99", latency(tpot["p99"]), f"p50 {latency(tpot['p50'])}"),
            tile("Output tokens", f"{number(tokens['output_tokens_per_s'])}/s", there),
        ]
    return element("div", *shown, class_="tiles")


def _charts(charts: dict[str, Figure], names: Iterable[str]) -> list[Markup]:
    shown = [name for name in names if name in charts]
    if not shown:
        return [element("p", "Nothing was measured that could be drawn.", class_="empty")]
    return [chart(name, sweep_charts.CHARTS[name], charts[name], log=name not in _LINEAR) for name in shown]


_LINEAR = ("sweep-rate", "sweep-tokens", "sweep-goodput")


def _levels(summary: SweepSummary) -> Markup:
    if not summary["levels"]:
        return element("p", "No level was run.", class_="empty")
    columns = (
        Column("Level"),
        *numbers("Started", unit="/s"),
        *numbers("Users"),
        *numbers("Requests", unit="/s"),
        *numbers("Errors", unit="%"),
        *numbers("p50", "p95", "p99", group="Response time, ms"),
        *numbers("p50", "p99", group="TTFT, ms"),
        *numbers("p50", "p99", group="TPOT, ms"),
        *numbers("Tokens", unit="/s"),
        *numbers("Goodput", unit="%"),
        *numbers("Good", unit="/s"),
    )
    grid = table(columns, [_row(level, summary) for level in summary["levels"]], label="Levels")
    return joined([grid, _reasons(summary)])


def _row(level: LevelSummary, summary: SweepSummary) -> Row:
    figures, tokens = level["figures"], level["figures"]["tokens"]
    word, mark, kind = VERDICTS[level["verdict"]]
    link = element("a", level_name(level["level"], summary["model"]), href=_address(level["run"]))
    cells: list[str] = [
        element(
            "span",
            *(link, " ", element("span", f"{mark} {word}", class_=f"pill {kind}")),
            style="white-space: nowrap",
        ),
        "" if _all_came(summary) else number(figures["started_per_s"]),
        number(figures["users_mean"]),
        number(figures["requests_per_s"]),
        _errors(level),
        *_numbers(figures["response_time_ms"], ("p50", "p95", "p99")),
    ]
    if tokens is None:
        return Row((*cells, *[""] * 7), strong=level["level"] == summary["best"])
    is_judged = tokens["goodput_percent"] is not None
    cells += [
        *_numbers(tokens["ttft_ms"], ("p50", "p99")),
        *_numbers(tokens["tpot_ms"], ("p50", "p99")),
        number(tokens["output_tokens_per_s"]),
        percent(tokens["goodput_percent"]).removesuffix(" %") if is_judged else "",
        number(tokens["good_per_s"]) if is_judged else "",
    ]
    return Row(cells, strong=level["level"] == summary["best"])


def _all_came(summary: SweepSummary) -> bool:
    """Return whether the rates that were started are those of the levels, and so need no column."""
    return all(
        abs((level["figures"]["started_per_s"] or 0.0) - level["level"]) <= CAME_SHARE * level["level"]
        for level in summary["levels"]
        if summary["model"] == "arrivals"
    )


def _errors(level: LevelSummary) -> str:
    share = percent(level["figures"]["error_rate_percent"]).removesuffix(" %")
    return element("span", share, class_="bad") if level["figures"]["failures"] else share


def _numbers(spread: Percentiles, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(number(spread[key]) for key in keys)  # type: ignore[literal-required]


def _address(run: str) -> str:
    """Return the relative address of a run's report; `./` keeps a colon in a name from being a scheme."""
    return f"./{quote(run, errors='backslashreplace')}/{REPORT}"


def _reasons(summary: SweepSummary) -> Markup:
    """Return what each level that does not meet the objectives fails, and by how much."""
    items = [
        element("li", element("strong", level_name(level["level"], summary["model"])), ": ", _why(level))
        for level in summary["levels"]
        if level["verdict"] != "met" and why_not(level)
    ]
    if not items:
        return Markup()
    return joined([element("h3", "Why not"), element("ul", *items, class_="gaps")])


def _why(level: LevelSummary) -> str:
    words = "; ".join(why_not(level))
    return shortened(words, _REASON_CHARACTERS * 2)


def _method() -> Markup:
    terms = (joined([element("dt", term), element("dd", words)]) for term, words in GLOSSARY.items())
    return element("dl", *terms, class_="prose")
