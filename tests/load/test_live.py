"""What is known of a run while it goes on: totals, thresholds, the newest readings."""

import json
import random
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from perfload.analysis.measures import RecordMeasures
from perfload.histogram import Histogram
from perfload.load.live import BOUNDS_S, OTHER, Distribution, LatestReadings, Live, Standing
from perfload.load.live.run import due
from perfload.load.live.totals import MAX_NAMES
from perfload.model import NodeRecord, Phase, Reading, RunRecord
from perfload.plan import Arrival, Plan
from perfload.readings import encode_reading
from perfload.thresholds import judge_all, parse_rules
from tests.load.live_runs import PLAN, STARTED_AT_S, Watched


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


# --- totals


def test_values_lie_in_their_buckets() -> None:
    draw = random.Random(7)
    # Not within 0.1 % of a bound, which is as exact as a histogram is.
    values = [round(10 ** draw.uniform(2, 8)) for _ in range(20_000)]
    values = [value for value in values if all(abs(value / 1e6 / bound - 1) > 0.001 for bound in BOUNDS_S)]
    distribution = Distribution()
    distribution.add(Histogram(values))
    cumulative = list(accumulate(distribution.buckets))
    assert cumulative[:-1] == [sum(value <= 1e6 * bound for value in values) for bound in BOUNDS_S]
    assert (cumulative[-1], distribution.count, distribution.sum_us) == (
        len(values),
        len(values),
        sum(values),
    )


@pytest.mark.parametrize("bound_s", BOUNDS_S)
def test_a_value_at_a_bound_is_in_its_bucket(bound_s: float) -> None:
    distribution = Distribution()
    distribution.add(Histogram([round(1e6 * bound_s)]))
    assert distribution.buckets[bisect_left(BOUNDS_S, bound_s)] == 1


def test_a_value_beyond_all_that_is_expected_is_counted_too() -> None:
    distribution = Distribution()
    distribution.add(Histogram([10**12]))
    assert distribution.buckets[-1] == 1


def test_requests_are_counted_by_phase_and_outcome(watched: Watched) -> None:
    watched.deliver(
        watched.requests(1, 10, 20, phase="Warm up"),
        watched.requests(2, 30, failed_ms=(5, 6), name="/models"),
    )
    watched.deliver(watched.requests(2, 40, node="other"))
    (totals,) = watched.live.totals.requests.values()
    assert totals.by_phase == {"Warm up": [2, 0], "Load": [2, 2]}
    assert (totals.latency.count, totals.latency.sum_us, totals.failed.sum_us) == (4, 100_000, 11_000)
    assert watched.live.totals.failures == {("GET", "/models", "503"): 2}


def test_names_and_reasons_beyond_the_cap_are_summed(watched: Watched) -> None:
    for number in range(MAX_NAMES + 30):
        watched.deliver(watched.requests(1, 10, failed_ms=(1,), name=f"/{number}", reason=f"reason {number}"))
    totals = watched.live.totals
    assert len(totals.requests) == MAX_NAMES + 1
    assert totals.requests[OTHER, OTHER].by_phase == {"Load": [30, 30]}
    assert len(totals.failures) == MAX_NAMES + 1
    assert totals.failures[OTHER, OTHER, OTHER] == 30
    assert sum(totals.failures.values()) == MAX_NAMES + 30


def test_a_text_from_outside_is_cut_and_can_be_sent(watched: Watched) -> None:
    watched.deliver(watched.requests(1, 10, failed_ms=(1,), name="a\nb\udc80", reason="x" * 1000))
    ((method, name, reason),) = watched.live.totals.failures
    assert (method, name, len(reason)) == ("GET", "a b ", 120)


def test_the_next_run_goes_on_from_where_the_last_one_ended(watched: Watched, tmp_path: Path) -> None:
    watched.at_s = 12.0
    watched.deliver(watched.requests(1, 10), watched.arrivals(1, 0.1, 7.0, dropped=1))
    watched.has_ended = True
    lost = ((3, "Load", 2),)
    watched.live.end([NodeRecord("local", 0, complete=True, last_second=1, lost=lost)])
    watched.live.end([NodeRecord("local", 0, complete=True, last_second=1, lost=lost)])
    assert watched.live.planned() == {"Warm up": 20, "Load": 8}
    second = Watched(tmp_path, watched.live, run_id="run-2")
    second.at_s = 11.0
    second.deliver(second.requests(1, 10), second.arrivals(1, 0.1))
    (totals,) = watched.live.totals.requests.values()
    load = watched.live.totals.arrivals["Load"]
    assert totals.by_phase == {"Load": [2, 0]}
    assert (load.started, load.late, load.dropped, load.lost) == (3, 1, 1, 2)
    assert watched.live.planned() == {"Warm up": 40, "Load": 12}
    assert second.run.requests == 1


