"""Requests in Anthropic's format: read field by field, and refused in the words of the real API.

Sources: https://docs.anthropic.com/en/api/messages and /versioning. Answers have the same form in all
versions; the latest one refuses a few things more. Members that are not known are let be.
"""

from __future__ import annotations

from typing import Any

from perfload.target.ai import json_schema
from perfload.target.ai.fields import MAX_SHOWN, Fields, Flaw, Place, kind_of, read_object
from perfload.target.ai.question import (
    MAX_OUTPUT_TOKENS,
    MAX_PARALLEL_CALLS,
    Form,
    Question,
    Tool,
    chosen,
    nonempty,
    texts,
)
from perfload.target.ai.refusal import BAD_REQUEST, Refusal
from perfload.target.ai.words import count_words

STRICT_VERSION = b"2026-10-21"
MAX_STOPS = 8191
_REMOVED = ("temperature", "top_p", "top_k")
"""Not even their default values are allowed in the latest version."""
_ROLES = ("user", "assistant", "system")
_MIN_BUDGET = 1024
_SERVER_TOOLS = (
    "web_search",
    "web_fetch",
    "code_execution",
    "tool_search",
    "browser_toolset",
    "computer_toolset",
)
"""How the types of tools begin that an answer does not call: the real server runs or unfolds them."""
_TEXT_BLOCKS = {"text": "text", "thinking": "thinking", "redacted_thinking": "data"}
_KINDS = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "dictionary",
    "array": "list",
    "null": "null",
}


def question(body: bytes, *, is_strict: bool) -> Question:
    """Read a request; raises `Refusal`. `is_strict`: as the latest version has it."""
    said = Fields(read_object(body), words_for)
    model, messages = _head(said, is_strict=is_strict)
    # None may be wanted: then the prompt is only put into the cache.
    max_tokens = said.count("max_tokens", 0, MAX_OUTPUT_TOKENS)
    if max_tokens is None:
        raise said.flaw("missing", "max_tokens")
    _check_sampling(said)
    thinking = said.inner("thinking")
    budget = _budget(thinking, max_tokens)
    return Question(
        model=model,
        input_tokens=_input_tokens(messages, said),
        max_tokens=max_tokens,
        is_streamed=said.flag("stream"),
        wants_usage=True,
        calls=_calls(said, messages, is_thinking=budget is not None),
        thinking_budget=budget,
        hides_thinking=thinking.choice("display", ("summarized", "omitted")) == "omitted",
        stops=_stops(said),
        form=_form(said.inner("output_config")),
    )


def tokens(body: bytes, *, is_strict: bool) -> int:
    """Read a request to count the tokens of; returns them. Raises `Refusal`."""
    said = Fields(read_object(body), words_for)
    _, messages = _head(said, is_strict=is_strict)
    _calls(said, messages, is_thinking=False)
    return _input_tokens(messages, said)


def words_for(flaw: Flaw) -> Refusal:
    """Return the refusal that says what `flaw` is."""
    where = _path(flaw.place)
    if flaw.problem == "missing":
        rule = "Field required"
    elif flaw.problem == "type":
        rule = f"Input should be a valid {_KINDS[flaw.wanted]}"
    elif flaw.problem == "value":
        rule = f"Input should be {' or '.join(repr(name) for name in flaw.allowed)}"
    elif flaw.problem == "empty":
        rule = f"at least one {where.removesuffix('s')} is required"
    elif flaw.problem == "long":
        rule = f"List should have at most {flaw.bound:g} items after validation, not {flaw.found}"
    else:
        side = "greater" if flaw.problem == "low" else "less"
        rule = f"Input should be {side} than or equal to {flaw.bound:.9g}"
    return _refused(f"{where}: {rule}")


def _path(place: Place) -> str:
    return ".".join(str(step)[:MAX_SHOWN] for step in place)


def _refused(message: str) -> Refusal:
    return Refusal(BAD_REQUEST, message)


def _head(said: Fields, *, is_strict: bool) -> tuple[str, list[Fields]]:
    """Return the model and the messages, which are checked."""
    if is_strict:
        for name in _REMOVED:
            if name in said.body:
                raise _refused(f"{name}: Extra inputs are not permitted")
    model = said.text("model")
    messages = nonempty(said, "messages")
    for message in messages:
        if message.choice("role", _ROLES) is None:
            raise message.flaw("missing", "role")
        _check_content(message, "content", is_strict=is_strict)
    _check_results(messages)
    if "system" in said:
        _check_content(said, "system")
    return model, messages


def _check_content(said: Fields, name: str, *, is_strict: bool = False) -> None:
    content = said.body.get(name)
    if isinstance(content, str):
        return
    if content is None:
        raise said.flaw("missing", name)
    if not isinstance(content, list):
        raise said.flaw("type", name, "array", found=kind_of(content))
    for block in said.objects(name):
        kind = block.text("type")
        if kind in _TEXT_BLOCKS and block.maybe_text(_TEXT_BLOCKS[kind]) is None:
            raise block.flaw("missing", _TEXT_BLOCKS[kind])
        if kind == "tool_use":
            block.text("id")
            block.text("name")
            block.inner("input")
        elif kind == "tool_result" and "content" in block:
            _check_content(block, "content")
        if is_strict:
            _check_strictly(block, kind, said.body.get("role"))


