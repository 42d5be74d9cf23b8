"""Streams of chat completions as servers for one machine write them: llama.cpp and Ollama.

Read in the sources of llama.cpp of 2026 (`tools/server/server-context.cpp`, `server-task.cpp`) and of Ollama
0.33 (`middleware/openai.go`, `openai/openai.go`, `server/routes.go`).
"""

from __future__ import annotations

from perfload.load.ai.answer import Usage
from tests.load.ai.sent import DONE, EMPTY_COMMENT, Sent, choice, sse

# --- llama.cpp: the role comes with a content of null, times with the last chunk, no [DONE] after an error

LLAMA_TAIL = (
    '"created":1790000000,"id":"chatcmpl-Qx7","model":"m","system_fingerprint":"b9000-0a1b2c3",'
    '"object":"chat.completion.chunk"'
)


def llama(delta: str, more: str = "", finish: str = "null") -> str:
    return f'"choices":[{{"finish_reason":{finish},"index":0,"delta":{delta}}}],{LLAMA_TAIL}{more}'


LLAMA_ROLE = llama('{"role":"assistant","content":null}')
LLAMA_COUNTED = (
    f'"choices":[],{LLAMA_TAIL},"usage":{{"completion_tokens":4,"prompt_tokens":12,"total_tokens":16,'
    '"prompt_tokens_details":{"cached_tokens":8}},'
    '"timings":{"cache_n":8,"prompt_n":4,"prompt_ms":20.5,"predicted_n":4,"predicted_ms":80.25}'
)
LLAMA_ERROR = '{"code":500,"message":"Compute error.","type":"server_error"}'
PROGRESS = ',"prompt_progress":{"total":12,"cache":8,"processed":%d,"time_ms":20}'

LLAMA_STREAMS = (
    Sent(
        "llama.cpp: progress of the prompt, an empty comment, reasoning, times with the usage",
        (
            sse("{", *(llama('{"role":"assistant","content":null}', PROGRESS % at) for at in (8, 12)))
            + EMPTY_COMMENT
            + sse(
                "{",
                LLAMA_ROLE,
                llama('{"reasoning_content":"Short. "}'),
                llama('{"content":"Dust "}'),
                llama('{"content":"scatters."}'),
                llama("{}", finish='"stop"'),
                LLAMA_COUNTED,
            )
            + DONE
        ).encode(),
        "Dust scatters.",
        "Short. ",
        pieces=3,
        usage=Usage(12, 4, 8),
        finish_reason="stop",
    ),
    Sent(
        "llama.cpp: an error in mid-stream is the end of it",
        (
            sse("{", LLAMA_ROLE, llama('{"content":"Dust "}')) + f'data: {{"error":{LLAMA_ERROR}}}\n\n'
        ).encode(),
        "Dust ",
        pieces=1,
        error="error in the stream: server_error",
    ),
    Sent(
        "llama.cpp as Anthropic: an error that is not wrapped",
        (
            'event: message_start\ndata: {"type":"message_start","message":{"id":"chatcmpl-Qx7",'
            '"type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"stop_sequence":null,'
            '"usage":{"input_tokens":12,"output_tokens":0}}}\n\n'
            'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
            '"content_block":{"type":"text","text":""}}\n\n'
            'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
            '"delta":{"type":"text_delta","text":"Dust "}}\n\n'
            f"event: error\ndata: {LLAMA_ERROR}\n\n"
        ).encode(),
        "Dust ",
        pieces=1,
        usage=Usage(12, 0),
        error="error in the stream: server_error",
        wire="anthropic",
    ),
)

# --- Ollama: reasoning beside an empty content; an error in mid-stream leaves an empty chunk and no end

OLLAMA = (
    '{"id":"chatcmpl-311","object":"chat.completion.chunk","created":1790000000,"model":"m",'
    '"system_fingerprint":"fp_ollama",'
)
OLLAMA_STEP = ',"finish_reason":null'
OLLAMA_CALL = (
    '{"content":"","tool_calls":[{"id":"call_1","index":0,"type":"function",'
    '"function":{"name":"look","arguments":"{\\"at\\":\\"sky\\"}"}}]}'
)

OLLAMA_STREAMS = (
    Sent(
        "Ollama: reasoning, then a whole tool call",
        (
            sse(
                OLLAMA,
                choice('{"role":"assistant","content":"","reasoning":"Short. "}', OLLAMA_STEP),
                choice('{"content":"","reasoning":"Look."}', OLLAMA_STEP),
                choice(OLLAMA_CALL, OLLAMA_STEP),
                choice("{}", ',"finish_reason":"tool_calls"'),
                '"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":9,"total_tokens":21}',
            )
            + DONE
        ).encode(),
        "",
        "Short. Look.",
        'look{"at":"sky"}',
        calls=(("call_1", "look", '{"at":"sky"}'),),
        pieces=3,
        usage=Usage(12, 9),
        finish_reason="tool_calls",
    ),
    Sent(
        "Ollama: an error in mid-stream, of which nothing is said",
        (
            sse(OLLAMA, choice('{"role":"assistant","content":"Dust "}', OLLAMA_STEP))
            + sse(OLLAMA.replace('"m"', '""'), choice('{"content":""}', OLLAMA_STEP))
        ).encode(),
        "Dust ",
        pieces=1,
        error="stream ended early",
    ),
)
