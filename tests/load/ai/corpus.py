"""Awkward streams as servers have sent them, and what is in each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from perfload.load.ai.answer import Usage


@dataclass(frozen=True)
class Stream:
    """The bytes of one stream, and what a reader has to make of them."""

    name: str
    body: bytes
    content: str = ""
    reasoning: str = ""
    tool: str = ""
    pieces: int = 0
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    error: str = ""


def data(value: Any, end: str = "\n\n") -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}{end}"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    return head | more


ROLE = chunk({"role": "assistant", "content": "", "refusal": None})
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
COUNTED = Usage(12, 3, 8, 1)


def openai(*chunks: Any, end: str = "\n\n", done: bool = True) -> bytes:
    return ("".join(data(c, end) for c in chunks) + (f"data: [DONE]{end}" if done else "")).encode()


WORDS = (chunk({"content": "Hel"}), chunk({"content": "lo, "}), chunk({"content": "wörld 模型"}))
HELLO = "Hello, wörld 模型"
STOP = chunk({}, "stop")

OPENAI = (
    Stream("plain", openai(ROLE, *WORDS, STOP), HELLO, pieces=3, finish_reason="stop"),
    *(
        Stream(
            f"lines end in {end!r}",
            openai(ROLE, *WORDS, STOP, end=end),
            HELLO,
            pieces=3,
            finish_reason="stop",
        )
        for end in ("\r\n\r\n", "\r\r", "\n\r\n")
    ),
    Stream(
        "usage in a last chunk without choices",
        openai(*(c | {"usage": None} for c in (ROLE, *WORDS, STOP)), chunk(choices=[], usage=USAGE)),
        HELLO,
        pieces=3,
        usage=COUNTED,
        finish_reason="stop",
    ),
    Stream(
        "usage in every chunk, choices null",
        openai(
            *(c | {"usage": USAGE | {"completion_tokens": n}} for n, c in enumerate(WORDS, start=1)),
            STOP,
            chunk(choices=None, usage=USAGE),
        ),
        HELLO,
        pieces=3,
        usage=COUNTED,
        finish_reason="stop",
    ),
    Stream(
        "comments, an event line and no space after the colon",
        b": OPENROUTER PROCESSING\n\n: ping\n\nevent: message\ndata:"
        + json.dumps(WORDS[0]).encode()
        + b"\n\n:\n\n"
        + openai(STOP),
        "Hel",
        pieces=1,
        finish_reason="stop",
    ),
    Stream(
        "reasoning before content",
        openai(
            ROLE,
            chunk({"reasoning_content": "Hm. "}),
            chunk({"reasoning": "So."}),
            *WORDS,
            STOP,
        ),
        HELLO,
        "Hm. So.",
        pieces=5,
        finish_reason="stop",
    ),
    Stream(
        "a tool call in parts",
        openai(
            chunk(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "look", "arguments": ""},
                        }
                    ],
                }
            ),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
            chunk({}, "tool_calls"),
        ),
        tool='look{"a":1}',
        pieces=3,
        finish_reason="tool_calls",
    ),
    Stream(
        "a byte order mark, and a separator of each kind",
        b"\xef\xbb\xbf"
        + "".join(
            data(said, end)
            for said, end in zip(
                (ROLE, *WORDS, STOP), ("\r\r", "\n\r\n", "\r\n\r", "\n\r", "\r\n\n"), strict=True
            )
        ).encode()
        + b"data: [DONE]\r\n\r\n",
        HELLO,
        pieces=3,
        finish_reason="stop",
    ),
    Stream(
        "two tool calls at once, and text behind them",
        openai(
            *(
                chunk({"tool_calls": [{"index": place, "id": f"c{place}", "function": {"name": name}}]})
                for place, name in enumerate(("look", "find"))
            ),
            chunk(
                {
                    "tool_calls": [
                        {"index": 1, "function": {"arguments": "{"}},
                        {"index": 0, "function": {"arguments": '{"a":'}},
                    ]
                }
            ),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
            chunk({"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]}),
            *WORDS,
            chunk({}, "tool_calls"),
        ),
        HELLO,
        tool='lookfind{{"a":1}}',
        pieces=8,
        finish_reason="tool_calls",
    ),
    Stream("no [DONE]", openai(*WORDS, STOP, done=False), HELLO, pieces=3, finish_reason="stop"),
    Stream("cut off", openai(*WORDS, done=False), HELLO, pieces=3, error="stream ended early"),
    Stream(
        "cut off within an event",
        openai(*WORDS, done=False) + b'data: {"choices": [{"del',
        HELLO,
        pieces=3,
        error="stream ended early",
    ),
    Stream("nothing at all", b"", error="stream ended early"),
    Stream("no tokens", openai(ROLE, STOP), finish_reason="stop", error="no tokens"),
    Stream(
        "an error under status 200",
        openai(
            WORDS[0], {"error": {"message": "overloaded", "type": "server_error", "code": None}}, done=False
        ),
        "Hel",
        pieces=1,
        error="error in the stream: server_error",
    ),
    Stream(
        "an error that is a text",
        openai({"error": "out of memory"}, done=False),
        error="error in the stream",
    ),
    Stream("not JSON", b"data: <html>\n\n" + openai(STOP), finish_reason="stop", error="malformed event"),
    Stream("JSON of another kind", b"data: [1]\n\ndata: 3\n\n", error="malformed event"),
    Stream(
        "values of wrong types",
        openai(
            {"choices": [{"delta": {"content": 5}}, 7, {"delta": None}], "usage": {"prompt_tokens": "many"}},
            {"choices": {"0": 1}, "usage": {"completion_tokens": -1, "prompt_tokens_details": 3}},
            STOP,
        ),
        finish_reason="stop",
        error="no tokens",
    ),
)


def event(kind: str, end: str = "\n", **more: Any) -> str:
    return f"event: {kind}{end}data: {json.dumps({'type': kind} | more)}{end}{end}"


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "m",
        "stop_reason": None,
        "usage": {
            "input_tokens": 4,
            "cache_read_input_tokens": 8,
            "cache_creation_input_tokens": 1,
            "output_tokens": 1,
        },
    },
)
PING = event("ping")


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> str:
    begun = event("content_block_start", index=index, content_block=start)
    parts = "".join(event("content_block_delta", index=index, delta=delta) for delta in deltas)
    return begun + parts + event("content_block_stop", index=index)


def text_delta(text: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": text}


TEXT = block(0, {"type": "text", "text": ""}, text_delta("Hel"), text_delta("lo, "), text_delta("wörld 模型"))
END = event(
    "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 3}
) + (event("message_stop"))
SAID = Usage(13, 3, 8)

ANTHROPIC = (
    Stream("plain", (START + TEXT + END).encode(), HELLO, pieces=3, usage=SAID, finish_reason="end_turn"),
    Stream(
        "lines end in CR LF",
        (START + TEXT + END).replace("\n", "\r\n").encode(),
        HELLO,
        pieces=3,
        usage=SAID,
        finish_reason="end_turn",
    ),
    Stream(
        "lines end in CR",
        (START + TEXT + END).replace("\n", "\r").encode(),
        HELLO,
        pieces=3,
        usage=SAID,
        finish_reason="end_turn",
    ),
    Stream(
        "pings anywhere",
        (PING + START + PING + TEXT.replace("\n\n", "\n\n" + PING, 3) + PING + END).encode(),
        HELLO,
        pieces=3,
        usage=SAID,
        finish_reason="end_turn",
    ),
    Stream(
        "thinking, text and a tool",
        (
            START
            + block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "Hm. "},
                {"type": "thinking_delta", "thinking": "So."},
                {"type": "signature_delta", "signature": "abc"},
            )
            + block(1, {"type": "text", "text": ""}, text_delta("Yes."))
            + block(
                2,
                {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"a":1}'},
            )
            + END
        ).encode(),
        "Yes.",
        "Hm. So.",
        'look{"a":1}',
        pieces=5,
        usage=SAID,
        finish_reason="end_turn",
    ),
    Stream(
        "cut off", (START + TEXT).encode(), HELLO, pieces=3, usage=Usage(13, 1, 8), error="stream ended early"
    ),
    Stream(
        "overloaded in mid-stream",
        (
            START
            + event("content_block_delta", index=0, delta=text_delta("Hel"))
            + event("error", error={"type": "overloaded_error", "message": "Overloaded"})
        ).encode(),
        "Hel",
        pieces=1,
        usage=Usage(13, 1, 8),
        error="error in the stream: overloaded_error",
    ),
    Stream(
        "events of a later version",
        (START + event("content_block_blink", index=0) + TEXT + END).encode(),
        HELLO,
        pieces=3,
        usage=SAID,
        finish_reason="end_turn",
    ),
    Stream("not JSON", b"event: message_start\ndata: {\n\n", error="malformed event"),
)
