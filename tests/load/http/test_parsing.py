"""Responses cut anywhere, and bytes that are no response: always one answer or one failure, never a hang."""

import itertools

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.load.http.verdict import CHUNKED, EMPTY, INTERIM, SIZED, UNTIL_END, answer, check

FUZZ = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


@pytest.mark.parametrize("data", [SIZED, CHUNKED, INTERIM, UNTIL_END, EMPTY])
def test_a_response_may_be_cut_anywhere(data: bytes) -> None:
    whole, is_reusable = answer([data])
    assert whole[0] in {200, 201, 204, 404}
    for position in range(1, len(data)):
        assert answer([data[:position], data[position:]]) == (whole, is_reusable), position
    assert answer([data[index : index + 1] for index in range(len(data))]) == (whole, is_reusable)


@pytest.mark.parametrize("data", [SIZED, CHUNKED])
def test_a_response_that_is_cut_short_is_none(data: bytes) -> None:
    for size in range(len(data)):
        found, is_reusable = answer([data[:size]])
        assert found == "closed before the response was complete", size
        assert not is_reusable


@pytest.mark.parametrize("rest", [b"H", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", b"\0"])
@pytest.mark.parametrize("data", [SIZED, CHUNKED, EMPTY])
def test_what_follows_a_response_is_not_part_of_it(data: bytes, rest: bytes) -> None:
    whole, _ = answer([data])
    assert answer([data + rest]) == (whole, False)
    assert answer([data, rest]) == (whole, False)


def test_a_body_after_the_response_to_head_closes_the_connection() -> None:
    head = SIZED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    (status, _, body), is_reusable = answer([head], is_head_request=True)
    assert (status, body, is_reusable) == (200, b"", True)
    (status, _, body), is_reusable = answer([SIZED], is_head_request=True)
    assert (status, body, is_reusable) == (200, b"", False)


names = st.sampled_from(["Content-Length", "Transfer-Encoding", "Connection", "Set-Cookie", "X", "x"])
values = st.sampled_from(
    ["", "0", "3", "5", "chunked", "gzip, chunked", "close", "keep-alive", "a: b", " \t c\t", "\xe4"]
)
fields = st.lists(st.tuples(names, values), max_size=5)
bodies = st.sampled_from(
    [b"", b"abc", b"abcde", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\nT: 1\r\n\r\n", b"\r\n\r\n", b"zz\r\n"]
)
starts = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 304 N", "HTTP/1.1 100 C", "HTTP/1.1 999", "HTTP/1.1 20"]
)


@st.composite
def almost_responses(draw: st.DrawFn) -> bytes:
    """Draw bytes that are a response, or nearly one."""
    messages = []
    for _ in range(draw(st.integers(1, 2))):
        lines = [draw(starts), *[f"{name}: {value}" for name, value in draw(fields)]]
        end = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]))
        messages.append((end.join(lines) + end + end).encode("latin-1") + draw(bodies))
    data = b"".join(messages)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data


@FUZZ
@given(data=almost_responses(), cuts=st.lists(st.integers(0, 300), max_size=4))
@example(data=SIZED, cuts=[])
@example(data=CHUNKED * 2, cuts=[20])
@example(data=INTERIM, cuts=[])
def test_the_result_is_that_of_the_parser_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges) if data[start:end]]
    check(pieces)


@FUZZ
@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_bytes_that_are_no_response_are_a_failure(pieces: list[bytes]) -> None:
    found, is_reusable = answer(pieces)
    assert found in {"closed before the response was complete", "malformed response", "connection reset"}
    assert not is_reusable
