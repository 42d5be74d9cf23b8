import re

import pytest

from perfload.analysis.summary import summarise
from perfload.report.layout import Cell, TextColumn, aligned, columns_of, fitted, wrapped
from perfload.report.quantities import NOTHING
from perfload.report.terminal import render_verdict
from tests.unit.report.clusters import cluster_record
from tests.unit.report.records import empty_summary, five_phase_summary, hostile_summary

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def lines(summary, width=80, *, color=False):
    return render_verdict(summary, width=width, color=color).splitlines()


def cluster_summary():
    return summarise(cluster_record())


def test_the_verdict_and_its_reasons_come_first():
    assert lines(five_phase_summary())[:2] == [
        "✗ FAILED  20260101-000000-a1b2c3",
        "  - p95 < 500ms: observed 812.4 ms",
    ]


@pytest.mark.parametrize(
    ("verdict", "first"), [("passed", "✓ PASSED"), ("invalid", "! INVALID"), ("incomplete", "… INCOMPLETE")]
)
def test_each_verdict_has_its_word(verdict, first):
    assert lines(five_phase_summary(verdict=verdict))[0].startswith(first)


def test_a_passed_run_without_thresholds_says_that_nothing_was_judged():
    shown = lines(five_phase_summary(verdict="passed", reasons=[], thresholds=[]))
    assert shown[1] == "  - No thresholds were set."


def test_thresholds_show_status_rule_observed_and_limit():
    shown = lines(five_phase_summary())
    at = shown.index("Thresholds")
    assert [line.split() for line in shown[at + 3 : at + 6]] == [
        ["FAIL", "p95", "<", "500ms", "812", "ms", "500", "ms"],
        ["pass", "error_rate", "<", "1%", "0.17", "%", "1", "%"],
        ["NO", "DATA", "p99(GET", "/nowhere)", "<", "3s", NOTHING, "3.00", "s"],
    ]


def test_phases_show_the_account_of_their_arrivals():
    assert any(
        line.split() == ["Spike", "1,500", "1,410", "412", "88", "2", "1.12", "ms"]
        for line in lines(five_phase_summary())
    )


@pytest.mark.parametrize("width", [80, 120])
def test_lost_arrivals_have_a_column_where_any_were_lost(width):
    shown = lines(cluster_summary(), width)
    at = shown.index("Phases")
    assert shown[at + 1].split()[:7] == ["phase", "planned", "started", "late", "dropped", "lost", "missed"]
    assert shown[at + 3].split()[:7] == ["Warm-up", "2,000", "2,000", "0", "0", "0", "0"]
    assert shown[at + 4].split()[:8] == ["Normal", "load", "6,000", "5,735", "0", "0", "265", "0"]
    assert "lag p99" in shown[at + 1]


def test_no_column_is_there_for_lost_arrivals_where_none_were():
    shown = lines(five_phase_summary(), 120)
    assert shown[shown.index("Phases") + 1].split()[:6] == [
        "phase",
        "planned",
        "started",
        "late",
        "dropped",
        "missed",
    ]


def test_the_lost_are_red_and_a_closed_phase_has_none():
    summary = cluster_summary()
    summary["phases"][0]["model"] = "users"
    shown = lines(summary, color=True)
    assert any("\x1b[1;31m 265\x1b[0m" in line for line in shown)
    warm_up = next(line for line in shown if "Warm-up (users)" in line)
    assert warm_up.split()[2:8] == [NOTHING] * 6


def test_a_changed_cluster_says_so_in_its_reasons_and_notes():
    shown = " ".join(word for line in lines(cluster_summary()) for word in line.split())
    for sentence in (
        "- the load generator worker-2 did not deliver its last results: it was last heard of at 20.1 s and "
        "did not return: everything after second 19 is missing; nothing was heard of 115 of the arrivals "
        "given to it, due in seconds 20 to 22 - ",
        "- the load generator worker-3 was lost at 32.3 s and never started 150 of the arrivals given to it, "
        "due in seconds 30 to 32 ",
        "- The cluster changed during the load: worker-2 lost at 22.1 s, worker-3 lost at 32.3 s, worker-4 "
        "joined at 40.0 s and worker-3 returned at 40.3 s.",
    ):
        assert sentence in shown


