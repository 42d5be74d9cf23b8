"""OpenAI's chat completions.

Sources: https://platform.openai.com/docs/api-reference/chat and /chat-streaming. `reasoning_content` is what
compatible servers (DeepSeek, vLLM, SGLang) call it; `ignore_eos` and `min_tokens` come from
vLLM.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from perfload.target.ai.limits import Level, Standing
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
from perfload.target.ai.refusal import BAD_REQUEST, RATE_LIMIT, Refusal
from perfload.target.ai.reply import Chunk, Reply
from perfload.target.ai.words import count_words

_ROLES = frozenset({"assistant", "developer", "function", "system", "tool", "user"})
_NO_REASONING = frozenset({"none", "minimal"})
_FINGERPRINT = "fp_perfload"
_DONE = b"data: [DONE]\n\n"


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
        said = read_object(body)
        messages = messages_of(said, _ROLES)
        if count_of(said, "n") not in (None, 1):
            raise Refusal(BAD_REQUEST, "n: this server gives one choice.", param="n")
        options = object_of(said, "stream_options")
        is_streamed = flag_of(said, "stream")
        if options and not is_streamed:
            rule = "stream_options: only allowed when stream is true."
            raise Refusal(BAD_REQUEST, rule, param="stream_options")
        max_tokens = count_of(said, "max_completion_tokens") or count_of(said, "max_tokens")
        min_tokens = count_of(said, "min_tokens", least=0) or 0
        effort = said.get("reasoning_effort")
        return Question(
            model=text_of(said, "model"),
            input_tokens=_input_tokens(messages) + count_words(said.get("tools")),
            max_tokens=max_tokens,
            # Never to stop before the limit: as vLLM has it, for tests that need answers of a given length.
            min_tokens=(max_tokens or 0) + 1 if flag_of(said, "ignore_eos") and max_tokens else min_tokens,
            is_streamed=is_streamed,
            wants_usage=flag_of(options, "include_usage"),
            tool=_tool(said, messages),
            thinking_budget=MAX_OUTPUT_TOKENS
            if isinstance(effort, str) and effort not in _NO_REASONING
            else None,
        )

    def opening(self, reply: Reply, identity: Identity) -> bytes:
        """Return the delta that has the role only."""
        head, tail = _around(reply, identity)
        delta: dict[str, Any] = {"role": "assistant", "content": None if reply.tool_name else ""}
        return head + orjson.dumps(delta | {"refusal": None}) + tail

    def frames(self, reply: Reply, identity: Identity, chunks: Iterable[Chunk]) -> Iterator[Frame]:
        """Yield a frame per chunk, then reason, usage if wanted, and `[DONE]`."""
        head, tail = _around(reply, identity)
        dumps = orjson.dumps
        for channel, text, tokens in chunks:
            if channel == "content":
                yield b'%b{"content":%b}%b' % (head, dumps(text), tail), tokens
            elif channel == "thinking":
                yield b'%b{"reasoning_content":%b}%b' % (head, dumps(text), tail), tokens
            elif channel == "tool":
                function = {"name": text, "arguments": ""}
                call = {"index": 0, "id": _call_id(identity), "type": "function", "function": function}
                yield head + dumps({"tool_calls": [call]}) + tail, tokens
            else:
                call = {"index": 0, "function": {"arguments": text}}
                yield head + dumps({"tool_calls": [call]}) + tail, tokens
        yield _ending(reply, identity), 0

    def body(self, reply: Reply, identity: Identity) -> bytes:
        """Return the answer as one `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.content), "refusal": None}
        message["annotations"] = []
        if reply.thinking:
            message["reasoning_content"] = "".join(reply.thinking)
        if reply.tool_name:
            function = {"name": reply.tool_name, "arguments": "".join(reply.arguments)}
            message["content"] = None
            message["tool_calls"] = [{"id": _call_id(identity), "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.stop.value[0]}
        return orjson.dumps(
            _envelope(reply, identity, "chat.completion", [choice]) | {"usage": _usage(reply)}
        )

    def status(self, refusal: Refusal) -> int:
        """Return the status of a refusal."""
        return refusal.kind.openai[0]

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """Return `{"error": …}`."""
        _, kind, code = refusal.kind.openai
        if refusal.kind is RATE_LIMIT:
            kind = refusal.limited
        error = {"message": refusal.message, "type": kind, "param": refusal.param, "code": code}
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

    def models(self, names: Iterable[str], created_s: int) -> bytes:
        """Return the list of models."""
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


def _input_tokens(messages: list[dict[str, Any]]) -> int:
    said = sum(count_words(text) for message in messages for text in texts(message.get("content")))
    calls = [call for message in messages for call in objects_of(message, "tool_calls")]
    return said + sum(count_words(object_of(call, "function")) for call in calls)


def _tool(said: dict[str, Any], messages: list[dict[str, Any]]) -> Tool | None:
    functions = [object_of(tool, "function") for tool in objects_of(said, "tools")]
    tools = [Tool(text_of(function, "name"), object_of(function, "parameters")) for function in functions]
    choice = said.get("tool_choice", "auto")
    if isinstance(choice, dict):
        return chosen(tools, text_of(object_of(choice, "function"), "name"))
    if choice not in ("auto", "none", "required", None):
        rule = "tool_choice: auto, none, required or a function is required."
        raise Refusal(BAD_REQUEST, rule, param="tool_choice")
    if not tools or choice == "none":
        return None
    # With its result the model has what it asked for: else a loop of tools would never end.
    has_result = messages[-1]["role"] in ("tool", "function")
    return tools[0] if choice == "required" or not has_result else None


def _envelope(reply: Reply, identity: Identity, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": identity.answer_id,
        "object": kind,
        "created": identity.created_s,
        "model": reply.question.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
        "choices": choices,
    }


def _chunk(reply: Reply, identity: Identity, choices: list[dict[str, Any]], usage: object) -> bytes:
    chunk = _envelope(reply, identity, "chat.completion.chunk", choices)
    if reply.question.wants_usage:
        chunk["usage"] = usage
    return b"data: %b\n\n" % orjson.dumps(chunk)


def _around(reply: Reply, identity: Identity) -> tuple[bytes, bytes]:
    """Return what stands before and after the delta: the same in all chunks of a stream."""
    choice = {"index": 0, "delta": 0, "logprobs": None, "finish_reason": None}
    whole = _chunk(reply, identity, [choice], None)
    # From the right: a model's name may contain anything.
    head, _, tail = whole.rpartition(b'"delta":0')
    return head + b'"delta":', tail


def _ending(reply: Reply, identity: Identity) -> bytes:
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reply.stop.value[0]}
    finish = _chunk(reply, identity, [choice], None)
    usage = _chunk(reply, identity, [], _usage(reply)) if reply.question.wants_usage else b""
    return finish + usage + _DONE


def _usage(reply: Reply) -> dict[str, Any]:
    read, written = reply.question.input_tokens, reply.output_tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.thinking_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call_id(identity: Identity) -> str:
    return f"call_{identity.answer_id.rpartition('-')[2]}"


def _model(name: str, created_s: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created_s, "owned_by": "perfload"}
