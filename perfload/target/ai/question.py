"""What a request asks for, whichever form it came in; and reading JSON that anybody may have sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from perfload.target.ai.refusal import BAD_REQUEST, Refusal

DEFAULT_THINKING_TOKENS = 20
MAX_OUTPUT_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `schema` is the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request for an answer."""

    model: str
    input_tokens: int
    max_tokens: int | None = None
    """None: as many as are drawn."""
    min_tokens: int = 0
    is_streamed: bool = False
    wants_usage: bool = False
    """OpenAI's `stream_options.include_usage`; Anthropic always tells."""
    tool: Tool | None = None
    """The one to call."""
    thinking_budget: int | None = None
    """The most tokens to reason with; None: the request asks for none."""


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; raises `Refusal`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(BAD_REQUEST, "We could not parse the JSON body of your request.") from error
    if not isinstance(found, dict):
        raise Refusal(BAD_REQUEST, "The body is not a JSON object.")
    return found


def text_of(body: dict[str, Any], name: str) -> str:
    """Return the text `name`, which has to be there and fit into UTF-8; raises `Refusal`."""
    value = body.get(name)
    if not isinstance(value, str) or not value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Refusal(BAD_REQUEST, f"{name}: a text is required.", param=name)
    return value


def flag_of(body: dict[str, Any], name: str) -> bool:
    """Return the flag `name`, False when it is missing or null; raises `Refusal`."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refusal(BAD_REQUEST, f"{name}: true or false is required.", param=name)
    return bool(value)


def count_of(body: dict[str, Any], name: str, *, least: int = 1) -> int | None:
    """Return the whole number `name`, None when it is missing or null; raises `Refusal`."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_OUTPUT_TOKENS:
        rule = f"a whole number from {least} to {MAX_OUTPUT_TOKENS} is required"
        raise Refusal(BAD_REQUEST, f"{name}: {rule}.", param=name)
    return value


def object_of(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the object `name`, an empty one when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def objects_of(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of the list `name`, [] when it is missing or null; raises `Refusal`."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refusal(BAD_REQUEST, f"{name}: a list of objects is required.", param=name)
    return value


def messages_of(body: dict[str, Any], roles: frozenset[str]) -> list[dict[str, Any]]:
    """Return the messages, at least one, each of one of `roles`; raises `Refusal`."""
    messages = objects_of(body, "messages")
    if not messages:
        raise Refusal(BAD_REQUEST, "messages: at least one message is required.", param="messages")
    for index, message in enumerate(messages):
        role = message.get("role")
        if not isinstance(role, str) or role not in roles:
            where = f"messages.{index}.role"
            raise Refusal(
                BAD_REQUEST, f"{where}: one of {', '.join(sorted(roles))} is required.", param=where
            )
    return messages


def texts(content: object) -> Iterator[str]:
    """Yield the texts of a message's content: itself, or those of its parts and of results within."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                for name in ("text", "content", "thinking"):
                    yield from texts(part.get(name))
    elif isinstance(content, dict):
        yield from texts([content])


def chosen(tools: list[Tool], name: str) -> Tool:
    """Return the tool called `name`; raises `Refusal`."""
    for tool in tools:
        if tool.name == name:
            return tool
    raise Refusal(BAD_REQUEST, "tool_choice: names a tool that is not in tools.", param="tool_choice")
