"""What master and workers say to each other: there and back, and whatever else comes is refused."""

import contextlib
import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load.cluster import messages
from perfload.load.cluster.messages import (
    ACK,
    BATCH,
    BEAT,
    ROWS,
    SHARES,
    START,
    STOP,
    decode_assignment,
    decode_batch,
    decode_eras,
    encode_assignment,
    encode_batches,
    encode_eras,
)
from perfload.load.node import Assignment, Batch
from perfload.shares import Era
from tests.load.cluster.batches import batch

ERAS = (Era(0.0, (0, 1)), Era(2.5, (), 3), Era(7.0, (1,)))
TERMS = Assignment(
    "run-1",
    "worker-3",
    1,
    2,
    started_at_s=1_700_000_000.25,
    seed=9,
    eras=ERAS,
    version=2,
    lease_until_s=2.0,
    zero_s=-123.5,
    time_scale=60.0,
    shape="LoadTest",
    allow=("a.example.com", "*.b.example.com"),
)


def sent(data: Any) -> Any:
    """Return `data` as it comes out at the other end."""
    return msgpack.unpackb(msgpack.packb(data))


def read_batch(data: Any) -> Batch:
    return decode_batch(data, run_id="run-1", node="worker-0")


def encoded(windows: Batch, first: int = 1) -> list[dict[str, Any]]:
    return list(encode_batches(first, "run-1", windows))


def test_the_names_of_messages_are_perfloads_own() -> None:
    kinds = [BEAT, START, SHARES, BATCH, ACK, ROWS, STOP]
    assert len(set(kinds)) == 7
    assert all(kind.startswith("perfload_") for kind in kinds)


# --- there and back


def test_a_batch_survives_its_message() -> None:
    (data,) = encoded(batch(3, final=True), 7)
    assert (data["number"], data["run"]) == (7, "run-1")
    assert read_batch(sent(data)) == batch(3, final=True)
    (data,) = encoded(batch(4))
    assert read_batch(sent(data)) == batch(4)


def test_a_batch_of_nothing_is_a_message_too() -> None:
    (data,) = encoded(Batch([], [], idle=True))
    assert read_batch(sent(data)) == Batch([], [], idle=True)


@settings(deadline=None)
@given(st.integers(0, 9), st.integers(1, 5), st.booleans(), st.integers(1, 100))
def test_a_long_batch_is_several_messages_the_last_of_which_ends_it(
    seconds: int, longest: int, final: bool, first: int
) -> None:
    whole = batch(0, final=final)
    whole.windows[:] = [window for second in range(seconds) for window in batch(second).windows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "MAX_WINDOWS", longest)
        parts = encoded(whole, first)
    assert [part["number"] for part in parts] == list(range(first, first + len(parts)))
    assert len(parts) == max(1, math.ceil(2 * seconds / longest))
    read = [read_batch(sent(part)) for part in parts]
    assert [window for part in read for window in part.windows] == whole.windows
    assert [reading for part in read for reading in part.readings] == whole.readings
    ends = [(part.idle, part.final, len(part.readings)) for part in read]
    assert ends == [(False, False, 0)] * (len(parts) - 1) + [(final, final, 1)]


def test_an_assignment_survives_its_message() -> None:
    assert decode_assignment(sent(encode_assignment(TERMS))) == TERMS


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            Era,
            st.floats(0, 1e6),
            st.lists(st.integers(0, 99), max_size=5).map(tuple),
            st.integers(0, 10**6),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_eras_survive_their_message(eras: list[Era]) -> None:
    assert decode_eras(sent({"eras": encode_eras(eras)})) == tuple(eras)


# --- what is refused


@pytest.mark.parametrize("value", [None, "7", True, 1.0, -1, [7]])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="n is no whole number of at least 0"):
        messages.whole({"n": value}, "n")


def test_whole_numbers_have_a_least() -> None:
    assert messages.whole({"n": 0}, "n") == 0
    assert messages.whole({"n": 1}, "n", least=1) == 1
    with pytest.raises(ValueError, match="n is no whole number of at least 1"):
        messages.whole({"n": 0}, "n", least=1)
    with pytest.raises(ValueError, match="n is no whole number"):
        messages.whole({}, "n")


@pytest.mark.parametrize("value", [None, "7", True, math.nan, math.inf, -math.inf, 10**400, [7]])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="n is no finite number"):
        messages.number({"n": value}, "n")


def test_numbers_may_be_whole_or_negative() -> None:
    assert messages.number({"n": -3}, "n") == -3.0
    assert isinstance(messages.number({"n": 3}, "n"), float)


def test_texts_have_a_longest() -> None:
    assert messages.text({"t": "x" * 500}, "t") == "x" * 500
    for value in ("x" * 501, None, 7, b"x"):
        with pytest.raises(ValueError, match="t is no text of up to 500 characters"):
            messages.text({"t": value}, "t")


@pytest.mark.parametrize("value", [None, 7, "12", {"0": 1}, [1, None], [1, -1], [1.0], [True], ["1"]])
def test_what_is_no_list_of_whole_numbers_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="n "):
        messages.wholes({"n": value}, "n")


