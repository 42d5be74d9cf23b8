"""Streams of chat completions as servers write them: fields, their order and the spaces between are theirs.

Read in the sources of vLLM 0.33.0 (`entrypoints/openai/chat_completion/serving.py`), SGLang 0.5.23
(`srt/entrypoints/openai/serving_chat.py`, `sse_utils.py`), Text Generation Inference 3.3.7
(`router/src/chat.rs`, `infer/mod.rs`; for 2.0.4 `lib.rs`) and LiteLLM's proxy 1.109.1
(`proxy/proxy_server.py`). Words, names and numbers are made up.
"""

from __future__ import annotations

from perfload.load.ai.answer import Usage
from tests.load.ai.local_servers import LLAMA_STREAMS, OLLAMA_STREAMS
from tests.load.ai.sent import DONE, EMPTY_COMMENT, Sent, choice, sse

KEEP_ALIVE = ": keep-alive\n\n"
PING = ": ping\n\n"

# --- vLLM: the role-only delta has an empty content, and so has the last token; reasoning is `reasoning`

VLLM = '{"id":"chatcmpl-8b1","object":"chat.completion.chunk","created":1790000000,"model":"m",'
VLLM_RUNNING = ',"logprobs":null,"finish_reason":null'
VLLM_STEP = VLLM_RUNNING + ',"token_ids":null'
VLLM_STOP = (
    ',"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null,"weight_versions":null'
)
VLLM_TOOLS = VLLM_STOP.replace('"stop"', '"tool_calls"', 1)
VLLM_ROLE = (
    choice('{"role":"assistant","content":""}', VLLM_RUNNING) + ',"prompt_token_ids":null,"prompt_text":null'
)
KV = ',"kv_transfer_params":null'


def vllm_usage(completion: int, details: str = ',"completion_tokens_details":null') -> str:
    total = 12 + completion
    return f'"usage":{{"prompt_tokens":12,"total_tokens":{total},"completion_tokens":{completion}{details}}}'


VLLM_COUNTED = (
    '"choices":[],'
    + vllm_usage(
        4,
        ',"prompt_tokens_details":{"cached_tokens":8},"completion_tokens_details":{"reasoning_tokens":1}',
    )
    + ',"system_fingerprint":"vllm-0.33.0-tp1-0a1b2c3d"'
)
VLLM_STREAMS = (
    Sent(
        "vLLM: kept alive, reasoning, a last token without text, usage at the end",
        (
            KEEP_ALIVE * 2
            + sse(
                VLLM,
                VLLM_ROLE,
                choice('{"reasoning":"Short. "}', VLLM_STEP) + KV,
                choice('{"content":"Dust "}', VLLM_STEP) + KV,
            )
            + KEEP_ALIVE
            + sse(
                VLLM,
                choice('{"content":"scatters."}', VLLM_STEP) + KV,
                choice('{"content":""}', VLLM_STOP) + KV,
                VLLM_COUNTED,
            )
            + DONE
        ).encode(),
        "Dust scatters.",
        "Short. ",
        pieces=3,
        usage=Usage(12, 4, 8, 1),
        finish_reason="stop",
    ),
    Sent(
        "vLLM: usage in every chunk",
        (
            sse(
                VLLM,
                f"{VLLM_ROLE},{vllm_usage(0)}",
                choice('{"content":"Dust "}', VLLM_STEP) + f"{KV},{vllm_usage(1)}",
                choice('{"content":"scatters."}', VLLM_STOP) + f"{KV},{vllm_usage(3)}",
                f'"choices":[],{vllm_usage(3, "")}',
            )
            + DONE
        ).encode(),
        "Dust scatters.",
        pieces=2,
        usage=Usage(12, 3),
        finish_reason="stop",
    ),
    Sent(
        "vLLM: a tool call",
        (
            sse(
                VLLM,
                VLLM_ROLE,
                choice(
                    '{"tool_calls":[{"id":"chatcmpl-tool-1","type":"function","index":0,'
                    '"function":{"name":"look"}}]}',
                    VLLM_STEP,
                )
                + KV,
                choice(
                    '{"tool_calls":[{"index":0,"function":{"arguments":"{\\"at\\": \\"sky\\"}"}}]}', VLLM_STEP
                )
                + KV,
                choice("{}", VLLM_TOOLS) + KV,
            )
            + DONE
        ).encode(),
        tool='look{"at": "sky"}',
        calls=(("chatcmpl-tool-1", "look", '{"at": "sky"}'),),
        pieces=2,
        finish_reason="tool_calls",
    ),
    Sent(
        "vLLM: an error in mid-stream, and [DONE] behind it",
        (
            sse(VLLM, VLLM_ROLE, choice('{"content":"Dust "}', VLLM_STEP) + KV)
            + 'data: {"error":{"message":"Internal server error","type":"InternalServerError",'
            + '"param":null,"code":500}}\n\n'
            + DONE
        ).encode(),
        "Dust ",
        pieces=1,
        error="error in the stream: InternalServerError",
    ),
)

