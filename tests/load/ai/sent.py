"""The stream of one server, and what a reader has to make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.load.ai.corpus import Stream

DONE = "data: [DONE]\n\n"
EMPTY_COMMENT = ":\n\n"


@dataclass(frozen=True)
class Sent(Stream):
    """What one server sends, and what a reader has to make of it."""

    wire: Literal["openai", "anthropic"] = "openai"
    calls: tuple[tuple[str, str, str], ...] = ()
    """`id`, `name` and `arguments` of each."""


def sse(head: str, *rests: str, start: str = "data: ") -> str:
    """Return an event for each of `rests`: a chunk that begins with `head` and goes on with it."""
    return "".join(f"{start}{head}{rest}}}\n\n" for rest in rests)


def choice(delta: str, rest: str = "") -> str:
    """Return the choices of a chunk: one, whose fields go on with `rest` behind its delta."""
    return f'"choices":[{{"index":0,"delta":{delta}{rest}}}]'
