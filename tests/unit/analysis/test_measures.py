"""What thresholds are told: by the record of a run that has ended, and while it is under way."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.analysis.measures import LiveMeasures, RecordMeasures
from perfload.analysis.tally import counted_phases
from perfload.histogram import Histogram
from perfload.model import (
    AnyWindow,
    ArrivalWindow,
    Manifest,
    MetricWindow,
    PhaseSpan,
    Reading,
    RunRecord,
    StageWindow,
    Window,
)
from perfload.thresholds import Observed, parse_rule

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=1000.0,
    host="http://localhost",
    scenarios=("A",),
    shape="",
    phases=(
        PhaseSpan("Warm up", 0.0, 2.0, "arrivals", 5.0, 5.0, 10, warmup=True),
        PhaseSpan("Load", 2.0, 4.0, "arrivals", 5.0, 5.0, 20),
        PhaseSpan("Peak", 6.0, 2.0, "arrivals", 9.0, 9.0, 18),
    ),
    thresholds=(),
    ended_at_s=1008.5,
    end_reason="finished",
)


def requests(second: int, phase: str, request: str, latencies_us: list[int], *, failed: int = 0) -> Window:
    method, name = request.split()
    return Window(
        "run-1",
        "local",
        second,
        phase,
        method,
        name,
        latency=Histogram(latencies_us),
        service=Histogram(value - 100 for value in latencies_us),
        failed=Histogram([50] * failed),
        due=((second, len(latencies_us), failed),),
        reasons=(("status 500, expected 200", failed),) if failed else (),
    )


def arrivals(second: int, phase: str, dropped: int = 0) -> ArrivalWindow:
    return ArrivalWindow("run-1", "local", second, phase, Histogram([100] * 5), dropped)


def tokens(second: int, phase: str, values: list[int]) -> MetricWindow:
    return MetricWindow("run-1", "local", second, phase, "tokens", "1", Histogram(values))


def stages(second: int, phase: str) -> StageWindow:
    slow = Histogram([90_000_000] * 9)
    return StageWindow("run-1", "local", second, phase, "POST", "/login", (("dns", slow), ("wait", slow)))


def users(second: float, value: float, node: str = "local") -> Reading:
    return Reading(1000.0 + second, node, "generator", "users", "users", value)


RECORD = RunRecord(
    MANIFEST,
    windows=(
        requests(0, "Warm up", "POST /login", [2_000] * 8, failed=2),
        requests(2, "Load", "POST /login", [1_000, 1_200]),
        requests(2, "Load", "GET /login", [300]),
        requests(3, "Load", "GET /models", [500, 500], failed=2),
        requests(5, "Load", "GET /models", [], failed=1),
        requests(6, "Peak", "POST /login", [1_600]),
        requests(7, "Peak", "GET /models", [700], failed=1),
    ),
    arrivals=(
        arrivals(0, "Warm up", 50),
        arrivals(2, "Load", 3),
        arrivals(6, "Peak", 4),
        arrivals(7, "Peak"),
    ),
    metrics=(
        tokens(0, "Warm up", [90_000]),
        tokens(2, "Load", [1_500, 500]),
        tokens(7, "Peak", [2_000]),
    ),
    readings=(users(0.5, 90), users(2.5, 5), users(2.6, 4, "worker-1"), users(6.5, 7), users(8.9, 80)),
)

TOTALS = [
    # latency: successes of all phases but the warm-up
    ("p50 < 1s", 0.7, "ms"),
    ("p95 < 1s", 1.6, "ms"),
    ("mean < 1s", (1_000 + 1_200 + 300 + 500 + 500 + 1_600 + 700) / 7 / 1000, "ms"),
    ("min < 1s", 0.3, "ms"),
    ("max < 1s", 1.6, "ms"),
    ("service_max < 1s", 1.5, "ms"),
    ("service_min < 1s", 0.2, "ms"),
    ("service_p50 < 1s", 0.6, "ms"),
    ("service_mean(/models) < 1s", (400 + 400 + 600) / 3 / 1000, "ms"),
    # with and without method
    ("max(/login) < 1s", 1.6, "ms"),
    ("min(/login) < 1s", 0.3, "ms"),
    ("min(POST /login) < 1s", 1.0, "ms"),
    ("max(GET /login) < 1s", 0.3, "ms"),
    # one phase, a warm-up too
    ('max < 1s in "Load"', 1.2, "ms"),
    ('max(/login) < 1s in "Peak"', 1.6, "ms"),
    ('max < 1s in "Warm up"', 2.0, "ms"),
    # rates, over the seconds of the phases that count
    ("count > 1", 11, ""),
    ("count(GET /models) > 1", 7, ""),
    ("failures < 1", 4, ""),
    ('failures < 1 in "Warm up"', 2, ""),
    ("rate > 1", 11 / 6, "/s"),
    ('rate > 1 in "Peak"', 3 / 2, "/s"),
    ('rate(POST /login) > 1 in "Load"', 2 / 4, "/s"),
    ("error_rate < 1%", 100 * 4 / 11, "%"),
    ("error_rate(/models) < 1%", 100 * 4 / 7, "%"),
    ("availability > 1%", 80.0, "%"),
    ('availability > 1% in "Peak"', 100.0, "%"),
    # the load generator's own
    ("dropped < 1", 7, ""),
    ('dropped < 1 in "Peak"', 4, ""),
    ("peak_users > 1", 9, "users"),
    ('peak_users > 1 in "Peak"', 7, "users"),
    ('peak_users > 1 in "Warm up"', 90, "users"),
]


@pytest.mark.parametrize(("rule", "value", "unit"), TOTALS)
def test_totals(rule: str, value: float, unit: str) -> None:
    observation = RecordMeasures(RECORD).total(parse_rule(rule))
    assert observation == Observed(pytest.approx(value, rel=1e-12), unit)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("mean(tokens) < 5", 4 / 3),
        ("max(tokens) < 5", 2.0),
        ("min(tokens) < 5", 0.5),
        ("p50(tokens) < 5", 1.5),
        ('max(tokens) < 5 in "Load"', 1.5),
        ('max(tokens) < 5 in "Warm up"', 90.0),
    ],
)
def test_totals_of_a_custom_metric_are_in_its_own_unit(rule: str, value: float) -> None:
    observation = RecordMeasures(RECORD).total(parse_rule(rule))
    assert observation == Observed(pytest.approx(value, rel=1e-3), "1", custom=True)


@pytest.mark.parametrize(
    "rule",
    [
        "p95(/nowhere) < 1s",
        "p95(PUT /login) < 1s",
        "p95(login) < 1s",  # no prefix, no substring
        'p95(GET /login) < 1s in "Peak"',
        "rate(tokens) > 1",
        "count(/nowhere) > 1",
        'availability(/models) > 1% in "Warm up"',
    ],
)
def test_what_matches_nothing_was_not_measured(rule: str) -> None:
    assert RecordMeasures(RECORD).total(parse_rule(rule)) is None
    assert measured(RECORD, rule) == []


@pytest.mark.parametrize("rule", [rule for rule, _, _ in TOTALS])
def test_an_empty_record_measured_nothing(rule: str) -> None:
    assert RecordMeasures(RunRecord(MANIFEST)).total(parse_rule(rule)) is None


def test_a_run_without_drops_has_measured_zero_of_them() -> None:
    record = replace(RECORD, arrivals=(arrivals(2, "Load"),))
    assert RecordMeasures(record).total(parse_rule("dropped == 0")) == Observed(0, "")
    assert RecordMeasures(replace(RECORD, arrivals=())).total(parse_rule("dropped == 0")) is None


def test_a_latency_over_failures_alone_was_not_measured() -> None:
    record = replace(RECORD, windows=(requests(2, "Load", "GET /a", [], failed=3),))
    assert RecordMeasures(record).total(parse_rule("p95 < 1s")) is None
    assert RecordMeasures(record).total(parse_rule("failures < 9")) == Observed(3, "")


SERIES: list[tuple[str, list[tuple[int, float]]]] = [
    ("max < 1s", [(2, 1.2), (3, 0.5), (6, 1.6), (7, 0.7)]),
    ("service_max(/login) < 1s", [(2, 1.1), (6, 1.5)]),
    ('max < 1s in "Peak"', [(6, 1.6), (7, 0.7)]),
    ("rate > 1", [(2, 3), (3, 4), (5, 1), (6, 1), (7, 2)]),
    ("failures < 1", [(2, 0), (3, 2), (5, 1), (6, 0), (7, 1)]),
    ("error_rate < 1%", [(2, 0), (3, 50), (5, 100), (6, 0), (7, 50)]),
    ("availability > 1%", [(2, 100), (3, 100), (5, 0), (6, 100), (7, 100)]),
    ("count(GET /models) > 1", [(3, 4), (5, 1), (7, 2)]),
    ("max(tokens) < 5", [(2, 1.5), (7, 2.0)]),
    ("dropped < 1", [(2, 3), (6, 4), (7, 0)]),
]


def measured(record: RunRecord, rule: str) -> list[tuple[int, float]]:
    """Return the seconds in which something was measured; the others are None or left out."""
    series = RecordMeasures(record).by_second(parse_rule(rule))
    return [(second, value) for second, value in series if value is not None]


@pytest.mark.parametrize(("rule", "series"), SERIES)
def test_values_by_second(rule: str, series: list[tuple[int, float]]) -> None:
    assert measured(RECORD, rule) == [(second, pytest.approx(value, rel=1e-3)) for second, value in series]


# --- while the run is under way

WINDOWS: tuple[AnyWindow, ...] = (*RECORD.windows, *RECORD.arrivals, *RECORD.metrics)

ABORTING = [
    "p95 < 1s abort",
    "max(POST /login) < 1s abort",
    'service_mean < 1s in "Load" for 4s abort',
    "max < 1s for 3s abort",
    "max(tokens) < 5 for 2s abort",
    "error_rate <= 1% for 5s abort",
    "error_rate(/models) <= 1% abort",
    "availability >= 99% for 2s abort",
    "failures <= 3 abort",
    "dropped <= 3 abort",
    'dropped <= 3 in "Warm up" abort',
    "max(/nowhere) < 1s for 1s abort",
]


@given(st.permutations(WINDOWS), st.lists(st.integers(0, len(WINDOWS)), max_size=4))
def test_after_all_windows_the_live_measures_are_those_of_the_record(
    windows: list[AnyWindow], cuts: list[int]
) -> None:
    rules = [parse_rule(text) for text in ABORTING]
    live = LiveMeasures(rules, counted_phases(MANIFEST))
    bounds = [0, *sorted(cuts), len(windows)]
    for first, last in itertools.pairwise(bounds):
        live.add(windows[first:last])
    recorded = RecordMeasures(RECORD)
    for rule in rules:
        assert live.total(rule) == recorded.total(rule)
        if rule.for_s is not None:
            assert live.by_second(rule) == recorded.by_second(rule)


def test_seconds_that_no_rule_can_need_are_forgotten() -> None:
    rule = parse_rule("max < 1s for 10s abort")
    live = LiveMeasures([rule], counted_phases(MANIFEST))
    for second in range(5_000):
        live.add([requests(second, "Load", "GET /a", [second])])
        assert len(live.by_second(rule)) <= 10 + LiveMeasures.KEPT_BEYOND_RULE_S + 1
    assert [second for second, _ in live.by_second(rule)] == list(range(4_999 - 40, 5_000))
    assert live.total(rule) == Observed(4.999, "ms")


def test_windows_of_a_slow_worker_still_count_for_the_last_seconds() -> None:
    rule = parse_rule("failures < 1 for 10s abort")
    live = LiveMeasures([rule], counted_phases(MANIFEST))
    live.add([requests(100, "Load", "GET /a", [5])])
    live.add([requests(75, "Load", "GET /a", [5], failed=2)])
    live.add([requests(100, "Load", "GET /b", [5], failed=1)])
    assert live.by_second(rule) == [(75, 2), (100, 1)]


def test_a_rule_without_data_so_far_has_no_value() -> None:
    rule = parse_rule("p95 < 1s abort")
    live = LiveMeasures([rule], counted_phases(MANIFEST))
    assert live.total(rule) is None
    live.add([requests(0, "Warm up", "GET /a", [9_000_000])])
    assert live.total(rule) is None


def test_stages_change_nothing_in_a_run_under_way() -> None:
    rules = [parse_rule(text) for text in ABORTING]
    plain, more = (LiveMeasures(rules, counted_phases(MANIFEST)) for _ in range(2))
    plain.add(WINDOWS)
    more.add([*WINDOWS, stages(0, "Warm up"), stages(0, "Load")])
    for rule in rules:
        assert more.total(rule) == plain.total(rule)
        assert more.by_second(rule) == plain.by_second(rule)


@pytest.mark.parametrize("seed", range(3))
def test_order_and_batches_change_nothing(seed: int) -> None:
    rule = parse_rule("error_rate <= 1% for 2s abort")
    shuffled = random.Random(seed).sample(WINDOWS, len(WINDOWS))
    one, many = (LiveMeasures([rule], counted_phases(MANIFEST)) for _ in range(2))
    one.add(WINDOWS)
    for window in shuffled:
        many.add([window])
    assert one.total(rule) == many.total(rule)
    assert one.by_second(rule) == many.by_second(rule)


AI_WINDOWS = [
    MetricWindow("run-1", "local", 0, "Warm up", "good", "%", Histogram([0, 0])),
    MetricWindow("run-1", "local", 3, "Load", "good", "%", Histogram([100_000] * 9 + [0])),
    MetricWindow("run-1", "local", 6, "Peak", "good", "%", Histogram([0, 100_000])),
    MetricWindow("run-1", "local", 3, "Load", "cost", "millionths", Histogram([2_000_000_000, 500_000_000])),
    MetricWindow("run-1", "local", 6, "Peak", "cost", "millionths", Histogram([1_000_000])),
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("goodput >= 95%", 1000 / 12),
        ("goodput >= 95", 1000 / 12),
        ("goodput >= 95% in 'Load'", 90.0),
        ("cost < 5", 2.501),
        ("cost < 5 in 'Peak'", 0.001),
    ],
)
def test_goodput_and_cost_are_made_of_what_answers_record(text: str, value: float) -> None:
    rule = parse_rule(text)
    live = LiveMeasures([rule], counted_phases(MANIFEST))
    live.add(AI_WINDOWS)
    total = live.total(rule)
    assert total is not None
    assert (total.value, total.unit) == (pytest.approx(value), "%" if "good" in text else "")


def test_goodput_second_by_second_and_without_answers() -> None:
    rule = parse_rule("goodput >= 95% for 2s")
    live = LiveMeasures([rule], counted_phases(MANIFEST))
    assert live.total(rule) is None
    live.add(AI_WINDOWS)
    assert live.by_second(rule) == [(3, 90.0), (6, 50.0)]
