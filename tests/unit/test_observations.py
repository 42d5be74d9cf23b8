import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.model import Observation
from perfload.observations import MAX_LINE_CHARS, decode_observation, encode_observation

PLAN = Observation(
    1767225600.25, "db-1", "mongodb", "plan", {"ns": "app.models", "stages": ["COLLSCAN", None]}
)
LINE = (
    '{"at_s":1767225600.25,"node":"db-1","source":"mongodb","kind":"plan",'
    '"data":{"ns":"app.models","stages":["COLLSCAN",null]}}'
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda held: st.lists(held, max_size=3) | st.dictionaries(st.text(max_size=5), held, max_size=3),
    max_leaves=10,
)


def test_written_as_one_line_and_read_back() -> None:
    assert encode_observation(PLAN) == LINE
    assert decode_observation(LINE + "\n") == PLAN


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_whatever_is_json_comes_back_as_it_was(data: dict[str, Any]) -> None:
    found = Observation(1.5, "n", "s", "k", data)
    line = encode_observation(found)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert decode_observation(line) == found


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(LINE) | fields)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE[:-5], "Expecting"),
        (LINE + LINE, "Extra data"),
        ("[]", "not an observation: it has to have at_s, data, kind, node, source"),
        (changed(value=1), "not an observation"),
        (changed(at_s=-1), "at_s is no time"),
        (changed(at_s=True), "at_s is no time"),
        (changed(at_s=float("inf")), "Infinity is no number in JSON"),
        (changed(node=""), "node is no text of 1 to 256 characters"),
        (changed(kind="k" * 257), "kind is no text"),
        (changed(source=3), "source is no text"),
        (changed(data=[1]), "data is no JSON object"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
        (" " * (MAX_LINE_CHARS + 1), "at most 262144 characters"),
    ],
)
def test_what_is_none_is_refused_with_a_reason(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        decode_observation(line)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"value": float("nan")}, "not JSON compliant"),
        ({"value": object()}, "cannot be written as JSON"),
        ({"text": "x" * MAX_LINE_CHARS}, "at most 262144 characters"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(data: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encode_observation(Observation(0.0, "n", "s", "k", data))
