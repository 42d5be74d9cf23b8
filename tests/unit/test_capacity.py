import bisect
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.capacity import MAX_FILES, MAX_PORTS, Capacity, Visit, busiest_second, estimate, most_within
from perfload.costs import Costs
from perfload.errors import UsageError
from perfload.histogram import Histogram
from perfload.model import ArrivalWindow, Manifest, Phase, PhaseSpan, Reading, RunRecord, Window
from perfload.plan import Arrival, Plan

COSTS = Costs(
    cpu_us_per_request=50,
    cpu_us_per_visit=200,
    cpu_us_per_handshake=700,
    cpu_percent_per_worker=2,
    cpu_percent_of_master_per_worker=1.5,
    bytes_per_worker=80_000_000,
    bytes_per_user=15_000,
    bytes_per_secure_user=25_000,
    files_per_worker=20,
    files_per_user=1,
    network_bytes_per_visit=600,
    network_bytes_per_request=400,
    network_bytes_per_handshake=2_000,
)

LOAD_TEST = [
    Phase(name="Warm up", duration="5m", arrival_rate=5),
    Phase(name="Gradual increase", duration="10m", arrival_rate=10, ramp_to=50),
    Phase(name="Normal load", duration="30m", arrival_rate=50),
    Phase(name="Peak load", duration="15m", arrival_rate=100),
    Phase(name="Stress test", duration="5m", arrival_rate=150),
]


def constant(rate: float, duration: str = "10m", **options: object) -> Plan:
    return Plan([Phase(name="Load", duration=duration, arrival_rate=rate, **options)])


def reckoned(plan: Plan, *, stall_s: float = 60.0, **visit: object) -> Capacity:
    return estimate(plan, Visit(**visit), stall_s=stall_s, costs=COSTS)


def limits(capacity: Capacity) -> dict[str, float]:
    return {limit.name: limit.needed for limit in capacity.limits}


# --- arrivals and users


def test_the_load_test_by_littles_law() -> None:
    found = reckoned(Plan(LOAD_TEST), duration_s=3.0, requests=2.0, stall_s=5.0)
    assert [phase.arrivals for phase in found.phases] == [1_500, 18_000, 90_000, 90_000, 45_000]
    assert [phase.visits_per_s for phase in found.phases] == [5, 50, 50, 100, 150]
    assert [phase.requests_per_s for phase in found.phases] == [10, 100, 100, 200, 300]
    assert [phase.users for phase in found.phases] == [15, 150, 150, 300, 450]
    # 150 x (3 + 5), and 150 x (3 + 5 + 60) once their ports are counted until they are free again
    assert found.phases[-1].users_in_stall == 1_200
    assert found.phases[-1].ports == 10_200


@given(rate=st.floats(0.1, 500), visit_s=st.floats(0.01, 30), stall_s=st.floats(0, 100))
def test_a_steady_rate_is_littles_law(rate: float, visit_s: float, stall_s: float) -> None:
    (phase,) = reckoned(constant(rate), duration_s=visit_s, stall_s=stall_s).phases
    assert phase.users == pytest.approx(rate * visit_s, abs=1)
    assert phase.users >= rate * visit_s - 1e-5
    assert phase.users_in_stall == pytest.approx(rate * (visit_s + stall_s), abs=1)


def test_users_who_are_a_whole_number_are_not_rounded_up() -> None:
    assert reckoned(constant(0.1, "1h"), duration_s=30.0).phases[0].users == 3


PHASES = st.lists(
    st.builds(
        lambda duration, start, end: {"duration": duration, "arrival_rate": start, "ramp_to": end},
        st.integers(2, 40),
        st.integers(0, 30),
        st.integers(0, 30) | st.none(),
    ),
    min_size=1,
    max_size=4,
)


def plan_of(rows: list[dict[str, float]]) -> Plan:
    return Plan([Phase(name=f"{index}", **row) for index, row in enumerate(rows)])  # type: ignore[arg-type]