# --- the run under way


@pytest.mark.parametrize(
    ("phase", "error"),
    [
        (Phase(name="Constant", duration=60, arrival_rate=7), 1),
        (Phase(name="Count", duration=60, arrival_count=90), 1),
        (Phase(name="Ramp", duration=60, arrival_rate=2, ramp_to=50), 25),  # it is a staircase
        (Phase(name="Times", duration=60, arrival_times=[0.0, 6.5, *(24.5 + n / 99 for n in range(99))]), 0),
    ],
)
def test_what_is_due_by_now_is_what_the_plan_says(phase: Phase, error: int) -> None:
    plan = Plan([Phase(name="Before", duration=5, arrival_rate=1), phase])
    at_s = [found.at_s for found in plan.schedule() if isinstance(found, Arrival) and found.phase == 1]
    span = plan.spans[1]
    assert due(span, 5.0, phase) == 0
    assert due(span, 65.0, phase) == due(span, 99.0, phase) == span.planned
    for now_s in (11.5, 30.0, 64.0):
        assert due(span, now_s, phase) == pytest.approx(sum(at <= now_s for at in at_s), abs=error)


def test_arrivals_at_times_of_their_own_are_planned_at_these(tmp_path: Path) -> None:
    plan = Plan([Phase(name="Trace", duration=100, arrival_times=[10, 90, 90, 92])], time_scale=2)
    watched = Watched(tmp_path, phases=plan.spans, plan=plan)
    found = []
    for watched.at_s in (4.9, 5.0, 44.9, 45.0, 50.0):
        found.append(watched.live.planned()["Trace"])
    assert found == [0, 1, 1, 3, 4]


def test_time_stands_still_once_the_load_has_ended(watched: Watched) -> None:
    watched.at_s = 12.0
    assert watched.run.span == PLAN.spans[1]
    watched.has_ended = True
    assert watched.run.span is None
    assert watched.run.now_s() == 12.0
    watched.at_s = 20.0
    assert watched.run.now_s() == 12.0
    assert watched.run.epoch_now_s() == STARTED_AT_S + 20


def test_rates_are_those_of_the_last_complete_seconds(watched: Watched) -> None:
    for second in range(30):
        watched.deliver(
            watched.requests(second, *[10.0] * second, failed_ms=(1,)), watched.arrivals(second, 1, 1)
        )
    rates = watched.run.rates()
    assert rates.requests == pytest.approx(26 + 1)  # of seconds 24 to 28
    assert (rates.failures, rates.started) == (1, 2)


def test_generators_that_fell_silent_are_not_of_now(watched: Watched) -> None:
    watched.deliver(readings=watched.health(1, users=5, cpu_percent=40, loop_lag_ms=2))
    watched.deliver(readings=watched.health(8, "other", users=3))
    watched.at_s = 9.0
    assert {node: health.users for node, health in watched.run.fresh_health().items()} == {"other": 3}


# --- thresholds

RULES = (
    "p95 < 30ms",
    "p95(/models) < 15ms in 'Load'",
    "error_rate <= 1%",
    "rate >= 5",
    "rate >= 5 in 'Warm up'",
    "peak_users >= 8",
    "dropped <= 0",
    "p95(nothing) < 1s",
    "max < 25ms for 3s",
)


def test_thresholds_stand_as_they_would_be_judged_at_the_end(tmp_path: Path) -> None:
    watched = Watched(tmp_path, rules=RULES)
    windows, arrivals, readings = [], [], []
    for second in range(30):
        phase = "Warm up" if second < 10 else "Load"
        slow = 40.0 if second in (12, 13, 14) else 12.0
        windows.append(
            watched.requests(second, slow, *[12.0] * 5, failed_ms=(1,) * (second == 20), phase=phase)
        )
        arrivals.append(watched.arrivals(second, 0.1, phase=phase, dropped=int(second == 25)))
        readings += [*watched.health(second, users=second % 9), *watched.health(second, "other", users=1)]
        watched.deliver(windows[-1], arrivals[-1], readings=tuple(readings[-2:]))
    record = RunRecord(watched.run.manifest, tuple(windows), tuple(arrivals), (), tuple(readings))
    assert watched.run.rules.verdicts() == judge_all(parse_rules(RULES), RecordMeasures(record))
    states = [verdict.status for verdict in watched.run.rules.verdicts()]
    assert states == ["pass", "pass", "pass", "pass", "pass", "pass", "fail", "no_data", "fail"]


