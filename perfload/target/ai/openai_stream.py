"""One streamed answer in OpenAI's format.

Source: https://platform.openai.com/docs/api-reference/chat-streaming. What stands around the text is the same
in all chunks of a choice, so it is made once: with thousands of chunks a second that is most of the cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from perfload.target.ai import quirks
from perfload.target.ai.odds import Odds
from perfload.target.ai.provider import Frame, Identity
from perfload.target.ai.reply import Channel, Chunk, Reply, Stop

DONE = b"data: [DONE]\n\n"
FINGERPRINT = "fp_perfload"

_KEYS: dict[Channel, bytes] = {
    "content": b'{"content":',
    # What compatible servers (DeepSeek, vLLM, SGLang) call it.
    "thinking": b'{"reasoning_content":',
    "refusal": b'{"refusal":',
}


class OpenAiStream:
    """Makes the events of one stream."""

    def __init__(self, reply: Reply, identity: Identity) -> None:
        self._reply = reply
        self._identity = identity
        self._quirks = identity.quirks
        question = reply.question
        self._counts = quirks.USAGE_IN_EVERY_CHUNK in self._quirks
        self._has_usage = question.wants_usage and quirks.NO_USAGE not in self._quirks
        self._sent = 0
        places = range(len(reply.choices))
        self._going = set(places)
        self._around = [self._around_text(index) for index in places]
        self._odds = (
            None
            if question.alternatives is None
            else [Odds(question.alternatives, choice.odds_seed) for choice in reply.choices]
        )

    def opening(self) -> bytes:
        """Return a delta with the role only, for each choice."""
        events = []
        for index, choice in enumerate(self._reply.choices):
            content = None if choice.calls or choice.refusal else ""
            delta = {"role": "assistant", "content": content, "refusal": None}
            events.append(self._event(index, delta))
        return b"".join(events)

    def frames(self, steps: Iterable[Sequence[Chunk]]) -> Iterator[Frame]:
        """Yield a frame per step, then reasons, usage if wanted, and `[DONE]`."""
        if len(self._reply.choices) == 1 and self._odds is None and not self._counts:
            yield from self._plain(steps)
        else:
            yield from self._side_by_side(steps)
        yield self._end(), 0

    def _plain(self, steps: Iterable[Sequence[Chunk]]) -> Iterator[Frame]:
        """Yield the frames of most streams: one choice, and nothing beside its text."""
        dumps, around = orjson.dumps, self._around[0]
        for (chunk,) in steps:
            if (ends := around.get(chunk.channel)) is not None:
                yield b"%b%b%b" % (ends[0], dumps(chunk.text), ends[1]), chunk.tokens
            else:
                yield self._chunk(chunk), chunk.tokens

    def _side_by_side(self, steps: Iterable[Sequence[Chunk]]) -> Iterator[Frame]:
        for step in steps:
            ended = self._going - {chunk.choice for chunk in step}
            self._going -= ended
            data = b"".join([*map(self._finish, sorted(ended)), *map(self._chunk, step)])
            yield data, sum(chunk.tokens for chunk in step)

    def idle(self) -> bytes:
        """Return a chunk without choices, of the kind that the quirks name."""
        found = b""
        if quirks.EMPTY_CHOICES in self._quirks:
            found += self._data([], None)
        if quirks.NULL_CHOICES in self._quirks:
            found += self._data(None, None)
        return found

    def _chunk(self, chunk: Chunk) -> bytes:
        self._sent += chunk.tokens
        key = _KEYS.get(chunk.channel)
        if key is None:
            return self._event(chunk.choice, self._call_delta(chunk))
        odds = self._logprobs(chunk)
        if odds is None and not self._counts:
            head, tail = self._around[chunk.choice][chunk.channel]
            return head + orjson.dumps(chunk.text) + tail
        return self._event(chunk.choice, orjson.Fragment(key + orjson.dumps(chunk.text) + b"}"), odds)

    def _logprobs(self, chunk: Chunk) -> dict[str, Any] | None:
        if self._odds is None or chunk.channel not in ("content", "refusal"):
            return None
        entries = self._odds[chunk.choice].of(chunk.words)
        return {"content": None, "refusal": None} | {chunk.channel: entries}

    def _call_delta(self, chunk: Chunk) -> dict[str, Any]:
        tool = self._reply.choices[chunk.choice].calls[chunk.call].tool
        key = "input" if tool.kind == "custom" else "arguments"
        is_begin = chunk.channel == "tool"
        part = {"name": chunk.text, key: ""} if is_begin else {key: chunk.text}
        if tool.kind == "legacy":
            return {"function_call": part}
        call: dict[str, Any] = {"index": chunk.call}
        if is_begin:
            call |= {"id": call_id(self._identity, chunk.choice, chunk.call), "type": tool.kind}
        return {"tool_calls": [call | {tool.kind: part}]}

    def _finish(self, index: int) -> bytes:
        return self._event(index, {}, reason=self._reply.choices[index].stop)

    def _end(self) -> bytes:
        events = list(map(self._finish, sorted(self._going)))
        if self._has_usage:
            events.append(self._data([], usage_of(self._reply)))
        if quirks.NO_DONE not in self._quirks:
            events.append(DONE)
        return b"".join(events)

    def _event(self, index: int, delta: Any, odds: object = None, *, reason: Stop | None = None) -> bytes:
        finish = reason.value[0] if reason else None
        return self._data([{"index": index, "delta": delta, "logprobs": odds, "finish_reason": finish}], None)

    def _data(self, choices: list[dict[str, Any]] | None, usage: object) -> bytes:
        chunk = envelope(self._reply, self._identity, "chat.completion.chunk", choices)
        if self._counts:
            # Chunks that say nothing are made once, so they cannot know what was sent before them.
            so_far = counted(self._reply.question.input_tokens, self._sent) if choices else None
            chunk["usage"] = usage or so_far
        elif self._has_usage:
            chunk["usage"] = usage
        return b"data: %b\n\n" % orjson.dumps(chunk)

    def _around_text(self, index: int) -> dict[Channel, tuple[bytes, bytes]]:
        """Return what stands before and after the text of a delta."""
        # From the right: a model's name may contain anything.
        head, _, tail = self._event(index, 0).rpartition(b'"delta":0')
        return {channel: (head + b'"delta":' + key, b"}" + tail) for channel, key in _KEYS.items()}


def envelope(reply: Reply, identity: Identity, kind: str, choices: object) -> dict[str, Any]:
    """Return what chunks and whole answers have in common."""
    return {
        "id": identity.answer_id,
        "object": kind,
        "created": identity.created_s,
        "model": reply.question.model,
        "service_tier": reply.question.service_tier,
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
    }


def counted(read: int, written: int) -> dict[str, Any]:
    """Return the counts of tokens alone."""
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def usage_of(reply: Reply) -> dict[str, Any]:
    """Return the usage of all choices together."""
    return counted(reply.question.input_tokens, reply.output_tokens) | {
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.thinking_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def call_id(identity: Identity, choice: int, call: int) -> str:
    """Return the id of a call, unlike that of any other."""
    unique = identity.answer_id.rpartition("-")[2]
    return f"call_{unique}_{choice}_{call}" if choice or call else f"call_{unique}"
