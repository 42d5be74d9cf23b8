"""What a request asks for, whichever form it came in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from perfload.target.ai.fields import Fields
from perfload.target.ai.refusal import BAD_REQUEST, Refusal

DEFAULT_THINKING_TOKENS = 20
MAX_OUTPUT_TOKENS = 1_000_000
"""Of one request, all of its choices together: an answer is made at once and kept until it is sent."""
MAX_PARALLEL_CALLS = 4


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that the model may call; `schema` is the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]
    kind: Literal["function", "custom", "legacy"] = "function"
    """`custom` takes any text; `legacy` is OpenAI's `functions`, before there were `tools`."""


@dataclass(frozen=True, slots=True)
class Form:
    """JSON to answer with; `schema` is None where any object will do."""

    schema: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request for an answer."""

    model: str
    input_tokens: int
    max_tokens: int | None = None
    """Of each choice; None: as many as are drawn."""
    min_tokens: int = 0
    ignores_end: bool = False
    """Whether to go on until `max_tokens`, as with `ignore_eos`."""
    is_streamed: bool = False
    wants_usage: bool = False
    """OpenAI's `stream_options.include_usage`; Anthropic always tells."""
    calls: tuple[Tool, ...] = ()
    """The tools to call, all in one answer."""
    is_named: bool = False
    """Whether the request names the tool."""
    thinking_budget: int | None = None
    """The most tokens to reason with; None: the request asks for none."""
    hides_thinking: bool = False
    stops: tuple[str, ...] = ()
    """Texts before which the answer ends."""
    choices: int = 1
    alternatives: int | None = None
    """To each token, with log probabilities; None: without them."""
    form: Form | None = None
    seed: int | None = None
    """The same seed, the same text."""
    service_tier: str = "default"


def chosen(tools: Sequence[Tool], name: str) -> Tool:
    """Return the tool called `name`; raises `Refusal`."""
    for tool in tools:
        if tool.name == name:
            return tool
    raise Refusal(BAD_REQUEST, f"Tool choice '{name[:64]}' not found in 'tools'.", param="tool_choice")


def texts(content: object) -> Iterator[str]:
    """Yield the texts of a message's content: itself, or those of its parts and of results within."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                for name in ("text", "content", "thinking", "refusal"):
                    yield from texts(part.get(name))
    elif isinstance(content, dict):
        yield from texts([content])


def nonempty(said: Fields, name: str) -> list[Fields]:
    """Return the objects of the list `name`, one at least; raises `Refusal`."""
    if name not in said:
        raise said.flaw("missing", name)
    found = said.objects(name)
    if not found:
        raise said.flaw("empty", name, "array")
    return found
