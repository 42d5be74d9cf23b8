from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.errors import UsageError
from perfload.thresholds import (
    METRICS,
    Observed,
    Rule,
    breaches_now,
    judge,
    judge_all,
    parse_rule,
    parse_rules,
)

DOCS = Path(__file__).parents[2] / "docs" / "thresholds.md"


class Given:
    """Measures that are what the test says, whatever the rule."""

    def __init__(
        self,
        total: float | None = None,
        unit: str = "ms",
        *,
        custom: bool = False,
        by_second: list[tuple[int, float | None]] | None = None,
    ) -> None:
        self._total = None if total is None else Observed(total, unit, custom)
        self._by_second = by_second or []

    def total(self, rule: Rule) -> Observed | None:
        return self._total

    def by_second(self, rule: Rule) -> list[tuple[int, float | None]]:
        return self._by_second


def error_of(text: str, **options: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_rule(text, **options)
    return caught.value


def marked(text: str, **options: object) -> str:
    """Return the part of the rule above the carets."""
    _, shown, carets = error_of(text, **options).message.split("\n")
    start = carets.index("^")
    assert set(carets[:start]) <= {" "}
    return shown[start : start + carets.count("^")]


# Reading rules


def test_every_part_of_a_rule_is_read():
    rule = parse_rule('service_p99_9(POST /api/auth/login) <= 1.5s in "Peak load" for 1m30s abort')
    assert rule == Rule(
        text='service_p99_9(POST /api/auth/login) <= 1.5s in "Peak load" for 1m30s abort',
        metric="percentile",
        percentile=99.9,
        timing="service",
        selector="POST /api/auth/login",
        operator="<=",
        limit=1500.0,
        unit="ms",
        phase="Peak load",
        for_s=90.0,
        abort=True,
    )


@pytest.mark.parametrize(
    ("text", "metric", "limit", "unit"),
    [
        ("p95 < 5s", "percentile", 5000.0, "ms"),
        ("p99.9<250ms", "percentile", 250.0, "ms"),
        ("mean < 9us", "mean", 0.009, "ms"),
        ("max <= 2 m", "max", 120_000.0, "ms"),
        ("min > .5ms", "min", 0.5, "ms"),
        ("rate >= 50/s", "rate", 50.0, "/s"),
        ("rate >= 50", "rate", 50.0, "/s"),
        ("error_rate <= 1 %", "error_rate", 1.0, "%"),
        ("availability >= 99.9", "availability", 99.9, "%"),
        ("peak_users >= 100", "peak_users", 100.0, "users"),
        ("count != 0", "count", 0.0, ""),
        ("failures(login) == 0", "failures", 0.0, ""),
        ("dropped == 0 for 5s", "dropped", 0.0, ""),
        ("mean(api_status_code) < 300", "mean", 300.0, ""),
        ("p95(api_response_time) < 300ms", "percentile", 300.0, "ms"),
    ],
)
def test_limits_come_in_the_canonical_unit(text, metric, limit, unit):
    rule = parse_rule(text)
    assert (rule.metric, rule.limit, rule.unit) == (metric, limit, unit)


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("p95 < 5s", None),
        ("p95(login) < 5s", "login"),
        ("p95( GET   /a/[id]?q=<x> ) < 5s", "GET /a/[id]?q=<x>"),
        ('p95("GET /a (cached)") < 5s', "GET /a (cached)"),
        ("""p95('say "hi"') < 5s""", 'say "hi"'),
    ],
)
def test_selectors(text, selector):
    assert parse_rule(text).selector == selector


def test_clauses_may_stand_in_any_order():
    rule = parse_rule("p95 < 5s abort for 10 in 'Peak'")
    assert (rule.abort, rule.for_s, rule.phase) == (True, 10.0, "Peak")


