"""Load generators that come and go: their account of arrivals, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from perfload.analysis import nodes
from perfload.analysis.schema import EventSummary, NodeSummary
from perfload.histogram import Histogram
from perfload.model import (
    ArrivalWindow,
    EndReason,
    Manifest,
    NodeEvent,
    NodeEventKind,
    NodeRecord,
    PhaseSpan,
    Reading,
    RunRecord,
)

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=1000.0,
    host="http://localhost",
    scenarios=("A",),
    shape="",
    phases=(PhaseSpan("Load", 0.0, 60.0, "arrivals", 10.0, 10.0, 600),),
    thresholds=(),
    ended_at_s=1060.0,
    end_reason="finished",
)
WHOLE = NodeRecord("worker-0", 0, True, 59, given=5)


def arrivals(node: str, started: int, dropped: int = 0, second: int = 0) -> ArrivalWindow:
    return ArrivalWindow("run-1", node, second, "Load", Histogram([100] * started), dropped)


def event(at_s: float, kind: NodeEventKind, node: str = "worker-2") -> NodeEvent:
    return NodeEvent(at_s, node, kind, "in words")


def lost(*rows: tuple[int, int]) -> tuple[tuple[int, str, int], ...]:
    return tuple((second, "Load", count) for second, count in rows)


def gaps_of(node: NodeRecord, *events: NodeEvent) -> list[str]:
    return list(nodes.gaps(replace(MANIFEST, nodes=(WHOLE, node), events=events)))


def test_every_node_has_its_own_account_and_health() -> None:
    given = NodeRecord(
        "worker-2",
        2,
        False,
        19,
        "gone",
        joined_s=3.5,
        left_s=20.1,
        given=12,
        lost=lost((20, 2), (21, 3)),
        clock_offset_ms=-1.25,
        clock_error_ms=0.2,
    )
    readings = tuple(
        Reading(1000.0 + second, node, "generator", metric, "", value)
        for second, node, metric, value in (
            (1, "worker-2", "cpu_percent", 31.5),
            (2, "worker-2", "cpu_percent", 62.5),
            (3, "worker-2", "cpu_percent", 47.0),
            (3, "worker-0", "cpu_percent", 99.0),
            (3, "worker-2", "loop_lag_ms", 1.25),
        )
    )
    record = RunRecord(
        replace(MANIFEST, nodes=(given,)),
        arrivals=(arrivals("worker-2", 4, 1), arrivals("worker-2", 2, second=1), arrivals("worker-0", 9, 9)),
        readings=readings,
    )
    assert nodes.summaries(record) == [
        NodeSummary(
            node="worker-2",
            index=2,
            complete=False,
            joined_s=3.5,
            left_s=20.1,
            last_second=19,
            given=12,
            started=6,
            dropped=1,
            lost=5,
            clock_offset_ms=-1.25,
            clock_error_ms=0.2,
            cpu_percent_max=62.5,
            loop_lag_ms_max=1.25,
            note="gone",
        )
    ]


def test_a_node_without_windows_or_readings_has_started_nothing() -> None:
    (summary,) = nodes.summaries(RunRecord(replace(MANIFEST, nodes=(WHOLE,))))
    assert (summary["started"], summary["dropped"], summary["lost"]) == (0, 0, 0)
    assert (summary["cpu_percent_max"], summary["loop_lag_ms_max"]) == (None, None)


def test_events_are_passed_on() -> None:
    manifest = replace(MANIFEST, events=(event(22.107, "lost"), event(40.5, "returned")))
    assert nodes.events(manifest) == [
        EventSummary(at_s=22.107, node="worker-2", kind="lost", note="in words"),
        EventSummary(at_s=40.5, node="worker-2", kind="returned", note="in words"),
    ]


def test_changes_are_named_up_to_six_of_them() -> None:
    manifest = replace(MANIFEST, events=(event(22.107, "lost"), event(40.5, "joined", "worker-4")))
    assert nodes.changes(manifest) == "worker-2 lost at 22.1 s and worker-4 joined at 40.5 s"
    many = replace(MANIFEST, events=tuple(event(float(at), "left") for at in range(9)))
    assert nodes.changes(many) == (
        "worker-2 left at 0.0 s, worker-2 left at 1.0 s, worker-2 left at 2.0 s, worker-2 left at 3.0 s, "
        "worker-2 left at 4.0 s, worker-2 left at 5.0 s and 3 more"
    )


@pytest.mark.parametrize(
    ("changes", "events"),
    [
        ({}, ()),
        ({"joined_s": 40.0}, (event(40.0, "joined"),)),
        ({"left_s": 30.0}, (event(30.0, "left"),)),
        ({}, (event(22.1, "lost"), event(40.3, "returned"))),
    ],
    ids=["stayed", "joined", "left", "returned with nothing lost"],
)
def test_whoever_is_complete_and_has_lost_nothing_is_no_gap(
    changes: Mapping[str, float], events: tuple[NodeEvent, ...]
) -> None:
    assert gaps_of(replace(WHOLE, node="worker-2", **changes), *events) == []


def test_a_node_that_returned_says_what_it_never_started() -> None:
    node = NodeRecord("worker-2", 2, True, 59, lost=lost((20, 40), (21, 40), (22, 1_005)))
    assert gaps_of(node, event(22.14, "lost"), event(30.0, "returned"), event(9.0, "lost", "worker-1")) == [
        "the load generator worker-2 was lost at 22.1 s and never started 1,085 of the arrivals given to it, "
        "due in seconds 20 to 22"
    ]


def test_a_node_that_left_says_what_it_never_started() -> None:
    node = NodeRecord("worker-2", 2, True, 31, left_s=30.2, lost=lost((30, 4)))
    assert gaps_of(node, event(30.2, "left")) == [
        "the load generator worker-2 left at 30.2 s and never started 4 of the arrivals given to it, "
        "due in second 30"
    ]


def test_a_node_that_did_not_return_is_one_gap() -> None:
    note = "it was lost at 20.1 s and did not return: everything after second 19 is missing"
    node = NodeRecord("worker-2", 2, False, 19, note, left_s=20.1, lost=lost((20, 40), (21, 45)))
    assert gaps_of(node, event(22.1, "lost")) == [
        "the load generator worker-2 did not deliver its last results: it was lost at 20.1 s and did not "
        "return: everything after second 19 is missing; nothing was heard of 85 of the arrivals given to it, "
        "due in seconds 20 to 21"
    ]
    assert gaps_of(replace(node, lost=(), note="")) == [
        "the load generator worker-2 did not deliver its last results: lost"
    ]


def test_each_absence_and_each_stretch_is_named_up_to_three_of_them() -> None:
    twice = NodeRecord("worker-2", 2, True, 59, lost=lost((42, 1), (20, 1), (21, 1), (40, 1), (41, 1)))
    assert gaps_of(twice, event(22.1, "lost"), event(42.1, "lost"), event(50.0, "left")) == [
        "the load generator worker-2 was lost at 22.1 s and 42.1 s, left at 50.0 s and never started 5 of "
        "the arrivals given to it, due in seconds 20 to 21 and seconds 40 to 42"
    ]
    often = NodeRecord("worker-2", 2, True, 59, lost=lost((10, 1), (20, 1), (30, 1), (40, 1), (50, 1)))
    assert gaps_of(often, *(event(float(at), "lost") for at in (12, 22, 32, 42, 52))) == [
        "the load generator worker-2 was lost at 12.0 s, 22.0 s, 32.0 s and 2 more and never started 5 of "
        "the arrivals given to it, due in second 10, second 20, second 30 and 2 more"
    ]


def test_a_node_that_took_more_than_it_was_given_is_named() -> None:
    manifest = replace(MANIFEST, nodes=(WHOLE, replace(WHOLE, node="worker-1"), NodeRecord("x", 2, True, 9)))
    parts = (
        arrivals("worker-0", 4, 1),
        arrivals("worker-1", 6),
        arrivals("worker-1", 1, 1),
        arrivals("x", 9),
    )
    assert nodes.surplus(RunRecord(manifest, arrivals=parts)) == [
        "the load generator worker-1 took 3 arrivals more than it was given: some may have come twice"
    ]


@pytest.mark.parametrize("end_reason", ["stopped", "interrupted", "aborted", "running"])
def test_what_a_stop_cut_short_is_no_surplus(end_reason: EndReason) -> None:
    manifest = replace(MANIFEST, nodes=(WHOLE,), end_reason=end_reason)
    assert nodes.surplus(RunRecord(manifest, arrivals=(arrivals("worker-0", 6),))) == []