def test_a_list_of_whole_numbers_may_be_empty() -> None:
    assert messages.wholes({"n": []}, "n") == []
    assert messages.wholes({"n": [0, 7]}, "n") == [0, 7]


@pytest.mark.parametrize(
    "change",
    [
        {"windows": [{}]},
        {"windows": {}},
        {"windows": None},
        {"windows": ["x"]},
        {"readings": ["x"]},
        {"readings": [""]},
        {"readings": [7]},
        {"readings": "x"},
    ],
)
def test_a_message_that_is_no_batch_is_refused(change: dict[str, object]) -> None:
    (data,) = encoded(batch(0))
    with pytest.raises(ValueError, match=r".+"):
        read_batch(data | change)


@pytest.mark.parametrize(
    "foreign",
    [
        batch(0, node="worker-1"),
        batch(0, run_id="run-0"),
        batch(-1),
        replace(batch(0), readings=batch(0, node="worker-1").readings),
        replace(batch(0), windows=[*batch(0).windows, *batch(1, node="worker-1").windows]),
    ],
)
def test_results_of_another_are_refused(foreign: Batch) -> None:
    (data,) = encoded(foreign)
    with pytest.raises(ValueError, match="it holds results that are not those of worker-0 in this run"):
        read_batch(data)


@pytest.mark.parametrize("missing", ["run_id", "node", "index", "count", "started_at_s", "seed", "eras"])
def test_an_assignment_that_lacks_something_is_refused(missing: str) -> None:
    data = sent(encode_assignment(TERMS))
    del data[missing]
    with pytest.raises(ValueError, match=r".+"):
        decode_assignment(data)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("run_id", 7, "run_id is no text"),
        ("shape", None, "shape is no text"),
        ("index", -1, "index is no whole number"),
        ("seed", 1.5, "seed is no whole number"),
        ("zero_s", None, "zero_s is no finite number"),
        ("lease_until_s", math.inf, "lease_until_s is no finite number"),
        ("allow", "a.example.com", "allow is no list"),
        ("allow", [None], "allow holds something that is no text"),
        ("colour", "blue", "it is no assignment: .*'colour'"),
    ],
)
def test_an_assignment_of_something_else_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_assignment(sent(encode_assignment(TERMS)) | {key: value})


def test_a_seed_may_be_negative() -> None:
    terms = replace(TERMS, seed=-7)
    assert decode_assignment(sent(encode_assignment(terms))) == terms


@pytest.mark.parametrize(
    "eras",
    [
        [],
        None,
        {},
        [[]],
        [[0.0, [0]]],
        [[0.0, [0], 0, 0]],
        [0.0],
        [[None, [0], 0]],
        [["0", [0], 0]],
        [[math.nan, [0], 0]],
        [[math.inf, [0], 0]],
        [[True, [0], 0]],
        [[0.0, 7, 0]],
        [[0.0, "12", 0]],
        [[0.0, ["1"], 0]],
        [[0.0, [1.5], 0]],
        [[0.0, [-1], 0]],
        [[0.0, [0], "1"]],
        [[0.0, [0], math.inf]],
        [[0.0, [0], -1]],
    ],
)
def test_what_is_no_list_of_eras_is_refused(eras: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_eras({"eras": eras})


# --- anything at all

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(-2, 3)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda held: st.lists(held, max_size=3) | st.dictionaries(st.text(max_size=3), held, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in `value`, itself included."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    inner = [place for key in keys for place in places(value[key], (*path, key))]  # type: ignore[index]
    return [path, *inner]


def changed(data: Any, draw: st.DrawFn) -> Any:
    """Return `data` with another value at one place, or without the one that is there."""
    where = draw(st.sampled_from(places(data)[1:]))
    data = copy.deepcopy(data)
    held = data
    for key in where[:-1]:
        held = held[key]
    if draw(st.booleans()):
        held[where[-1]] = draw(VALUES)
    else:
        del held[where[-1]]
    return data


SAID: list[tuple[dict[str, Any], Callable[[Any], object]]] = [
    (sent(encoded(batch(3, final=True))[0]), read_batch),
    (sent(encode_assignment(TERMS)), decode_assignment),
    (sent({"eras": encode_eras(ERAS)}), decode_eras),
]


@pytest.mark.parametrize("kind", range(len(SAID)))
@settings(deadline=None)
@given(data=st.data())
def test_a_message_that_is_wrong_somewhere_is_refused_or_harmless(kind: int, data: st.DataObject) -> None:
    right, read = SAID[kind]
    wrong = data.draw(st.composite(lambda draw: changed(right, draw))(), label="message")
    try:
        result = read(wrong)
    except ValueError:
        return
    again = {
        read_batch: lambda batch: encoded(batch)[0],
        decode_assignment: encode_assignment,
        decode_eras: lambda eras: {"eras": encode_eras(eras)},
    }[read](result)  # type: ignore[index]
    assert read(sent(again)) == result  # what was read is what it should be, throughout


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["windows", "readings", "eras", "idle", "index", "n"]), VALUES))
def test_what_is_nothing_of_the_kind_is_refused(data: dict[str, Any]) -> None:
    for _, read in SAID:
        with contextlib.suppress(ValueError):
            read(data)
