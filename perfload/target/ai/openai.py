"""OpenAI's chat completions.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from perfload.target.ai import openai_request, quirks
from perfload.target.ai.limits import Level, Standing
from perfload.target.ai.odds import Odds
from perfload.target.ai.openai_stream import OpenAiStream, call_id, envelope, usage_of
from perfload.target.ai.provider import Frame, HeaderList, Identity, RawHeaders
from perfload.target.ai.question import Question
from perfload.target.ai.refusal import RATE_LIMIT, Refusal
from perfload.target.ai.reply import Choice, Chunk, Reply


class OpenAi:
    """`POST /v1/chat/completions`."""

    name = "openai"
    request_id_header = b"x-request-id"

    def key(self, headers: RawHeaders) -> str:
        """Return the bearer token."""
        scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    def question(self, body: bytes, headers: RawHeaders) -> Question:
        """Read a request; raises `Refusal`."""
        return openai_request.question(body)

    def opening(self, reply: Reply, identity: Identity) -> bytes:
        """Return the deltas that have the role only."""
        return OpenAiStream(reply, identity).opening()

    def frames(self, reply: Reply, identity: Identity, steps: Iterable[Sequence[Chunk]]) -> Iterator[Frame]:
        """Yield a frame per step, then reasons, usage if wanted, and `[DONE]`."""
        return OpenAiStream(reply, identity).frames(steps)

    def idle_event(self, reply: Reply, identity: Identity) -> bytes:
        """Return a chunk without choices, of the kind that the quirks name."""
        return OpenAiStream(reply, identity).idle()

    def body(self, reply: Reply, identity: Identity) -> bytes:
        """Return the answer as one `chat.completion`."""
        choices = [_choice(reply, index, identity) for index in range(len(reply.choices))]
        answer = envelope(reply, identity, "chat.completion", choices)
        if quirks.NO_USAGE not in identity.quirks:
            answer["usage"] = usage_of(reply)
        return orjson.dumps(answer)

    def status(self, refusal: Refusal) -> int:
        """Return the status of a refusal."""
        return refusal.kind.openai[0]

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """Return `{"error": …}`."""
        _, kind, code = refusal.kind.openai
        if refusal.kind is RATE_LIMIT:
            kind = refusal.limited
        error = {
            "message": refusal.message,
            "type": kind,
            "param": refusal.param,
            "code": refusal.code or code,
        }
        return orjson.dumps({"error": error})

    def error_event(self, refusal: Refusal, request_id: str) -> bytes:
        """Return the same as an event."""
        return b"data: %b\n\n" % self.error(refusal, request_id)

    def malformed_event(self) -> bytes:
        """Return JSON that breaks off."""
        return b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"ind\n\n'

    def limit_headers(self, standing: Standing, now_s: float) -> HeaderList:
        """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`."""
        headers: HeaderList = []
        for what, level in ((b"requests", standing.requests), (b"tokens", standing.tokens)):
            if level is not None:
                headers += _level_headers(what, level)
        return headers

    def models(self, names: Sequence[str], created_s: int, query: bytes) -> bytes:
        """Return the list of models: all of them on one page."""
        return orjson.dumps({"object": "list", "data": [_model(name, created_s) for name in names]})

    def model(self, name: str, created_s: int) -> bytes:
        """Return one model."""
        return orjson.dumps(_model(name, created_s))


def go_duration(seconds: float) -> str:
    """Return a duration as OpenAI's headers have it: `20ms`, `1s`, `6m0s`."""
    milliseconds = math.ceil(round(seconds * 1000, 6))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    text = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{text}s" if minutes else f"{text}s"


def _level_headers(what: bytes, level: Level) -> HeaderList:
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % level.limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % level.remaining),
        (b"x-ratelimit-reset-" + what, go_duration(level.reset_s).encode()),
    ]


def _choice(reply: Reply, index: int, identity: Identity) -> dict[str, Any]:
    choice = reply.choices[index]
    has_content = bool(choice.content) or not (choice.calls or choice.refusal)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(choice.content) if has_content else None,
        "refusal": "".join(choice.refusal) if choice.refusal else None,
        "annotations": [],
    }
    if choice.thinking:
        message["reasoning_content"] = "".join(choice.thinking)
    return {
        "index": index,
        "message": message | _calls(choice, index, identity),
        "logprobs": _logprobs(reply, choice),
        "finish_reason": choice.stop.value[0],
    }


def _calls(choice: Choice, index: int, identity: Identity) -> dict[str, Any]:
    calls = []
    for number, call in enumerate(choice.calls):
        tool, written = call.tool, "".join(call.arguments)
        if tool.kind == "legacy":
            return {"function_call": {"name": tool.name, "arguments": written}}
        key = "input" if tool.kind == "custom" else "arguments"
        part = {"name": tool.name, key: written}
        calls.append({"id": call_id(identity, index, number), "type": tool.kind, tool.kind: part})
    return {"tool_calls": calls} if calls else {}


def _logprobs(reply: Reply, choice: Choice) -> dict[str, Any] | None:
    alternatives = reply.question.alternatives
    if alternatives is None or not (choice.content or choice.refusal):
        return None
    odds = Odds(alternatives, choice.odds_seed)
    return {
        "content": odds.of(choice.content) if choice.content else None,
        "refusal": odds.of(choice.refusal) if choice.refusal else None,
    }


def _model(name: str, created_s: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created_s, "owned_by": "perfload"}