# --- SGLang: `reasoning_content` is in every delta, mostly null; an error comes before the count

SGLANG = '{"id":"5c0e9d","object":"chat.completion.chunk","created":1790000000,"model":"m",'
SGLANG_STEP = ',"logprobs":null,"finish_reason":null,"matched_stop":null'
SGLANG_ROLE = choice('{"reasoning_content":null,"role":"assistant","content":""}', SGLANG_STEP)
SGLANG_TEXT = choice('{"reasoning_content":null,"content":"Dust scatters."}', SGLANG_STEP)
SGLANG_COUNTED = (
    '"choices":[],"usage":{"prompt_tokens":12,"total_tokens":16,"completion_tokens":4,'
    '"prompt_tokens_details":{"cached_tokens":8},"reasoning_tokens":1,'
    '"completion_tokens_details":{"reasoning_tokens":1}}'
)


def sglang_end(reason: str, matched: str) -> str:
    rest = f',"logprobs":null,"finish_reason":"{reason}","matched_stop":{matched}'
    return choice('{"reasoning_content":null}', rest)


SGLANG_STREAMS = (
    Sent(
        "SGLang: reasoning, usage at the end",
        (
            sse(
                SGLANG,
                SGLANG_ROLE,
                choice('{"reasoning_content":"Short. "}', SGLANG_STEP),
                SGLANG_TEXT,
                sglang_end("stop", "151645"),
                SGLANG_COUNTED,
            )
            + DONE
        ).encode(),
        "Dust scatters.",
        "Short. ",
        pieces=2,
        usage=Usage(12, 4, 8, 1),
        finish_reason="stop",
    ),
    Sent(
        "SGLang: aborted by request",
        (sse(SGLANG, SGLANG_ROLE, SGLANG_TEXT, sglang_end("abort", "null")) + DONE).encode(),
        "Dust scatters.",
        pieces=1,
        finish_reason="abort",
    ),
    Sent(
        "SGLang: aborted by an error, and counted all the same",
        (
            sse(SGLANG, SGLANG_ROLE, SGLANG_TEXT)
            + 'data: {"error": {"object": "error", "message": "The request ran out of time.", '
            + '"type": "SERVICE_UNAVAILABLE", "param": null, "code": 503}}\n\n'
            + sse(SGLANG, SGLANG_COUNTED)
            + DONE
        ).encode(),
        "Dust scatters.",
        pieces=1,
        usage=Usage(12, 4, 8, 1),
        error="error in the stream: SERVICE_UNAVAILABLE",
    ),
)

# --- Text Generation Inference: every delta has the role, every chunk a usage, mostly null

TGI = (
    '{"object":"chat.completion.chunk","id":"","created":1790000000,"model":"m",'
    '"system_fingerprint":"3.3.7-sha-0a1b2c3",'
)
TGI_2 = (
    '{"id":"","object":"text_completion","created":1790000000,"model":"m",'
    '"system_fingerprint":"2.0.4-sha-0a1b2c3",'
)
NO_USAGE = ',"usage":null'
TGI_STEP = ',"logprobs":null,"finish_reason":null'
TGI_COUNTED = '"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}'