def test_error_shows_rule_carets_and_nearest_name():
    with pytest.raises(UsageError) as caught:
        parse_rules(["p95 < 5s", "mean < 2s", "eror_rate <= 1%"])
    assert str(caught.value) == (
        "threshold 3 is not understood: unknown metric 'eror_rate'\n"
        "    eror_rate <= 1%\n"
        "    ^^^^^^^^^\n"
        "  did you mean error_rate? Known: availability, cost, count, dropped, error_rate, failures, "
        "goodput, max, mean, min, p50, p95, p99.9, peak_users, rate, service_max, service_mean, service_min, "
        "service_p95 (any percentile from p0 to p100)"
    )


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("P95 < 5s", "P95", "unknown metric 'P95'"),
        ("service_rate > 5", "service_rate", "unknown metric 'service_rate'"),
        ("p100.1 < 5s", "p100.1", "p100.1 is outside p0 to p100"),
        ("< 5s", "<", "it names no metric"),
        ("p95 5s", "5", "a comparison is missing"),
        ("p95 =< 5s", "=<", "'=<' is no comparison"),
        ("p95 < fast", "fast", "the limit 'fast' is no number of at least 0"),
        ("p95 < -5s", "-5s", "the limit '-5s' is no number of at least 0"),
        ("p95 < 5", "5", "the limit has no unit"),
        ("p95 < 5 abort", "5", "the limit has no unit"),
        ("service_p95(login) < 5", "5", "the limit has no unit"),
        ("p95 < 5sec", "sec", "p95 is not measured in 'sec'"),
        ("p95 < 5%", "%", "p95 is not measured in '%'"),
        ("rate > 5/min", "/min", "rate is not measured in '/min'"),
        ("failures < 5 ms", "ms", "failures is not measured in 'ms'"),
        ("error_rate <= 150%", "150%", "error_rate never exceeds 100%"),
        ("p95(login < 5s", "(", "the parenthesis is not closed"),
        ('p95("login) < 5s', '"', "the quote is not closed"),
        ("p95() < 5s", "()", "the parentheses are empty"),
        ('p95("") < 5s', '""', "the name is empty"),
        ("p95(GET /a(b)) < 5s", "(", "a name that holds parentheses needs quotes"),
        ("dropped(login) < 2", "(login)", "dropped is not counted per request"),
        ("p95 < 5s nonsense", "nonsense", "unexpected 'nonsense'"),
        ("p95 < 5s )", ")", "unexpected ')'"),
        ("p95 < 5s in Peak", "Peak", "the phase's name needs quotes"),
        ("p95 < 5s in", "in", "'in' names no phase"),
        ('p95 < 5s in "Peka"', '"Peka"', "unknown phase 'Peka'"),
        ("p95 < 5s for", "for", "'for' has no duration"),
        ("p95 < 5s for abort", "for", "'for' has no duration"),
        ("p95 < 5s for 3x", "3x", "'3x' is not a duration"),
        ("p95 < 5s for 0s", "0s", "the duration is zero"),
        ("peak_users >= 5 for 3s", "for", "peak_users is one value for the whole run"),
        ("p95 < 5s for 3s for 4s", "for", "'for' stands here twice"),
        ("p95 < 5s abort abort", "abort", "'abort' stands here twice"),
        ("p95 > 5s abort", "abort", "'abort' with p95 needs < or <=, not >"),
        ("availability <= 5% abort", "abort", "'abort' with availability needs > or >=, not <="),
        ("rate >= 5 abort", "abort", "'abort' cannot be used with rate: before the end it is not final"),
    ],
)
def test_errors_point_at_what_is_wrong(text, place, message):
    options = {"phases": ["Warm", "Peak"]}
    assert marked(text, **options) == place
    assert error_of(text, **options).message.startswith(f"threshold is not understood: {message}\n")


@pytest.mark.parametrize("text", ["p95", "p95 <"])
def test_what_is_missing_at_the_end_is_marked_behind_it(text):
    _, shown, carets = error_of(text).message.split("\n")
    assert (shown, carets) == (f"    {text}", " " * (4 + len(text)) + "^")


def test_carets_stand_below_wide_characters():
    _, shown, carets = error_of('p95("日本") < 5sec').message.split("\n")
    assert shown == '    p95("日本") < 5sec'
    assert carets == " " * (4 + len('p95("日本") < 5') + 2) + "^^^"


