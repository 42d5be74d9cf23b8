"""Anthropic's messages.

Sources: https://docs.anthropic.com/en/api/messages, /messages-streaming, /rate-limits and /versioning.
Answers have the same form in all versions; the latest one refuses a few things more, and its clients send the
key as a bearer token.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from perfload.target.ai.limits import Standing
from perfload.target.ai.provider import Frame, HeaderList, Identity, RawHeaders
from perfload.target.ai.question import (
    MAX_OUTPUT_TOKENS,
    Question,
    Tool,
    chosen,
    count_of,
    flag_of,
    messages_of,
    object_of,
    objects_of,
    read_object,
    text_of,
    texts,
)
from perfload.target.ai.refusal import BAD_REQUEST, Refusal
from perfload.target.ai.reply import Channel, Chunk, Reply
from perfload.target.ai.words import count_words

STRICT_VERSION = b"2026-10-21"
VERSIONS = frozenset({b"2023-06-01", STRICT_VERSION})
_REMOVED = ("temperature", "top_p", "top_k")
"""Not even their default values are allowed in the latest version."""
_ROLES = frozenset({"assistant", "system", "user"})
_MIN_BUDGET = 1024
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_PING_AT = 8
"""A ping may be anywhere: one is before the first token, one after so many chunks."""
_SIGNATURE = "cGVyZmxvYWQ="
_BLOCKS: dict[Channel, str] = {
    "thinking": "thinking",
    "content": "text",
    "tool": "tool_use",
    "arguments": "tool_use",
}
_DELTAS = {"thinking": b'"thinking_delta","thinking"', "content": b'"text_delta","text"'}
_ARGUMENTS = b'"input_json_delta","partial_json"'


class Anthropic:
    """`POST /v1/messages`."""

    name = "anthropic"
    request_id_header = b"request-id"

    def key(self, headers: RawHeaders) -> str:
        """Return `x-api-key`, or the bearer token; raises `Refusal` without a known `anthropic-version`."""
        version = headers.get(b"anthropic-version")
        if version is None:
            raise Refusal(BAD_REQUEST, "anthropic-version: header is required")
        if version not in VERSIONS:
            raise Refusal(BAD_REQUEST, 'anthropic-version: "2023-06-01" is a valid version')
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        return headers.get(b"x-api-key", b"").decode("latin-1").strip() or bearer

    def question(self, body: bytes, headers: RawHeaders) -> Question:
        """Read a request; raises `Refusal`."""
        said = read_object(body)
        if headers.get(b"anthropic-version") == STRICT_VERSION:
            _check_strictly(said)
        model = text_of(said, "model")
        max_tokens = count_of(said, "max_tokens")
        if max_tokens is None:
            raise Refusal(BAD_REQUEST, "max_tokens: Field required")
        messages = messages_of(said, _ROLES)
        read = [
            *texts(said.get("system")),
            *(text for message in messages for text in texts(message.get("content"))),
        ]
        return Question(
            model=model,
            input_tokens=count_words(read) + _inputs(messages) + count_words(said.get("tools")),
            max_tokens=max_tokens,
            is_streamed=flag_of(said, "stream"),
            wants_usage=True,
            tool=_tool(said, messages),
            thinking_budget=_budget(object_of(said, "thinking"), max_tokens),
        )

    def opening(self, reply: Reply, identity: Identity) -> bytes:
        """Return `message_start` and a ping."""
        message = _message(reply, identity) | {
            "content": [],
            "stop_reason": None,
            "usage": _usage(reply, 1, 0),
        }
        return _event("message_start", {"message": message}) + _PING

    def frames(self, reply: Reply, identity: Identity, chunks: Iterable[Chunk]) -> Iterator[Frame]:
        """Yield a frame per chunk, then the end; a block begins in the frame of its first chunk."""
        open_block = ""
        index = -1
        head = b""
        for number, (channel, text, tokens) in enumerate(chunks):
            before = _PING if number == _PING_AT else b""
            if _BLOCKS[channel] != open_block:
                before += _stopped(open_block, index)
                open_block, index = _BLOCKS[channel], index + 1
                before += _started(open_block, index, text, identity)
                head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % index
            if channel == "tool":
                yield b'%b%b"delta":{"type":%b:""}}\n\n' % (before, head, _ARGUMENTS), tokens
                continue
            kind = _DELTAS.get(channel, _ARGUMENTS)
            yield b'%b%b"delta":{"type":%b:%b}}\n\n' % (before, head, kind, orjson.dumps(text)), tokens
        yield _stopped(open_block, index) + _ending(reply), 0

    def body(self, reply: Reply, identity: Identity) -> bytes:
        """Return the answer as one `message`."""
        content: list[dict[str, Any]] = []
        if reply.thinking:
            thoughts = "".join(reply.thinking)
            content.append({"type": "thinking", "thinking": thoughts, "signature": _SIGNATURE})
        if reply.content:
            content.append({"type": "text", "text": "".join(reply.content)})
        if reply.tool_name:
            content.append(_tool_block(reply.tool_name, identity) | {"input": _input(reply)})
        message = _message(reply, identity) | {"content": content, "stop_reason": reply.stop.value[1]}
        return orjson.dumps(message | {"usage": _final_usage(reply)})

    def status(self, refusal: Refusal) -> int:
        """Return the status of a refusal."""
        return refusal.kind.anthropic[0]

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """Return `{"type": "error", …}`."""
        error = {"type": refusal.kind.anthropic[1], "message": refusal.message}
        return orjson.dumps({"type": "error", "error": error, "request_id": request_id})

    def error_event(self, refusal: Refusal, request_id: str) -> bytes:
        """Return the same as an event."""
        return b"event: error\ndata: %b\n\n" % self.error(refusal, request_id)

    def malformed_event(self) -> bytes:
        """Return JSON that breaks off."""
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"del\n\n'

    def limit_headers(self, standing: Standing, now_s: float) -> HeaderList:
        """Return `anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`."""
        headers: HeaderList = []
        for what, level in ((b"requests", standing.requests), (b"tokens", standing.tokens)):
            if level is not None:
                prefix = b"anthropic-ratelimit-" + what
                headers += [
                    (prefix + b"-limit", b"%d" % level.limit),
                    (prefix + b"-remaining", b"%d" % level.remaining),
                    (prefix + b"-reset", _rfc3339(math.ceil(now_s + level.reset_s)).encode()),
                ]
        return headers

    def models(self, names: Iterable[str], created_s: int) -> bytes:
        """Return the list of models."""
        found = [_model(name, created_s) for name in names]
        ends = (
            {"first_id": found[0]["id"], "last_id": found[-1]["id"]}
            if found
            else {"first_id": None, "last_id": None}
        )
        return orjson.dumps({"data": found, "has_more": False} | ends)

    def model(self, name: str, created_s: int) -> bytes:
        """Return one model."""
        return orjson.dumps(_model(name, created_s))


def _check_strictly(said: dict[str, Any]) -> None:
    """Refuse what the latest version does not allow any more."""
    for name in _REMOVED:
        if name in said:
            raise Refusal(BAD_REQUEST, f"{name}: Extra inputs are not permitted")
    for index, message in enumerate(objects_of(said, "messages")):
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            kind = block.get("type") if isinstance(block, dict) else ""
            if kind == "document" and message.get("role") == "assistant":
                raise Refusal(BAD_REQUEST, f"messages.{index}: no document may be in an assistant message")
            if kind == "text" and message.get("role") == "user" and block.get("citations"):
                raise Refusal(BAD_REQUEST, f"messages.{index}: no citations may be in a user message")


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | data))


def _message(reply: Reply, identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.answer_id,
        "type": "message",
        "role": "assistant",
        "model": reply.question.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _final_usage(reply: Reply) -> dict[str, Any]:
    return _usage(reply, reply.output_tokens, reply.thinking_tokens)


def _usage(reply: Reply, output_tokens: int, thinking_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": reply.question.input_tokens - reply.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached_tokens,
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": thinking_tokens},
    }


def _started(block: str, index: int, text: str, identity: Identity) -> bytes:
    if block == "tool_use":
        start = _tool_block(text, identity)
    elif block == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
    else:
        start = {"type": "text", "text": ""}
    return _event("content_block_start", {"index": index, "content_block": start})


def _stopped(block: str, index: int) -> bytes:
    if not block:
        return b""
    signed = b""
    if block == "thinking":
        delta = {"type": "signature_delta", "signature": _SIGNATURE}
        signed = _event("content_block_delta", {"index": index, "delta": delta})
    return signed + _event("content_block_stop", {"index": index})


def _ending(reply: Reply) -> bytes:
    delta = {"stop_reason": reply.stop.value[1], "stop_sequence": None}
    return _event("message_delta", {"delta": delta, "usage": _final_usage(reply)}) + _event(
        "message_stop", {}
    )


def _tool_block(name: str, identity: Identity) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": f"toolu_{identity.answer_id.rpartition('_')[2]}",
        "name": name,
        "input": {},
    }


def _input(reply: Reply) -> Any:
    try:
        return orjson.loads("".join(reply.arguments))
    except orjson.JSONDecodeError:
        return {}  # cut off by max_tokens: the real API has no half objects either


def _inputs(messages: list[dict[str, Any]]) -> int:
    """Return the words of the arguments that earlier calls of tools had."""
    contents = [message["content"] for message in messages if isinstance(message.get("content"), list)]
    blocks = [block for content in contents for block in content if isinstance(block, dict)]
    return sum(count_words(block.get("input")) for block in blocks)


def _tool(said: dict[str, Any], messages: list[dict[str, Any]]) -> Tool | None:
    tools = [
        Tool(text_of(tool, "name"), object_of(tool, "input_schema")) for tool in objects_of(said, "tools")
    ]
    choice = object_of(said, "tool_choice")
    kind = choice.get("type", "auto")
    if kind == "tool":
        return chosen(tools, text_of(choice, "name"))
    if kind not in ("auto", "any", "none"):
        raise Refusal(BAD_REQUEST, "tool_choice.type: auto, any, none or tool is required")
    if not tools or kind == "none":
        return None
    # With its result the model has what it asked for: else a loop of tools would never end.
    last = messages[-1].get("content")
    blocks = last if isinstance(last, list) else []
    has_result = any(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)
    return tools[0] if kind == "any" or not has_result else None


def _budget(thinking: dict[str, Any], max_tokens: int) -> int | None:
    kind = thinking.get("type", "disabled")
    if kind == "adaptive":
        return MAX_OUTPUT_TOKENS
    if kind != "enabled":
        return None
    budget = count_of(thinking, "budget_tokens", least=_MIN_BUDGET)
    if budget is None:
        raise Refusal(BAD_REQUEST, "thinking.enabled.budget_tokens: Field required")
    if budget >= max_tokens:
        raise Refusal(BAD_REQUEST, "`max_tokens` must be greater than `thinking.budget_tokens`")
    return budget


def _model(name: str, created_s: int) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _rfc3339(created_s)}


def _rfc3339(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
