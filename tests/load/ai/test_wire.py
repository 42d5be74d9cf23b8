"""Streams of both providers, cut anywhere: the same pieces, counts and errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load.ai import anthropic_wire, openai_wire
from perfload.load.ai.answer import Answer, Usage
from perfload.load.http.sse import Event, EventParser
from tests.load.ai.corpus import ANTHROPIC, OPENAI, USAGE, Stream, event

pytestmark = pytest.mark.ai

Take = Callable[[Answer, Event], None]
CASES: list[tuple[Take, Stream]] = [
    *((openai_wire.take_event, stream) for stream in OPENAI),
    *((anthropic_wire.take_event, stream) for stream in ANTHROPIC),
]


def read(take: Take, parts: Sequence[bytes]) -> Answer:
    """Return the answer in `parts`: the first comes 1 ms after the request, each 1 ms after the last."""
    answer, parser = Answer(sent_ns=0), EventParser()
    at_ns = 0
    for part in parts:
        at_ns += 1_000_000
        for said in parser.feed(part, at_ns):
            take(answer, said)
    answer.end(at_ns)
    return answer


def check(answer: Answer, stream: Stream) -> None:
    assert answer.text("content") == stream.content
    assert answer.text("reasoning") == stream.reasoning
    assert answer.text("tool") == stream.tool
    assert len(answer.piece_ns) == stream.pieces
    assert answer.usage == stream.usage
    assert answer.finish_reason == stream.finish_reason
    assert answer.error == stream.error


@pytest.mark.parametrize(("take", "stream"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_a_stream_in_one_piece(take: Take, stream: Stream) -> None:
    check(read(take, [stream.body]), stream)


@pytest.mark.parametrize(("take", "stream"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_a_stream_cut_at_every_position(take: Take, stream: Stream) -> None:
    for at in range(len(stream.body)):
        check(read(take, [stream.body[:at], stream.body[at:]]), stream)
    check(read(take, [bytes([byte]) for byte in stream.body]), stream)


@given(case=st.sampled_from(CASES), data=st.data())
@settings(deadline=None)
def test_a_stream_cut_anywhere(case: tuple[Take, Stream], data: Any) -> None:
    take, stream = case
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream.body)), max_size=12)))
    parts = [stream.body[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream.body)], strict=True)]
    check(read(take, parts), stream)


@given(st.sampled_from([openai_wire, anthropic_wire]), st.binary(max_size=300))
@settings(deadline=None)
def test_whatever_comes_is_no_reason_to_fall_over(wire: Any, noise: bytes) -> None:
    read(wire.take_event, [b"data: " + noise + b"\n\n"])
    answer = Answer(sent_ns=0)
    wire.take_body(answer, noise, 5)
    assert answer.ended_ns == 5
    assert answer.error


def test_times_are_those_of_the_pieces() -> None:
    stream = next(s for s in OPENAI if s.name == "reasoning before content")
    head, first, second, *rest = [part + b"\n\n" for part in stream.body.split(b"\n\n")[:-1]]
    answer = read(openai_wire.take_event, [head, first, second, *rest])
    answer.usage.output_tokens = 9
    assert (answer.ttft_ms, answer.ttfo_ms, answer.e2e_ms, answer.whole_ms) == (2.0, 4.0, 6.0, 8.0)
    assert answer.gaps_ms == [1.0] * 4
    assert answer.tpot_ms == 4.0 / 8
    assert answer.tokens_per_piece == 9 / 5


def test_without_a_count_of_tokens_there_is_no_time_per_token() -> None:
    answer = read(openai_wire.take_event, [OPENAI[0].body])
    assert (answer.output_tokens, answer.tpot_ms, answer.tokens_per_piece) == (None, None, None)


def test_an_answer_that_was_not_streamed_arrives_at_once() -> None:
    answer = Answer(sent_ns=1_000_000)
    body = (
        b'{"object":"chat.completion","choices":[{"index":0,"finish_reason":"length","message":{"role":"assistant",'
        b'"content":"Hello","tool_calls":[{"function":{"name":"look","arguments":"{}"}}]}}],"usage":%s}'
    )
    import json

    openai_wire.take_body(answer, body % json.dumps(USAGE).encode(), 8_000_000)
    assert (answer.text(), answer.text("tool"), answer.finish_reason) == ("Hello", "look{}", "length")
    assert (answer.ttft_ms, answer.e2e_ms, answer.error, answer.is_whole) == (7.0, 7.0, "", True)
    assert answer.usage == Usage(12, 3, 8, 1)


def test_a_message_that_was_not_streamed_arrives_at_once() -> None:
    answer = Answer(sent_ns=0)
    body = (
        b'{"type":"message","content":[{"type":"thinking","thinking":"Hm."},{"type":"text","text":"Hi"},'
        b'{"type":"tool_use","name":"look","input":{}}],"stop_reason":"end_turn",'
        b'"usage":{"input_tokens":4,"output_tokens":7}}'
    )
    anthropic_wire.take_body(answer, body, 3_000_000)
    assert [answer.text(channel) for channel in ("content", "reasoning", "tool")] == ["Hi", "Hm.", "look"]  # type: ignore[arg-type]
    assert (answer.usage, answer.finish_reason, answer.error) == (Usage(4, 7), "end_turn", "")


def test_what_was_thought_is_counted_as_anthropic_says() -> None:
    stream = (
        b'data: {"type":"message_start","message":{"usage":{"input_tokens":4,"output_tokens":1}}}\n\n'
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
        b'"usage":{"output_tokens":70,"output_tokens_details":{"thinking_tokens":64}}}\n\n'
    )
    assert read(anthropic_wire.take_event, [stream]).usage == Usage(4, 70, None, 64)
    answer = Answer(sent_ns=0)
    body = b'{"usage":{"output_tokens":9,"output_tokens_details":{"thinking_tokens":"many"}}}'
    anthropic_wire.take_body(answer, body, 1)
    assert answer.usage == Usage(None, 9)


def test_a_count_that_is_said_again_without_its_parts_takes_nothing_away() -> None:
    """`cache_read_input_tokens` may be null in the last event: proxies leave it out."""
    start = {"input_tokens": 4, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 50}
    usage = {"input_tokens": 4, "cache_read_input_tokens": None, "output_tokens": 7}
    stream = event("message_start", message={"usage": start}) + event("message_delta", delta={}, usage=usage)
    assert read(anthropic_wire.take_event, [stream.encode()]).usage == Usage(854, 7, 800)


@pytest.mark.parametrize(
    ("wire", "body", "error"),
    [
        (
            openai_wire,
            b'{"error":{"message":"no","type":"invalid_request_error","code":"invalid_api_key"}}',
            "invalid_api_key",
        ),
        (
            anthropic_wire,
            b'{"type":"error","error":{"type":"overloaded_error","message":"no"}}',
            "overloaded_error",
        ),
        (openai_wire, b'{"error":{"message":"no","type":null,"code":"500"}}', "500"),
        (openai_wire, b'{"error":{"message":"no","code":503}}', "503"),
    ],
)
def test_an_error_in_place_of_an_answer(wire: Any, body: bytes, error: str) -> None:
    answer = Answer(sent_ns=0)
    wire.take_body(answer, body, 1)
    assert (answer.error, answer.error_message) == (f"error in the stream: {error}", "no")
