"""What streams do beside the format: the same events, however they are written."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from perfload.errors import UsageError
from perfload.target.ai import quirks
from perfload.target.ai.anthropic import Anthropic
from perfload.target.ai.author import Author
from perfload.target.ai.openai import OpenAi
from perfload.target.ai.provider import Frame, Identity
from perfload.target.ai.refusal import Refusal
from perfload.target.ai.spread import Spread

pytestmark = pytest.mark.ai

TOKENS = 10


def stream(provider: OpenAi | Anthropic, *names: str, **more: Any) -> tuple[bytes, list[Frame]]:
    asked = {"model": "data: x", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]} | more
    question = provider.question(json.dumps(asked).encode(), {})
    reply = Author(Spread(TOKENS)).write(question, random.Random(1))
    identity = Identity("chatcmpl-1", "req_1", 1, frozenset(names))
    steps = reply.steps(Spread(1), random.Random(1))
    idle = provider.idle_event(reply, identity) + (quirks.COMMENT if quirks.COMMENTS in names else b"")
    opening = quirks.opening(provider.opening(reply, identity), identity.quirks, idle)
    return opening, list(quirks.dressed(provider.frames(reply, identity, steps), identity.quirks, idle))


def whole(provider: OpenAi | Anthropic, *names: str, **more: Any) -> bytes:
    opening, frames = stream(provider, *names, **more)
    return opening + b"".join(data for data, _ in frames)


def chunks(*names: str, **more: Any) -> list[Any]:
    lines = whole(OpenAi(), *names, stream=True, **more).decode().split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


@pytest.mark.parametrize("provider", [OpenAi(), Anthropic()], ids=["openai", "anthropic"])
@pytest.mark.parametrize(
    ("name", "undo"),
    [
        ("crlf", lambda data: data.replace(b"\r\n", b"\n")),
        ("cr", lambda data: data.replace(b"\r", b"\n")),
        ("no-space", lambda data: data.replace(b"data:{", b"data: {").replace(b"event:", b"event: ")),
        ("bom", lambda data: data.removeprefix(b"\xef\xbb\xbf")),
        ("comments", lambda data: data.replace(quirks.COMMENT, b"")),
        ("split-events", lambda data: data),
        ("merged-events", lambda data: data),
    ],
)
def test_the_events_stay_the_same(provider: OpenAi | Anthropic, name: str, undo: Any) -> None:
    plain = whole(provider)
    odd = whole(provider, name)
    if name == "no-space":
        odd = odd.replace(b"data:[DONE]", b"data: [DONE]")
    assert undo(odd) == plain
    assert (odd == plain) is (name in {"split-events", "merged-events"})
    tokens = [tokens for _, tokens in stream(provider, name)[1]]
    assert sum(tokens) == TOKENS


def test_a_write_ends_in_the_middle_of_an_event() -> None:
    _, plain = stream(OpenAi())
    _, split = stream(OpenAi(), "split-events")
    assert len(split) == len(plain)
    assert not any(data.endswith(b"\n\n") for data, _ in split[:-1])
    # A token counts where its event is complete.
    ends = list(itertools.accumulate(len(data) for data, _ in plain))
    sent = list(itertools.accumulate(len(data) for data, _ in split))
    for size, tokens in zip(sent, itertools.accumulate(tokens for _, tokens in split), strict=True):
        assert tokens == min(TOKENS, sum(end <= size for end in ends))


def test_two_events_are_in_one_write() -> None:
    _, merged = stream(OpenAi(), "merged-events")
    assert [tokens for _, tokens in merged] == [2] * 5 + [0]
    assert quirks.writes(11, frozenset({"merged-events"})) == 6


def test_chunks_without_choices() -> None:
    empty, null = chunks("empty-choices"), chunks("null-choices")
    for found, nothing in ((empty, []), (null, None)):
        idle = [chunk for chunk in found if chunk["choices"] == nothing]
        assert len(idle) > 3
        assert found[0] == idle[0]
    assert whole(Anthropic(), "null-choices") == whole(Anthropic())


def test_usage_in_every_chunk_and_in_none() -> None:
    asked = {"stream_options": {"include_usage": True}}
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks("usage-in-every-chunk")]
    assert counts == [0, *range(1, TOKENS + 1), TOKENS]
    both = chunks("usage-in-every-chunk", "empty-choices", "null-choices")
    counts = [chunk["usage"]["completion_tokens"] for chunk in both if chunk["choices"]]
    assert counts == sorted(counts)
    # Made once, before anything is sent: any number in them would be wrong later.
    assert {str(chunk["usage"]) for chunk in both if not chunk["choices"]} == {"None"}
    assert not any("usage" in chunk for chunk in chunks("no-usage", **asked))
    assert chunks(**asked)[-1]["usage"]["completion_tokens"] == TOKENS


def test_no_mark_at_the_end() -> None:
    assert not whole(OpenAi(), "no-done").endswith(b"data: [DONE]\n\n")
    assert whole(OpenAi()).endswith(b"data: [DONE]\n\n")


def test_names_are_read() -> None:
    assert quirks.parse(["crlf, bom", "no-done"]) == {"crlf", "bom", "no-done"}
    assert quirks.parse([]) == frozenset()
    assert quirks.asked(b"none") == frozenset()
    assert quirks.asked(b"cr,comments") == {"cr", "comments"}
    for wrong in ("crlff", "", "cr,crlf", "no-usage,usage-in-every-chunk"):
        with pytest.raises(UsageError, match="--ai-quirk"):
            quirks.parse([wrong])
        with pytest.raises(Refusal, match="x-perfload-quirk"):
            quirks.asked(wrong.encode())
    with pytest.raises(Refusal):
        quirks.asked(b"\xff")