def schedule(plan: Plan) -> list[Arrival]:
    return [step for step in plan.schedule() if isinstance(step, Arrival)]


def most_in_flight(due_s: list[float], stay_s: float) -> int:
    """Return the most arrivals of a schedule that are there at once when each stays so long."""
    return max(
        (index + 1 - bisect.bisect_right(due_s, at_s - stay_s) for index, at_s in enumerate(due_s)), default=0
    )


@settings(deadline=None)
@given(PHASES, st.floats(0.5, 50))
def test_users_in_flight_are_those_of_the_schedule(rows: list[dict[str, float]], stay_s: float) -> None:
    plan = plan_of(rows)
    found = max(most_within(plan.spans, span, stay_s) for span in plan.spans)
    # Arrivals are whole: each step of a ramp is up to half a one off, and all together a part of its rise.
    ramps = [row for row in rows if row["ramp_to"] is not None]
    slack = 2 + sum(0.5 * row["duration"] + abs(row["ramp_to"] - row["arrival_rate"]) / 2 for row in ramps)
    true = most_in_flight([arrival.at_s for arrival in schedule(plan)], stay_s)
    assert found == pytest.approx(true, abs=slack)


@settings(deadline=None)
@given(PHASES)
def test_the_busiest_second_is_that_of_the_schedule(rows: list[dict[str, float]]) -> None:
    plan = plan_of(rows)
    for index, (phase, span) in enumerate(zip(plan.phases, plan.spans, strict=True)):
        # due at n/rate, so those of the first second are due in (0, 1]
        due = Counter(math.ceil(step.at_s - 1e-6) for step in schedule(plan) if step.phase == index)
        assert max(due.values(), default=0) == busiest_second(phase, span)


def test_a_ramp_is_at_its_peak_in_whole_arrivals() -> None:
    plan = Plan([Phase(name="Up", duration="10s", arrival_rate=1, ramp_to=9.5)])
    due = Counter(math.ceil(arrival.at_s - 1e-6) for arrival in schedule(plan))
    assert max(due.values()) == 10
    assert busiest_second(plan.phases[0], plan.spans[0]) == 10


GRID = 1 / 64
"""Seconds whose multiples are exact, so that who leaves as another comes is not there twice."""


@given(st.lists(st.integers(0, 6400), min_size=1), st.integers(32, 9600), st.sampled_from([0.5, 1.0, 4.0]))
def test_arrivals_at_times_of_their_own_are_counted_as_they_come(
    times: list[int], stay: int, time_scale: float
) -> None:
    stay_s = stay * GRID
    phase = Phase(name="a", duration=100, arrival_times=[time * GRID for time in sorted(times)])
    plan = Plan([phase], time_scale=time_scale)
    due_s = [step.at_s for step in schedule(plan)]
    (need,) = reckoned(plan, duration_s=stay_s).phases
    assert need.users == most_in_flight(due_s, stay_s)
    assert need.visits_per_s == most_in_flight(due_s, 1.0)


def test_the_load_at_random_comes_up_to_what_its_schedule_has() -> None:
    plan = constant(50, "1h", poisson_seed=1)
    due_s = [arrival.at_s for arrival in schedule(plan)]
    busiest = max(Counter(map(int, due_s)).values())
    (phase,) = reckoned(plan, duration_s=3.0).phases
    assert (busiest, round(phase.visits_per_s)) == (75, 74)
    assert (most_in_flight(due_s, 3.0), phase.users) == (202, 204)


def test_users_of_the_phase_before_are_still_there() -> None:
    plan = Plan(
        [
            Phase(name="Spike", duration="1m", arrival_rate=200),
            Phase(name="After", duration="3m", arrival_rate=20),
            Phase(name="Break", duration="1m", pause=True),
        ]
    )
    spike, after, pause = reckoned(plan, duration_s=3.0).phases
    assert (spike.users, after.users, pause.users) == (600, 600, 60)
    assert (after.visits_per_s, pause.visits_per_s) == (20, 0)


