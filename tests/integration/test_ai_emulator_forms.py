"""What the providers' own clients ask for beyond a text: choices, tools, JSON, odds, and each field of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from perfload.target.process import TargetProcess

pytestmark = [pytest.mark.integration, pytest.mark.ai]

openai = pytest.importorskip(
    "openai", reason="needs the openai client: pip install openai", exc_type=ImportError
)
anthropic = pytest.importorskip(
    "anthropic", reason="needs the anthropic client: pip install anthropic", exc_type=ImportError
)
pydantic = pytest.importorskip("pydantic", reason="the clients need it", exc_type=ImportError)

KEY = "sk-test-emulator"
TOKENS = 12
HELLO = [{"role": "user", "content": "Say hello to the world, in JSON"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": CITY}} for name in ("weather", "time")
]
ANTHROPIC_TOOLS = [{"name": name, "input_schema": CITY} for name in ("weather", "time")]


class Place(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    name: str
    people: int
    parts: list[str]
    capital: str | None


class Trip(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    places: list[Place]
    is_long: bool


@pytest.fixture(scope="module")
def target() -> Iterator[TargetProcess]:
    with TargetProcess("--ai-ttft", "5ms", "--ai-gap", "1ms", "--ai-tokens", str(TOKENS)) as process:
        yield process


@pytest.fixture
def gpt(target: TargetProcess) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{target.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(target: TargetProcess) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=target.url, api_key=KEY, max_retries=0) as client:
        yield client


def unknown_members(model: Any, path: str = "") -> list[str]:
    """Return the members of an answer that the client's own types do not have, nor allow to be missing."""
    found = []
    for name, value in model:
        inner = value if isinstance(value, list) else [value]
        for item in inner:
            if isinstance(item, pydantic.BaseModel):
                found += unknown_members(item, f"{path}{name}.")
    extra = {name for name in model.model_extra or {} if not name.startswith("_")}
    missing = {
        name
        for name, member in type(model).model_fields.items()
        if member.is_required() and name not in model.model_fields_set
    }
    return found + [f"{path}{name}" for name in sorted(extra | missing)]


# The openai client


def test_openai_answers_have_the_members_that_they_should_have(gpt: Any) -> None:
    ask = gpt.chat.completions.create
    options = {"model": "any", "messages": HELLO, "logprobs": True, "top_logprobs": 2}
    assert unknown_members(ask(**options)) == []
    assert unknown_members(ask(model="any", messages=HELLO, tools=OPENAI_TOOLS)) == []
    chunks = list(ask(**options, n=2, stream=True, stream_options={"include_usage": True}))
    assert [unknown_members(chunk) for chunk in chunks] == [[]] * len(chunks)
    chunks = list(ask(model="any", messages=HELLO, tools=OPENAI_TOOLS, stream=True))
    assert [unknown_members(chunk) for chunk in chunks] == [[]] * len(chunks)
    assert unknown_members(gpt.models.retrieve("perfload-small")) == []


