"""One streamed answer in Anthropic's format, and the parts that it shares with a whole one.

Source: https://docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from perfload.target.ai.provider import Frame, Identity
from perfload.target.ai.reply import Channel, Choice, Chunk, Reply, Stop

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
SIGNATURE = "cGVyZmxvYWQ="
_PING_AT = 8
"""A ping may be anywhere: one is before the first token, one after so many chunks."""
_BLOCKS: dict[Channel, str] = {
    "thinking": "thinking",
    "content": "text",
    "refusal": "text",
    "tool": "tool_use",
    "arguments": "tool_use",
}
_DELTAS: dict[Channel, bytes] = {
    "thinking": b'"thinking_delta","thinking"',
    "content": b'"text_delta","text"',
    "refusal": b'"text_delta","text"',
    "tool": b'"input_json_delta","partial_json"',
    "arguments": b'"input_json_delta","partial_json"',
}


class AnthropicStream:
    """Makes the events of one stream."""

    def __init__(self, reply: Reply, identity: Identity) -> None:
        self._reply = reply
        self._identity = identity
        self._block = ""
        self._call = 0
        self._index = -1
        self._head = b""

    def opening(self) -> bytes:
        """Return `message_start` and a ping."""
        begun = message(self._reply, self._identity) | {"usage": usage(self._reply, 1, 0)}
        return _event("message_start", {"message": begun}) + PING

    def frames(self, steps: Iterable[Sequence[Chunk]]) -> Iterator[Frame]:
        """Yield a frame per step, then the end; a block begins in the frame of its first chunk."""
        hidden = 0
        for number, (chunk,) in enumerate(steps):
            before = PING if number == _PING_AT else b""
            if _BLOCKS[chunk.channel] != self._block or chunk.call != self._call:
                before += self._next_block(chunk)
            if chunk.channel == "thinking" and self._reply.question.hides_thinking:
                # They are made all the same, and are told of with the next token that can be seen.
                hidden += chunk.tokens
                yield before or PING, 0
                continue
            text = b'""' if chunk.channel == "tool" else orjson.dumps(chunk.text)
            yield (
                b'%b%b"delta":{"type":%b:%b}}\n\n' % (before, self._head, _DELTAS[chunk.channel], text),
                chunk.tokens + hidden,
            )
            hidden = 0
        yield self._stopped() + self._ending(), hidden

    def _next_block(self, chunk: Chunk) -> bytes:
        end = self._stopped()
        self._block, self._call, self._index = _BLOCKS[chunk.channel], chunk.call, self._index + 1
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % self._index
        )
        if self._block == "tool_use":
            start = tool_block(chunk.text, self._identity, chunk.call)
        elif self._block == "thinking":
            start = {"type": "thinking", "thinking": "", "signature": ""}
        else:
            start = {"type": "text", "text": "", "citations": None}
        return end + _event("content_block_start", {"index": self._index, "content_block": start})

    def _stopped(self) -> bytes:
        if not self._block:
            return b""
        signed = b""
        if self._block == "thinking":
            delta = {"type": "signature_delta", "signature": SIGNATURE}
            signed = _event("content_block_delta", {"index": self._index, "delta": delta})
        return signed + _event("content_block_stop", {"index": self._index})

    def _ending(self) -> bytes:
        reply = self._reply
        counted = _counts(reply, reply.output_tokens, reply.thinking_tokens)
        end = {"delta": stopped_as(reply.first), "usage": counted}
        return _event("message_delta", end) + _event("message_stop", {})


def message(reply: Reply, identity: Identity) -> dict[str, Any]:
    """Return what a message is before anything is said."""
    return {
        "id": identity.answer_id,
        "type": "message",
        "role": "assistant",
        "model": reply.question.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
    }


def stopped_as(choice: Choice) -> dict[str, Any]:
    """Return why the message ended."""
    refused = {"type": "refusal", "category": None, "explanation": None}
    return {
        "stop_reason": choice.stop.value[1],
        "stop_sequence": choice.stop_sequence,
        "stop_details": refused if choice.stop is Stop.REFUSED else None,
    }


def usage(reply: Reply, output_tokens: int, thinking_tokens: int) -> dict[str, Any]:
    """Return the usage of a message."""
    return _counts(reply, output_tokens, thinking_tokens) | {
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }


def tool_block(name: str, identity: Identity, number: int) -> dict[str, Any]:
    """Return the block of the call of that number, before its arguments."""
    unique = identity.answer_id.rpartition("_")[2]
    return {
        "type": "tool_use",
        "id": f"toolu_{unique}_{number}" if number else f"toolu_{unique}",
        "name": name,
        "input": {},
    }


def _counts(reply: Reply, output_tokens: int, thinking_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": reply.question.input_tokens - reply.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached_tokens,
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": thinking_tokens},
    }


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | data))
