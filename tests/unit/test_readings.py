import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.model import Reading
from perfload.readings import MAX_LINE_CHARS, MAX_TEXT_CHARS, decode_reading, encode_reading

READING = Reading(1767225600.25, "db-1", "host", "cpu_percent", "%", 37.5)
MISSING = Reading(1767225600.25, "db-1", "redis", "*", "", None, "connection refused")
LINE = '{"at_s":1767225600.25,"node":"db-1","source":"host","metric":"cpu_percent","unit":"%","value":37.5}'

TEXTS = st.text(max_size=MAX_TEXT_CHARS)
NAMES = st.text(min_size=1, max_size=MAX_TEXT_CHARS)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


def fields(**changes: object) -> str:
    return json.dumps({**json.loads(LINE), **changes})


def without(*names: str) -> str:
    return json.dumps({name: value for name, value in json.loads(LINE).items() if name not in names})


def test_a_value_is_one_compact_line() -> None:
    assert encode_reading(READING) == LINE


def test_a_missing_value_has_a_reason_and_no_value() -> None:
    assert encode_reading(MISSING) == (
        '{"at_s":1767225600.25,"node":"db-1","source":"redis","metric":"*","unit":"",'
        '"unavailable":"connection refused"}'
    )


@settings(deadline=None)  # drawing long texts is slow on a busy machine
@given(TIMES, st.tuples(NAMES, NAMES, NAMES, TEXTS), st.one_of(NUMBERS, NAMES))
def test_what_is_written_is_read_back(
    at_s: float, texts: tuple[str, str, str, str], outcome: float | str
) -> None:
    value, reason = (None, outcome) if isinstance(outcome, str) else (outcome, "")
    reading = Reading(at_s, *texts, value, reason)
    line = encode_reading(reading)
    assert decode_reading(f"{line}\n") == reading
    assert line.splitlines() == [line]
    assert len(line) <= MAX_LINE_CHARS


def test_the_longest_possible_reading_fits_in_a_line() -> None:
    widest = "\U0001f40c" * MAX_TEXT_CHARS
    reading = Reading(-0.0, widest, widest, widest, widest, None, widest)
    assert decode_reading(encode_reading(reading)) == reading


def test_a_whole_number_is_a_value() -> None:
    assert decode_reading(fields(at_s=1767225600, value=5)) == replace(READING, at_s=1767225600.0, value=5.0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "Expecting value"),
        (LINE[:-9], "Unterminated string"),
        (LINE[:-5], "Expecting value"),
        (LINE + LINE, "Extra data"),
        ("[1]", "a JSON list where an object belongs"),
        ("[" * 10_000, "nested too deeply"),
        (LINE.replace("37.5", "NaN"), "NaN is no number"),
        (LINE.replace("37.5", "-Infinity"), "-Infinity is no number"),
        (LINE.replace("37.5", "1e999"), "value is not finite"),
        (LINE.replace("37.5", "1" + "0" * 400), "value is not finite"),
        (LINE.replace("1767225600.25", "-1"), "before 1970"),
        (LINE.replace('"%"', '"%","unit":"ms"'), "given twice"),
        (fields(value="37.5"), "value is a str, not a number"),
        (fields(value=True), "value is a bool, not a number"),
        (fields(value=None), "value is a NoneType, not a number"),
        (fields(at_s="now"), "at_s is a str, not a number"),
        (fields(node=7), "node is a int, not a text"),
        (fields(node=""), "node is empty"),
        (fields(source=""), "source is empty"),
        (fields(metric=""), "metric is empty"),
        (fields(unit=None), "unit is a NoneType, not a text"),
        (fields(metric="m" * (MAX_TEXT_CHARS + 1)), "metric has 257 characters"),
        (fields(node="\ud800"), "node holds half a character"),
        (fields(unavailable="why"), "one of value and unavailable"),
        (fields(colour="red"), "unknown 'colour'"),
        (without("value"), "one of value and unavailable"),
        (without("unit", "node"), "no node, unit"),
        (encode_reading(MISSING).replace("connection refused", ""), "neither a value nor the reason"),
        (encode_reading(MISSING).replace('"connection refused"', "null"), "unavailable is a NoneType"),
        (" " * (MAX_LINE_CHARS + 1), "at most 16384 characters"),
    ],
)
def test_anything_else_is_refused_with_the_reason(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_reading(line)


@given(st.text())
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_reading(text)


@pytest.mark.parametrize(
    "reading",
    [
        replace(READING, value=float("nan")),
        replace(READING, at_s=float("inf")),
        replace(READING, node="n" * (MAX_TEXT_CHARS + 1)),
        replace(READING, value=None),
        replace(READING, unavailable="and a reason"),
        replace(READING, metric="\udcff"),
    ],
)
def test_nothing_is_written_that_could_not_be_read_back(reading: Reading) -> None:
    with pytest.raises(ValueError, match=r"not finite|characters|reason|half"):
        encode_reading(reading)