def test_openai_stop(gpt: Any) -> None:
    ask = gpt.chat.completions.create
    whole = ask(model="any", messages=HELLO, seed=5).choices[0].message.content
    stop = whole.split()[4]
    cut = ask(model="any", messages=HELLO, seed=5, stop=["never", stop]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole[: whole.index(stop)], "stop")
    chunks = list(ask(model="any", messages=HELLO, seed=5, stop=stop, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole[: whole.index(stop)]


def test_openai_choices(gpt: Any) -> None:
    answer = gpt.chat.completions.create(model="any", messages=HELLO, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage.completion_tokens == 3 * TOKENS
    with gpt.chat.completions.stream(model="any", messages=HELLO, n=3) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    assert [len(choice.message.content.split()) for choice in final.choices] == [TOKENS] * 3
    assert {choice.finish_reason for choice in final.choices} == {"stop"}


def test_openai_logprobs(gpt: Any) -> None:
    options = {"model": "any", "messages": HELLO, "logprobs": True, "top_logprobs": 3, "seed": 1}
    choice = gpt.chat.completions.create(**options).choices[0]
    entries = choice.logprobs.content
    assert "".join(entry.token for entry in entries) == choice.message.content
    for entry in entries:
        assert bytes(entry.bytes).decode() == entry.token
        tops = [top.logprob for top in entry.top_logprobs]
        assert len({top.token for top in entry.top_logprobs}) == 3
        assert entry.logprob == tops[0]
        assert 0 > tops[0] > tops[1] > tops[2]
    chunks = list(gpt.chat.completions.create(**options, stream=True))
    parts = [chunk.choices[0].logprobs for chunk in chunks]
    assert [entry for part in parts if part for entry in part.content] == entries
    bare = gpt.chat.completions.create(**options | {"top_logprobs": openai.omit}).choices[0]
    assert {len(entry.top_logprobs) for entry in bare.logprobs.content} == {0}


def test_openai_answers_in_a_form(gpt: Any) -> None:
    answer = gpt.chat.completions.create(model="any", messages=HELLO, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)
    parsed = gpt.chat.completions.parse(model="any", messages=HELLO, response_format=Trip)
    trip = parsed.choices[0].message.parsed
    assert (trip.places[0].people, trip.is_long) == (42, True)
    with gpt.chat.completions.stream(model="any", messages=HELLO, response_format=Trip) as stream:
        assert stream.get_final_completion().choices[0].message.parsed.places
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.chat.completions.create(model="any", messages=HELLO, response_format=form)
    assert (caught.value.code, caught.value.param) == ("invalid_json_schema", "response_format")


def test_openai_parallel_tools(gpt: Any) -> None:
    answer = gpt.chat.completions.create(model="any", messages=HELLO, tools=OPENAI_TOOLS)
    calls = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "time"]
    assert len({call.id for call in calls}) == 2
    with gpt.chat.completions.stream(model="any", messages=HELLO, tools=OPENAI_TOOLS) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    assert [json.loads(call.function.arguments).keys() for call in streamed] == [{"city"}] * 2
    one = gpt.chat.completions.create(
        model="any", messages=HELLO, tools=OPENAI_TOOLS, parallel_tool_calls=False
    )
    assert len(one.choices[0].message.tool_calls) == 1
    named = {"type": "function", "function": {"name": "time"}}
    forced = gpt.chat.completions.create(
        model="any", messages=HELLO, tools=OPENAI_TOOLS, tool_choice=named
    ).choices[0]
    assert (forced.finish_reason, forced.message.tool_calls[0].function.name) == ("stop", "time")
    results = [{"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in calls]
    turns = [*HELLO, answer.choices[0].message, *results]
    after = gpt.chat.completions.create(model="any", messages=turns, tools=OPENAI_TOOLS)
    assert after.choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError, match="tool_call_id"):
        gpt.chat.completions.create(model="any", messages=[*turns[:2], results[0], *HELLO])


def test_openai_declines(gpt: Any) -> None:
    options = {"model": "any", "messages": HELLO, "extra_headers": {"x-perfload-fault": "refusal"}}
    message = gpt.chat.completions.create(**options).choices[0].message
    assert (message.content, len(message.refusal.split())) == (None, TOKENS)
    deltas = [chunk.choices[0].delta for chunk in gpt.chat.completions.create(**options, stream=True)]
    assert len("".join(delta.refusal or "" for delta in deltas).split()) == TOKENS


def test_openai_tiers(gpt: Any) -> None:
    for asked, told in (("auto", "default"), ("flex", "flex"), ("fast", "priority")):
        answer = gpt.chat.completions.create(model="any", messages=HELLO, service_tier=asked)
        assert answer.service_tier == told


# The anthropic client


def test_anthropic_answers_have_the_members_that_they_should_have(claude: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    options: dict[str, Any] = {"model": "any", "max_tokens": 2000, "messages": HELLO}
    assert unknown_members(claude.messages.create(**options, thinking=thinking)) == []
    for more in ({"thinking": thinking}, {"tools": ANTHROPIC_TOOLS}):
        events = list(claude.messages.create(**options, **more, stream=True))
        assert [unknown_members(event) for event in events] == [[]] * len(events)
    assert unknown_members(claude.models.retrieve("perfload-small")) == []


def test_anthropic_stop_sequences(claude: Any) -> None:
    options = {"model": "any", "max_tokens": 100, "messages": HELLO, "stop_sequences": ["e", "a", "o"]}
    answer = claude.messages.create(**options)
    assert answer.stop_reason == "stop_sequence"
    assert answer.stop_sequence in {"e", "a", "o"}
    assert answer.stop_sequence not in "".join(block.text for block in answer.content)
    with claude.messages.stream(**options) as stream:
        streamed = stream.get_final_message()
    assert streamed.stop_reason == "stop_sequence"
    assert streamed.stop_sequence in {"e", "a", "o"}


def test_anthropic_parallel_tools(claude: Any) -> None:
    options: dict[str, Any] = {
        "model": "any",
        "max_tokens": 100,
        "messages": HELLO,
        "tools": ANTHROPIC_TOOLS,
    }
    with claude.messages.stream(**options) as stream:
        message = stream.get_final_message()
    assert [(block.type, block.name) for block in message.content] == [
        ("tool_use", "weather"),
        ("tool_use", "time"),
    ]
    assert all(block.input.keys() == {"city"} for block in message.content)
    single = {"type": "any", "disable_parallel_tool_use": True}
    assert len(claude.messages.create(**options, tool_choice=single).content) == 1
    result = {"type": "tool_result", "tool_use_id": message.content[0].id, "content": "fine"}
    turns = [*HELLO, message.to_param(), {"role": "user", "content": [result]}]
    with pytest.raises(anthropic.BadRequestError, match="without `tool_result`"):
        claude.messages.create(**options | {"messages": turns})


def test_anthropic_answers_in_a_form(claude: Any) -> None:
    message = claude.messages.parse(model="any", max_tokens=500, messages=HELLO, output_format=Trip)
    assert message.parsed_output.places[0].people == 42


def test_anthropic_counts_tokens_and_declines(claude: Any) -> None:
    counted = claude.messages.count_tokens(model="any", messages=HELLO, system="Be short")
    assert counted.input_tokens == 2 + 7
    header = {"x-perfload-fault": "refusal"}
    answer = claude.messages.create(model="any", max_tokens=99, messages=HELLO, extra_headers=header)
    assert (answer.stop_reason, answer.stop_details.type) == ("refusal", "refusal")


def test_anthropic_hides_its_thoughts(claude: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}
    with claude.messages.stream(model="any", max_tokens=2000, messages=HELLO, thinking=thinking) as stream:
        thought, said = stream.get_final_message().content
    assert (thought.thinking, bool(thought.signature), len(said.text.split())) == ("", True, TOKENS)


def test_anthropic_pages_of_models(claude: Any) -> None:
    assert [model.id for model in claude.models.list(limit=1)] == ["perfload-small", "perfload-large"]
    assert {model.lifecycle for model in claude.models.list()} == {"active"}
