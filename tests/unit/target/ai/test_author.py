"""What is written: how long, where it ends, which tools it calls, and in which form."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from perfload.target.ai.anthropic import Anthropic
from perfload.target.ai.author import Author
from perfload.target.ai.openai import OpenAi
from perfload.target.ai.provider import Identity
from perfload.target.ai.reply import Choice, Reply, Stop
from perfload.target.ai.spread import Spread

pytestmark = pytest.mark.ai

HELLO = [{"role": "user", "content": "hello there"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
IDENTITY = Identity("chatcmpl-1", "req_1", 1)


def reply(tokens: int = 30, provider: OpenAi | Anthropic | None = None, seed: int = 1, **more: Any) -> Reply:
    asked = {"model": "m", "messages": HELLO} | more
    question = (provider or OpenAi()).question(json.dumps(asked).encode(), {})
    return Author(Spread(tokens)).write(question, random.Random(seed))


def text(choice: Choice) -> str:
    return "".join(choice.content)


def tools(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in names]


def anthropic_tools(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "input_schema": SCHEMA} for name in names]


def names(found: Reply) -> list[str]:
    return [call.tool.name for call in found.first.calls]


def test_an_answer_ends_before_the_first_stop() -> None:
    whole = text(reply().first)
    words = whole.split()
    early, late = f"{words[5]} {words[6]}", words[20]
    cut = reply(stop=[late, early]).first
    assert text(cut) == whole[: min(whole.index(early), whole.index(late))]
    assert cut.stop is Stop.SEQUENCE
    assert len(cut.content) == len(text(cut).split())
    assert text(reply(stop=early).first) == whole[: whole.index(early)]
    assert reply(stop="§").first == reply().first


def test_a_stop_within_a_word_leaves_its_beginning() -> None:
    whole = text(reply().first)
    word = next(word for word in whole.split() if len(word) > 4)
    found = reply(stop=word[2:]).first
    assert text(found) == whole[: whole.index(word[2:])]
    assert len(found.content) == len(text(found).split())


def test_a_stop_waits_for_the_fewest_tokens() -> None:
    whole = reply().first.content
    found = reply(stop=whole[3].strip(), min_tokens=10).first
    assert len(found.content) >= 10


def test_anthropic_names_the_stop_that_it_met() -> None:
    whole = text(reply().first)
    stop = whole.split()[4]
    found = reply(provider=Anthropic(), max_tokens=99, stop_sequences=["§", stop])
    said = json.loads(Anthropic().body(found, IDENTITY))
    assert (said["stop_reason"], said["stop_sequence"]) == ("stop_sequence", stop)
    assert said["content"][0]["text"] == whole[: whole.index(stop)]


@pytest.mark.parametrize("thinking", [False, True])
def test_answers_of_exactly_a_length(thinking: bool) -> None:
    effort = {"reasoning_effort": "high"} if thinking else {}
    for name in ("max_tokens", "max_completion_tokens"):
        found = reply(**{name: 500}, ignore_eos=True, **effort)
        assert (found.output_tokens, found.first.stop) == (500, Stop.LENGTH)
    found = reply(min_tokens=77, max_tokens=77, **effort)
    assert (found.output_tokens, found.first.stop) == (77, Stop.LENGTH)
    assert reply(min_tokens=77, max_tokens=99, **effort).output_tokens == 77
    assert reply(ignore_eos=True).output_tokens == 30  # without a limit there is nothing to go on to


def test_several_choices_are_different_and_counted_together() -> None:
    found = reply(n=3, max_tokens=20, ignore_eos=True)
    assert len({text(choice) for choice in found.choices}) == 3
    assert found.output_tokens == 60
    said = json.loads(OpenAi().body(found, IDENTITY))
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2]
    assert said["usage"]["completion_tokens"] == 60


def test_no_tokens_are_wanted() -> None:
    found = reply(provider=Anthropic(), max_tokens=0)
    said = json.loads(Anthropic().body(found, IDENTITY))
    assert (said["content"], said["stop_reason"], said["usage"]["output_tokens"]) == ([], "max_tokens", 0)


@pytest.mark.parametrize(
    ("more", "called", "stop"),
    [
        ({}, ["a", "b", "c", "d"], Stop.TOOL),
        ({"parallel_tool_calls": False}, ["a"], Stop.TOOL),
        ({"tool_choice": "none"}, [], Stop.END),
        ({"tool_choice": "required"}, ["a", "b", "c", "d"], Stop.TOOL),
        ({"tool_choice": {"type": "function", "function": {"name": "b"}}}, ["b"], Stop.NAMED_TOOL),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [{"type": "function", "function": {"name": "c"}}],
                    },
                }
            },
            ["c"],
            Stop.TOOL,
        ),
    ],
)
def test_which_tools_openai_calls(more: dict[str, Any], called: list[str], stop: Stop) -> None:
    found = reply(tools=tools(*"abcde"), **more)
    assert (names(found), found.first.stop) == (called, stop)


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        (None, ["a", "b"]),
        ({"type": "auto", "disable_parallel_tool_use": True}, ["a"]),
        ({"type": "any"}, ["a", "b"]),
        ({"type": "any", "disable_parallel_tool_use": True}, ["a"]),
        ({"type": "tool", "name": "b"}, ["b"]),
        ({"type": "none"}, []),
    ],
)
def test_which_tools_anthropic_calls(choice: object, called: list[str]) -> None:
    more = {"tools": anthropic_tools("a", "b"), "tool_choice": choice}
    found = reply(provider=Anthropic(), max_tokens=99, **more)
    assert names(found) == called
    said = json.loads(Anthropic().body(found, IDENTITY))
    uses = [block for block in said["content"] if block["type"] == "tool_use"]
    assert [use["name"] for use in uses] == called
    assert len({use["id"] for use in uses}) == len(uses)


def test_tools_that_anthropic_runs_itself_are_not_called() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    asked = [search, *anthropic_tools("mine")]
    assert names(reply(provider=Anthropic(), max_tokens=99, tools=asked)) == ["mine"]


def test_a_limit_cuts_the_last_call() -> None:
    one = reply(tools=tools("a")).output_tokens
    found = reply(tools=tools("a", "b", "c"), max_tokens=one + 2)
    assert (names(found), found.first.stop, found.output_tokens) == (["a", "b"], Stop.LENGTH, one + 2)


def test_functions_as_they_were_before_tools() -> None:
    functions = [{"name": "f", "parameters": SCHEMA}, {"name": "g"}]
    said = json.loads(OpenAi().body(reply(functions=functions, function_call={"name": "g"}), IDENTITY))
    (choice,) = said["choices"]
    assert (choice["finish_reason"], choice["message"]["function_call"]) == (
        "function_call",
        {"name": "g", "arguments": "{}"},
    )
    assert names(reply(functions=functions)) == ["f"]
    assert names(reply(functions=functions, function_call="none")) == []


def test_a_custom_tool_is_given_text() -> None:
    custom = {"type": "custom", "custom": {"name": "shell"}}
    said = json.loads(OpenAi().body(reply(tools=[custom]), IDENTITY))
    (call,) = said["choices"][0]["message"]["tool_calls"]
    assert (call["type"], call["custom"]["name"]) == ("custom", "shell")
    assert len(call["custom"]["input"].split()) == 8


def test_any_json_object_of_the_length_that_was_drawn() -> None:
    asked = [{"role": "user", "content": "answer in JSON"}]
    found = reply(messages=asked, response_format={"type": "json_object"})
    assert found.output_tokens == 30
    assert isinstance(json.loads(text(found.first)), dict)


def test_json_of_a_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    assert json.loads(text(reply(response_format=form).first)).keys() == {"city"}
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    found = reply(provider=Anthropic(), max_tokens=99, output_config=config)
    assert json.loads(text(found.first)).keys() == {"city"}
    cut = reply(response_format=form, max_tokens=2)
    assert (cut.output_tokens, cut.first.stop) == (2, Stop.LENGTH)


def test_a_model_that_declines() -> None:
    question = OpenAi().question(json.dumps({"model": "m", "messages": HELLO}).encode(), {})
    found = Author(Spread(5)).write(question, random.Random(1), declines=True)
    (choice,) = json.loads(OpenAi().body(found, IDENTITY))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "stop")
    assert len(choice["message"]["refusal"].split()) == 5
    said = json.loads(Anthropic().body(found, IDENTITY))
    assert (said["stop_reason"], said["stop_details"]["type"]) == ("refusal", "refusal")
