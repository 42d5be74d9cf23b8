"""The tabs that perfload adds to Locust's web UI."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, jsonify

from perfload.load.live import Live
from perfload.load.web import guard
from perfload.load.web_tab import COLUMNS, HYPHEN, MONITORS_TAB, RUN_TAB, show, tables
from perfload.model import PhaseSpan, Reading
from perfload.readings import encode_reading
from tests.load.live_runs import STARTED_AT_S, Watched

Row = dict[str, str]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, rules=("p95 < 30ms", "error_rate <= 1%"))


def rows(live: Live, tab: str) -> list[Row]:
    return next(table["data"] for table in tables(live) if table["key"] == tab)


def by_what(live: Live) -> dict[str, tuple[str, str, str]]:
    return {
        row["what"]: (row.get("now", ""), row.get("asked", ""), row.get("state", ""))
        for row in rows(live, RUN_TAB)
        if row["what"] != "Threshold"
    }


def test_there_is_nothing_to_show_before_the_first_run() -> None:
    assert tables(Live()) == [{"key": RUN_TAB, "data": []}, {"key": MONITORS_TAB, "data": []}]


def test_how_the_run_goes(watched: Watched) -> None:
    watched.at_s = 12.4
    watched.deliver(watched.requests(10, 10, failed_ms=(2,)), watched.arrivals(10, 1, 1, 7, dropped=1))
    watched.deliver(
        watched.requests(11, 10, 10), readings=watched.health(12, users=4, cpu_percent=95, loop_lag_ms=3)
    )
    assert by_what(watched.live) == {
        "Run": ("00:12 of 00:30", "run-1", "phase Load"),
        "Arrivals started": ("3", "29 due by now, 100 in all", "0.6 per second"),
        "Arrival lag, p95": ("7 ms", "at most 50 ms", "1 late by 5 ms or more"),
        "Arrivals dropped": ("1", "", "too many users in flight"),
        "Users in flight": ("4", "", ""),
        "Requests": ("4", "", "0.4 per second"),
        "Failures": ("1 (25.00 %)", "", "0.2 per second"),
        "Load generator local": ("CPU 95 %, event loop 3 ms late", "below 90 % and 50 ms", "✗ busy"),
    }


def test_thresholds_say_how_they_stand(watched: Watched) -> None:
    def standing() -> list[tuple[str, str, str]]:
        found = [row for row in rows(watched.live, RUN_TAB) if row["what"] == "Threshold"]
        return [(row["asked"], row["now"], row["state"]) for row in found]

    assert standing() == [("p95 < 30ms", "-", "no data yet"), ("error_rate <= 1%", "-", "no data yet")]
    watched.deliver(watched.requests(1, 10, failed_ms=(1,)))
    assert standing() == [("p95 < 30ms", "10 ms", "✓ holds"), ("error_rate <= 1%", "50 %", "✗ fails")]


def test_a_closed_run_and_one_that_is_over(tmp_path: Path) -> None:
    watched = Watched(tmp_path, phases=(PhaseSpan("Closed load", 0.0, 0.0, "users", 0.0, 0.0, planned=0),))
    watched.at_s = 3700.0
    assert by_what(watched.live)["Run"] == ("1:01:40", "run-1", "phase Closed load")
    assert "Arrivals started" not in by_what(watched.live)
    watched.has_ended = True
    assert by_what(watched.live)["Run"][2] == "users finish"
    watched.live.end([])
    assert by_what(watched.live)["Run"][2] == "over: its report has the results"


def test_a_lost_worker_is_named(watched: Watched) -> None:
    watched.nodes["worker-1"] = SimpleNamespace(is_lost=True, is_done=False)
    assert by_what(watched.live)["Load generators lost"][0] == "1"


def test_readings(watched: Watched) -> None:
    def read(second: float, metric: str, unit: str, value: float | None, node: str = "db-1") -> str:
        reason = "" if value is not None else "this host has no swap"
        return encode_reading(Reading(STARTED_AT_S + second, node, "host", metric, unit, value, reason))

    assert rows(watched.live, MONITORS_TAB) == [{"metric": "nothing has been read yet"}]
    lines = [
        read(99, "memory_used_bytes", "bytes", 3 * 2**30),
        read(99, "sent_bytes_per_s", "bytes/s", 1536),
        read(99, "cpu_percent", "%", 37.25),
        read(99, "errors_per_s", "/s", 0),
        read(99, "sockets[open]", "sockets", 4),
        read(99, "sockets[shut]", "sockets", 0),
        read(10, "load_1m", "processes", 1234.5),
        read(10, "swap_percent", "%", None),
        read(60, "*", "", None, "web-1"),
    ]
    watched.readings.write_text("\n".join(lines) + "\n")
    watched.at_s = 100.0
    found = rows(watched.live, MONITORS_TAB)
    db, web = f"db{HYPHEN}1", f"web{HYPHEN}1"
    assert [tuple(row[key] for key in ("node", "metric", "value", "age")) for row in found] == [
        (db, "cpu_percent", "37.2 %", "now"),
        (db, "load_1m", "no longer read; last 1,234.5 processes", "90 s ago"),
        (db, "memory_used_bytes", "3.0 GiB", "now"),
        (db, "sent_bytes_per_s", "1.5 KiB/s", "now"),
        (db, "sockets", "open: 4 sockets, shut: 0 sockets", "now"),
        (db, "swap_percent", "unavailable: this host has no swap", ""),
        (db, "errors_per_s", "0", "now"),
        (web, "everything", "unavailable: this host has no swap", ""),
    ]
    assert all(row.keys() == COLUMNS[MONITORS_TAB].keys() for row in found)


def test_a_family_with_many_members_leaves_room_for_the_others(watched: Watched) -> None:
    lines = [
        encode_reading(Reading(STARTED_AT_S, "db-1", "host", f"core[{core:02}]", "%", 50.0))
        for core in range(64)
    ]
    watched.readings.write_text("\n".join(lines) + "\n")
    (row,) = rows(watched.live, MONITORS_TAB)
    assert row["value"] == "00: 50 %, 01: 50 %, 02: 50 %, 03: 50 %, 04: 50 %, 05: 50 % and 58 more"


# --- in Locust's page


@pytest.fixture
def web_ui() -> Any:
    app = Flask("locust")
    answer = app.make_response  # Locust keeps its answers for a while
    kept: list[Any] = []

    def request_stats() -> Any:
        kept[:] = kept or [answer(jsonify({"stats": [], "state": "running"}))]
        return kept[0]

    app.add_url_rule("/stats/requests", "locust.request_stats", request_stats)
    app.add_url_rule("/logs", "locust.logs", lambda: jsonify({"master": []}))
    return SimpleNamespace(app=app, template_args={"mine": 1}, host="127.0.0.1", environment=None)


def test_the_page_is_told_of_the_tabs_and_gets_their_rows(web_ui: Any, watched: Watched) -> None:
    guard(web_ui, lambda host: None)
    show(web_ui, watched.live)
    assert web_ui.template_args["mine"] == 1
    assert [tab["key"] for tab in web_ui.template_args["extended_tabs"]] == [RUN_TAB, MONITORS_TAB]
    structure = {table["key"]: table["structure"] for table in web_ui.template_args["extended_tables"]}
    assert structure[RUN_TAB][0] == {"key": "what", "title": "What"}
    client = web_ui.app.test_client()
    own = "http://127.0.0.1:8089"
    assert client.get("/stats/requests", base_url=own).json["state"] == "running"
    watched.deliver(watched.requests(1, 10))
    answer = client.get("/stats/requests", base_url=own).json
    assert [row["now"] for row in answer["extended_stats"][0]["data"] if row["what"] == "Requests"] == ["1"]
    assert client.get("/logs", base_url=own).json == {"master": []}


def test_other_sites_learn_nothing(web_ui: Any, watched: Watched) -> None:
    guard(web_ui, lambda host: None)
    show(web_ui, watched.live)
    client = web_ui.app.test_client()
    refused = client.get(
        "/stats/requests", base_url="http://127.0.0.1:8089", headers={"Origin": "http://evil.example"}
    )
    assert (refused.status_code, b"extended" in refused.data) == (403, False)
