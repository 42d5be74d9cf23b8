"""Both wire formats: the events of a stream, the answers at once, the errors, the headers."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from perfload.target.ai.anthropic import Anthropic
from perfload.target.ai.author import Author
from perfload.target.ai.limits import Level, Standing
from perfload.target.ai.openai import OpenAi, go_duration
from perfload.target.ai.provider import Identity
from perfload.target.ai.question import Question
from perfload.target.ai.refusal import OVERLOADED, RATE_LIMIT, Refusal
from perfload.target.ai.reply import Reply
from perfload.target.ai.spread import Spread

pytestmark = pytest.mark.ai

IDENTITY = Identity("chatcmpl-1", "req_1", 1_700_000_000)
STRICT = {b"anthropic-version": b"2026-10-21"}
HELLO = [{"role": "user", "content": "hello there"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def openai(**more: Any) -> Question:
    return OpenAi().question(json.dumps({"model": "m", "messages": HELLO} | more).encode(), {})


def anthropic(headers: dict[bytes, bytes] | None = None, **more: Any) -> Question:
    body = {"model": "m", "max_tokens": 100, "messages": HELLO} | more
    return Anthropic().question(json.dumps(body).encode(), headers or {})


def reply_to(
    question: Question, tokens: int = 3, thinking: Spread | None = None, cached: float = 0.0
) -> Reply:
    return Author(Spread(tokens), thinking, cached).write(question, random.Random(1))


def streamed(provider: OpenAi | Anthropic, reply: Reply, chunk: int = 1) -> bytes:
    steps = reply.steps(Spread(chunk), random.Random(1))
    frames = provider.frames(reply, IDENTITY, steps)
    return provider.opening(reply, IDENTITY) + b"".join(data for data, _ in frames)


def events(stream: bytes) -> list[tuple[str, Any]]:
    """Return (event, data) of each event; data is parsed if it is JSON."""
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


# Questions


def test_an_openai_question() -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "be very short"}]}
    asked = openai(
        messages=[system, *HELLO], stream=True, max_tokens=7, stream_options={"include_usage": True}
    )
    assert asked == Question(model="m", input_tokens=5, max_tokens=7, is_streamed=True, wants_usage=True)
    assert openai(max_completion_tokens=9, max_tokens=7).max_tokens == 9
    assert openai(reasoning_effort="high").thinking_budget is not None
    assert openai(reasoning_effort="none").thinking_budget is None
    assert openai(max_tokens=30, ignore_eos=True).ignores_end


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": 7}, "model"),
        ({"model": "\ud800"}, None),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "king", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"]}]}, "messages[0].role"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"n": 129}, "n"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
    ],
)
def test_wrong_openai_questions(more: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as caught:
        openai(**more)
    assert (caught.value.kind.name, caught.value.param) == ("bad_request", param)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 200_000, b"null"])
@pytest.mark.parametrize("provider", [OpenAi(), Anthropic()])
def test_what_is_no_json_object(provider: OpenAi | Anthropic, body: bytes) -> None:
    with pytest.raises(Refusal):
        provider.question(body, {})


def test_an_anthropic_question() -> None:
    asked = anthropic(system=[{"type": "text", "text": "be very short"}], stream=True)
    assert asked == Question(model="m", input_tokens=5, max_tokens=100, is_streamed=True, wants_usage=True)
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "it rains"}]}
    called = {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "New York"}}
    turns = [{"role": "assistant", "content": [called]}, {"role": "user", "content": [result]}]
    assert anthropic(messages=[*HELLO, *turns]).input_tokens == 6
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert anthropic(max_tokens=2000, thinking=thinking).thinking_budget == 1024


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages.0.role"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "must be greater"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
    ],
)
def test_wrong_anthropic_questions(more: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        anthropic(**more)


def test_the_latest_version_of_anthropic_refuses_more() -> None:
    document = [{"role": "assistant", "content": [{"type": "document"}]}]
    cited = [{"role": "user", "content": [{"type": "text", "text": "a", "citations": [{}]}]}]
    for more in (
        {"temperature": 1.0},
        {"top_p": 0.5},
        {"top_k": 3},
        {"messages": document},
        {"messages": cited},
    ):
        assert anthropic(**more).model == "m"
        with pytest.raises(Refusal) as caught:
            anthropic(STRICT, **more)
        assert caught.value.kind.name == "bad_request"


def test_where_keys_are() -> None:
    assert OpenAi().key({b"authorization": b"Bearer sk-test-1"}) == "sk-test-1"
    assert OpenAi().key({b"authorization": b"Basic sk-test-1"}) == ""
    for headers in ({b"x-api-key": b"sk-test-1"}, {b"authorization": b"bearer sk-test-1"}):
        assert Anthropic().key(headers | {b"anthropic-version": b"2023-06-01"}) == "sk-test-1"
    for headers in ({}, {b"anthropic-version": b"1999"}):
        with pytest.raises(Refusal, match="anthropic-version"):
            Anthropic().key(headers)


# Streams


def test_an_openai_stream() -> None:
    reply = reply_to(openai(stream=True, stream_options={"include_usage": True}), cached=0.5)
    found = events(streamed(OpenAi(), reply))
    assert [event for event, _ in found] == [""] * len(found)
    *chunks, done = [data for _, data in found]
    assert done == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": "", "refusal": None},
        *({"content": token} for token in reply.first.content),
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 4 + ["stop"]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 5
    last = chunks[-1]
    assert (last["choices"], last["object"], last["id"]) == ([], "chat.completion.chunk", "chatcmpl-1")
    assert last["usage"] | {"completion_tokens_details": 0} == {
        "prompt_tokens": 2,
        "completion_tokens": 3,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0},
        "completion_tokens_details": 0,
    }


def test_an_openai_stream_without_usage_says_nothing_of_it() -> None:
    stream = streamed(OpenAi(), reply_to(openai(stream=True)))
    assert b"usage" not in stream
    assert stream.endswith(b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')


def test_a_model_may_be_called_anything() -> None:
    name = '"delta":0 \n\n data: {'
    found = events(streamed(OpenAi(), reply_to(openai(model=name, stream=True))))
    assert {data["model"] for _, data in found[:-1]} == {name}
    assert events(streamed(Anthropic(), reply_to(anthropic(model=name))))[0][1]["message"]["model"] == name


def test_chunks_hold_as_many_tokens_as_asked_and_do_not_cross_channels() -> None:
    reply = reply_to(openai(), tokens=10, thinking=Spread(3))
    chunks = [chunk for (chunk,) in reply.steps(Spread(4), random.Random(1))]
    assert [(chunk.channel, chunk.tokens) for chunk in chunks] == [
        ("thinking", 3),
        ("content", 4),
        ("content", 4),
        ("content", 2),
    ]
    assert [len(chunk.text.split()) for chunk in chunks] == [3, 4, 4, 2]
    assert reply.output_tokens == 13


def test_an_anthropic_stream_with_every_kind_of_block() -> None:
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    reply = reply_to(anthropic(tools=tools, stream=True), thinking=Spread(2))
    found = events(streamed(Anthropic(), reply))
    assert all(event == data["type"] for event, data in found)
    kinds = [event for event, _ in found]
    arguments = len(reply.first.calls[0].arguments)
    assert kinds == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * (1 + arguments),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    deltas = [data["delta"] for event, data in found if event == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == [
        "thinking_delta",
        "thinking_delta",
        "signature_delta",
        *["input_json_delta"] * (1 + arguments),
    ]
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)).keys() == {"city"}
    delta = found[-2][1]
    assert delta["delta"] == {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None}
    assert delta["usage"]["output_tokens"] == reply.output_tokens == 3 + arguments
    assert delta["usage"]["output_tokens_details"] == {"thinking_tokens": 2}


def test_an_anthropic_stream_has_a_ping_between_tokens() -> None:
    kinds = [event for event, _ in events(streamed(Anthropic(), reply_to(anthropic(), tokens=12)))]
    assert [index for index, kind in enumerate(kinds) if kind == "ping"] == [1, 11]
    assert kinds[10] == kinds[12] == "content_block_delta"


def test_frames_say_how_many_tokens_they_carry() -> None:
    for provider, question in ((OpenAi(), openai()), (Anthropic(), anthropic())):
        reply = reply_to(question, tokens=5)
        steps = reply.steps(Spread(2), random.Random(1))
        assert [tokens for _, tokens in provider.frames(reply, IDENTITY, steps)] == [2, 2, 1, 0]


# Answers at once


def test_answers_at_once_say_what_streams_say() -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    reply = reply_to(openai(tools=tools), thinking=Spread(2))
    answer = json.loads(OpenAi().body(reply, IDENTITY))
    message = answer["choices"][0]["message"]
    assert (answer["object"], answer["choices"][0]["finish_reason"]) == ("chat.completion", "tool_calls")
    assert (message["content"], message["reasoning_content"]) == (None, "".join(reply.first.thinking))
    assert message["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": "".join(reply.first.calls[0].arguments),
    }
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    said = json.loads(Anthropic().body(reply_to(anthropic(), cached=0.5), IDENTITY))
    assert (said["type"], said["stop_reason"], said["content"][0]["type"]) == ("message", "end_turn", "text")
    assert said["usage"]["input_tokens"] == said["usage"]["cache_read_input_tokens"] == 1


@pytest.mark.parametrize(
    ("limit", "thinking", "content", "stop"), [(10, 2, 3, "END"), (4, 2, 2, "LENGTH"), (1, 1, 0, "LENGTH")]
)
def test_max_tokens_cuts_thoughts_and_text(limit: int, thinking: int, content: int, stop: str) -> None:
    reply = reply_to(openai(max_tokens=limit), thinking=Spread(2))
    found = reply.first
    assert (len(found.thinking), len(found.content), found.stop.name) == (thinking, content, stop)


def test_max_tokens_cuts_arguments() -> None:
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    reply = reply_to(anthropic(tools=tools, max_tokens=3))
    (call,) = reply.first.calls
    assert (call.tool.name, len(call.arguments), reply.first.stop.name) == ("weather", 2, "LENGTH")
    answer = json.loads(Anthropic().body(reply, IDENTITY))
    assert (answer["stop_reason"], answer["content"][0]["input"]) == ("max_tokens", {})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": ["b", "c"]}, "b"),
        ({"type": "integer"}, 42),
        ({"type": "number"}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "integer"}}, [42]),
        ({"type": "object", "properties": {"x": {"type": "integer"}}}, {"x": 42}),
        ({"type": "object", "properties": 7}, {}),
    ],
)
def test_arguments_fit_the_schema(schema: dict[str, Any], value: object) -> None:
    tools = [{"name": "f", "input_schema": {"type": "object", "properties": {"a": schema}}}]
    (call,) = reply_to(anthropic(tools=tools)).first.calls
    assert json.loads("".join(call.arguments)) == {"a": value}


# Errors and headers


def test_errors() -> None:
    limited = Refusal(RATE_LIMIT, "slower", limited="tokens")
    assert OpenAi().status(limited) == Anthropic().status(limited) == 429
    error = {"message": "slower", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}
    assert json.loads(OpenAi().error(limited, "req_1")) == {"error": error}
    overloaded = Refusal(OVERLOADED)
    assert (OpenAi().status(overloaded), Anthropic().status(overloaded)) == (503, 529)
    ((event, data),) = events(Anthropic().error_event(overloaded, "req_1"))
    assert (event, data["type"], data["request_id"]) == ("error", "error", "req_1")
    assert data["error"]["type"] == "overloaded_error"
    ((event, data),) = events(OpenAi().error_event(overloaded, "req_1"))
    assert (event, data["error"]["code"]) == ("", "overloaded")


def test_headers_of_limits() -> None:
    standing = Standing(requests=Level(60, 59, 1.0), tokens=Level(1000, 900, 366.02))
    assert dict(OpenAi().limit_headers(standing, 0.0)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"900",
        b"x-ratelimit-reset-tokens": b"6m6.02s",
    }
    headers = dict(Anthropic().limit_headers(standing, 1_700_000_000.0))
    assert headers[b"anthropic-ratelimit-requests-reset"] == b"2023-11-14T22:13:21Z"
    assert headers[b"anthropic-ratelimit-tokens-remaining"] == b"900"
    assert OpenAi().limit_headers(Standing(), 0.0) == Anthropic().limit_headers(Standing(), 0.0) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (1.5, "1.5s"), (360, "6m0s"), (59.9996, "1m0s"), (0.0001, "1ms")],
)
def test_durations_in_headers(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