def test_unknown_phase_names_the_nearest():
    assert error_of('p95 < 5s in "Peka"', phases=["Warm", "Peak"]).hint == (
        "did you mean Peak? Phases of this plan: Warm, Peak"
    )
    assert parse_rule('p95 < 5s in "Peka"').phase == "Peka"


def test_invisible_characters_are_named():
    assert "U+00A0" in error_of("p95\u00a0< 5s").message


@pytest.mark.parametrize(
    "text",
    [
        "p95 < 5s abort",
        "failures <= 9 abort",
        "dropped < 1 abort",
        "availability > 9% abort",
        "mean(tps) > 2 abort",
    ],
)
def test_abort_is_allowed_where_things_get_worse(text):
    assert parse_rule(text).abort


def read_or_error(text: str) -> Rule | UsageError:
    try:
        return parse_rule(text)
    except UsageError as error:
        return error


@given(st.text(alphabet=st.characters(), max_size=60))
def test_arbitrary_text_is_a_rule_or_an_error_of_three_lines(text):
    read = read_or_error(text)
    if isinstance(read, UsageError):
        assert read.message.count("\n") == 2
        assert read.hint


PIECES = st.one_of(
    st.sampled_from(["p95", "p99_9", "mean", "service_max", "rate", "error_rate", "count", "service_", "p"]),
    st.sampled_from(["(", ")", "(login)", '("a (b)")', "<", "<=", "==", "=<", '"Peak"', '"', "'"]),
    st.sampled_from(["5", "5s", "1%", "50/s", "9e9", "in", "for", "abort", "30s"]),
)


@given(st.lists(PIECES, max_size=9).map(" ".join))
def test_what_is_read_is_read_the_same_from_its_own_text(text):
    read = read_or_error(f" {text}\n")
    if isinstance(read, Rule):
        assert parse_rule(read.text) == read


NAMES = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="\"'"), min_size=1, max_size=20
)


@given(
    selector=NAMES,
    phase=NAMES,
    percent=st.integers(0, 100),
    limit=st.integers(0, 10**6),
    seconds=st.integers(1, 10**5),
)
def test_any_rule_that_is_written_by_the_book_is_read(selector, phase, percent, limit, seconds):
    rule = parse_rule(f'p{percent}("{selector}") <= {limit}ms in "{phase}" for {seconds}s abort')
    assert (rule.selector, rule.phase, rule.percentile) == (selector, phase, float(percent))
    assert (rule.limit, rule.for_s, rule.abort) == (float(limit), float(seconds), True)
    assert parse_rule(rule.text) == rule


# Judging


@pytest.mark.parametrize(
    ("operator", "passing"),
    [
        ("<", [1999.9]),
        ("<=", [1999.9, 2000.0]),
        (">", [2000.1]),
        (">=", [2000.0, 2000.1]),
        ("==", [2000.0]),
        ("!=", [1999.9, 2000.1]),
    ],
)
def test_operators(operator, passing):
    rule = parse_rule(f"mean {operator} 2s")
    observed = {value: judge(rule, Given(value)).status for value in (1999.9, 2000.0, 2000.1)}
    assert observed == {value: "pass" if value in passing else "fail" for value in observed}


def test_verdict_has_everything_in_the_rules_unit():
    verdict = judge(parse_rule("p95(login) < 5s"), Given(7200.0))
    assert (verdict.rule, verdict.status) == ("p95(login) < 5s", "fail")
    assert (verdict.observed, verdict.limit, verdict.unit) == (7200.0, 5000.0, "ms")


@pytest.mark.parametrize("text", ["p95(login) < 5s", "failures == 0", "p95(login) < 5s for 3s"])
@pytest.mark.parametrize("total", [None, float("nan")])
def test_no_data_does_not_pass(text, total):
    verdict = judge(parse_rule(text), Given(total))
    assert (verdict.status, verdict.observed, verdict.passed) == ("no_data", None, False)


def test_no_data_says_what_was_looked_for():
    verdict = judge(parse_rule('p95(logn) < 5s in "Peak"'), Given(None))
    assert verdict.detail == "nothing was measured for 'logn' in phase 'Peak'"


