"""What is answered: texts, thoughts and calls of tools, drawn from a seed and cut into chunks."""

from __future__ import annotations

import enum
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from perfload.target.ai.question import DEFAULT_THINKING_TOKENS, Question
from perfload.target.ai.spread import Spread
from perfload.target.ai.words import as_tokens, some_words

Channel = Literal["thinking", "content", "tool", "arguments"]
_WORDS_PER_ARGUMENT = 4
_MAX_DEPTH = 4


class Stop(enum.Enum):
    """Why an answer ends: as OpenAI, then as Anthropic says it."""

    END = ("stop", "end_turn")
    LENGTH = ("length", "max_tokens")
    TOOL = ("tool_calls", "tool_use")


class Chunk(NamedTuple):
    """What is sent at once: several tokens of one channel."""

    channel: Channel
    text: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, complete before any of it is sent. The items of a list are tokens; joined, the text."""

    question: Question
    thinking: list[str]
    content: list[str]
    tool_name: str = ""
    arguments: list[str]
    stop: Stop
    cached_tokens: int = 0
    """Of the input."""

    @property
    def thinking_tokens(self) -> int:
        """How many tokens of the output are thoughts."""
        return len(self.thinking)

    @property
    def output_tokens(self) -> int:
        """All tokens that are sent; the name of a tool is one."""
        return len(self.thinking) + len(self.content) + bool(self.tool_name) + len(self.arguments)

    def chunks(self, size: Spread, source: random.Random) -> Iterator[Chunk]:
        """Yield the answer in chunks of about `size` tokens, each of one channel."""
        yield from _cut("thinking", self.thinking, size, source)
        yield from _cut("content", self.content, size, source)
        if self.tool_name:
            yield Chunk("tool", self.tool_name, 1)
            yield from _cut("arguments", self.arguments, size, source)


@dataclass(frozen=True, slots=True)
class Author:
    """Draws answers."""

    tokens: Spread
    thinking: Spread | None = None
    """Tokens of thought before every answer; None: only where the request asks for it."""
    cached_share: float = 0.0

    def write(self, question: Question, source: random.Random) -> Reply:
        """Return the answer to `question`."""
        limit = question.max_tokens
        thinking = self._thinking_tokens(question, source)
        wanted = max(self.tokens.draw_count(source), question.min_tokens - thinking)
        left = None if limit is None else max(0, limit - thinking)
        if limit is not None:
            thinking = min(thinking, limit)
        thoughts = some_words(thinking, source)
        cached = int(question.input_tokens * self.cached_share)
        if question.tool is not None:
            arguments = as_tokens(json.dumps(_example(question.tool.schema, source)))
            kept = arguments if left is None else arguments[: max(0, left - 1)]
            return Reply(
                question=question,
                thinking=thoughts,
                content=[],
                tool_name=question.tool.name if left != 0 else "",
                arguments=kept,
                stop=Stop.TOOL if len(kept) == len(arguments) else Stop.LENGTH,
                cached_tokens=cached,
            )
        count = wanted if left is None else min(wanted, left)
        return Reply(
            question=question,
            thinking=thoughts,
            content=some_words(count, source),
            arguments=[],
            stop=Stop.END if count == wanted else Stop.LENGTH,
            cached_tokens=cached,
        )

    def _thinking_tokens(self, question: Question, source: random.Random) -> int:
        drawn = 0 if self.thinking is None else self.thinking.draw_count(source, 0)
        if question.thinking_budget is None:
            return drawn
        return min(drawn or DEFAULT_THINKING_TOKENS, question.thinking_budget)


def _cut(channel: Channel, tokens: list[str], size: Spread, source: random.Random) -> Iterator[Chunk]:
    at = 0
    while at < len(tokens):
        count = min(size.draw_count(source), len(tokens) - at)
        yield Chunk(channel, "".join(tokens[at : at + count]), count)
        at += count


def _example(schema: object, source: random.Random, depth: int = 0) -> Any:
    """Return a value that fits a JSON Schema, as far as types, properties and enumerations go."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return {} if depth == 0 else None
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    kind = schema.get("type", "object" if depth == 0 or "properties" in schema else "string")
    if kind == "object":
        properties = schema.get("properties")
        members = properties if isinstance(properties, dict) else {}
        return {name: _example(member, source, depth + 1) for name, member in members.items()}
    if kind == "array":
        return [_example(schema.get("items"), source, depth + 1)]
    simple = {"integer": 42, "number": 0.5, "boolean": True, "null": None}
    if isinstance(kind, str) and kind in simple:
        return simple[kind]
    return "".join(some_words(_WORDS_PER_ARGUMENT, source))
