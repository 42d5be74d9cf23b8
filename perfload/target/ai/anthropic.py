"""Anthropic's messages.

Sources: https://docs.anthropic.com/en/api/messages, /messages-streaming and /rate-limits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs

import orjson

from perfload.target.ai import anthropic_request
from perfload.target.ai.anthropic_request import STRICT_VERSION
from perfload.target.ai.anthropic_stream import (
    SIGNATURE,
    AnthropicStream,
    message,
    stopped_as,
    tool_block,
    usage,
)
from perfload.target.ai.limits import Standing
from perfload.target.ai.provider import Frame, HeaderList, Identity, RawHeaders
from perfload.target.ai.question import Question
from perfload.target.ai.refusal import BAD_REQUEST, Refusal
from perfload.target.ai.reply import Call, Chunk, Reply

VERSIONS = frozenset({b"2023-06-01", STRICT_VERSION})
_DEFAULT_PAGE, _MAX_PAGE = 20, 1000


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
        return anthropic_request.question(body, is_strict=_is_strict(headers))

    def token_count(self, body: bytes, headers: RawHeaders) -> bytes:
        """Return the answer to `POST /v1/messages/count_tokens`; raises `Refusal`."""
        count = anthropic_request.tokens(body, is_strict=_is_strict(headers))
        return orjson.dumps({"input_tokens": count})

    def opening(self, reply: Reply, identity: Identity) -> bytes:
        """Return `message_start` and a ping."""
        return AnthropicStream(reply, identity).opening()

    def frames(self, reply: Reply, identity: Identity, steps: Iterable[Sequence[Chunk]]) -> Iterator[Frame]:
        """Yield a frame per step, then the end."""
        return AnthropicStream(reply, identity).frames(steps)

    def idle_event(self, reply: Reply, identity: Identity) -> bytes:
        """Return nothing: this format has pings of its own."""
        return b""

    def body(self, reply: Reply, identity: Identity) -> bytes:
        """Return the answer as one `message`."""
        choice = reply.first
        content: list[dict[str, Any]] = []
        if choice.thinking:
            thoughts = "" if reply.question.hides_thinking else "".join(choice.thinking)
            content.append({"type": "thinking", "thinking": thoughts, "signature": SIGNATURE})
        if said := choice.content or choice.refusal:
            content.append({"type": "text", "text": "".join(said), "citations": None})
        for number, call in enumerate(choice.calls):
            content.append(tool_block(call.tool.name, identity, number) | {"input": _input(call)})
        return orjson.dumps(
            message(reply, identity)
            | {"content": content, "usage": usage(reply, reply.output_tokens, reply.thinking_tokens)}
            | stopped_as(choice)
        )

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

    def models(self, names: Sequence[str], created_s: int, query: bytes) -> bytes:
        """Return the page of the list of models that `limit`, `after_id` and `before_id` ask for."""
        page, has_more = _page(names, parse_qs(query.decode("latin-1")))
        ends = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
        data = [_model(name, created_s) for name in page]
        return orjson.dumps({"data": data, "has_more": has_more} | ends)

    def model(self, name: str, created_s: int) -> bytes:
        """Return one model."""
        return orjson.dumps(_model(name, created_s))


def _is_strict(headers: RawHeaders) -> bool:
    return headers.get(b"anthropic-version") == STRICT_VERSION


def _input(call: Call) -> Any:
    try:
        return orjson.loads("".join(call.arguments))
    except orjson.JSONDecodeError:
        return {}  # cut off by max_tokens: the real API has no half objects either


def _page(names: Sequence[str], query: dict[str, list[str]]) -> tuple[Sequence[str], bool]:
    """Return the names of one page, and whether there are more in the direction that it goes."""
    limit = query.get("limit", [str(_DEFAULT_PAGE)])[0]
    is_number = limit.isascii() and limit.isdecimal() and len(limit) <= len(str(_MAX_PAGE))
    count = int(limit) if is_number else 0
    if not 1 <= count <= _MAX_PAGE:
        raise Refusal(BAD_REQUEST, f"limit: Input should be from 1 to {_MAX_PAGE}")
    after, before = (query.get(name, [""])[0] for name in ("after_id", "before_id"))
    for name in filter(None, (after, before)):
        if name not in names:
            raise Refusal(BAD_REQUEST, "after_id, before_id: Input should be the id of a model")
    if before:
        earlier = names[: names.index(before)]
        return earlier[-count:], len(earlier) > count
    later = names[names.index(after) + 1 :] if after else names
    return later[:count], len(later) > count


def _model(name: str, created_s: int) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": _rfc3339(created_s),
        "lifecycle": "active",
    }


def _rfc3339(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