def test_judge_all_keeps_the_order():
    verdicts = judge_all(parse_rules(["p95 < 5s", "p95 < 1s"]), Given(2000.0))
    assert [(verdict.rule, verdict.status) for verdict in verdicts] == [
        ("p95 < 5s", "pass"),
        ("p95 < 1s", "fail"),
    ]


def test_plain_limit_is_in_the_unit_of_the_custom_metric():
    verdict = judge(parse_rule("p50(tokens_per_second) >= 20"), Given(18.0, "tokens/s", custom=True))
    assert (verdict.status, verdict.observed, verdict.limit, verdict.unit) == ("fail", 18.0, 20.0, "tokens/s")


def test_limit_with_a_unit_converts_the_custom_metric():
    verdict = judge(parse_rule("p95(render) < 300ms"), Given(0.25, "s", custom=True))
    assert (verdict.status, verdict.observed, verdict.unit) == ("pass", 250.0, "ms")


def test_plain_limit_over_a_request_fails_and_asks_for_the_unit():
    verdict = judge(parse_rule("p95(login) < 5000"), Given(3.0))
    assert (verdict.status, verdict.observed) == ("fail", 3.0)
    assert verdict.detail == "'login' is a request: write the limit's unit, 5000ms or 5000s"


@pytest.mark.parametrize(("unit", "said"), [("tokens", "in tokens"), ("", "without a unit")])
def test_limit_in_time_over_another_unit_fails(unit, said):
    verdict = judge(parse_rule("p95(answer) < 5s"), Given(3.0, unit, custom=True))
    assert verdict.status == "fail"
    assert verdict.detail == f"'answer' is recorded {said}: write the limit as a plain number"


def seconds(first: int, *values: float | None) -> list[tuple[int, float | None]]:
    return list(enumerate(values, first))


def test_for_fails_when_the_stretch_is_long_enough():
    series = [(second, 9000.0 if 41 <= second < 75 else 10.0) for second in range(100)]
    series[50] = (50, 9500.0)
    verdict = judge(parse_rule("p95 < 5s for 34s"), Given(4000.0, by_second=series))
    assert (verdict.status, verdict.observed) == ("fail", 9500.0)
    assert verdict.detail == "breached from 00:41 to 01:15"


def test_for_passes_when_no_stretch_is_long_enough():
    series = [(second, 9000.0 if 41 <= second < 75 else 10.0) for second in range(100)]
    verdict = judge(parse_rule("p95 < 5s for 35s"), Given(4000.0, by_second=series))
    assert (verdict.status, verdict.observed) == ("pass", 4000.0)
    assert verdict.detail == "longest breach from 00:41 to 01:15"


def test_for_forgives_a_total_over_the_limit():
    verdict = judge(parse_rule("max < 5s for 2s"), Given(9000.0, by_second=seconds(0, 1.0, 9000.0, 1.0)))
    assert (verdict.status, verdict.observed) == ("pass", 9000.0)


def test_a_second_that_holds_ends_a_stretch():
    rule = parse_rule("error_rate <= 1% for 3s")
    assert judge(rule, Given(5.0, "%", by_second=seconds(0, 9.0, 9.0, 0.0, 9.0, 9.0))).status == "pass"
    assert judge(rule, Given(5.0, "%", by_second=seconds(0, 9.0, 9.0, 9.0, 0.0, 9.0))).status == "fail"


@pytest.mark.parametrize("gap", [[(2, None), (3, None)], [(2, float("nan"))], []])
def test_a_second_without_data_neither_ends_a_stretch_nor_counts(gap):
    series = [(0, 9.0), (1, 9.0), *gap, (4, 9.0)]
    three = judge(parse_rule("error_rate <= 1% for 3s"), Given(9.0, "%", by_second=series))
    four = judge(parse_rule("error_rate <= 1% for 4s"), Given(9.0, "%", by_second=[*series, (5, 0.0)]))
    assert (three.status, three.detail) == ("fail", "breached from 00:00 to 00:05")
    assert four.status == "pass"


