"""Two tabs in Locust's web UI: how the run goes, and what the monitors read.

They are tables as Locust's own: it asks for `/stats/requests` every two seconds and shows what stands there
under `extended_stats`. It puts every cell into the page as text, so nothing here can be markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import gevent
import orjson

from perfload.load.live import WHOLE_SOURCE, Live, LiveRun, Standing
from perfload.model import Verdict

RUN_TAB = "perfload-run"
MONITORS_TAB = "perfload-monitors"

TABS = {RUN_TAB: "perfload", MONITORS_TAB: "Monitors"}
"""Titles."""

COLUMNS = {
    RUN_TAB: {"what": "What", "now": "Now", "asked": "Asked for", "state": "State"},
    MONITORS_TAB: {
        "node": "Where",
        "source": "Monitor",
        "metric": "Reading",
        "value": "Value",
        "age": "Read",
    },
}

Row = dict[str, str]

MAX_ROWS = 500
"""Locust's page becomes slow with more."""
MAX_CELL_CHARS = 60

NOTHING = "-"
HYPHEN = "\N{NON-BREAKING HYPHEN}"

STATES = {"pass": "✓ holds", "fail": "✗ fails", "no_data": "no data yet"}


def show(web_ui: Any, live: Live) -> None:
    """Add the tabs to the UI, which has not answered anything yet."""
    tabs = [{"key": key, "title": title} for key, title in TABS.items()]
    tables = [
        {"key": key, "structure": [{"key": name, "title": title} for name, title in columns.items()]}
        for key, columns in COLUMNS.items()
    ]
    web_ui.template_args |= {"extended_tabs": tabs, "extended_tables": tables}
    web_ui.app.after_request(_extension(live))


def _extension(live: Live) -> Callable[[Any], Any]:
    from flask import make_response, request

    def extend(response: Any) -> Any:
        if request.endpoint != "locust.request_stats" or not response.is_json:
            return response
        # Locust keeps its answer for a while: it must stay as it is.
        answer = orjson.loads(response.get_data())
        answer["extended_stats"] = tables(live)
        extended = make_response(orjson.dumps(answer))
        extended.headers["Content-Type"] = "application/json"
        return extended

    return extend


def tables(live: Live) -> list[dict[str, Any]]:
    """Return the rows of both tabs, as Locust's page takes them."""
    run = live.run
    if run is None:
        return [{"key": key, "data": []} for key in TABS]
    run.readings.poll(lambda: gevent.sleep(0))
    monitors = list(_monitor_rows(run))
    if len(monitors) > MAX_ROWS:
        more = {"metric": f"and {len(monitors) - MAX_ROWS} more: in the report"}
        monitors[MAX_ROWS:] = [_row(**more)]
    return [
        {"key": RUN_TAB, "data": list(_run_rows(run))},
        {"key": MONITORS_TAB, "data": monitors or [_row(metric=_no_monitors(run))]},
    ]


def _row(**cells: str) -> Row:
    return cells


def _no_monitors(run: LiveRun) -> str:
    return "nothing was read" if run.is_over else "nothing has been read yet"


def _run_rows(run: LiveRun) -> Iterator[Row]:
    yield _where(run)
    rates = run.rates()
    planned = run.planned()
    if planned:
        in_all = sum(span.planned for span in run.manifest.phases)
        due = sum(planned.values())
        yield _row(
            what="Arrivals started",
            now=f"{run.started:,}",
            asked=f"{due:,} due by now, {in_all:,} in all",
            state=f"{rates.started:,.1f} per second",
        )
        late = f"{run.late:,} late by 5 ms or more" if run.late else "none was late"
        yield _row(
            what="Arrival lag, p95",
            now=_milliseconds(run.lag.percentile(95) / 1000) if run.lag.count else NOTHING,
            asked=f"at most {_milliseconds(run.manifest.max_lag_p95_ms)}",
            state=late,
        )
        if run.dropped:
            yield _row(what="Arrivals dropped", now=f"{run.dropped:,}", state="too many users in flight")
    yield from _request_rows(run)
    yield from _generator_rows(run)
    for verdict in run.rules.verdicts():
        yield _threshold(verdict)


def _where(run: LiveRun) -> Row:
    span, end_s = run.span, run.manifest.phases[-1].end_s
    now = f"{_clock(run.now_s())} of {_clock(end_s)}" if end_s < float("inf") else _clock(run.now_s())
    if run.is_over:
        return _row(what="Run", now=now, asked=run.manifest.run_id, state="over: its report has the results")
    if span is None:
        return _row(what="Run", now=now, asked=run.manifest.run_id, state="users finish")
    return _row(what="Run", now=now, asked=run.manifest.run_id, state=f"phase {span.name}")