def test_a_closed_phase_shows_no_arrivals():
    summary = five_phase_summary()
    summary["phases"][2]["model"] = "users"
    assert any(
        line.split()[:6] == ["Normal", "load", "(users)", NOTHING, NOTHING, NOTHING]
        for line in lines(summary)
        if line
    )


def test_requests_show_their_totals_over_all_phases_once():
    shown = [line for line in lines(five_phase_summary()) if "/api/auth/login " in line]
    assert [line.split() for line in shown] == [
        ["POST", "/api/auth/login", "2,400", "30", "40.0", "62.0", "186", "310", "620"]
    ]


def test_a_wide_terminal_shows_more_columns():
    assert any("p99.9" in line and "service p95" in line for line in lines(five_phase_summary(), 120))
    assert not any("p99.9" in line for line in lines(five_phase_summary(), 80))


def test_failures_are_the_most_frequent_ones_and_say_how_many_are_left_out():
    base = five_phase_summary()["failures"][0]
    failures = [{**base, "reason": f"reason {count}", "count": count} for count in range(1, 8)]
    shown = lines(five_phase_summary(failures=failures))
    assert shown[shown.index("Failures") + 3].split() == ["POST", "/api/auth/login:", "reason", "7", "7"]
    assert "  2 more in the report" in shown
    assert not any("reason 2" in line for line in shown)


def test_metrics_have_their_unit():
    assert any(
        line.split() == ["time_to_first_token", "7,210", "88.0", "ms", "264", "ms", "440", "ms", "880", "ms"]
        for line in lines(five_phase_summary())
    )


def test_without_color_there_is_no_escape_sequence_and_with_it_the_text_is_the_same():
    plain = render_verdict(five_phase_summary(), width=80, color=False)
    colored = render_verdict(five_phase_summary(), width=80, color=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31m✗ FAILED\x1b[0m" in colored
    assert STYLE.sub("", colored) == plain


@pytest.mark.parametrize("width", [10, 40, 60, 80, 120, 500])
@pytest.mark.parametrize("summary", [five_phase_summary, hostile_summary, empty_summary, cluster_summary])
def test_no_line_is_wider_than_the_terminal(summary, width):
    assert all(columns_of(line) <= max(width, 40) for line in lines(summary(), width))


def test_hostile_text_acts_on_no_terminal():
    plain = render_verdict(hostile_summary(), width=120, color=False)
    assert set(plain) & {chr(code) for code in (*range(32), *range(127, 160), 0x202E, 0xD800)} == {"\n"}
    assert r"\x1b[31mred\x1b]0;title\x07\r\nnext\tline \u202egnp.exe\u2028 \ud800" in plain
    assert STYLE.sub("", render_verdict(hostile_summary(), width=120, color=True)) == plain
    plain.encode("utf-8")


def test_a_hostile_unit_does_not_push_the_status_out():
    shown = lines(hostile_summary(), 80)
    at = shown.index("Thresholds")
    assert all(line.startswith("  FAIL") for line in shown[at + 3 : at + 10])


def test_an_empty_run_has_no_empty_tables():
    shown = render_verdict(empty_summary(), width=80, color=False)
    assert "process was killed" in shown
    assert not any(title in shown for title in ("Thresholds", "Phases", "Requests", "Failures", "Notes"))


def test_wide_and_combining_characters_count_as_the_terminal_shows_them():
    assert [columns_of(text) for text in ("abc", "模型", "e\u0301", "🚀", "👩\u200d")] == [3, 4, 1, 2, 2]
    assert fitted("模型模型模型", 7) == "模型…型"
    assert fitted("GET /api/very/long/path", 12) == "GET /a…/path"
    assert fitted("short", 5) == "short"


def test_a_column_without_content_is_left_out_unless_it_is_the_elastic_one():
    columns = (TextColumn("name", number=False, elastic=True), TextColumn("empty"), TextColumn("full"))
    rows = [[Cell(""), Cell(""), Cell("")], [Cell(""), Cell(""), Cell("1")]]
    assert [[cell.text for cell in line] for line in aligned(columns, rows, 40)] == [
        ["name", "full"],
        ["────", "────"],
        ["    ", "    "],
        ["    ", "   1"],
    ]


def test_wrapping_breaks_words_that_are_longer_than_a_line():
    assert wrapped("one two abcdefghij", 8, first="- ", rest="  ") == ["- one", "  two", "  abcdef", "  ghij"]
    assert wrapped("", 8, first="- ") == ["- "]
