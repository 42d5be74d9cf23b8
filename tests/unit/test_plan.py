import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.errors import UsageError
from perfload.model import Phase
from perfload.plan import Arrival, Level, Plan
from perfload.shares import evenly

LOAD_TEST = [
    Phase(name="Warm up", duration="5m", arrival_rate=5),
    Phase(name="Gradual increase", duration="10m", arrival_rate=10, ramp_to=50),
    Phase(name="Normal load", duration="30m", arrival_rate=50),
    Phase(name="Peak load", duration="15m", arrival_rate=100),
    Phase(name="Stress test", duration="5m", arrival_rate=150),
]


def arrivals(plan: Plan, index: int = 0, count: int = 1) -> list[Arrival]:
    """Return what node `index` of `count` starts, when nobody comes or goes."""
    era = evenly(range(count), 0.0)
    steps = (step for step in plan.schedule() if isinstance(step, Arrival))
    return [step for step in steps if era.owner(step.number) == index]


def per_phase(steps: list[Arrival], phases: int) -> list[int]:
    return [sum(1 for step in steps if step.phase == index) for index in range(phases)]


def test_the_load_test_holds_artillerys_counts() -> None:
    plan = Plan(LOAD_TEST)
    assert [span.planned for span in plan.spans] == [1_500, 18_000, 90_000, 90_000, 45_000]
    assert plan.duration_s == 65 * 60


def test_the_demo_scale_divides_durations_and_keeps_the_rates() -> None:
    plan = Plan(LOAD_TEST, time_scale=60)
    assert [span.duration_s for span in plan.spans] == [5, 10, 30, 15, 5]
    assert [span.planned for span in plan.spans] == [25, 300, 1_500, 1_500, 750]
    assert per_phase(arrivals(plan), 5) == [25, 300, 1_500, 1_500, 750]


@pytest.mark.parametrize("workers", range(1, 9))
def test_the_union_over_workers_is_the_same_schedule(workers: int) -> None:
    plan = Plan(LOAD_TEST, time_scale=60)
    union = [step for index in range(workers) for step in arrivals(plan, index, workers)]
    assert sorted(union, key=lambda step: step.number) == arrivals(plan)


@pytest.mark.parametrize("workers", range(1, 9))
def test_workers_together_start_artillerys_counts(workers: int) -> None:
    plan, era = Plan(LOAD_TEST), evenly(range(workers), 0.0)
    steps = (step for step in plan.schedule() if isinstance(step, Arrival))
    started = Counter((era.owner(step.number), step.phase) for step in steps)
    by_phase = [sum(started[index, phase] for index in range(workers)) for phase in range(5)]
    assert by_phase == [1_500, 18_000, 90_000, 90_000, 45_000]
    by_worker = [sum(started[index, phase] for phase in range(5)) for index in range(workers)]
    assert max(by_worker) - min(by_worker) <= 1


def test_a_constant_rate_is_evenly_spaced_and_ends_with_the_phase() -> None:
    plan = Plan([Phase(name="a", duration=2, arrival_rate=4)])
    assert [step.at_s for step in arrivals(plan)] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]


def test_a_ramp_is_a_staircase_of_seconds() -> None:
    plan = Plan([Phase(name="a", duration=3, arrival_rate=1, ramp_to=4)])
    assert [round(step.at_s, 6) for step in arrivals(plan)] == [
        1.0,
        1.333333,
        1.666667,
        2.0,
        2.25,
        2.5,
        2.75,
        3.0,
    ]


def test_a_ramp_may_end_within_a_second() -> None:
    plan = Plan([Phase(name="a", duration=2.5, arrival_rate=2, ramp_to=4)])
    assert [step.at_s for step in arrivals(plan)] == [0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5]
    assert plan.spans[0].planned == 8


def test_an_arrival_count_is_spread_evenly_whatever_the_scale() -> None:
    for scale in (1, 5):
        plan = Plan([Phase(name="a", duration=10, arrival_count=4)], time_scale=scale)
        assert [step.at_s for step in arrivals(plan)] == [2.5 / scale, 5 / scale, 7.5 / scale, 10 / scale]
        assert plan.rate_at(1) == pytest.approx(0.4 * scale)


def test_a_fractional_rate_needs_no_whole_numbers() -> None:
    assert [step.at_s for step in arrivals(Plan([Phase(name="a", duration=5, arrival_rate=0.5)]))] == [2, 4]


