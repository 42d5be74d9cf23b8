"""Requests in OpenAI's format: read field by field, and refused in the words of the real API.

Source: https://platform.openai.com/docs/api-reference/chat/create. `ignore_eos` and `min_tokens` come from
vLLM. Members that are not known are let be, as compatible servers do.
"""

from __future__ import annotations

from typing import Any

from perfload.target.ai import json_schema, openai_tools
from perfload.target.ai.fields import MAX_SHOWN, Fields, kind_of, read_object
from perfload.target.ai.odds import MAX_ALTERNATIVES
from perfload.target.ai.openai_words import path_of, refused, words_for
from perfload.target.ai.question import MAX_OUTPUT_TOKENS, Form, Question, nonempty, texts
from perfload.target.ai.words import count_words

MAX_CHOICES = 128
MAX_STOPS = 4
_ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_NO_REASONING = ("none", "minimal")
_TIERS = {
    "auto": "default",
    "default": "default",
    "flex": "flex",
    "scale": "scale",
    "priority": "priority",
    "fast": "priority",
}
"""What is asked for, and what is told."""
_PARTS = {
    "assistant": ("text", "refusal"),
    "user": ("text", "image_url", "input_audio", "file"),
}


def question(body: bytes) -> Question:
    """Read a request; raises `Refusal`."""
    said = Fields(read_object(body), words_for)
    model = said.text("model")
    messages = nonempty(said, "messages")
    _check_messages(messages)
    _check_sampling(said)
    choices = said.count("n", 1, MAX_CHOICES) or 1
    shortest, longest = _lengths(said, choices)
    is_streamed = said.flag("stream")
    calls, is_named = openai_tools.calls(said, last_role=messages[-1].body["role"])
    effort = said.choice("reasoning_effort", _EFFORTS) or "none"
    return Question(
        model=model,
        input_tokens=_input_tokens(messages, said),
        max_tokens=longest,
        min_tokens=shortest,
        ignores_end=said.flag("ignore_eos") and longest is not None,
        is_streamed=is_streamed,
        wants_usage=_wants_usage(said, is_streamed=is_streamed),
        calls=calls,
        is_named=is_named,
        thinking_budget=None if effort in _NO_REASONING else MAX_OUTPUT_TOKENS,
        stops=_stops(said),
        choices=choices,
        alternatives=_alternatives(said),
        form=_form(said, messages),
        seed=said.count("seed", -(2**63), 2**63 - 1),
        service_tier=_TIERS[said.choice("service_tier", _TIERS) or "default"],
    )


def _check_messages(messages: list[Fields]) -> None:
    """Refuse messages that cannot follow each other. At the end, calls may be left without results."""
    open_calls: set[str] = set()
    for message in messages:
        if "role" not in message:
            raise message.flaw("missing", "role")
        role = str(message.choice("role", _ROLES))
        where = path_of((*message.place, "role"))
        if role == "tool":
            if not open_calls:
                rule = "must be a response to a preceding message with 'tool_calls'."
                raise refused(f"Invalid parameter: messages with role 'tool' {rule}", where)
            open_calls.discard(message.text("tool_call_id"))
        elif open_calls:
            missing = ", ".join(sorted(open_calls))[:MAX_SHOWN]
            rule = "An assistant message with 'tool_calls' must be followed by tool messages responding to"
            raise refused(f"{rule} each 'tool_call_id'. No response to: {missing}", where)
        _check_content(message, role)
        if role == "assistant":
            open_calls = _called(message)


def _check_content(message: Fields, role: str) -> None:
    content = message.body.get("content")
    if isinstance(content, str):
        return
    if content is None:
        if role == "assistant" and {"tool_calls", "function_call", "refusal"} & message.body.keys():
            return
        raise message.flaw("type", "content", "string", found="null")
    if not isinstance(content, list):
        raise message.flaw("type", "content", "string", found=kind_of(content))
    for part in message.objects("content"):
        _check_part(part, role)


def _check_part(part: Fields, role: str) -> None:
    kind = part.choice("type", _PARTS.get(role, ("text",)))
    if kind is None:
        raise part.flaw("missing", "type")
    if kind in ("text", "refusal"):
        part.maybe_text(kind)
    elif kind == "image_url":
        part.inner(kind).text("url")
    else:
        part.inner(kind)
    if kind not in part:
        raise part.flaw("missing", kind)


