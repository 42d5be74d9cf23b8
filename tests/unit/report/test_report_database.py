"""The section on the database: advice with its command, operations, plans."""

from perfload.report import database
from perfload.report.terminal import render_verdict
from tests.unit.report.parts import NO_DATABASE, an_advice
from tests.unit.report.parts import database as a_database
from tests.unit.report.records import HOSTILE, five_phase_summary


def test_advice_comes_with_its_evidence_and_the_command_to_try() -> None:
    shown = database.section(NO_DATABASE, [an_advice()])
    assert "app.models lacks an index" in shown
    assert "1,200 operations read 2,512 documents" in shown
    assert "It cost most in &#x27;Spike&#x27;." in shown
    assert "<pre><code>db.models.createIndex({owner: 1, created_at: -1})</code></pre>" in shown


def test_operations_show_what_they_cost_and_how_they_are_answered() -> None:
    shown = database.section(a_database(), [])
    for words in (
        "find {owner: =} sort {created_at: -1}",
        "1,200",
        "350 ms",
        "91.50 %",
        "4.20 times",
        "COLLSCAN",
    ):
        assert words in shown
    assert "<pre><span>SORT</span><span>  COLLSCAN</span></pre>" in shown
    assert "Only slow operations." in shown


def test_without_a_profiler_there_is_nothing() -> None:
    assert database.section(NO_DATABASE, []) == ""


def test_whatever_a_database_calls_its_fields_stays_text() -> None:
    for attack in HOSTILE:
        shown = database.section(a_database(words=attack), [an_advice(words=attack)])
        assert "<script" not in shown
        assert "<img" not in shown
        assert "<svg" not in shown


def test_the_terminal_names_the_first_advice_with_its_command() -> None:
    shown = render_verdict(five_phase_summary(advice=[an_advice()] * 5), width=120, color=False)
    assert "What to try" in shown
    assert "- high: app.models lacks an index" in shown
    assert "      db.models.createIndex({owner: 1, created_at: -1})" in shown
    assert "2 more in the report" in shown


def test_the_terminal_names_what_held_the_system_back() -> None:
    shown = render_verdict(five_phase_summary(), width=120, color=False)
    assert "What held it back\n  The disk on db-1.\n  - The disk on db-1, disk_busy_percent 97.4 %" in shown
