"""A run small enough to count by hand, and everything that its summary says."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from perfload.analysis.schema import (
    Arrivals,
    FailureSummary,
    LagSpread,
    MetricSummary,
    PhaseSummary,
    RequestSummary,
    Spread,
    TargetSummary,
    ThresholdSummary,
    Totals,
)
from perfload.analysis.summary import exit_code, summarise
from perfload.codec import decode_manifest, encode_manifest
from perfload.errors import ExitCode
from perfload.histogram import Histogram
from perfload.model import (
    AnyWindow,
    ArrivalWindow,
    EndReason,
    Manifest,
    MetricWindow,
    NodeEvent,
    NodeRecord,
    PhaseSpan,
    Reading,
    RunRecord,
    Window,
)

STARTED_AT_S = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC
NOTHING = Spread(min=None, mean=None, p50=None, p75=None, p90=None, p95=None, p99=None, p99_9=None, max=None)

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=STARTED_AT_S,
    host="http://localhost:8000",
    scenarios=("GetModels", "UserLogin"),
    shape="LoadTest",
    phases=(
        PhaseSpan("Warm up", 0.0, 2.0, "arrivals", 2.0, 2.0, 4, warmup=True),
        PhaseSpan("Load", 2.0, 4.0, "arrivals", 1.0, 1.0, 4),
        PhaseSpan("Peak", 6.0, 2.0, "arrivals", 3.0, 3.0, 6),
    ),
    thresholds=("p95 < 2s",),
    nodes=(NodeRecord("worker-0", 0, True, 7), NodeRecord("worker-1", 1, True, 6)),
    ended_at_s=STARTED_AT_S + 9.5,
    end_reason="finished",
)


def requests(
    second: int,
    phase: str,
    name: str,
    latencies_us: list[int],
    *,
    node: str = "worker-0",
    failed_us: list[int] | None = None,
    reason: str = "",
    due: tuple[tuple[int, int, int], ...] | None = None,
) -> Window:
    failures = failed_us or []
    return Window(
        "run-1",
        node,
        second,
        phase,
        "GET",
        name,
        latency=Histogram(latencies_us),
        service=Histogram(value // 2 for value in latencies_us),
        failed=Histogram(failures),
        received_bytes=100 * (len(latencies_us) + len(failures)),
        due=due if due is not None else ((second, len(latencies_us), len(failures)),),
        reasons=((reason, len(failures)),) if failures else (),
    )


def arrivals(
    second: int, phase: str, lags_us: list[int], dropped: int = 0, node: str = "worker-0"
) -> ArrivalWindow:
    return ArrivalWindow("run-1", node, second, phase, Histogram(lags_us), dropped)


def generator(
    second: float, metric: str, value: float | None, node: str = "worker-0", source: str = "generator"
) -> Reading:
    because = "" if value is not None else "unavailable: gone"
    return Reading(STARTED_AT_S + second, node, source, metric, "", value, because)


RECORD = RunRecord(
    manifest=MANIFEST,
    windows=(
        requests(0, "Warm up", "/a", [2_000, 2_000], failed_us=[9], reason="status 503, expected 200"),
        requests(1, "Warm up", "/a", [2_000]),
        requests(2, "Load", "/a", [400, 400, 400]),
        requests(2, "Load", "/a", [800], node="worker-1"),
        requests(3, "Load", "/b", [1_000], failed_us=[50, 70], reason="status 500, expected 200"),
        # finished in second 5, due in second 4, in which nothing else was due
        requests(5, "Load", "/b", [], failed_us=[30], reason="no response: reset", due=((4, 0, 1),)),
        requests(6, "Peak", "/a", [1_600, 1_600]),
        requests(7, "Peak", "/a", [], failed_us=[90], reason="status 500, expected 200", due=((6, 0, 1),)),
    ),
    arrivals=(
        arrivals(0, "Warm up", [100, 100, 100, 100]),
        arrivals(2, "Load", [200, 6_000]),
        arrivals(3, "Load", [200], node="worker-1"),
        arrivals(4, "Load", [1_000]),
        arrivals(6, "Peak", [200, 5_000, 7_000], dropped=2),
        arrivals(7, "Peak", [], dropped=1, node="worker-1"),
    ),
    metrics=(
        MetricWindow("run-1", "worker-0", 0, "Warm up", "tokens", "1", Histogram([9_000])),
        MetricWindow("run-1", "worker-0", 2, "Load", "tokens", "1", Histogram([1_500, 1_500])),
        MetricWindow("run-1", "worker-1", 6, "Peak", "tokens", "1", Histogram([500])),
        MetricWindow("run-1", "worker-1", 6, "Peak", "score", "points", Histogram([125])),
    ),
    readings=(
        generator(0.5, "users", 90, "worker-0"),  # in the warm-up
        generator(2.1, "users", 3, "worker-0"),
        generator(2.9, "users", 5, "worker-0"),  # the higher of one second counts
        generator(2.5, "users", 4, "worker-1"),
        generator(6.5, "users", 7, "worker-0"),
        generator(7.5, "users", 6, "worker-1"),  # another second: not added to the 7
        generator(7.5, "users", None, "worker-0"),
        generator(9.2, "users", 40, "worker-0"),  # after the last phase
        generator(2.5, "users", 1_000, "db", source="mongodb"),
        generator(2.5, "cpu_percent", 31.5),
        generator(3.5, "cpu_percent", 62.5),
        generator(3.5, "cpu_percent", 99.0, source="host"),
        generator(3.5, "loop_lag_ms", 1.25),
    ),
)


def even(value_ms: float) -> Spread:
    """Return the spread of equal values."""
    return Spread(
        min=value_ms,
        mean=value_ms,
        p50=value_ms,
        p75=value_ms,
        p90=value_ms,
        p95=value_ms,
        p99=value_ms,
        p99_9=value_ms,
        max=value_ms,
    )


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_the_head_says_what_was_run() -> None:
    summary = summarise(RECORD)
    assert (summary["schema"], summary["run_id"], summary["time_scale"]) == (1, "run-1", 1.0)
    assert summary["started_at"] == "2026-01-01T00:00:00+00:00"
    assert summary["duration_s"] == 8.0  # the load; the last user left at 9.5
    assert summary["end_reason"] == "finished"
    assert summary["target"] == TargetSummary(
        host="http://localhost:8000", scenarios=["GetModels", "UserLogin"], shape="LoadTest"
    )
    assert summary["notes"] == [
        "Open model: virtual users arrive at the planned rate, whatever the system does.",
        "Warm-up, left out of totals and thresholds: Warm up.",
    ]


def test_totals_leave_the_warm_up_out() -> None:
    # Over 6 s: 7 successes of 400 x 3, 800, 1,000, 1,600 x 2 us, and 4 failures.
    # Requests were due in the seconds 2, 3, 4 and 6; in second 4 none succeeded.
    assert summarise(RECORD)["totals"] == Totals(
        requests=11,
        failures=4,
        error_rate_percent=pytest.approx(400 / 11),
        availability_percent=75.0,
        rate_per_s=pytest.approx(11 / 6),
        peak_users=9,
        arrivals=Arrivals(
            planned=10,
            started=7,
            late=2,
            dropped=3,
            lost=0,
            missed=0,
            lag_ms=LagSpread(p50=1.0, p99=7.0, max=7.0),
        ),
        response_time_ms=Spread(
            min=0.4,
            mean=pytest.approx(6.2 / 7),
            p50=0.8,
            p75=1.6,
            p90=1.6,
            p95=1.6,
            p99=1.6,
            p99_9=1.6,
            max=1.6,
        ),
        service_time_ms=Spread(
            min=0.2,
            mean=pytest.approx(3.1 / 7),
            p50=0.4,
            p75=0.8,
            p90=0.8,
            p95=0.8,
            p99=0.8,
            p99_9=0.8,
            max=0.8,
        ),
    )


def test_phases_account_for_every_planned_arrival() -> None:
    summary = summarise(replace(RECORD, arrivals=RECORD.arrivals[:-1]))
    assert summary["phases"] == [
        PhaseSummary(
            name="Warm up",
            model="arrivals",
            start_s=0.0,
            duration_s=2.0,
            warmup=True,
            arrivals=Arrivals(
                planned=4,
                started=4,
                late=0,
                dropped=0,
                lost=0,
                missed=0,
                lag_ms=LagSpread(p50=0.1, p99=0.1, max=0.1),
            ),
            peak_users=90,
        ),
        PhaseSummary(
            name="Load",
            model="arrivals",
            start_s=2.0,
            duration_s=4.0,
            warmup=False,
            arrivals=Arrivals(
                planned=4,
                started=4,
                late=1,  # 6 ms
                dropped=0,
                lost=0,
                missed=0,
                lag_ms=LagSpread(p50=0.2, p99=6.0, max=6.0),
            ),
            peak_users=9,
        ),
        PhaseSummary(
            name="Peak",
            model="arrivals",
            start_s=6.0,
            duration_s=2.0,
            warmup=False,
            arrivals=Arrivals(
                planned=6,
                started=3,
                late=1,  # 7 ms; 5 ms is not more than 5 ms
                dropped=2,
                lost=0,
                missed=1,
                lag_ms=LagSpread(p50=pytest.approx(5.0, rel=1e-3), p99=7.0, max=7.0),
            ),
            peak_users=7,
        ),
    ]
    assert summary["verdict"] == "incomplete"
    assert summary["reasons"] == [
        "1 planned arrivals were never started: a load generator was lost or failed"
    ]


def test_a_phase_without_arrivals_has_no_lag() -> None:
    summary = summarise(replace(RECORD, arrivals=()))
    assert summary["phases"][1]["arrivals"] == Arrivals(
        planned=4,
        started=0,
        late=0,
        dropped=0,
        lost=0,
        missed=4,
        lag_ms=LagSpread(p50=None, p99=None, max=None),
    )


def test_requests_come_over_all_that_counts_and_then_per_phase() -> None:
    rows = {(row["phase"], row["name"]): row for row in summarise(RECORD)["requests"]}
    assert list(rows) == [
        ("all", "/a"),
        ("all", "/b"),
        ("Warm up", "/a"),
        ("Load", "/a"),
        ("Load", "/b"),
        ("Peak", "/a"),
    ]
    assert rows["Warm up", "/a"] == RequestSummary(
        phase="Warm up",
        method="GET",
        name="/a",
        count=4,
        failures=1,
        rate_per_s=2.0,
        received_bytes=400,
        response_time_ms=even(2.0),
        service_time_ms=even(1.0),
        failure_time_ms=even(0.009),
    )
    assert rows["Load", "/b"] == RequestSummary(
        phase="Load",
        method="GET",
        name="/b",
        count=4,
        failures=3,
        rate_per_s=1.0,
        received_bytes=400,
        response_time_ms=even(1.0),
        service_time_ms=even(0.5),
        failure_time_ms=Spread(
            min=0.03, mean=0.05, p50=0.05, p75=0.07, p90=0.07, p95=0.07, p99=0.07, p99_9=0.07, max=0.07
        ),
    )
    everywhere = rows["all", "/a"]
    assert (everywhere["count"], everywhere["failures"], everywhere["received_bytes"]) == (7, 1, 700)
    assert everywhere["rate_per_s"] == pytest.approx(7 / 6)
    assert everywhere["response_time_ms"]["mean"] == pytest.approx(5.2 / 6)
    assert everywhere["failure_time_ms"] == even(0.09)
    assert rows["Load", "/a"]["failure_time_ms"] == NOTHING


def test_failures_are_counted_by_reason_over_the_whole_run_the_most_frequent_first() -> None:
    assert summarise(RECORD)["failures"] == [
        FailureSummary(method="GET", name="/b", reason="status 500, expected 200", count=2),
        FailureSummary(method="GET", name="/a", reason="status 503, expected 200", count=1),
        FailureSummary(method="GET", name="/b", reason="no response: reset", count=1),
        FailureSummary(method="GET", name="/a", reason="status 500, expected 200", count=1),
    ]


def test_custom_metrics_are_in_their_own_unit_without_the_warm_up() -> None:
    assert summarise(RECORD)["metrics"] == [
        MetricSummary(metric="score", unit="points", count=1, spread=even(0.125)),
        MetricSummary(
            metric="tokens",
            unit="1",
            count=3,
            spread=Spread(
                min=0.5,
                mean=pytest.approx(3.5 / 3),
                p50=1.5,
                p75=1.5,
                p90=1.5,
                p95=1.5,
                p99=1.5,
                p99_9=1.5,
                max=1.5,
            ),
        ),
    ]


def test_a_run_cut_short_counts_its_rates_over_the_time_that_it_ran() -> None:
    manifest = replace(MANIFEST, ended_at_s=STARTED_AT_S + 4, end_reason="aborted", end_note="p95 < 2s: 3 s")
    summary = summarise(replace(RECORD, manifest=manifest))
    assert summary["duration_s"] == 4.0
    rates = {(row["phase"], row["name"]): row["rate_per_s"] for row in summary["requests"]}
    assert rates["Load", "/a"] == 4 / 2
    assert rates["all", "/b"] == 4 / 2
    assert rates["Peak", "/a"] == 0.0  # what came after the end belongs to no time that load was offered
    assert summary["notes"][-1] == "Aborted after 4 s: p95 < 2s: 3 s"


# --- a cluster that changed

AWAY = replace(MANIFEST.nodes[1], given=4, lost=((5, "Load", 1), (6, "Peak", 1)))
EVENTS = (NodeEvent(7.25, "worker-1", "lost", "not heard of"), NodeEvent(8.0, "worker-1", "returned"))
CHANGED = replace(
    RECORD,
    manifest=replace(MANIFEST, nodes=(MANIFEST.nodes[0], AWAY), events=EVENTS),
    arrivals=tuple(window for window in RECORD.arrivals if window.second not in (4, 7)),
)


def test_what_was_lost_with_a_worker_is_not_missed_as_well() -> None:
    summary = summarise(CHANGED)
    accounts = [phase["arrivals"] for phase in summary["phases"]]
    assert [(row["started"], row["dropped"], row["lost"], row["missed"]) for row in accounts] == [
        (4, 0, 0, 0),
        (3, 0, 1, 0),
        (3, 2, 1, 0),
    ]
    total = summary["totals"]["arrivals"]
    assert (total["planned"], total["started"], total["dropped"], total["lost"]) == (10, 6, 2, 2)
    assert (summary["verdict"], summary["reasons"], exit_code(summary)) == (
        "incomplete",
        [
            "the load generator worker-1 was lost at 7.2 s and never started 2 of the arrivals given to it, "
            "due in seconds 5 to 6"
        ],
        ExitCode.INVALID,
    )


def test_what_is_neither_lost_nor_anything_else_is_missed() -> None:
    less = tuple(window for window in CHANGED.arrivals if window.second != 6)
    summary = summarise(replace(CHANGED, arrivals=less))
    peak = summary["phases"][2]["arrivals"]
    assert (peak["planned"], peak["dropped"], peak["lost"], peak["missed"]) == (6, 0, 1, 5)
    assert summary["reasons"][1:] == [
        "5 planned arrivals were never started: a load generator was lost or failed"
    ]


def test_nodes_and_events_are_in_the_summary_and_the_changes_in_its_notes() -> None:
    summary = summarise(CHANGED)
    assert [node["lost"] for node in summary["nodes"]] == [0, 2]
    assert [event["kind"] for event in summary["events"]] == ["lost", "returned"]
    assert summary["notes"][-1] == (
        "The cluster changed during the load: worker-1 lost at 7.2 s and worker-1 returned at 8.0 s."
    )


def test_arrivals_that_came_twice_make_a_run_invalid() -> None:
    few = replace(MANIFEST.nodes[0], given=1)
    summary = summarise(replace(RECORD, manifest=replace(CHANGED.manifest, nodes=(few, AWAY))))
    assert [phase["arrivals"]["missed"] for phase in summary["phases"]] == [0, 0, 0]
    assert summary["verdict"] == "invalid"
    assert summary["reasons"][0] == (
        "the load generator worker-0 took 11 arrivals more than it was given: some may have come twice"
    )


NEW_IN_NODES = ("joined_s", "left_s", "given", "lost", "clock_offset_ms", "clock_error_ms")


def test_a_record_from_before_workers_could_come_and_go_summarises_as_it_did() -> None:
    old = encode_manifest(MANIFEST)
    del old["events"]
    for node in old["nodes"]:
        for field in NEW_IN_NODES:
            del node[field]
    assert set(old["nodes"][0]) == {"node", "index", "complete", "last_second", "note"}
    manifest = decode_manifest(json.loads(json.dumps(old)))
    summary = summarise(replace(RECORD, manifest=manifest))
    assert summary == summarise(RECORD)
    assert (summary["verdict"], summary["reasons"], summary["events"]) == ("passed", [], [])
    assert [node["given"] for node in summary["nodes"]] == [None, None]
    assert [(node["started"], node["dropped"]) for node in summary["nodes"]] == [(10, 2), (1, 1)]


# --- verdicts

FAST = ("p95 < 2s",)
SLOW = ("p95 < 1ms",)
LATE = tuple(arrivals(second, "Load", [60_000] * 50) for second in (2, 3))


def judged(
    thresholds: tuple[str, ...] = FAST,
    *,
    end_reason: EndReason = "finished",
    end_note: str = "",
    nodes: tuple[NodeRecord, ...] = MANIFEST.nodes,
    more: tuple[AnyWindow, ...] = (),
    damage: tuple[str, ...] = (),
) -> tuple[str, list[str], ExitCode]:
    manifest = replace(MANIFEST, thresholds=thresholds, end_reason=end_reason, end_note=end_note, nodes=nodes)
    late = tuple(window for window in more if isinstance(window, ArrivalWindow))
    record = replace(RECORD, manifest=manifest, arrivals=RECORD.arrivals + late, damage=damage)
    summary = summarise(record)
    return summary["verdict"], summary["reasons"], exit_code(summary)


def test_passed() -> None:
    assert judged() == ("passed", [], ExitCode.PASSED)


def test_failed_names_every_rule_that_does_not_hold_and_what_was_observed() -> None:
    assert judged((*SLOW, "count > 5", "error_rate <= 1%", "p95(/nowhere) < 1s")) == (
        "failed",
        [
            "p95 < 1ms: observed 1.6 ms",
            "error_rate <= 1%: observed 36.36 %",
            "p95(/nowhere) < 1s: no data (nothing was measured for '/nowhere')",
        ],
        ExitCode.THRESHOLD_FAILED,
    )


def test_invalid_comes_before_incomplete_and_failed_but_all_are_named() -> None:
    lost = (replace(MANIFEST.nodes[0], complete=False, note=""), MANIFEST.nodes[1])
    verdict, reasons, code = judged(SLOW, more=LATE, nodes=lost)
    assert (verdict, code) == ("invalid", ExitCode.INVALID)
    assert reasons == [
        "the load generator was late in 'Load': 5 % of its arrivals started more than 60 ms after their "
        "time (limit 50 ms)",
        "the load generator worker-0 did not deliver its last results: lost",
        "p95 < 1ms: observed 1.6 ms",
    ]


@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        (
            {"end_reason": "running"},
            "the run was never closed: its process was killed, or is still running",
            ExitCode.INVALID,
        ),
        (
            {"end_reason": "interrupted"},
            "the run was interrupted before its end",
            ExitCode.INTERRUPTED,
        ),
        (
            {"damage": ("windows.jsonl, line 3: a window lacks 'run'",)},
            "the record is damaged: windows.jsonl, line 3: a window lacks 'run'",
            ExitCode.INVALID,
        ),
        (
            {"nodes": (NodeRecord("worker-0", 0, False, 3, "no final results within 20 s"),)},
            "the load generator worker-0 did not deliver its last results: no final results within 20 s",
            ExitCode.INVALID,
        ),
    ],
)
def test_incomplete_says_what_is_missing(change: dict[str, object], reason: str, code: ExitCode) -> None:
    assert judged(**change) == ("incomplete", [reason], code)  # type: ignore[arg-type]


def test_a_run_that_was_stopped_early_says_how_many_arrivals_it_misses() -> None:
    manifest = replace(MANIFEST, end_reason="stopped", ended_at_s=STARTED_AT_S + 4)
    summary = summarise(replace(RECORD, manifest=manifest, arrivals=RECORD.arrivals[:4]))
    assert (summary["verdict"], summary["reasons"], exit_code(summary)) == (
        "incomplete",
        ["the run was stopped before its plan had ended: 6 arrivals were never started"],
        ExitCode.INVALID,
    )


def test_a_run_whose_scenario_is_broken_is_invalid() -> None:
    broken = replace(arrivals(5, "Load", []), errors=(("KeyError('token')", 3),))
    assert judged(more=(broken,)) == (
        "invalid",
        ["the scenario itself failed 3 times: KeyError('token')"],
        ExitCode.INVALID,
    )


def test_an_interrupted_run_has_its_own_code_whatever_its_thresholds_say() -> None:
    assert judged(SLOW, end_reason="interrupted")[2] == ExitCode.INTERRUPTED == 130


def test_an_aborted_run_fails_by_its_rule_and_misses_nothing() -> None:
    manifest = replace(MANIFEST, thresholds=SLOW, end_reason="aborted", end_note="p95 < 1ms: 2 ms")
    summary = summarise(replace(RECORD, manifest=manifest, arrivals=RECORD.arrivals[:2]))
    assert summary["phases"][2]["arrivals"]["missed"] == 6
    assert (summary["verdict"], summary["reasons"]) == ("failed", ["p95 < 1ms: observed 1.6 ms"])


def test_an_aborted_run_never_passes() -> None:
    # The rule that aborted it holds again over the requests that ended after the abort.
    assert judged(FAST, end_reason="aborted", end_note="p95 < 2s: 3 s so far") == (
        "failed",
        ["aborted: p95 < 2s: 3 s so far"],
        ExitCode.THRESHOLD_FAILED,
    )


def test_thresholds_show_status_observed_and_limit() -> None:
    manifest = replace(MANIFEST, thresholds=("p95 < 2s", "p95(score) < 0.1", "rate(/z) > 1/s"))
    assert summarise(replace(RECORD, manifest=manifest))["thresholds"] == [
        ThresholdSummary(rule="p95 < 2s", status="pass", observed=1.6, limit=2000.0, unit="ms", detail=""),
        ThresholdSummary(
            rule="p95(score) < 0.1", status="fail", observed=0.125, limit=0.1, unit="points", detail=""
        ),
        ThresholdSummary(
            rule="rate(/z) > 1/s",
            status="no_data",
            observed=None,
            limit=1.0,
            unit="/s",
            detail="nothing was measured for '/z'",
        ),
    ]


# --- records with little or nothing in them


def test_an_empty_record_is_incomplete() -> None:
    manifest = replace(MANIFEST, end_reason="running", ended_at_s=None, nodes=())
    summary = summarise(RunRecord(manifest))
    assert summary["verdict"] == "incomplete"
    assert exit_code(summary) == ExitCode.INVALID
    assert summary["reasons"] == [
        "the run was never closed: its process was killed, or is still running",
        "nothing was measured: no request finished",
        "p95 < 2s: no data (nothing was measured)",
    ]
    assert summary["totals"] == Totals(
        requests=0,
        failures=0,
        error_rate_percent=None,
        availability_percent=None,
        rate_per_s=0.0,
        peak_users=0,
        arrivals=Arrivals(
            planned=10,
            started=0,
            late=0,
            dropped=0,
            lost=0,
            missed=10,
            lag_ms=LagSpread(p50=None, p99=None, max=None),
        ),
        response_time_ms=NOTHING,
        service_time_ms=NOTHING,
    )
    assert (summary["duration_s"], summary["requests"], summary["failures"]) == (0.0, [], [])


WHOLE = PhaseSpan("Closed load", 0.0, 0.0, "users", 0.0, 0.0, 0)


def test_a_killed_run_without_a_plan_lasts_until_its_last_result() -> None:
    manifest = replace(MANIFEST, phases=(WHOLE,), ended_at_s=None, end_reason="running")
    windows = (requests(0, "Closed load", "/a", [500]), requests(4, "Closed load", "/a", [500]))
    summary = summarise(RunRecord(manifest, windows))
    assert summary["duration_s"] == 5.0
    assert summary["totals"]["rate_per_s"] == 2 / 5
    assert summary["notes"] == [
        "Closed model: a number of users wait for their responses, so a slow system gets less load."
    ]


def test_mixed_models_and_a_time_scale_are_noted() -> None:
    users = PhaseSpan("Closed", 8.0, 2.0, "users", 3.0, 3.0, 0)
    manifest = replace(MANIFEST, phases=(*MANIFEST.phases[1:], users), time_scale=60.0)
    assert summarise(replace(RECORD, manifest=manifest))["notes"] == [
        "Open and closed phases are mixed; the phase table says which is which.",
        "Durations were divided by 60; the arrival rates are the true ones.",
    ]


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        RunRecord(MANIFEST),
        RunRecord(replace(MANIFEST, phases=(WHOLE,), ended_at_s=None, end_reason="running")),
        RunRecord(replace(MANIFEST, ended_at_s=STARTED_AT_S - 5, end_reason="stopped")),
        replace(RECORD, manifest=replace(MANIFEST, ended_at_s=STARTED_AT_S, end_reason="interrupted")),
    ],
)
def test_every_summary_is_json_with_finite_numbers(record: RunRecord) -> None:
    summary = summarise(record)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert all(math.isfinite(number) for number in numbers(summary))