def _called(message: Fields) -> set[str]:
    """Return the ids of the calls in a message, which are checked."""
    ids = set()
    for call in message.objects("tool_calls"):
        kind = call.choice("type", ("function", "custom")) or "function"
        inner = call.inner(kind)
        inner.text("name")
        inner.maybe_text("arguments" if kind == "function" else "input")
        ids.add(call.text("id"))
    return ids


def _check_sampling(said: Fields) -> None:
    """Refuse what would steer a model, where it is wrong; where it is right, it changes nothing."""
    said.number("temperature", 0, 2)
    said.number("top_p", 0, 1)
    said.number("presence_penalty", -2, 2)
    said.number("frequency_penalty", -2, 2)
    said.choice("verbosity", ("low", "medium", "high"))
    for name in ("logit_bias", "metadata", "prediction", "web_search_options"):
        said.inner(name)
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        said.maybe_text(name)
    said.flag("store")
    if "audio" in said.texts("modalities", 2):
        rule = "Invalid value: 'audio'. This model answers in text only."
        raise refused(rule, "modalities", "invalid_value")


def _lengths(said: Fields, choices: int) -> tuple[int, int | None]:
    """Return the fewest and the most tokens that a choice may have."""
    most = MAX_OUTPUT_TOKENS // choices
    longest = said.count("max_completion_tokens", 1, most)
    older = said.count("max_tokens", 1, most)
    longest = older if longest is None else longest
    shortest = said.count("min_tokens", 0, most) or 0
    if longest is not None and shortest > longest:
        rule = f"min_tokens must be less than or equal to max_tokens={longest}, got {shortest}."
        raise refused(rule, "min_tokens")
    return shortest, longest


def _wants_usage(said: Fields, *, is_streamed: bool) -> bool:
    options = said.inner("stream_options")
    if "stream_options" in said and not is_streamed:
        rule = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise refused(rule, "stream_options")
    options.flag("include_obfuscation")
    return options.flag("include_usage")


def _stops(said: Fields) -> tuple[str, ...]:
    if isinstance(said.body.get("stop"), str):
        return (said.text("stop"),)
    stops = said.texts("stop", MAX_STOPS)
    if "" in stops:
        raise refused("Invalid 'stop': a sequence must not be empty.", "stop", "invalid_value")
    return tuple(stops)


def _alternatives(said: Fields) -> int | None:
    wanted = said.count("top_logprobs", 0, MAX_ALTERNATIVES)
    if said.flag("logprobs"):
        return wanted or 0
    if wanted is not None:
        rule = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise refused(rule, "top_logprobs")
    return None


def _form(said: Fields, messages: list[Fields]) -> Form | None:
    asked = said.inner("response_format")
    if "response_format" not in said:
        return None
    kind = asked.choice("type", ("text", "json_object", "json_schema"))
    if kind is None:
        raise asked.flaw("missing", "type")
    if kind == "json_object":
        said_so = (text for message in messages for text in texts(message.body.get("content")))
        if not any("json" in text.lower() for text in said_so):
            rule = "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
            raise refused(f"{rule} 'json_object'.", "messages")
        return Form(None)
    return _schema_form(asked.inner("json_schema")) if kind == "json_schema" else None


def _schema_form(asked: Fields) -> Form:
    name = openai_tools.name_of(asked)
    if "schema" not in asked:
        raise asked.flaw("missing", "schema")
    schema = asked.inner("schema").body
    is_strict = asked.flag("strict")
    try:
        json_schema.check(schema, is_closed=is_strict, needs_all=is_strict)
    except json_schema.SchemaFlaw as flaw:
        rule = f"Invalid schema for response_format '{name}': {flaw}"
        raise refused(rule, "response_format", "invalid_json_schema") from flaw
    return Form(schema)


def _input_tokens(messages: list[Fields], said: Fields) -> int:
    tokens = count_words(said.body.get("tools")) + count_words(said.body.get("functions"))
    for message in messages:
        tokens += sum(map(count_words, texts(message.body.get("content"))))
        for call in message.objects("tool_calls"):
            tokens += sum(count_words(inner) for inner in _calls_of(call))
        tokens += count_words(message.body.get("function_call"))
    return tokens


def _calls_of(call: Fields) -> list[Any]:
    return [call.body.get("function"), call.body.get("custom")]
