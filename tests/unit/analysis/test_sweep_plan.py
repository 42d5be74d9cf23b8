import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.analysis.sweep_plan import (
    MAX_LEVELS,
    LeftOut,
    LevelPlan,
    SweepPlan,
    decode_plan,
    parse_levels,
    parse_seconds,
    parse_share_percent,
    sort_rules,
)
from perfload.errors import UsageError
from perfload.plan import Arrival, Level, Plan
from perfload.thresholds import parse_rules

PLAN = SweepPlan(
    sweep_id="sweep-20260101-000000",
    started_at="2026-01-01T00:00:00+00:00",
    scenario="ai_api",
    model="arrivals",
    levels=(1.0, 2.0, 4.0),
    warmup_s=10.0,
    duration_s=60.0,
    pause_s=5.0,
    time_scale=1.0,
    goodput_percent=95.0,
    rules=("p95 < 5s",),
    left_out=(LeftOut("peak_users >= 100", "the level sets the load"),),
)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1,2,4,8", (1, 2, 4, 8)),
        ("8, 4 ,2", (2, 4, 8)),
        ("0.5", (0.5,)),
        ("1..4", (1, 2, 3, 4)),
        ("10..50:20", (10, 30, 50)),
        ("10..45:20", (10, 30)),
        ("0.1..0.5:0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("1,10..12,100", (1, 10, 11, 12, 100)),
        ("1..1", (1,)),
        ("1e2", (100,)),
        ("1e-11..3e-11:1e-11", (1e-11, 2e-11, 3e-11)),
    ],
)
def test_levels_are_read_and_sorted(text: str, levels: tuple[float, ...]) -> None:
    assert parse_levels(text, "arrivals", "--rates") == levels


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is no level"),
        ("1,,2", "'' is no level"),
        ("1,x", "'x' is no level"),
        ("1..x", "'1..x' is no level"),
        ("..4", "'..4' is no level"),
        ("0", "'0' is no load"),
        ("-1", "'-1' is no load"),
        ("nan", "'nan' is no load"),
        ("inf", "'inf' is no load"),
        ("1..inf", "'1..inf' is no load"),
        ("1..9:0", "'1..9:0' is no load"),
        ("1,2,1", "1 is there twice"),
        ("1,1..3", "1 is there twice"),
        ("1.00000000001,1.00000000002", "1 is there twice"),
        ("5..1", "'5..1' ends below its start"),
        ("1..1000000", "has more than 200 levels"),
        ("1..1e308:1e-10", "has more than 200 levels"),
        ("1..150,1000..1150", "it has 301 levels, more than 200"),
    ],
)
def test_what_is_no_level_is_named(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_levels(text, "arrivals", "--rates")
    assert caught.value.message.startswith("--rates: ")
    assert why in caught.value.message
    assert "--rates 1,2,4,8" in caught.value.hint


def test_users_are_whole() -> None:
    assert parse_levels("10,50", "users", "--users") == (10, 50)
    with pytest.raises(UsageError, match=r"1\.5 is no whole number of users"):
        parse_levels("1.5", "users", "--users")


@given(st.text(alphabet="0123456789.,:-e ", max_size=20))
def test_any_text_is_levels_or_an_error_of_ours(text: str) -> None:
    try:
        levels = parse_levels(text, "arrivals", "--rates")
    except UsageError:
        return
    assert list(levels) == sorted(set(levels))
    assert 0 < len(levels) <= MAX_LEVELS
    assert min(levels) > 0


def test_a_level_is_a_warm_up_that_does_not_count_and_the_same_load_measured() -> None:
    level = PLAN.level(4)
    assert LevelPlan.parse(level.encode()) == level
    plan = Plan(level.phases())
    assert [(span.name, span.warmup, span.duration_s, span.planned) for span in plan.spans] == [
        ("Warm-up", True, 10, 40),
        ("Measured", False, 60, 240),
    ]


def test_a_level_of_users_keeps_them_from_the_warm_up_on() -> None:
    level = LevelPlan(model="users", value=50, warmup_s=2, duration_s=5)
    changes = list(Plan(LevelPlan.parse(level.encode()).phases()).schedule())
    assert not any(isinstance(step, Arrival) for step in changes)
    assert [(step.at_s, step.users) for step in changes if isinstance(step, Level)] == [
        (0, 50),
        (2, 50),
        (7, 0),
    ]


def test_without_a_warm_up_there_is_one_phase() -> None:
    level = LevelPlan(model="arrivals", value=0.5, warmup_s=0, duration_s=10)
    assert [phase.name for phase in level.phases()] == ["Measured"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "4", '"x"', "{}", '{"model": "arrivals"}', '{"model": "x", "value": 1}', '{"model": []}'],
)
def test_what_the_sweep_did_not_write_is_no_level(text: str) -> None:
    with pytest.raises(UsageError, match="PERFLOAD_SWEEP_LEVEL holds no level"):
        LevelPlan.parse(text)


