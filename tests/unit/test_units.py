import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.errors import UsageError
from perfload.units import SECONDS_PER_UNIT, format_duration, parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (300, 300.0),
        (0.25, 0.25),
        ("300", 300.0),
        (" 90s ", 90.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("800ms", 0.8),
        ("250us", 0.00025),
        ("1.5h", 5400.0),
        ("1m30.5s", 90.5),
        (0, 0.0),
        ("0s", 0.0),
    ],
)
def test_durations_as_people_write_them(text: str | float, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "5 m",
        "5x",
        "-5s",
        "5m-",
        "1e3",
        "nan",
        "inf",
        "5min",
        -1,
        -0.001,
        math.nan,
        math.inf,
        True,
        None,
    ],
)
def test_what_is_no_duration_is_refused_in_its_own_words(text: object) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration_s(text, "run.drain")  # type: ignore[arg-type]
    assert caught.value.message == f"run.drain: {text!r} is not a duration"
    assert '"1h30m"' in caught.value.hint


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(SECONDS_PER_UNIT))), min_size=1))
def test_number_unit_pairs_add_up(pairs: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in pairs)
    expected = math.fsum(number * SECONDS_PER_UNIT[unit] for number, unit in pairs)
    assert parse_duration_s(text) == pytest.approx(expected, rel=1e-9)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_an_error_of_ours(text: str) -> None:
    try:
        seconds = parse_duration_s(text)
    except UsageError:
        return
    assert math.isfinite(seconds)
    assert seconds >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.00025, "0.25 ms"),
        (0.85, "850 ms"),
        (0.9994, "999 ms"),
        (0.9999, "0.9999 s"),
        (0.99999, "1 s"),
        (1, "1 s"),
        (12.5, "12.5 s"),
        (119.99, "120 s"),
        (120, "2 min"),
        (300, "5 min"),
        (3900, "1 h 5 min"),
        (3661, "1 h 1 min 1 s"),
    ],
)
def test_durations_for_a_person(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
