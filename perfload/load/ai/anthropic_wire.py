"""What Anthropic's messages say, as a stream or at once.

Source: https://docs.anthropic.com/en/api/messages-streaming. A stream has no `[DONE]`; `message_delta` has
the only true count of output tokens, and it is cumulative.
"""

from __future__ import annotations

import json

from perfload.load.ai.answer import MALFORMED, Answer, Channel
from perfload.load.ai.json_values import JsonObject, a_count, a_text, a_word, an_object, objects, parsed
from perfload.load.http.sse import Event

IN_STREAM = "error in the stream"

_DELTAS: dict[str, tuple[Channel, str]] = {
    "text_delta": ("content", "text"),
    "thinking_delta": ("reasoning", "thinking"),
    "input_json_delta": ("tool", "partial_json"),
}
_BLOCKS: dict[str, tuple[Channel, str]] = {
    "text": ("content", "text"),
    "thinking": ("reasoning", "thinking"),
    "tool_use": ("tool", "name"),
    "server_tool_use": ("tool", "name"),
}


def take_event(answer: Answer, event: Event) -> None:
    """Add what one event of a stream says to `answer`."""
    said = parsed(event.data)
    if said is None:
        answer.fail(MALFORMED, event.data)
        return
    kind = a_text(said, "type") or event.event
    if "error" in (kind, event.event):  # llama.cpp's has a type of its own in it
        fail(answer, said)
    elif kind == "message_start":
        _take_usage(answer, an_object(said, "message"))
    elif kind == "content_block_start":
        _take_block(answer, an_object(said, "content_block"), a_count(said, "index") or 0, event.received_ns)
    elif kind == "content_block_delta":
        _take_delta(answer, an_object(said, "delta"), a_count(said, "index") or 0, event.received_ns)
    elif kind == "message_delta":
        _take_usage(answer, said)
        answer.finish_reason = a_text(an_object(said, "delta"), "stop_reason") or answer.finish_reason
    elif kind == "message_stop":
        answer.is_whole = answer.is_done = True


def take_body(answer: Answer, body: bytes, at_ns: int) -> None:
    """Fill `answer` from a response that was not streamed: all of it arrived at `at_ns`."""
    whole = parsed(body)
    if whole is None:
        answer.fail(MALFORMED, body.decode("utf-8", "replace"))
    elif a_text(whole, "type") == "error":
        fail(answer, whole)
    else:
        _take_usage(answer, whole)
        for place, block in enumerate(objects(whole, "content")):
            _take_block(answer, block, place, at_ns)
        answer.finish_reason = a_text(whole, "stop_reason")
        answer.is_whole = bool(answer.finish_reason)
    answer.end(at_ns)


def fail(answer: Answer, body: JsonObject) -> None:
    """Note the error object of a stream, or of a body under a status that says nothing of it."""
    code = code_of(body)
    answer.fail(f"{IN_STREAM}: {code}" if code else IN_STREAM, message_of(body))


def code_of(body: JsonObject) -> str:
    """Return what kind of error `body` tells of; "" where it does not say."""
    return a_word(an_object(body, "error") or body, "type")


def message_of(body: JsonObject) -> str:
    """Return the server's own words."""
    return a_text(an_object(body, "error") or body, "message")


def _take_delta(answer: Answer, delta: JsonObject, place: int, at_ns: int) -> None:
    channel, key = _DELTAS.get(a_text(delta, "type"), ("content", ""))
    text = a_text(delta, key)
    answer.add(channel, text, at_ns)
    if channel == "tool":
        if answer.has_call(place):
            answer.add_call(place, arguments=text)
    elif channel == "reasoning":
        answer.thought(place).parts.append(text)
    elif signature := a_text(delta, "signature"):
        answer.thought(place).signature = signature


def _take_block(answer: Answer, block: JsonObject, place: int, at_ns: int) -> None:
    channel, key = _BLOCKS.get(a_text(block, "type"), ("content", ""))
    answer.add(channel, a_text(block, key), at_ns)
    if channel == "reasoning":
        thought = answer.thought(place)
        thought.parts.append(a_text(block, key))
        thought.signature = a_text(block, "signature")
    elif a_text(block, "type") == "redacted_thinking":
        answer.thought(place).redacted = a_text(block, "data")
    if a_text(block, "type") == "tool_use":  # the other kind the server calls itself
        given = json.dumps(block["input"]) if block.get("input") else ""
        answer.add_call(place, id=a_text(block, "id"), name=a_text(block, "name"), arguments=given)


def _take_usage(answer: Answer, holder: JsonObject) -> None:
    usage = an_object(holder, "usage")
    held = answer.usage
    cached = a_count(usage, "cache_read_input_tokens")
    fresh = a_count(usage, "input_tokens")
    if fresh is not None:
        # Anthropic leaves out of `input_tokens` what came from its cache, or went into it.
        written = a_count(usage, "cache_creation_input_tokens")
        total = fresh + (cached or 0) + (written or 0)
        # Counts only grow: one that is said again without its parts is not the whole.
        held.input_tokens = max(total, held.input_tokens or 0)
    held.cached_tokens = held.cached_tokens if cached is None else cached
    output = a_count(usage, "output_tokens")
    held.output_tokens = held.output_tokens if output is None else output
    # What was thought, not what is shown of it: the text of the reasoning may be a summary.
    thought = a_count(an_object(usage, "output_tokens_details"), "thinking_tokens")
    held.reasoning_tokens = held.reasoning_tokens if thought is None else thought