def test_rules_that_ask_for_load_or_for_another_shape_s_phases_are_left_out() -> None:
    texts = [
        "peak_users >= 100",
        "peak_users <= 500",
        "rate >= 50/s",
        "rate(login) > 5/s",
        "count == 1000",
        "failures <= 10",
        "p95 < 5s",
        'p95 < 5s in "Peak"',
        'p99(ttft) < 2s in "Measured"',
    ]
    kept, left_out = sort_rules(parse_rules(texts))
    assert [rule.text for rule in kept] == [texts[1], texts[5], texts[6], texts[8]]
    assert [(row.rule, row.why) for row in left_out] == [
        (texts[0], "the level sets the load"),
        (texts[2], "the level sets the load"),
        (texts[3], "the level sets the load"),
        (texts[4], "the level sets the load"),
        (texts[7], "a sweep has no phase 'Peak'"),
    ]


def test_how_long_a_sweep_takes() -> None:
    assert PLAN.lasts_s == 3 * 70 + 2 * 5
    assert replace(PLAN, time_scale=10.0).lasts_s == 3 * 7 + 2 * 5


@pytest.mark.parametrize(("text", "percent"), [("95%", 95), ("99.9", 99.9), (" 100 % ", 100)])
def test_a_share(text: str, percent: float) -> None:
    assert parse_share_percent(text, "--goodput") == percent


@pytest.mark.parametrize("text", ["", "0", "101%", "nan", "inf", "most", "-5"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match=r"--goodput: .* is no share above 0"):
        parse_share_percent(text, "--goodput")


@pytest.mark.parametrize("text", ["0.95", "1"])
def test_a_share_that_may_be_one_of_1_or_of_100_is_asked_about(text: str) -> None:
    """0.95 % would be met by every level, and the answer of the sweep wrong."""
    percent = float(text)
    with pytest.raises(UsageError, match=f"{percent * 100:g} %") as caught:
        parse_share_percent(text, "--goodput")
    assert caught.value.hint == f"write --goodput {percent:g}% or --goodput {percent * 100:g}%"
    assert parse_share_percent(f"{text}%", "--goodput") == percent


def test_seconds() -> None:
    assert parse_seconds("1m30s", "--duration", zero=False) == 90
    assert parse_seconds("0", "--pause", zero=True) == 0
    with pytest.raises(UsageError, match="--duration is zero"):
        parse_seconds("0s", "--duration", zero=False)
    with pytest.raises(UsageError, match="--duration: 'soon' is not a duration"):
        parse_seconds("soon", "--duration", zero=False)


def encoded() -> dict[str, object]:
    """Return what `sweep.json` holds of `PLAN`."""
    fields = asdict(PLAN)
    planned = fields.pop("levels")
    value: dict[str, object] = json.loads(json.dumps({"schema": 1, "planned": planned, **fields}))
    return value


def test_a_plan_is_read_back_from_its_file() -> None:
    assert decode_plan(encoded()) == PLAN
    assert decode_plan(encoded() | {"goodput_percent": None}).goodput_percent is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"schema": 2}, "it is no sweep of schema 1"),
        ({"model": "x"}, "the model 'x' is not known"),
        ({"model": ["users"]}, "is not known"),
        ({"sweep_id": 5}, "5 is no text"),
        ({"planned": ["1"]}, "'1' is no number of at least 0"),
        ({"planned": 3}, "has one of another kind"),
        ({"duration_s": -1}, "-1 is no number"),
        ({"time_scale": True}, "True is no number"),
        ({"time_scale": 0}, "its time scale is 0"),
        ({"rules": [None]}, "None is no text"),
        ({"left_out": [{"rule": "x"}]}, "it lacks a field"),
    ],
)
def test_a_file_that_is_none_says_why(changed: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode_plan(encoded() | changed)


@pytest.mark.parametrize("value", [None, [], "sweep", {}])
def test_other_json_is_no_plan(value: object) -> None:
    with pytest.raises(ValueError, match="it is no sweep"):
        decode_plan(value)
