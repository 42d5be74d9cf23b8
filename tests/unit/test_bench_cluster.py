from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster.checks import faults, sent_in_all
from benchmarks.cluster.intervals import Interval, Look, growth_bytes_per_min, intervals, lines, together
from benchmarks.cluster.traffic import FAILED, Traffic, record
from perfload.model import ArrivalWindow, StageWindow, Window
from perfload.recorder import Recorder

SENT = {"requests": {"/a": [100, 3], "/b": [50, 0]}, "arrivals": 15}


def summary(**changed: Any) -> dict[str, Any]:
    rows = [
        {"phase": phase, "method": "GET", "name": name, "count": count, "failures": failures}
        for phase in ("Load", "all")
        for name, (count, failures) in SENT["requests"].items()  # type: ignore[attr-defined]
    ]
    nodes = [{"complete": True}, {"complete": True}]
    found = {"requests": rows, "nodes": nodes, "phases": [{"arrivals": {"started": 15}}], "reasons": ["why"]}
    return {**found, "totals": {"requests": 150}, "verdict": "passed", **changed}


def interval(until_s: float, memory_bytes: int = 0, cpu_percent: float = 0.0) -> Interval:
    seen = [1000, round(1000 * until_s)]
    return Interval(until_s - 10, until_s, cpu_percent, memory_bytes, 0, seen, Counter(batches=2))


def test_a_record_of_what_was_sent_has_no_faults() -> None:
    assert faults(summary(), SENT, 2) == []


def test_one_request_too_few_is_a_fault() -> None:
    rows = [row | {"count": row["count"] - 1} for row in summary()["requests"]]
    found = faults(summary(requests=rows[2:]), SENT, 2)
    assert found[0] == "/a: [requests, failures] sent [100, 3], recorded [99, 3]"
    assert len(found) == 2


def test_a_total_that_differs_is_a_fault() -> None:
    assert faults(summary(totals={"requests": 149}), SENT, 2) == [
        "150 requests were sent, 149 are in the totals"
    ]


def test_a_name_too_many_is_a_fault() -> None:
    stranger = {"phase": "all", "method": "GET", "name": "/c", "count": 0, "failures": 0}
    found = faults(summary(requests=[*summary()["requests"], stranger]), SENT, 2)
    assert found == ["3 names are recorded, 2 were sent"]


@pytest.mark.parametrize("nodes", [[{"complete": True}], [{"complete": True}, {"complete": False}]])
def test_a_worker_that_is_missing_or_incomplete_is_a_fault(nodes: list[dict[str, bool]]) -> None:
    (found,) = faults(summary(nodes=nodes), SENT, 2)
    assert found == f"2 workers took part, {len(nodes)} are recorded, 1 of them complete"


def test_arrivals_and_the_verdict_are_checked() -> None:
    phases = [{"arrivals": {"started": 14}}]
    found = faults(summary(phases=phases, verdict="incomplete"), SENT, 2)
    assert found == ["15 arrivals were sent, 14 are recorded", "the verdict is incomplete: why"]


def test_what_the_processes_have_sent_is_added_up() -> None:
    said = [{"at_s": 1.0}, {"sent": {"/a": [60, 3]}, "arrivals": 6}]
    said.append({"sent": {"/a": [40, 0], "/b": [50, 0]}, "arrivals": 9})
    assert sent_in_all(said) == SENT


def test_an_interval_has_what_was_said_in_it() -> None:
    looks = [Look(100.0, 5.0, 10, 0), Look(110.0, 7.5, 20, 30), Look(120.0, 8.5, 25, 60)]
    said = [
        {"at_s": 101.0, "round_trips_us": [3000, 1000], "counts": {"batches": 4}},
        {"at_s": 110.0, "round_trips_us": [2000], "counts": {"batches": 5, "repeated": 1}},
        {"at_s": 110.5, "round_trips_us": [9000], "counts": {}},
        {"sent": {}, "arrivals": 0},
    ]
    first, second = intervals(looks, said, began_s=99.0)
    assert (first.from_s, first.until_s, first.cpu_percent) == (1.0, 11.0, 25.0)
    assert (first.memory_bytes, first.record_bytes) == (20, 30)
    assert first.counts == Counter(batches=9, repeated=1)
    assert (first.round_trip_ms(50), first.round_trip_ms(100)) == (2.0, 3.0)
    assert (second.cpu_percent, second.round_trips_us) == (10.0, [9000])


def test_intervals_are_joined_to_rows() -> None:
    held = [interval(10.0 * place, place, cpu_percent=10.0 * place) for place in range(1, 8)]
    minute, rest = together(held, 60.0)
    assert (minute.from_s, minute.until_s, minute.cpu_percent, minute.memory_bytes) == (0.0, 60.0, 35.0, 6)
    assert (minute.counts["batches"], minute.round_trip_ms(100)) == (12, 60.0)
    assert (rest.from_s, rest.until_s) == (60.0, 70.0)


def test_growth_leaves_out_the_first_minutes() -> None:
    held = [interval(10.0 * place, 1000 if place < 12 else 1000 + 50 * place) for place in range(1, 61)]
    assert growth_bytes_per_min(held, 120.0) == pytest.approx(300)
    assert growth_bytes_per_min(held[:23], 120.0) is None


def test_lines_that_are_not_whole_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text('{"at_s": 1.5}\nWarning: something\n{"at_s": 2.5')
    assert lines([log]) == [{"at_s": 1.5}]


def test_traffic_has_all_requests_of_every_name_in_the_windows() -> None:
    recorder, load = Recorder("run", "node"), Traffic(names=4, per_s=400)
    for request in load.second():
        record(recorder, 0, request)
    windows = recorder.take()
    requests = [window for window in windows if isinstance(window, Window)]
    assert {window.name: window.count for window in requests} == dict.fromkeys(load.names, 100)
    assert 0 < sum(window.failed.count for window in requests) < 400 * 5 * FAILED
    (arrivals,) = (window for window in windows if isinstance(window, ArrivalWindow))
    assert arrivals.lag.count == 40
    assert sum(isinstance(window, StageWindow) for window in windows) == 4
