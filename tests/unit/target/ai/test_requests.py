"""What is refused of a request, in the words of its provider; and that nothing else comes of a wrong one."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.target.ai.anthropic import Anthropic
from perfload.target.ai.author import Author
from perfload.target.ai.openai import OpenAi
from perfload.target.ai.provider import Identity
from perfload.target.ai.question import MAX_OUTPUT_TOKENS
from perfload.target.ai.refusal import Refusal
from perfload.target.ai.spread import Spread

pytestmark = pytest.mark.ai

HELLO = [{"role": "user", "content": "hello there"}]
OPENAI: dict[str, Any] = {"model": "m", "messages": HELLO}
ANTHROPIC: dict[str, Any] = OPENAI | {"max_tokens": 2000}
OBJECT = {"type": "object", "properties": {}, "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "parameters": OBJECT}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
USING = [*HELLO, {"role": "assistant", "content": [USE]}]


def refused(provider: OpenAi | Anthropic, body: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        provider.question(json.dumps(body).encode(), {})
    assert caught.value.kind.name == "bad_request"
    return caught.value


def error_of(**more: Any) -> tuple[str, str | None, str | None]:
    refusal = refused(OpenAi(), {k: v for k, v in (OPENAI | more).items() if v != "-"})
    said = json.loads(OpenAi().error(refusal, "req_1"))["error"]
    return said["message"], said["param"], said["code"]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"model": "-"}, ("Missing required parameter: 'model'.", "model", "missing_required_parameter")),
        (
            {"temperature": "hot"},
            (
                "Invalid type for 'temperature': expected a decimal, but got a string instead.",
                "temperature",
                "invalid_type",
            ),
        ),
        (
            {"temperature": 2.5},
            (
                "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, "
                "but got 2.5 instead.",
                "temperature",
                "decimal_above_max_value",
            ),
        ),
        (
            {"n": 0},
            (
                "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
                "n",
                "integer_below_min_value",
            ),
        ),
        (
            {"messages": []},
            (
                "Invalid 'messages': empty array. Expected an array with minimum length 1, "
                "but got an empty array instead.",
                "messages",
                "empty_array",
            ),
        ),
        (
            {"stop": list("abcde")},
            (
                "Invalid 'stop': array too long. Expected an array with maximum length 4, "
                "but got an array with length 5 instead.",
                "stop",
                "array_above_max_length",
            ),
        ),
        (
            {"verbosity": "loud"},
            (
                "Invalid value: 'loud'. Supported values are: 'low', 'medium', 'high'.",
                "verbosity",
                "invalid_value",
            ),
        ),
    ],
)
def test_what_openai_says(more: dict[str, Any], error: tuple[str, str, str]) -> None:
    assert error_of(**more) == error


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "system", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}, "messages[0].role"),
        ({"messages": [*CALLING, *HELLO]}, "messages[2].role"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stop": [1]}, "stop[0]"),
        ({"stop": 5}, "stop"),
        ({"n": 2, "max_tokens": MAX_OUTPUT_TOKENS}, "max_tokens"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": []}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"tools": [TOOL], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_object"}}, "messages"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.name"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "response_format",
        ),
        ({"service_tier": "gold"}, "service_tier"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_where_openai_finds_it(more: dict[str, Any], param: str) -> None:
    assert error_of(**more)[1] == param


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
        ({"system": 7}, "system: Input should be a valid list"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type: Field required"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages.0.role: Input should be 'user' or"),
        ({"messages": [*USING, *HELLO]}, "messages.2: `tool_use` ids were found without"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9", "content": ""}]}
                ]
            },
            "unexpected `tool_use_id`",
        ),
        ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: may only be specified while providing"),
        (
            {
                "tools": [{"name": "f", "input_schema": OBJECT}],
                "tool_choice": {"type": "any"},
                "thinking": {"type": "enabled", "budget_tokens": 1024},
            },
            "Thinking may not be enabled",
        ),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "output_config.format.schema: In context=",
        ),
    ],
)
def test_what_anthropic_says(more: dict[str, Any], said: str) -> None:
    assert said in refused(Anthropic(), ANTHROPIC | more).message


def test_results_of_calls_are_taken() -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
    asked = OPENAI | {"messages": [*CALLING, result], "tools": [TOOL]}
    assert OpenAi().question(json.dumps(asked).encode(), {}).calls == ()
    block = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
    used = ANTHROPIC | {"messages": [*USING, {"role": "user", "content": [block]}]}
    assert Anthropic().question(json.dumps(used).encode(), {}).input_tokens == 3


def test_tokens_are_counted_without_an_answer() -> None:
    body = json.dumps({"model": "m", "messages": HELLO, "system": "be very short"}).encode()
    assert json.loads(Anthropic().token_count(body, {})) == {"input_tokens": 5}
    with pytest.raises(Refusal):
        Anthropic().token_count(b"{}", {})


WRONG: tuple[Any, ...] = (7, -1, 1.5, True, "", "x", [], [7], [{}], {}, {"type": 7}, {"type": "x"}, [[]])
FIELDS = (
    *("model", "messages", "max_tokens", "max_completion_tokens", "min_tokens", "n", "stop", "stream"),
    *("stream_options", "temperature", "top_p", "top_k", "tools", "tool_choice", "parallel_tool_calls"),
    *("functions", "function_call", "response_format", "logprobs", "top_logprobs", "seed", "service_tier"),
    *("reasoning_effort", "metadata", "system", "thinking", "stop_sequences", "output_config", "logit_bias"),
    *("modalities", "user", "store", "ignore_eos", "presence_penalty", "prediction", "speed"),
)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("provider", [OpenAi(), Anthropic()], ids=["openai", "anthropic"])
def test_any_type_in_any_field_is_taken_or_refused(provider: OpenAi | Anthropic, field: str) -> None:
    for value in WRONG:
        body = json.dumps(ANTHROPIC | {field: value}).encode()
        with contextlib.suppress(Refusal):
            provider.question(body, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "name", "content", "role", "text", "function", "id", "schema", "tool_calls"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(FIELDS), value=JSON, within=st.booleans())
def test_no_json_makes_anything_but_an_answer_or_a_refusal(field: str, value: Any, within: bool) -> None:
    message = {"role": "assistant", field: value, "content": value}
    body = ANTHROPIC | ({"messages": [*HELLO, message]} if within else {field: value})
    identity = Identity("chatcmpl-1", "req_1", 1)
    for provider in (OpenAi(), Anthropic()):
        try:
            question = provider.question(json.dumps(body).encode(), {})
        except Refusal as refusal:
            json.loads(provider.error(refusal, "req_1"))
            continue
        reply = Author(Spread(5)).write(question, random.Random(1))
        json.loads(provider.body(reply, identity))
        steps = reply.steps(Spread(2), random.Random(1))
        assert sum(tokens for _, tokens in provider.frames(reply, identity, steps)) == reply.output_tokens


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        (b"", ["a", "b", "c"], False),
        (b"limit=2", ["a", "b"], True),
        (b"limit=1&after_id=a", ["b"], True),
        (b"limit=1&before_id=c", ["b"], True),
        (b"after_id=c", [], False),
    ],
)
def test_pages_of_anthropics_models(query: bytes, ids: list[str], has_more: bool) -> None:
    page = json.loads(Anthropic().models(["a", "b", "c"], 0, query))
    assert [model["id"] for model in page["data"]] == ids
    assert page["has_more"] is has_more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize(
    "query",
    [
        *(b"limit=0", b"limit=x", b"limit=1001", b"after_id=d", b"limit=\xb2"),
        b"limit=000000001000000",
        b"limit=000000001" + b"0" * 5000,
    ],
)
def test_pages_that_there_are_not(query: bytes) -> None:
    with pytest.raises(Refusal):
        Anthropic().models(["a"], 0, query)