def _check_strictly(block: Fields, kind: str, role: object) -> None:
    """Refuse what the latest version does not allow any more."""
    where = _path(block.place)
    if kind == "document" and role == "assistant":
        raise _refused(f"{where}: no document may be in an assistant message")
    if kind == "text" and role == "user" and block.body.get("citations"):
        raise _refused(f"{where}: no citations may be in a user message")


def _blocks(message: Fields, kind: str) -> list[Fields]:
    if not isinstance(message.body.get("content"), list):
        return []
    return [block for block in message.objects("content") if block.body.get("type") == kind]


def _check_results(messages: list[Fields]) -> None:
    """Refuse results of calls that were not made, and calls in the middle whose result is missing."""
    called: set[str] = set()
    for message in messages:
        results = {block.text("tool_use_id") for block in _blocks(message, "tool_result")}
        where = _path(message.place)
        if unknown := results - called:
            rule = f"unexpected `tool_use_id` found in `tool_result` blocks: {_some(unknown)}"
            raise _refused(f"{where}: {rule}. The previous message has no such `tool_use`.")
        if missing := called - results:
            rule = "`tool_use` ids were found without `tool_result` blocks immediately after"
            raise _refused(f"{where}: {rule}: {_some(missing)}.")
        called = {block.text("id") for block in _blocks(message, "tool_use")}


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names))[:MAX_SHOWN]


def _check_sampling(said: Fields) -> None:
    """Refuse what would steer a model, where it is wrong; where it is right, it changes nothing."""
    said.number("temperature", 0, 1)
    said.number("top_p", 0, 1)
    said.count("top_k", 0, MAX_OUTPUT_TOKENS)
    said.inner("metadata").maybe_text("user_id")
    said.choice("service_tier", ("auto", "standard_only"))
    said.choice("speed", ("standard", "fast"))


def _stops(said: Fields) -> tuple[str, ...]:
    stops = said.texts("stop_sequences", MAX_STOPS)
    if not all(stop.strip() for stop in stops):
        raise _refused("stop_sequences: each stop sequence must contain non-whitespace")
    return tuple(stops)


def _form(config: Fields) -> Form | None:
    config.choice("effort", ("low", "medium", "high", "xhigh", "max"))
    asked = config.inner("format")
    if "format" not in config:
        return None
    if asked.choice("type", ("json_schema",)) is None:
        raise asked.flaw("missing", "type")
    if "schema" not in asked:
        raise asked.flaw("missing", "schema")
    schema = asked.inner("schema").body
    try:
        json_schema.check(schema, is_closed=True)
    except json_schema.SchemaFlaw as flaw:
        raise _refused(f"output_config.format.schema: {flaw}") from flaw
    return Form(schema)


def _calls(said: Fields, messages: list[Fields], *, is_thinking: bool) -> tuple[Tool, ...]:
    """Return the tools to call."""
    tools = [tool for asked in said.objects("tools") if (tool := _tool(asked)) is not None]
    choice = said.inner("tool_choice")
    if "tool_choice" in said and "type" not in choice:
        raise choice.flaw("missing", "type")
    kind = choice.choice("type", ("auto", "any", "tool", "none")) or "auto"
    is_single = choice.flag("disable_parallel_tool_use")
    if "tool_choice" in said and "tools" not in said and kind != "none":
        raise _refused("tool_choice: may only be specified while providing `tools`")
    if kind in ("any", "tool") and is_thinking:
        raise _refused("Thinking may not be enabled when tool_choice forces tool use.")
    if kind == "tool":
        return (chosen(tools, choice.text("name")),)
    # With its result the model has what it asked for: else a loop of tools would never end.
    if kind == "none" or (kind == "auto" and _blocks(messages[-1], "tool_result")):
        return ()
    return tuple(tools[: 1 if is_single else MAX_PARALLEL_CALLS])


def _tool(asked: Fields) -> Tool | None:
    """Return a tool that an answer may call; None for one that is the server's own affair."""
    kind = asked.maybe_text("type") or "custom"
    if kind.startswith(_SERVER_TOOLS):
        return None
    name = asked.text("name")
    if kind == "custom" and "input_schema" not in asked:
        raise asked.flaw("missing", "input_schema")
    asked.maybe_text("description")
    schema = asked.inner("input_schema")
    if kind == "custom" and "type" in schema and schema.body["type"] != "object":
        raise schema.flaw("value", "type", allowed=("object",))
    return Tool(name, schema.body)


def _budget(thinking: Fields, max_tokens: int) -> int | None:
    kind = thinking.choice("type", ("enabled", "disabled", "adaptive", "between_tools"))
    if kind is None and thinking.body:
        raise thinking.flaw("missing", "type")
    if kind == "adaptive":
        return MAX_OUTPUT_TOKENS
    if kind != "enabled":
        return None
    budget = thinking.count("budget_tokens", _MIN_BUDGET, MAX_OUTPUT_TOKENS)
    if budget is None:
        raise thinking.flaw("missing", "budget_tokens")
    if budget >= max_tokens:
        raise _refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return budget


def _input_tokens(messages: list[Fields], said: Fields) -> int:
    """Return the words of all texts, and of the arguments that earlier calls of tools had."""
    read = [
        *texts(said.body.get("system")),
        *(text for message in messages for text in texts(message.body.get("content"))),
    ]
    inputs: list[Any] = [
        block.body.get("input") for message in messages for block in _blocks(message, "tool_use")
    ]
    return count_words(read) + count_words(inputs) + count_words(said.body.get("tools"))
