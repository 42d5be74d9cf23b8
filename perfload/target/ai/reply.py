"""What is answered, complete before any of it is sent, and cut into the chunks in which it is."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal, NamedTuple

from perfload.target.ai.question import Question, Tool
from perfload.target.ai.spread import Spread

Channel = Literal["thinking", "content", "refusal", "tool", "arguments"]


class Stop(enum.Enum):
    """Why an answer ends: as OpenAI, then as Anthropic says it."""

    END = ("stop", "end_turn")
    LENGTH = ("length", "max_tokens")
    TOOL = ("tool_calls", "tool_use")
    NAMED_TOOL = ("stop", "tool_use")
    LEGACY_TOOL = ("function_call", "tool_use")
    SEQUENCE = ("stop", "stop_sequence")
    REFUSED = ("stop", "refusal")


class Chunk(NamedTuple):
    """What is sent at once of one choice: several tokens of one channel."""

    channel: Channel
    text: str
    tokens: int
    words: Sequence[str] = ()
    """The tokens one by one."""
    choice: int = 0
    call: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    tool: Tool
    arguments: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer. The items of a list are tokens; joined, the text."""

    thinking: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    """Said in place of content by a model that will not answer."""
    calls: list[Call] = field(default_factory=list)
    stop: Stop = Stop.END
    stop_sequence: str | None = None
    """The text before which it was ended."""
    odds_seed: int = 0
    """What log probabilities are drawn from."""

    @property
    def output_tokens(self) -> int:
        """All tokens that are sent; the name of a tool is one."""
        calls = sum(1 + len(call.arguments) for call in self.calls)
        return len(self.thinking) + len(self.content) + len(self.refusal) + calls

    def chunks(self, index: int, size: Spread, source: random.Random) -> Iterator[Chunk]:
        """Yield it in chunks of about `size` tokens, each of one channel; `index`: its place in the reply."""
        always = size.draw_count(source) if size.is_constant else 0
        for channel, tokens, call in self._parts():
            at = 0
            while at < len(tokens):
                words = tokens[at : at + (always or size.draw_count(source))]
                at += len(words)
                yield Chunk(channel, "".join(words), len(words), words, index, call)

    def _parts(self) -> Iterator[tuple[Channel, list[str], int]]:
        """Yield the channels in order, each with its tokens and the number of the call."""
        yield "thinking", self.thinking, 0
        yield "content", self.content, 0
        yield "refusal", self.refusal, 0
        for number, call in enumerate(self.calls):
            yield "tool", [call.tool.name], number
            yield "arguments", call.arguments, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """All that is answered to one question."""

    question: Question
    choices: Sequence[Choice]
    cached_tokens: int = 0
    """Of the input."""

    @property
    def first(self) -> Choice:
        """The one choice that there always is."""
        return self.choices[0]

    @property
    def thinking_tokens(self) -> int:
        """How many tokens of the output are thoughts."""
        return sum(len(choice.thinking) for choice in self.choices)

    @property
    def output_tokens(self) -> int:
        """All tokens that are sent."""
        return sum(choice.output_tokens for choice in self.choices)

    def steps(self, size: Spread, source: random.Random) -> Iterator[Sequence[Chunk]]:
        """Yield what is decoded at once: a chunk of each choice that has not ended."""
        if len(self.choices) == 1:
            return zip(self.first.chunks(0, size, source), strict=True)
        return self._side_by_side(size, source)

    def _side_by_side(self, size: Spread, source: random.Random) -> Iterator[Sequence[Chunk]]:
        every = [choice.chunks(index, size, source) for index, choice in enumerate(self.choices)]
        for step in zip_longest(*every):
            yield [chunk for chunk in step if chunk is not None]
