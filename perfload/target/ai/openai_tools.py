"""Which tools an answer in OpenAI's format calls.

Source: https://platform.openai.com/docs/guides/function-calling.
"""

from __future__ import annotations

import re
from typing import Any

from perfload.target.ai import json_schema
from perfload.target.ai.fields import Fields
from perfload.target.ai.openai_words import path_of, refused
from perfload.target.ai.question import MAX_PARALLEL_CALLS, Tool, chosen

MAX_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def calls(said: Fields, *, last_role: str) -> tuple[tuple[Tool, ...], bool]:
    """Return the tools to call, and whether the request names the one; raises `Refusal`."""
    if "functions" in said:
        return _legacy_calls(said, last_role)
    tools = _tools(said)
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in said and not tools:
            rule = f"'{name}' is only allowed when 'tools' are specified."
            raise refused(f"Invalid value for '{name}': {rule}", name)
    most = MAX_PARALLEL_CALLS if said.body.get("parallel_tool_calls") is not False else 1
    said.flag("parallel_tool_calls")
    choice = said.body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        tools, mode, is_named = _from_object(said.inner("tool_choice"), tools)
        if is_named:
            return tuple(tools), True
    else:
        mode = said.choice("tool_choice", ("none", "auto", "required")) or "auto"
    # With its result the model has what it asked for: else a loop of tools would never end.
    if mode == "none" or (mode == "auto" and last_role in ("tool", "function")):
        return (), False
    return tuple(tools[:most]), False


def name_of(said: Fields) -> str:
    """Return the name of a tool or form; raises `Refusal`."""
    name = said.text("name")
    if not _NAME.fullmatch(name):
        where = path_of((*said.place, "name"))
        rule = "Expected a string that matches the pattern '^[a-zA-Z0-9_-]{1,64}$'."
        raise refused(f"Invalid '{where}': string does not match pattern. {rule}", where, "invalid_value")
    return name


def _tools(said: Fields) -> list[Tool]:
    asked = said.objects("tools")
    if "tools" in said and not asked:
        raise said.flaw("empty", "tools", "array")
    if len(asked) > MAX_TOOLS:
        raise said.flaw("long", "tools", "array", found=str(len(asked)), bound=MAX_TOOLS)
    return [_tool(tool) for tool in asked]


def _tool(asked: Fields) -> Tool:
    kind = asked.choice("type", ("function", "custom"))
    if kind is None:
        raise asked.flaw("missing", "type")
    inner = asked.inner(kind)
    if kind not in asked:
        raise asked.flaw("missing", kind)
    inner.maybe_text("description")
    if kind == "custom":
        return Tool(name_of(inner), {}, "custom")
    return Tool(name_of(inner), _parameters(inner))


def _parameters(function: Fields) -> dict[str, Any]:
    schema = function.inner("parameters").body
    if function.flag("strict"):
        try:
            json_schema.check(schema, is_closed=True, needs_all=True)
        except json_schema.SchemaFlaw as flaw:
            rule = f"Invalid schema for function '{function.body['name']}': {flaw}"
            where = path_of((*function.place, "parameters"))
            raise refused(rule, where, "invalid_function_parameters") from flaw
    return schema


def _from_object(choice: Fields, tools: list[Tool]) -> tuple[list[Tool], str, bool]:
    """Return the tools that an object leaves, how to choose from them, and whether it names the one."""
    kind = choice.choice("type", ("function", "custom", "allowed_tools"))
    if kind is None:
        raise choice.flaw("missing", "type")
    inner = choice.inner(kind)
    if kind != "allowed_tools":
        return [chosen(tools, inner.text("name"))], "required", True
    mode = inner.choice("mode", ("auto", "required")) or "auto"
    named = [tool.inner(str(tool.body.get("type", "function"))) for tool in inner.objects("tools")]
    return [chosen(tools, tool.text("name")) for tool in named], mode, False


def _legacy_calls(said: Fields, last_role: str) -> tuple[tuple[Tool, ...], bool]:
    """Read `functions`, which `tools` replaced: one call at a time."""
    asked = said.objects("functions")
    if not asked:
        raise said.flaw("empty", "functions", "array")
    tools = [Tool(name_of(function), function.inner("parameters").body, "legacy") for function in asked]
    if isinstance(said.body.get("function_call"), dict):
        return (chosen(tools, said.inner("function_call").text("name")),), True
    mode = said.choice("function_call", ("none", "auto")) or "auto"
    return ((), False) if mode == "none" or last_role == "function" else ((tools[0],), False)