def test_poisson_arrivals_come_from_the_seed_alone() -> None:
    def times(seed: int, **options: float) -> list[float]:
        phase = Phase(name="a", duration=200, arrival_rate=20, poisson_seed=seed, **options)  # type: ignore[arg-type]
        return [step.at_s for step in arrivals(Plan([phase]))]

    assert times(1) == times(1) != times(2)
    assert len(times(1)) == pytest.approx(4000, abs=4 * math.sqrt(4000))
    gaps = [after - before for before, after in zip(times(1), times(1)[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert math.sqrt(variance) / mean == pytest.approx(1, abs=0.1)  # exponential gaps: deviation equals mean
    ramp = times(3, ramp_to=60)
    assert len(ramp) == pytest.approx(8000, abs=4 * math.sqrt(8000))
    early = sum(1 for at_s in ramp if at_s < 100)
    assert early / len(ramp) == pytest.approx(3 / 8, abs=0.03)


def test_poisson_spans_know_their_count() -> None:
    plan = Plan([Phase(name="a", duration=30, arrival_rate=10, poisson_seed=5)])
    assert plan.spans[0].planned == len(arrivals(plan))


@given(
    st.lists(
        st.tuples(st.floats(0.5, 20), st.floats(0, 30), st.none() | st.floats(0, 30)), min_size=1, max_size=4
    ),
    st.integers(1, 8),
)
def test_any_plan_is_ordered_within_its_phases_and_complete(
    shapes: list[tuple[float, float, float | None]], workers: int
) -> None:
    phases = [
        Phase(name=str(n), duration=duration_s, arrival_rate=rate, ramp_to=ramp_to)
        for n, (duration_s, rate, ramp_to) in enumerate(shapes)
    ]
    plan = Plan(phases)
    steps = arrivals(plan)
    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
    for step in steps:
        span = plan.spans[step.phase]
        assert span.start_s < step.at_s <= span.end_s + 1e-6
    assert per_phase(steps, len(phases)) == [span.planned for span in plan.spans]
    shares = [len(arrivals(plan, index, workers)) for index in range(workers)]
    assert sum(shares) == len(steps)
    assert max(shares) - min(shares) <= 1


def test_a_closed_ramp_changes_the_users_one_by_one() -> None:
    plan = Plan([Phase(name="a", duration=4, users=1, ramp_to_users=3), Phase(name="b", duration=2, users=2)])
    assert [(step.at_s, step.users) for step in plan.schedule() if isinstance(step, Level)] == [
        (0, 1),
        (2, 2),
        (4, 3),
        (4, 2),
        (6, 0),
    ]
    assert [plan.users_at(t_s) for t_s in (0, 1.9, 2, 3.9, 4.5, 6)] == [1, 1, 2, 2, 2, 0]


def test_open_and_closed_phases_mix() -> None:
    plan = Plan(
        [
            Phase(name="closed", duration=1, users=2),
            Phase(name="rest", duration=1, pause=True),
            Phase(name="open", duration=1, arrival_rate=2),
        ]
    )
    assert list(plan.schedule()) == [
        Level(0, 2, 0),
        Level(1, 0, 1),
        Level(2, 0, 2),
        Arrival(0, 2.5, 2),
        Arrival(1, 3.0, 2),
        Level(3, 0, 2),
    ]
    assert (plan.rate_at(0.5), plan.rate_at(2.5), plan.rate_at(3.5)) == (0, 2, 0)


TIMES = (0.0, 0.25, 0.25, 3.0, 4.0)


def test_arrival_times_are_carried_out_to_the_bit() -> None:
    plan = Plan(
        [Phase(name="a", duration=3, arrival_count=1), Phase(name="b", duration=4.1, arrival_times=TIMES)]
    )
    assert [step.at_s - 3 for step in arrivals(plan)[1:]] == [3 + time_s - 3 for time_s in TIMES]
    assert plan.spans[1].planned == 5
    assert plan.spans[1].start == plan.spans[1].end == plan.rate_at(3.1) == 5 / 4.1


def test_the_time_scale_divides_arrival_times_too() -> None:
    plan = Plan([Phase(name="a", duration=4, arrival_times=TIMES)], time_scale=2)
    assert [step.at_s for step in arrivals(plan)] == [0, 0.125, 0.125, 1.5, 2]
    assert (plan.duration_s, plan.spans[0].planned, plan.rate_at(1)) == (2, 5, 2.5)


@given(st.lists(st.floats(0, 100)), st.integers(1, 8), st.floats(0.1, 1000))
def test_the_union_over_workers_is_every_arrival_time(
    times: list[float], workers: int, time_scale: float
) -> None:
    times = sorted([*times, 50.0])
    plan = Plan([Phase(name="a", duration=100, arrival_times=times)], time_scale=time_scale)
    union = sorted(
        (step for index in range(workers) for step in arrivals(plan, index, workers)),
        key=lambda step: step.number,
    )
    assert [step.number for step in union] == list(range(len(times)))
    assert [step.at_s * time_scale for step in union] == pytest.approx(times)


def test_arrival_times_may_be_any_sequence_and_are_kept_as_a_tuple() -> None:
    phase = Phase(name="a", duration=4, arrival_times=[0, 0.25, 0.25, 3, 4])
    assert phase.arrival_times == TIMES
    assert phase == Phase(name="a", duration=4, arrival_times=TIMES) != Phase(name="a", duration=4, users=1)
    assert phase != Phase(name="a", duration=4, arrival_times=[0, 0.25, 0.25, 3, 3.9])
    assert "0.25" not in repr(phase)  # there may be a million


def test_arrival_times_may_have_a_cap() -> None:
    plan = Plan([Phase(name="a", duration=4, arrival_times=TIMES, max_users=2)])
    assert plan.max_users_at(1) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": 5, "arrival_times": [1, 0.5]}, r"arrival_times\[1\] is 0.5, after 1.0"),
        ({"duration": 5, "arrival_times": [1, 5.1]}, r"arrival_times\[1\] is 5.1"),
        ({"duration": 5, "arrival_times": [-0.1]}, r"arrival_times\[0\] is -0.1"),
        ({"duration": 5, "arrival_times": [0, math.nan, 1]}, r"arrival_times\[1\] is nan"),
        ({"duration": 5, "arrival_times": [math.inf]}, r"arrival_times\[0\] is inf"),
        ({"duration": 5, "arrival_times": []}, "has no arrival_times that are numbers"),
        ({"duration": 5, "arrival_times": "123"}, "has no arrival_times that are numbers"),
        ({"duration": 5, "arrival_times": [1, "x"]}, "has no arrival_times that are numbers"),
        ({"duration": 5, "arrival_times": 3}, "has no arrival_times that are numbers"),
        ({"duration": 5, "arrival_times": [1], "arrival_rate": 2}, "arrival_rate and arrival_times"),
        ({"duration": 5, "arrival_times": [1], "poisson_seed": 2}, "a poisson_seed and arrival_times"),
        ({"duration": 5, "arrival_times": [1], "ramp_to": 2}, "ramp_to needs arrival_rate"),
        ({"duration": 5, "arrival_rate": -1}, "arrival_rate is -1"),
        ({"duration": 0, "arrival_rate": 1}, "has no duration"),
        ({"duration": "5 minutes", "arrival_rate": 1}, "'5 minutes' is not a duration"),
        ({"duration": 5}, "it has none"),
        ({"duration": 5, "arrival_rate": 1, "users": 2}, "arrival_rate and users"),
        ({"duration": 5, "arrival_rate": 1, "rampto": 2}, "unknown option 'rampto'"),
        ({"duration": 5, "users": 1, "ramp_to": 2}, "ramp_to needs arrival_rate"),
        ({"duration": 5, "users": 1, "max_users": 2}, "max_users needs arrivals"),
        ({"duration": 5, "arrival_rate": 1, "max_users": 0}, "max_users is 0"),
        ({"duration": 5, "arrival_rate": math.nan}, "arrival_rate is nan"),
        ({"name": "all", "duration": 5, "arrival_rate": 1}, "named 'all'"),
        ({"arrival_rate": 1}, "phase 'p' has no duration"),
        ({"duration": 5, "arrival_rate": "5"}, "arrival_rate is '5'"),
        ({"duration": 5, "arrival_rate": True}, "arrival_rate is True"),
        ({"duration": 5, "users": 2.5}, "users is 2.5"),
        ({"duration": 5, "users": math.inf}, "users is inf"),
        ({"duration": 5, "arrival_rate": 1, "max_users": 1.5}, "max_users is 1.5"),
        ({"duration": 5, "pause": "no"}, "pause is 'no'"),
        ({"duration": 5, "arrival_rate": 1, "warmup": "yes"}, "warmup is 'yes'"),
    ],
)
def test_a_malformed_phase_is_refused_in_words(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Phase(**{"name": "p", **options})  # type: ignore[arg-type]


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean ramp_to"):
        Phase(name="p", duration=5, arrival_rate=1, rampto=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("phases", "scale", "message"),
    [
        ([], 1, "no phases"),
        ([Phase(name="a", duration=1, users=1)] * 2, 1, "two phases are named 'a'"),
        ([{"duration": 5}], 1, "is no Phase"),
        ([Phase(name="a", duration=1, users=1)], 0, "time scale is 0"),
    ],
)
def test_a_malformed_plan_is_refused_in_words(phases: list[Phase], scale: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan(phases, time_scale=scale)


def test_the_cap_of_users_is_that_of_the_phase() -> None:
    plan = Plan(
        [
            Phase(name="a", duration=10, arrival_rate=1, max_users=5),
            Phase(name="b", duration=10, arrival_rate=1),
            Phase(name="c", duration=10, arrival_rate=1, max_users=7),
        ]
    )
    assert [plan.max_users_at(t_s) for t_s in (-1, 0, 9.9, 10, 20, 99)] == [None, 5, 5, None, 7, 7]