def test_a_breach_for_too_long_is_not_forgotten(tmp_path: Path) -> None:
    watched = Watched(tmp_path, rules=("max < 25ms for 3s",))
    seen = []
    for second in range(120):
        watched.deliver(watched.requests(second, 40.0 if second in (5, 6, 7) else 10.0))
        seen.append(watched.run.rules.verdicts()[0].status)
    assert seen[:9] == ["no_data", "no_data", "pass", "pass", "pass", "pass", "pass", "fail", "fail"]
    assert set(seen[7:]) == {"fail"}
    assert len(watched.run.rules.by_second(parse_rules(["max < 25ms for 3s"])[0])) < 40


# --- readings


def line(at_s: float, metric: str, value: float | None, *, source: str = "host", reason: str = "gone") -> str:
    return encode_reading(
        Reading(at_s, "db-1", source, metric, "%", value, "" if value is not None else reason)
    )


class Followed:
    """A file of readings, and who follows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("")
        self.latest = LatestReadings(path)
        self.pauses = 0

    def append(self, *lines: str, end: str = "\n") -> None:
        with self.path.open("a") as file:
            file.write("\n".join(lines) + end)

    def standing(self, now_s: float) -> list[Standing]:
        self.latest.poll(self._pause)
        return self.latest.standing(now_s)

    def values(self, now_s: float) -> dict[str, float | None]:
        return {one.reading.metric: one.reading.value for one in self.standing(now_s)}

    def _pause(self) -> None:
        self.pauses += 1


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path / "readings.jsonl")


def test_the_newest_of_each_is_known(followed: Followed) -> None:
    followed.append(line(1, "cpu", 10), line(1, "memory", 30), line(2, "cpu", 20))
    assert followed.values(2) == {"cpu": 20, "memory": 30}
    followed.append(line(3, "cpu", 40))
    assert followed.values(3) == {"cpu": 40, "memory": 30}


def test_a_line_that_is_being_written_waits(followed: Followed) -> None:
    whole = line(1, "cpu", 10)
    followed.append(whole[:20], end="")
    assert followed.values(1) == {}
    followed.append(whole[20:])
    assert followed.values(1) == {"cpu": 10}


def test_what_is_no_reading_is_passed_over(followed: Followed) -> None:
    own = json.dumps(
        {"at_s": 1, "node": "local", "source": "generator", "metric": "users", "unit": "", "value": 1}
    )
    followed.append("{", "\x00", own.replace(" ", ""), line(1, "cpu", 10))
    assert followed.values(1) == {"cpu": 10}


def test_a_file_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    latest = LatestReadings(tmp_path / "nowhere")
    latest.poll(lambda: None)
    assert latest.standing(1) == []


def test_whoever_comes_late_reads_the_end_only(followed: Followed) -> None:
    followed.append(line(0, "old", 1), *(line(at, "cpu", at) for at in range(1, 10_000)))
    assert followed.values(10_000) == {"cpu": 9_999}
    assert followed.pauses > 100


def test_a_value_goes_stale_after_three_of_its_intervals_and_a_reason_does_not(followed: Followed) -> None:
    followed.append(line(1, "slow", 1), line(61, "slow", 2), line(61, "cpu", 3), line(61, "swap", None))
    followed.append(line(90, "memory", 5))
    fresh = {one.reading.metric: one.is_fresh for one in followed.standing(91)}
    assert fresh == {"slow": True, "cpu": False, "swap": True, "memory": True}
    assert not any(one.is_fresh for one in followed.standing(500))


def test_a_source_that_is_gone_has_a_reason_instead_of_values(followed: Followed) -> None:
    followed.append(line(1, "cpu", 10), line(1, "swap", None), line(1, "jobs", 7, source="queue"))
    followed.append(line(2, "*", None, reason="no answer within 2 s"))
    assert followed.values(2) == {"*": None, "jobs": 7}
    followed.append(line(3, "cpu", 20))
    assert followed.values(3) == {"cpu": 20, "jobs": 7}


def test_there_is_room_for_so_many(followed: Followed) -> None:
    followed.append(*(line(1, f"a{number}", 1) for number in range(1200)))
    assert len(followed.values(1)) == 1000
    assert followed.latest.left_out == 200
    followed.append(line(100, "new", 1))
    assert followed.values(100) == {"new": 1}


def test_nothing_is_watched_before_there_is_a_run(watched: Watched) -> None:
    live: Any = Live()
    live.end([])
    assert (live.run, live.planned()) == (None, {})