def test_a_short_phase_is_over_before_all_could_be_there() -> None:
    # 10 s at 100/s; nobody leaves within 63 s
    assert reckoned(constant(100, "10s"), duration_s=3.0).phases[0].users_in_stall == 1_000


def test_a_cap_on_users_holds_in_a_stall_too() -> None:
    (phase,) = reckoned(constant(100, max_users=500), duration_s=3.0, stall_s=60.0).phases
    assert (phase.users, phase.users_in_stall) == (300, 500)
    assert phase.ports == 500 + 100 * 60
    (phase,) = reckoned(constant(100, max_users=200), duration_s=3.0, stall_s=60.0).phases
    assert phase.users == 200


def test_a_closed_phase_has_its_users_whatever_they_do() -> None:
    plan = Plan([Phase(name="Desks", duration="10m", users=100, ramp_to_users=10)])
    (phase,) = reckoned(plan, duration_s=4.0, requests=2.0).phases
    assert (phase.users, phase.users_in_stall, phase.ports, phase.arrivals) == (100, 100, 100, 0)
    assert (phase.visits_per_s, phase.requests_per_s) == (25, 50)
    assert phase.cpu_percent == pytest.approx(50 * 50e-6 * 100)


# --- what they cost


def test_cpu_is_that_of_visits_and_requests() -> None:
    # 100 visits of 200 us, 300 requests of 50 us
    assert reckoned(constant(100), requests=3.0).phases[0].cpu_percent == pytest.approx(3.5)


def test_cpu_that_was_measured_goes_before_what_is_reckoned() -> None:
    desks = Plan([Phase(name="Desks", duration="1m", users=300)])
    for plan in (constant(100), desks):
        (phase,) = reckoned(plan, duration_s=3.0, requests=3.0, has_tls=True, cpu_us=1_000.0).phases
        assert phase.cpu_percent == pytest.approx(10)


def test_tls_costs_a_handshake_per_visit_and_memory_per_user() -> None:
    plain, secure = (reckoned(constant(100), requests=3.0, has_tls=tls) for tls in (False, True))
    assert secure.phases[0].cpu_percent == pytest.approx(3.5 + 7.0)
    assert secure.bytes_per_worker - plain.bytes_per_worker == 6_300 * 25_000
    assert secure.network_bits_per_s - plain.network_bits_per_s == pytest.approx(8 * 100 * 2_000)


def test_one_worker_and_no_master_for_a_small_load() -> None:
    found = reckoned(constant(100), duration_s=3.0, requests=2.0)
    assert found.workers == 1
    assert found.files_per_worker == 20 + 6_300
    assert found.bytes_per_worker == 80_000_000 + 6_300 * 15_000
    # 200 requests of 400 + 1,000 bytes, 100 connections of 600
    assert found.network_bits_per_s == 8 * (200 * 1_400 + 100 * 600)
    assert limits(found) == {
        "open files of a worker": 6_320,
        "ports to the target": 12_300,
        "CPU of a worker": pytest.approx(2 + 3.0),
    }


def test_workers_share_what_keeps_each_below_its_limit() -> None:
    # 4,000 x (200 + 2 x 50) us are 120 % of a core; each has 60 % less the 2 % of its own
    found = reckoned(constant(4_000, "1h"), duration_s=3.0, requests=2.0, stall_s=0.0)
    assert found.workers == 3
    assert found.files_per_worker == 20 + 4_000
    assert limits(found)["CPU of a worker"] == pytest.approx(2 + 40)
    assert limits(found)["CPU of the master"] == pytest.approx(4.5)


@pytest.mark.parametrize(("rate", "workers"), [(1_933, 1), (1_934, 2), (3_866, 2), (3_867, 3)])
def test_a_worker_more_when_the_last_is_full(rate: int, workers: int) -> None:
    assert reckoned(constant(rate), requests=2.0).workers == workers


def test_a_worker_that_is_busy_with_itself_still_does_something() -> None:
    found = estimate(constant(100), Visit(), costs=replace(COSTS, cpu_percent_per_worker=60))
    assert found.workers == 3