def test_less_data_than_for_asks_about_is_no_data():
    verdict = judge(parse_rule("p95 < 5s for 30s"), Given(9000.0, by_second=seconds(0, *[9000.0] * 29)))
    assert (verdict.status, verdict.observed) == ("no_data", None)
    assert verdict.detail == "only 29 s with data, the rule needs 30 s"


def test_worst_value_of_a_lower_bound_is_the_lowest():
    series = seconds(3600, 100.0, 40.0, 20.0, 100.0)
    verdict = judge(parse_rule("rate >= 50/s for 2s"), Given(65.0, "/s", by_second=series))
    assert (verdict.observed, verdict.detail) == (20.0, "breached from 1:00:01 to 1:00:03")


def test_worst_value_of_an_equality_is_the_farthest():
    series = seconds(0, 3.0, 9.0, 6.0)
    assert judge(parse_rule("count == 5 for 3s"), Given(18.0, "", by_second=series)).observed == 9.0


def test_earliest_of_equally_long_stretches_is_told():
    series = seconds(0, 9.0, 9.0, 0.0, 8.0, 8.0)
    verdict = judge(parse_rule("error_rate <= 1% for 2s"), Given(5.0, "%", by_second=series))
    assert (verdict.observed, verdict.detail) == (9.0, "breached from 00:00 to 00:02")


def test_seconds_of_a_custom_metric_are_converted_too():
    series = seconds(0, 0.4, 0.5)
    verdict = judge(parse_rule("p95(render) < 300ms for 2s"), Given(0.45, "s", custom=True, by_second=series))
    assert (verdict.status, verdict.observed) == ("fail", 500.0)


# Live


def test_abort_waits_ten_seconds_and_then_takes_the_total():
    rule = parse_rule("error_rate <= 20% abort")
    assert breaches_now(rule, Given(50.0, "%"), 9) == ""
    assert breaches_now(rule, Given(50.0, "%"), 10) == "error_rate <= 20% abort: 50 % so far, at 00:10"
    assert breaches_now(rule, Given(20.0, "%"), 10) == ""
    assert breaches_now(rule, Given(None), 60) == ""


def test_rules_without_abort_never_stop_the_run():
    rule = parse_rule("error_rate <= 20% abort")
    assert breaches_now(replace(rule, abort=False), Given(50.0, "%"), 60) == ""


def test_abort_with_for_takes_the_stretch_that_is_going_on():
    rule = parse_rule("p95 < 5s for 3s abort")
    going_on = Given(1.0, by_second=seconds(0, 1.0, 6000.0, 12345.678, None, 7000.0))
    over = Given(1.0, by_second=seconds(0, 6000.0, 6000.0, 6000.0, 1.0))
    short = Given(1.0, by_second=seconds(0, 6000.0, 6000.0, 6000.0, 1.0, 6000.0))
    assert breaches_now(rule, going_on, 5) == (
        "p95 < 5s for 3s abort: 12,345.678 ms, breached from 00:01 to 00:05"
    )
    assert breaches_now(rule, over, 4) == ""
    assert breaches_now(rule, short, 5) == ""


def test_the_second_under_way_does_not_count():
    rule = parse_rule("p95 < 5s for 3s abort")
    measures = Given(1.0, by_second=seconds(0, 6000.0, 6000.0, 6000.0))
    assert breaches_now(rule, measures, 2) == ""
    assert breaches_now(rule, measures, 3) != ""


def test_abort_rule_that_cannot_be_judged_stops_at_once():
    assert breaches_now(parse_rule("p95(login) < 5 abort"), Given(1.0), 10) == (
        "p95(login) < 5 abort: 'login' is a request: write the limit's unit, 5ms or 5s"
    )


# Documentation


def test_every_metric_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`{name}`" not in text] == []


def test_every_rule_in_the_documentation_is_valid():
    blocks = re.findall(r"```(?:toml)?\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    quoted = [line[1:-2] for line in lines if line.endswith(("',", '",'))]
    plain = [line for line in lines if re.match(r"[a-z][\w.]*(\(.*\))? [<>=]+ \d", line)]
    rules = parse_rules(quoted + [line for line in plain if "eror_rate" not in line])
    assert len(rules) == 16