def tgi_text(content: str, rest: str = TGI_STEP) -> str:
    return choice(f'{{"role":"assistant","content":"{content}"}}', rest) + NO_USAGE


def tgi_call(name: str, arguments: str) -> str:
    function = f'"function":{{"name":{name},"arguments":"{arguments}"}}'
    call = f'{{"index":0,"id":"7","type":"function",{function}}}'
    return choice(f'{{"role":"assistant","tool_calls":[{call}]}}', TGI_STEP) + NO_USAGE


TGI_STREAMS = (
    Sent(
        "TGI: an empty comment, and the role in every delta",
        (
            EMPTY_COMMENT
            + sse(
                TGI,
                tgi_text("Dust "),
                tgi_text("scatters."),
                tgi_text("", ',"logprobs":null,"finish_reason":"stop"'),
                TGI_COUNTED,
            )
            + DONE
        ).encode(),
        "Dust scatters.",
        pieces=2,
        usage=Usage(12, 3),
        finish_reason="stop",
    ),
    Sent(
        "TGI 2.0: no blank behind the colon, the reason with the last token, no [DONE]",
        sse(
            TGI_2,
            choice('{"role":"assistant","content":"Dust "}', TGI_STEP),
            choice('{"role":"assistant","content":"scat"}', ',"logprobs":null,"finish_reason":"length"'),
            start="data:",
        ).encode(),
        "Dust scat",
        pieces=2,
        finish_reason="length",
    ),
    Sent(
        "TGI: a tool call with its identifier in every part, and no reason to finish",
        (
            sse(
                TGI,
                tgi_call('"look"', "{"),
                tgi_call("null", '\\"at\\":'),
                tgi_call("null", ' \\"sky\\"}'),
                TGI_COUNTED,
            )
            + DONE
        ).encode(),
        tool='look{"at": "sky"}',
        calls=(("7", "look", '{"at": "sky"}'),),
        pieces=3,
        usage=Usage(12, 3),
    ),
    Sent(
        "TGI: an error without a kind, and [DONE] behind it",
        (
            sse(TGI, tgi_text("Dust "))
            + 'data: {"error":{"message":"Request failed during generation: out of memory",'
            + '"http_status_code":422}}\n\n'
            + DONE
        ).encode(),
        "Dust ",
        pieces=1,
        error="error in the stream: 422",
    ),
)

# --- LiteLLM: nothing is null, the count comes with a choice, and the code of an error is a status in quotes

LITELLM = '{"id":"chatcmpl-2f","object":"chat.completion.chunk","created":1790000000,"model":"m",'
LITELLM_STREAMS = (
    Sent(
        "LiteLLM: kept alive, usage beside an empty delta",
        (
            PING
            + sse(
                LITELLM,
                choice('{"role":"assistant","content":"Dust "}'),
                choice('{"content":"scatters."}'),
                choice("{}", ',"finish_reason":"stop"'),
                choice("{}") + ',"usage":{"completion_tokens":3,"prompt_tokens":12,"total_tokens":15,'
                '"prompt_tokens_details":{"cached_tokens":8}}',
            )
            + DONE
        ).encode(),
        "Dust scatters.",
        pieces=2,
        usage=Usage(12, 3, 8),
        finish_reason="stop",
    ),
    Sent(
        "LiteLLM: an error of the server behind it, and [DONE] behind that",
        (
            sse(LITELLM, choice('{"role":"assistant","content":"Dust "}'))
            + 'data: {"error": {"message": "litellm.InternalServerError: the other end went away", '
            + '"type": "internal_server_error", "param": null, "code": "500"}}\n\n'
            + DONE
        ).encode(),
        "Dust ",
        pieces=1,
        error="error in the stream: internal_server_error",
    ),
)

SENT = (
    *VLLM_STREAMS,
    *SGLANG_STREAMS,
    *TGI_STREAMS,
    *LITELLM_STREAMS,
    *LLAMA_STREAMS,
    *OLLAMA_STREAMS,
)