@given(st.integers(1, 20_000), st.floats(0, 20))
def test_no_worker_is_above_its_limit_and_none_is_spare(rate: int, requests: float) -> None:
    found = reckoned(constant(rate, "10s"), requests=requests)
    used = next(limit.used_percent for limit in found.limits if limit.name == "CPU of a worker")
    assert used <= 100.001
    if found.workers > 1:
        assert found.phases[0].cpu_percent / (found.workers - 1) + 2 > 60


def test_the_limit_that_is_reached_first_comes_first() -> None:
    used = [limit.used_percent for limit in reckoned(constant(300), duration_s=3.0).limits]
    assert all(one >= other for one, other in pairwise(used))
    first = reckoned(constant(300), duration_s=3.0).limits[0]
    assert (first.name, first.needed, first.available) == ("open files of a worker", 18_920, MAX_FILES)
    assert first.used_percent == pytest.approx(189.2)
    no_stall = reckoned(constant(300), duration_s=3.0, stall_s=0.0).limits[0]
    assert (no_stall.name, no_stall.needed, no_stall.available) == ("ports to the target", 18_900, MAX_PORTS)


def test_the_busiest_phase_decides_whatever_its_place() -> None:
    there = reckoned(Plan(LOAD_TEST))
    back = reckoned(Plan(LOAD_TEST[::-1]))
    assert (there.workers, there.files_per_worker) == (back.workers, back.files_per_worker)
    assert limits(there) == limits(back)


# --- the visit of an earlier run

SPAN = PhaseSpan("Load", 0.0, 4.0, "arrivals", 10.0, 10.0, 40)
MANIFEST = Manifest(
    run_id="20260101-000000-load_test-5f3a",
    started_at_s=1_000.0,
    host="http://localhost:8000",
    scenarios=("Visitor",),
    shape="LoadTest",
    phases=(SPAN,),
    thresholds=(),
)


def record(manifest: Manifest = MANIFEST) -> RunRecord:
    """Ten users a second for four seconds on two nodes, each there for 2 s and with three requests."""
    arrivals, windows, readings = [], [], []
    for node in ("worker-0", "worker-1"):
        for second, users in enumerate((5, 10, 10, 10, 5)):
            at_s = manifest.started_at_s + second + 0.5
            readings.append(Reading(at_s, node, "generator", "users", "users", float(users)))
            readings.append(Reading(at_s, node, "generator", "cpu_percent", "%", 50.0))
            readings.append(Reading(at_s, node, "host", "users", "users", 9.0))
            if second < 4:
                arrivals.append(ArrivalWindow("run", node, second, "Load", Histogram([100] * 5)))
                fine, failed = Histogram([900] * 14), Histogram([900])
                windows.append(
                    Window("run", node, second, "Load", "GET", "/", fine, fine, failed, received_bytes=7_500)
                )
    return RunRecord(manifest, tuple(windows), tuple(arrivals), readings=tuple(readings))


def test_the_visit_of_a_run() -> None:
    # ten readings of half a core for 40 visits
    assert Visit.of(record()) == Visit(
        duration_s=2.0, requests=3.0, response_bytes=500.0, has_tls=False, cpu_us=125_000.0
    )


def test_the_visit_of_a_run_over_tls() -> None:
    assert Visit.of(record(replace(MANIFEST, host="https://example.com"))).has_tls


@pytest.mark.parametrize(
    "changes",
    [
        {"arrivals": ()},
        {"windows": ()},
        {"readings": ()},
        {"manifest": replace(MANIFEST, phases=(SPAN, replace(SPAN, name="Desks", model="users")))},
    ],
)
def test_a_run_that_does_not_tell(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="20260101-000000-load_test-5f3a does not tell") as caught:
        Visit.of(replace(record(), **changes))  # type: ignore[arg-type]
    assert caught.value.hint == "name another run, or give --visit and --requests-per-visit"
