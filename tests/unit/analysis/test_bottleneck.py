"""Planted causes, each as a record that a run with it leaves behind: named correctly, or not at all."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from perfload.analysis.bottleneck import bottleneck
from perfload.analysis.schema import Bottleneck
from perfload.histogram import Histogram
from perfload.model import Manifest, Observation, PhaseSpan, Reading, RunRecord, Window

START_S = 1000.0
MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=START_S,
    host="http://localhost",
    scenarios=("A",),
    shape="",
    phases=(
        PhaseSpan("Normal", 0.0, 30.0, "arrivals", 20.0, 20.0, 600),
        PhaseSpan("Peak", 30.0, 30.0, "arrivals", 60.0, 60.0, 1800),
    ),
    thresholds=(),
    ended_at_s=START_S + 60,
    end_reason="finished",
)
CALM_MS, SLOW_MS = 20, 900


def window(second: int, times_ms: list[float], *, due: int = 0, failed: int = 0) -> Window:
    phase = "Normal" if second < 30 else "Peak"
    latency = Histogram([int(1000 * ms) for ms in times_ms])
    ok_and_failed = (second, due or len(times_ms), failed)
    return Window(
        "run-1",
        "local",
        second,
        phase,
        "GET",
        "/a",
        latency,
        latency,
        Histogram([5000] * failed),
        0,
        (ok_and_failed,),
    )


def calm() -> Iterator[Window]:
    return (window(second, [CALM_MS] * 20) for second in range(30))


def slow() -> Iterator[Window]:
    """Yield thirty seconds in which everything takes long, at the rate at which it is due."""
    return (window(second, [SLOW_MS] * 60) for second in range(30, 60))


def piling_up() -> Iterator[Window]:
    """Yield thirty seconds in which 25/s are finished of 60/s, later and later."""
    return (window(second, [100 + 600 * (second - 30)] * 25, due=60) for second in range(30, 60))


def readings(
    metric: str, before: float, after: float, *, source: str = "host", node: str = "api-1", since_s: int = 30
) -> tuple[Reading, ...]:
    return tuple(
        Reading(START_S + second + 1, node, source, metric, "%", after if second >= since_s else before)
        for second in range(60)
    )


def operations(
    *, total_us: int, scans: int = 0, since_s: int = 30, ns: str = "app.models"
) -> tuple[Observation, ...]:
    data = {"ns": ns, "op": "find", "shape": "find {owner: =}", "count": 60, "total_us": total_us}
    data["collection_scans"] = scans
    return tuple(
        Observation(START_S + second + 0.5, "db-1", "mongodb_profiler", "operation", data)
        for second in range(since_s, 60)
    )


def judged(record: RunRecord, **more: object) -> Bottleneck:
    return bottleneck(record, **{"saturated": [], "missed": {}} | more)  # type: ignore[arg-type]


CALM = RunRecord(MANIFEST, windows=(*calm(), *(window(second, [CALM_MS] * 60) for second in range(30, 60))))
SLOW = RunRecord(MANIFEST, windows=(*calm(), *slow()))
PILING_UP = RunRecord(MANIFEST, windows=(*calm(), *piling_up()))


def test_without_strain_nothing_is_to_blame_however_busy_something_is() -> None:
    found = judged(replace(CALM, readings=readings("cpu_percent", 95, 97)))
    assert (found["kind"], found["conclusion"]) == (
        "none",
        "Nothing: the system took the load without strain.",
    )
    assert found["evidence"] == [
        "Nearest to its limit: the processors on api-1, cpu_percent 97 % (limit 90)."
    ]


def test_the_generator_comes_before_everything() -> None:
    busy = replace(SLOW, readings=readings("cpu_percent", 30, 99))
    found = judged(busy, saturated=["the load generator local was saturated"])
    assert (found["kind"], found["evidence"]) == ("generator", ["the load generator local was saturated"])


def test_a_resource_that_is_full_when_the_strain_begins_is_named() -> None:
    found = judged(
        replace(SLOW, readings=(*readings("cpu_percent", 30, 99), *readings("memory_percent", 40, 50)))
    )
    assert (found["kind"], found["conclusion"]) == ("resource", "The processors on api-1.")
    assert found["evidence"] == [
        "In 'Peak', p95 rose to 900 ms, from 20 ms in the calmest part of the run.",
        "The processors on api-1, cpu_percent 99 % (limit 90).",
    ]
    assert [phase["strain"] for phase in found["phases"]] == [
        "",
        "p95 rose to 900 ms, from 20 ms in the calmest part of the run",
    ]
    fullest = found["phases"][1]["fullest"]
    assert fullest is not None
    assert (fullest["metric"], fullest["highest"], fullest["full_since_s"]) == ("cpu_percent", 99, 31.0)
    assert found["watched"] == ["host on api-1"]


def test_the_process_is_named_before_the_machine_that_it_fills() -> None:
    process = readings("process_cpu_percent_busiest[uvicorn]", 20, 99, source="processes")
    found = judged(replace(SLOW, readings=(*readings("cpu_percent", 30, 99), *process)))
    assert found["conclusion"] == "One core for uvicorn on api-1."
    assert len(found["evidence"]) == 3  # the machine is evidence, too


def test_a_process_on_several_cores_is_not_held_up_by_one() -> None:
    process = readings("process_cpu_percent_busiest[mongod]", 20, 180, source="processes")
    assert judged(replace(SLOW, readings=process))["kind"] == "unidentified"


def test_what_fills_up_only_long_after_the_strain_began_is_an_effect() -> None:
    found = judged(replace(SLOW, readings=readings("memory_percent", 40, 99, since_s=45)))
    assert found["kind"] == "unidentified"


@pytest.mark.parametrize("peak", [[99, 10] * 15, [89] * 30])
def test_single_busy_seconds_and_what_stays_below_its_limit_prove_nothing(peak: list[float]) -> None:
    values = [10.0] * 30 + peak
    busy = tuple(
        Reading(START_S + second, "api-1", "host", "cpu_percent", "%", value)
        for second, value in enumerate(values)
    )
    assert judged(replace(SLOW, readings=busy))["kind"] == "unidentified"


def test_an_operation_that_took_most_of_the_time_is_named_before_the_processor_that_it_fills() -> None:
    slow_query = operations(total_us=45_000_000, scans=60)
    found = judged(replace(SLOW, observations=slow_query, readings=readings("cpu_percent", 30, 99)))
    assert (found["kind"], found["conclusion"]) == (
        "operations",
        "The database operation find {owner: =} on app.models.",
    )
    assert found["evidence"][1:] == [
        "It ran 1,800 times at 750 ms each: 83% of the time that requests took.",
        "1,800 of them read the whole collection, without an index.",
    ]


def test_an_operation_that_grew_with_the_load_says_so() -> None:
    record = replace(
        SLOW,
        observations=(
            *operations(total_us=600_000, since_s=0)[:30],
            *operations(total_us=45_000_000),
        ),
    )
    assert "It grew with the load: from 10 to 750 ms." in judged(record)["evidence"]


def test_an_operation_with_a_small_part_of_the_time_is_not_to_blame() -> None:
    found = judged(replace(SLOW, observations=operations(total_us=5_000_000, scans=60)))
    assert found["kind"] == "unidentified"


def test_a_lock_shows_as_a_steady_rate_while_more_and_more_wait() -> None:
    found = judged(replace(PILING_UP, readings=readings("cpu_percent", 10, 20)))
    assert found["kind"] == "one_at_a_time"
    assert found["conclusion"].startswith("GET /a waits for something that only one or a few")
    assert "GET /a was finished at a steady 25.0/s, with " in found["evidence"][1]
    assert found["evidence"][-1].startswith(
        "Nothing that was watched was at its limit; nearest: the processors"
    )


def test_a_slow_downstream_that_nothing_watches_is_not_identified() -> None:
    idle = replace(SLOW, readings=readings("cpu_percent", 10, 15))
    found = judged(idle)
    assert found["conclusion"] == (
        "Not identified: what host on api-1 read does not explain it. It may be something that no monitor "
        "looks at."
    )
    assert judged(SLOW)["conclusion"].startswith("Not identified: nothing was watched.")


def test_a_run_that_is_slow_from_its_beginning_is_judged_by_its_goals() -> None:
    always = RunRecord(MANIFEST, windows=tuple(window(second, [SLOW_MS] * 20) for second in range(60)))
    assert judged(always)["kind"] == "none"
    found = judged(always, missed={"all": "p95 < 500ms was missed: observed 900 ms"})
    assert found["kind"] == "unidentified"
    assert found["evidence"][0] == "In 'Normal', p95 < 500ms was missed: observed 900 ms."
    only_peak = judged(always, missed={"Peak": "p95 < 500ms in Peak was missed"})
    assert [phase["since_s"] for phase in only_peak["phases"]] == [None, 30.0]


def test_failures_are_strain() -> None:
    failing = (window(second, [CALM_MS] * 60, failed=3) for second in range(30, 60))
    found = judged(RunRecord(MANIFEST, windows=(*calm(), *failing)))
    assert found["phases"][1]["strain"] == "4.8 % of the requests failed"


def test_an_empty_record_has_nothing_to_explain() -> None:
    assert judged(RunRecord(replace(MANIFEST, ended_at_s=None, end_reason="running")))["kind"] == "none"


@pytest.mark.parametrize("data", [{}, {"ns": 3, "shape": "x"}, {"ns": "a", "shape": "x", "count": "many"}])
def test_observations_that_are_none_of_ours_are_left_out(data: dict[str, object]) -> None:
    found = judged(replace(SLOW, observations=(Observation(START_S + 40, "n", "s", "operation", data),)))
    assert found["kind"] == "unidentified"


def process_readings(peak: list[float]) -> tuple[Reading, ...]:
    """Readings of one process, the same over and over in the peak."""
    values = [10.0] * 30 + peak * (30 // len(peak))
    metric = "process_cpu_percent_busiest[port:8000]"
    return tuple(
        Reading(START_S + second + 1, "api-1", "processes", metric, "%", value)
        for second, value in enumerate(values)
    )


def test_a_process_that_others_leave_a_little_less_in_single_seconds_is_at_its_limit() -> None:
    found = judged(replace(SLOW, readings=process_readings([97, 86, 95])))
    assert found["conclusion"] == "One core for the process at port 8000 on api-1."


def test_a_process_gets_no_core_while_others_fill_the_machine() -> None:
    process = process_readings([60.0] * 8 + [97.0] * 22)
    late = judged(replace(SLOW, readings=process))
    assert late["kind"] == "unidentified"
    machine = tuple(
        Reading(START_S + second + 1, "api-1", "host", "cpu_percent", "%", 99 if 30 <= second < 38 else 60)
        for second in range(60)
    )
    found = judged(replace(SLOW, readings=(*process, *machine)))
    assert found["conclusion"] == "One core for the process at port 8000 on api-1."


def test_full_processors_are_named_with_who_used_most_of_them() -> None:
    used = readings("process_cpu_percent[port:8000]", 20, 70, source="processes")
    found = judged(replace(SLOW, readings=(*readings("cpu_percent", 30, 99), *used)))
    assert found["conclusion"] == (
        "The processors on api-1; of what was watched, the process at port 8000 used most, 70 % of a core."
    )


def test_what_was_full_for_a_small_part_of_the_strain_did_not_hold_it_back() -> None:
    moment = tuple(
        Reading(START_S + second + 1, "api-1", "host", "cpu_percent", "%", 99 if 30 <= second < 35 else 20)
        for second in range(60)
    )
    assert judged(replace(SLOW, readings=moment))["kind"] == "unidentified"


def test_what_is_full_lets_only_so_many_pass_and_is_no_lock() -> None:
    late = readings("memory_percent", 40, 99, since_s=40)
    assert judged(replace(PILING_UP, readings=late))["kind"] == "unidentified"


def test_many_at_a_time_may_be_anything() -> None:
    """25/s that take 400 ms when nobody waits are ten at a time: no lock."""
    calm_s = [window(second, [400] * 20) for second in range(30)]
    waiting = [window(second, [1000 + 600 * (second - 30)] * 25, due=60) for second in range(30, 60)]
    found = judged(RunRecord(MANIFEST, windows=(*calm_s, *waiting)))
    assert found["kind"] == "unidentified"
    assert "About 10 of them got on at a time" in found["evidence"][1]


def connections(at_work: list[int], *, opened: int = 11) -> tuple[Reading, ...]:
    """Readings of MongoDB: three connections that always wait, and in the peak others at work."""
    active = [3] * 30 + at_work * (30 // len(at_work))
    return tuple(
        Reading(START_S + second + 1, "db-1", "mongodb", metric, "connections", value)
        for second in range(60)
        for metric, value in (
            ("connections[active]", active[second]),
            ("connections[current]", opened if second < 45 else max(opened, 11)),
        )
    )


def test_a_pool_shows_as_the_same_connections_at_work_again_and_again() -> None:
    found = judged(replace(PILING_UP, readings=connections([5, 5, 4, 5, 6])))
    assert found["conclusion"] == (
        "A limit inside the application: GET /a waits for one of few connections to MongoDB on db-1: a small "
        "pool."
    )
    assert (
        "MongoDB on db-1 saw 2 connections at work time and again and 11 open in all" in found["evidence"][1]
    )


@pytest.mark.parametrize(
    "seen", [connections([3]), connections([4]), connections([5], opened=6), connections([3, 5, 7, 4, 9, 6])]
)
def test_connections_with_room_for_more_are_no_pool(seen: tuple[Reading, ...]) -> None:
    assert "MongoDB" not in judged(replace(PILING_UP, readings=seen))["conclusion"]


def test_an_operation_that_keeps_the_pool_busy_is_named_and_not_the_pool() -> None:
    busy = operations(total_us=1_600_000, scans=60)
    found = judged(replace(PILING_UP, readings=connections([5]), observations=busy))
    assert found["conclusion"] == "The database operation find {owner: =} on app.models."
    assert "On average it kept 1.6 connections busy." in found["evidence"]


def test_one_bad_second_is_no_strain() -> None:
    hiccup = [window(second, [SLOW_MS if second in (40, 50) else CALM_MS] * 60) for second in range(30, 60)]
    assert judged(RunRecord(MANIFEST, windows=(*calm(), *hiccup)))["kind"] == "none"


def test_a_hiccup_in_the_beginning_does_not_explain_the_peak() -> None:
    hiccup = (window(second, [SLOW_MS if second < 4 else CALM_MS] * 20) for second in range(30))
    busy = tuple(
        Reading(START_S + second + 1, "api-1", "host", "cpu_percent", "%", 99 if second < 5 else 20)
        for second in range(60)
    )
    record = RunRecord(MANIFEST, windows=(*hiccup, *piling_up()), readings=busy)
    slow_query = operations(total_us=200_000_000)
    found = judged(replace(record, observations=slow_query))
    assert found["kind"] == "operations"


def test_few_requests_are_judged_over_longer_stretches() -> None:
    few = [
        *(window(second, [CALM_MS] * 3) for second in range(30)),
        *(window(second, [SLOW_MS] * 5) for second in range(30, 60)),
    ]
    found = judged(RunRecord(MANIFEST, windows=tuple(few)))
    assert [phase["since_s"] for phase in found["phases"]] == [None, 30.0]


def test_a_goal_that_the_whole_run_missed_does_not_move_the_strain_to_its_beginning() -> None:
    found = judged(
        replace(SLOW, readings=readings("cpu_percent", 30, 99)), missed={"all": "p95 < 500ms was missed"}
    )
    assert found["conclusion"] == "The processors on api-1."


def test_users_who_only_think_do_not_make_a_lock_of_slowness() -> None:
    """As many users as before, ten times as long for each request: the rate is that of their thinking."""
    peak = PhaseSpan("Peak", 30.0, 30.0, "users", 300, 300, 0)
    longer = (window(second, [100 + 40 * (second - 30)] * 25) for second in range(30, 60))
    record = RunRecord(replace(MANIFEST, phases=(MANIFEST.phases[0], peak)), windows=(*calm(), *longer))

    def users(first: int, last: int) -> tuple[Reading, ...]:
        return tuple(
            Reading(START_S + s, "local", "generator", "users", "users", first if s < 45 else last)
            for s in range(30, 60)
        )

    assert judged(replace(record, readings=users(300, 300)))["kind"] == "unidentified"
    assert judged(replace(record, readings=users(150, 300)))["kind"] == "one_at_a_time"


def test_what_takes_seconds_even_in_calm_is_not_behind_because_of_that() -> None:
    """Of 10/s that take 5 s each, the last fifty of every phase end in the next one."""
    patient = (window(second, [5_000] * 10, due=10) for second in range(5, 60))
    due = tuple((second, 10, 0) for second in range(5))
    first = Window("run-1", "local", 5, "Normal", "GET", "/b", Histogram(), Histogram(), Histogram(), 0, due)
    assert judged(RunRecord(MANIFEST, windows=(first, *patient)))["kind"] == "none"


def test_many_shapes_together_are_not_given_a_name() -> None:
    found = judged(replace(SLOW, observations=operations(total_us=45_000_000, ns="other")))
    assert found["kind"] == "unidentified"