def _request_rows(run: LiveRun) -> Iterator[Row]:
    rates = run.rates()
    users = sum(health.users for health in run.fresh_health().values())
    span = run.span
    asked = ""
    if span is not None and span.model == "users" and span.start:
        asked = f"{span.start:g} to {span.end:g}" if span.start != span.end else f"{span.start:g}"
    yield _row(what="Users in flight", now=f"{users:,.0f}", asked=asked)
    yield _row(what="Requests", now=f"{run.requests:,}", state=f"{rates.requests:,.1f} per second")
    share = f" ({100 * run.failures / run.requests:.2f} %)" if run.failures else ""
    lately = f"{rates.failures:,.1f} per second" if run.failures else "none"
    yield _row(what="Failures", now=f"{run.failures:,}{share}", state=lately)


def _generator_rows(run: LiveRun) -> Iterator[Row]:
    counts = run.generators()
    if counts["lost"]:
        yield _row(what="Load generators lost", now=f"{counts['lost']}", state="✗ others have taken over")
    limits = run.manifest
    asked = f"below {limits.max_generator_cpu_percent:.0f} % and {_milliseconds(limits.max_lag_p95_ms)}"
    for node, health in run.fresh_health().items():
        is_busy = health.cpu_percent >= limits.max_generator_cpu_percent
        is_stuck = health.loop_lag_ms >= limits.max_lag_p95_ms
        yield _row(
            what=f"Load generator {node}",
            now=f"CPU {health.cpu_percent:.0f} %, event loop {_milliseconds(health.loop_lag_ms)} late",
            asked=asked,
            state="✗ busy" if is_busy or is_stuck else "✓ has time to spare",
        )


def _threshold(verdict: Verdict) -> Row:
    unit = f" {verdict.unit}" if verdict.unit else ""
    now = NOTHING if verdict.observed is None else f"{_number(verdict.observed)}{unit}"
    return _row(what="Threshold", now=now, asked=verdict.rule, state=STATES[verdict.status])


def _monitor_rows(run: LiveRun) -> Iterator[Row]:
    """Yield the readings, source by source: percentages first, one row for all at 0, then what is missing."""
    now_s = run.epoch_now_s()
    for (node, source), group in groupby(run.readings.standing(now_s), key=_source):
        rows: list[tuple[str, str, str]] = []
        idle: list[str] = []
        for name, family in groupby(sorted(group, key=_place), key=_family):
            members = list(family)
            if all(one.is_fresh and one.reading.value == 0 for one in members):
                idle.append(name)
            else:
                age_s = now_s - max(one.reading.at_s for one in members)
                is_missing = members[0].reading.value is None
                rows.append((name, _values(members), "" if is_missing else _age(age_s)))
        if idle:
            rows.append((_listed(idle), "0", "now"))
        for metric, value, age in rows:
            # The browser must not break a name at its hyphens: every row would have two lines.
            yield _row(node=node.replace("-", HYPHEN), source=source, metric=metric, value=value, age=age)


def _source(standing: Standing) -> tuple[str, str]:
    return standing.reading.node, standing.reading.source


def _place(standing: Standing) -> tuple[bool, bool, str]:
    reading = standing.reading
    return reading.value is None, reading.unit != "%", reading.metric


def _family(standing: Standing) -> str:
    """Return the name that a reading shares with its likes: `tcp_sockets` of `tcp_sockets[listen]`."""
    metric = standing.reading.metric
    return "everything" if metric == WHOLE_SOURCE else metric.partition("[")[0]


def _values(members: Sequence[Standing]) -> str:
    if len(members) == 1 and "[" not in members[0].reading.metric:
        return _value(members[0])
    items = (one.reading.metric.partition("[")[2].removesuffix("]") for one in members)
    return _listed([f"{item}: {_value(one)}" for item, one in zip(items, members, strict=True)])


def _listed(texts: Sequence[str]) -> str:
    """Return as many of `texts` as a cell has room for; a longer one would squeeze the others."""
    shown = texts[:1]
    for text in texts[1:]:
        if len(", ".join([*shown, text])) > MAX_CELL_CHARS:
            return f"{', '.join(shown)} and {len(texts) - len(shown)} more"
        shown = [*shown, text]
    return ", ".join(shown)


def _value(standing: Standing) -> str:
    reading = standing.reading
    if reading.value is None:
        return f"unavailable: {reading.unavailable}"
    value = _with_unit(reading.value, reading.unit)
    return value if standing.is_fresh else f"no longer read; last {value}"


def _with_unit(value: float, unit: str) -> str:
    base, slash, rest = unit.partition("/")
    if base == "bytes":
        for prefix, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if abs(value) >= size:
                return f"{value / size:,.1f} {prefix}B{slash}{rest}"
        return f"{value:,.0f} B{slash}{rest}"
    return f"{_number(value)}{'' if unit.startswith('/') else ' '}{unit}".strip()


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def _milliseconds(value_ms: float) -> str:
    return f"{value_ms / 1000:.2f} s" if value_ms >= 1000 else f"{_number(round(value_ms, 1))} ms"


def _age(seconds: float) -> str:
    return "now" if seconds < 2.5 else f"{seconds:,.0f} s ago"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes:02}:{rest:02}"
