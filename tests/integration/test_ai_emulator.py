"""The emulator of AI APIs as its users meet it: the providers' own clients, unmodified, and raw bytes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from perfload.target.process import TargetProcess

pytestmark = [pytest.mark.integration, pytest.mark.ai]

openai = pytest.importorskip(
    "openai", reason="needs the openai client: pip install openai", exc_type=ImportError
)
anthropic = pytest.importorskip(
    "anthropic", reason="needs the anthropic client: pip install anthropic", exc_type=ImportError
)

KEY = "sk-test-emulator"
TTFT_S, GAP_S, TOKENS = 0.04, 0.004, 12
HELLO = [{"role": "user", "content": "Say hello to the world"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
OPENAI_TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
ANTHROPIC_TOOL = {"name": "weather", "input_schema": WEATHER}


@pytest.fixture(scope="module")
def shared() -> Iterator[TargetProcess]:
    options = ("--ai-ttft", "40ms", "--ai-gap", "4ms", "--ai-tokens", str(TOKENS), "--ai-stall", "300ms")
    with TargetProcess(*options) as process:
        yield process


@pytest.fixture
def target(shared: TargetProcess) -> TargetProcess:
    shared.reset_truth()
    return shared


@pytest.fixture
def gpt(target: TargetProcess) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{target.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(target: TargetProcess) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=target.url, api_key=KEY, max_retries=0) as client:
        yield client


def fault(name: str) -> dict[str, str]:
    return {"x-perfload-fault": name}


# The openai client


def test_openai_at_once(gpt: Any) -> None:
    answer = gpt.chat.completions.create(
        model="any", messages=[{"role": "system", "content": "Be short"}, *HELLO]
    )
    assert answer.choices[0].finish_reason == "stop"
    assert len(answer.choices[0].message.content.split()) == TOKENS
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, TOKENS, 7 + TOKENS)
    assert answer._request_id.startswith("req_")


def test_openai_stream(gpt: Any) -> None:
    options = {"include_usage": True}
    chunks = list(
        gpt.chat.completions.create(model="any", messages=HELLO, stream=True, stream_options=options)
    )
    first, *others, finish, usage = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].finish_reason for chunk in others] == [None] * TOKENS
    assert len("".join(chunk.choices[0].delta.content for chunk in others).split()) == TOKENS
    assert finish.choices[0].finish_reason == "stop"
    assert (finish.choices[0].delta.content, finish.usage) == (None, None)
    assert (usage.choices, usage.usage.prompt_tokens, usage.usage.completion_tokens) == ([], 5, TOKENS)
    assert len({chunk.id for chunk in chunks}) == 1


def test_openai_max_tokens(gpt: Any) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = gpt.chat.completions.create(model="any", messages=HELLO, **{name: 3})
        assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 3)
    long = gpt.chat.completions.create(
        model="any", messages=HELLO, max_tokens=30, extra_body={"ignore_eos": True}
    )
    assert (long.choices[0].finish_reason, long.usage.completion_tokens) == ("length", 30)


def test_openai_tools(gpt: Any) -> None:
    answer = gpt.chat.completions.create(model="any", messages=HELLO, tools=[OPENAI_TOOL])
    call = answer.choices[0].message.tool_calls[0]
    assert (answer.choices[0].finish_reason, answer.choices[0].message.content) == ("tool_calls", None)
    assert (call.type, call.function.name) == ("function", "weather")
    arguments = json.loads(call.function.arguments)
    assert arguments.keys() == {"city", "days"}
    assert isinstance(arguments["city"], str)
    assert arguments["days"] == 42
    # The name is a token, and so is each word of the arguments.
    assert answer.usage.completion_tokens == 1 + len(call.function.arguments.split())
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    asked = {"role": "assistant", "tool_calls": [call.model_dump()]}
    after = gpt.chat.completions.create(model="any", messages=[*HELLO, asked, result], tools=[OPENAI_TOOL])
    assert after.choices[0].finish_reason == "stop"
    none = gpt.chat.completions.create(model="any", messages=HELLO, tools=[OPENAI_TOOL], tool_choice="none")
    assert none.choices[0].message.tool_calls is None


def test_openai_tools_in_a_stream(gpt: Any) -> None:
    with gpt.chat.completions.stream(model="any", messages=HELLO, tools=[OPENAI_TOOL]) as stream:
        kinds = [event.type for event in stream]
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert kinds.count("tool_calls.function.arguments.delta") > 3
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["days"] == 42


def test_openai_reasoning(gpt: Any) -> None:
    stream = gpt.chat.completions.create(
        model="any",
        messages=HELLO,
        stream=True,
        reasoning_effort="high",
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert len(thoughts.split()) == 20
    assert len("".join(delta.content or "" for delta in deltas).split()) == TOKENS
    usage = chunks[-1].usage
    assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (20 + TOKENS, 20)


def test_openai_models(gpt: Any) -> None:
    assert [model.id for model in gpt.models.list()] == ["perfload-small", "perfload-large"]
    assert gpt.models.retrieve("perfload-small").object == "model"
    with pytest.raises(openai.NotFoundError):
        gpt.models.retrieve("none")


@pytest.mark.parametrize(
    ("name", "kind", "status", "code"),
    [
        ("bad_request", "BadRequestError", 400, None),
        ("authentication", "AuthenticationError", 401, "invalid_api_key"),
        ("permission", "PermissionDeniedError", 403, None),
        ("not_found", "NotFoundError", 404, "model_not_found"),
        ("too_large", "APIStatusError", 413, None),
        ("rate_limit", "RateLimitError", 429, "rate_limit_exceeded"),
        ("quota", "RateLimitError", 429, "insufficient_quota"),
        ("server_error", "InternalServerError", 500, None),
        ("overloaded", "InternalServerError", 503, "overloaded"),
        ("timeout", "InternalServerError", 504, "timeout"),
    ],
)
def test_openai_errors(gpt: Any, name: str, kind: str, status: int, code: str | None) -> None:
    with pytest.raises(getattr(openai, kind)) as caught:
        gpt.chat.completions.create(model="any", messages=HELLO, extra_headers=fault(name))
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.request_id.startswith("req_")


def test_openai_wrong_requests(target: TargetProcess, gpt: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.chat.completions.create(model="any", messages=[])
    assert caught.value.param == "messages"
    stranger = openai.OpenAI(base_url=f"{target.url}/v1", api_key="sk-secret-of-mine", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError) as refused:
        stranger.chat.completions.create(model="any", messages=HELLO)
    assert refused.value.code == "invalid_api_key"
    assert "secret" not in refused.value.message


def test_openai_faults_in_a_stream(gpt: Any) -> None:
    def read(name: str) -> int:
        kept = 0
        options = {"model": "any", "messages": HELLO, "stream": True, "extra_headers": fault(name)}
        for chunk in gpt.chat.completions.create(**options):
            kept += bool(chunk.choices and chunk.choices[0].delta.content)
        return kept

    with pytest.raises(openai.APIError) as caught:
        read("stream_error")
    assert caught.value.code == "overloaded"
    assert read("early_end") == TOKENS // 2
    with pytest.raises(Exception, match=r"incomplete|closed|Connection error"):
        read("cut")
    with pytest.raises(json.JSONDecodeError):
        read("malformed")
    begin = time.perf_counter()
    assert read("stall") == TOKENS
    assert time.perf_counter() - begin > 0.3


# The anthropic client


def test_anthropic_at_once(claude: Any) -> None:
    answer = claude.messages.create(model="any", max_tokens=100, messages=HELLO, system="Be short")
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert len(answer.content[0].text.split()) == TOKENS
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, TOKENS)
    short = claude.messages.create(model="any", max_tokens=3, messages=HELLO)
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)


def test_anthropic_stream(claude: Any) -> None:
    events = list(claude.messages.create(model="any", max_tokens=100, messages=HELLO, stream=True))
    deltas = [event for event in events if event.type == "content_block_delta"]
    assert [event.type for event in events if event not in deltas] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert (events[0].message.usage.input_tokens, events[0].message.stop_reason) == (5, None)
    assert len("".join(event.delta.text for event in deltas).split()) == len(deltas) == TOKENS
    assert (events[-2].delta.stop_reason, events[-2].usage.output_tokens) == ("end_turn", TOKENS)


def test_anthropic_tools(claude: Any) -> None:
    with claude.messages.stream(
        model="any", max_tokens=100, messages=HELLO, tools=[ANTHROPIC_TOOL], tool_choice={"type": "any"}
    ) as stream:
        parts = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    assert len(parts) > 3
    block = message.content[0]
    assert (message.stop_reason, block.type, block.name) == ("tool_use", "tool_use", "weather")
    assert block.input["days"] == 42
    assert message.usage.output_tokens == 1 + len("".join(parts).split())
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
    turns = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    after = claude.messages.create(model="any", max_tokens=100, messages=turns, tools=[ANTHROPIC_TOOL])
    assert after.stop_reason == "end_turn"
    once = claude.messages.create(
        model="any",
        max_tokens=100,
        messages=HELLO,
        tools=[ANTHROPIC_TOOL],
        tool_choice={"type": "tool", "name": "weather"},
    )
    assert once.content[0].input.keys() == {"city", "days"}


def test_anthropic_thinking(claude: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with claude.messages.stream(model="any", max_tokens=2000, messages=HELLO, thinking=thinking) as stream:
        message = stream.get_final_message()
    thought, said = message.content
    assert (thought.type, len(thought.thinking.split()), bool(thought.signature)) == ("thinking", 20, True)
    assert (said.type, len(said.text.split())) == ("text", TOKENS)
    assert message.usage.output_tokens == 20 + TOKENS


def test_anthropic_models(claude: Any) -> None:
    assert [model.id for model in claude.models.list()] == ["perfload-small", "perfload-large"]
    assert claude.models.retrieve("perfload-large").type == "model"


@pytest.mark.parametrize(
    ("name", "kind", "status", "said"),
    [
        ("bad_request", "BadRequestError", 400, "invalid_request_error"),
        ("authentication", "AuthenticationError", 401, "authentication_error"),
        ("quota", "APIStatusError", 402, "billing_error"),
        ("permission", "PermissionDeniedError", 403, "permission_error"),
        ("not_found", "NotFoundError", 404, "not_found_error"),
        ("too_large", "APIStatusError", 413, "request_too_large"),
        ("rate_limit", "RateLimitError", 429, "rate_limit_error"),
        ("server_error", "InternalServerError", 500, "api_error"),
        ("overloaded", "InternalServerError", 529, "overloaded_error"),
    ],
)
def test_anthropic_errors(claude: Any, name: str, kind: str, status: int, said: str) -> None:
    with pytest.raises(getattr(anthropic, kind)) as caught:
        claude.messages.create(model="any", max_tokens=9, messages=HELLO, extra_headers=fault(name))
    assert caught.value.status_code == status
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == said
    assert caught.value.body["request_id"] == caught.value.request_id


def test_anthropic_wrong_requests(target: TargetProcess, claude: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="at least one message"):
        claude.messages.create(model="any", max_tokens=9, messages=[])
    with pytest.raises(anthropic.BadRequestError, match="anthropic-version"):
        claude.messages.create(
            model="any", max_tokens=9, messages=HELLO, extra_headers={"anthropic-version": "1999-01-01"}
        )
    stranger = anthropic.Anthropic(base_url=target.url, api_key="sk-secret-of-mine", max_retries=0)
    with stranger, pytest.raises(anthropic.AuthenticationError) as refused:
        stranger.messages.create(model="any", max_tokens=9, messages=HELLO)
    assert "secret" not in str(refused.value)


def test_anthropic_error_in_a_stream(claude: Any) -> None:
    kept = []
    options = {"model": "any", "max_tokens": 99, "messages": HELLO, "stream": True}
    with pytest.raises(anthropic.APIStatusError) as caught:
        kept.extend(claude.messages.create(**options, extra_headers=fault("stream_error")))
    assert caught.value.body["error"]["type"] == "overloaded_error"
    assert [event.type for event in kept].count("content_block_delta") == TOKENS // 2


# What the truth says


def stream_raw(url: str, request_id: str, path: str = "/v1/chat/completions") -> list[tuple[int, bytes]]:
    """Return what arrives of one stream, with the time of each read on `perf_counter_ns`."""
    body = json.dumps({"model": "any", "messages": HELLO, "stream": True, "max_tokens": 50}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-Id: {request_id}\r\n\r\n"
    )
    parts = urlsplit(url)
    reads = []
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        while data := connection.recv(65536):
            reads.append((time.perf_counter_ns(), data))
    return reads


def test_the_truth_has_what_was_sent_and_when(target: TargetProcess) -> None:
    before_ns = time.perf_counter_ns()
    reads = stream_raw(target.url, "mine-1")
    seen_ns = [at_ns for at_ns, data in reads if b'"delta":{"content":' in data and b"assistant" not in data]
    truth = target.truth()
    figures = truth["ai"]["openai"]
    assert (figures["streams"], figures["ended"], figures["output_tokens"]) == (1, {"finished": 1}, TOKENS)
    assert (figures["chunks"], figures["ttft"]["count"], figures["gaps"]["count"]) == (TOKENS, 1, TOKENS - 1)
    assert figures["ttft"]["min_ms"] >= TTFT_S * 1000
    assert truth["endpoints"]["POST /v1/chat/completions"]["by_status"] == {"200": 1}
    (tape,) = target.truth_of("ai")["streams"]
    assert (tape["request_id"], tape["provider"], tape["ended"]) == ("mine-1", "openai", "finished")
    assert tape["chunk_tokens"] == [1] * TOKENS
    sent_ns = tape["chunk_ns"]
    assert before_ns < tape["received_ns"] < tape["opened_ns"] < sent_ns[0]
    # Never early: each is due at an absolute time.
    for number, at_ns in enumerate(sent_ns):
        assert at_ns - tape["received_ns"] >= (TTFT_S + number * GAP_S) * 1e9
    if len(seen_ns) == TOKENS:  # else reads that came late had several
        assert all(sent < seen for sent, seen in zip(sent_ns, seen_ns, strict=True))


def test_a_request_cut_off_is_truncated_and_one_left_is_aborted(target: TargetProcess, gpt: Any) -> None:
    options = {"model": "any", "messages": HELLO, "stream": True}
    with pytest.raises(Exception, match=r"incomplete|closed|Connection error"):
        list(gpt.chat.completions.create(**options, extra_headers=fault("cut")))
    with gpt.chat.completions.create(**options) as stream:
        next(iter(stream))
    deadline = time.monotonic() + 5
    while target.truth()["ai"]["openai"]["ended"] != {"cut": 1, "gone": 1} and time.monotonic() < deadline:
        time.sleep(0.02)
    truth = target.truth()
    assert truth["ai"]["openai"]["ended"] == {"cut": 1, "gone": 1}
    assert truth["ai"]["openai"]["faults"] == {"cut": 1}
    row = truth["endpoints"]["POST /v1/chat/completions"]
    assert (row["truncated"], row["aborted"], row["in_progress"]) == (1, 1, 0)


def test_limits_and_their_headers() -> None:
    with TargetProcess("--ai-rpm", "2", "--ai-tpm", "100000", "--ai-ttft", "0", "--ai-gap", "0") as target:
        gpt = openai.OpenAI(base_url=f"{target.url}/v1", api_key="sk-test-a", max_retries=0)
        claude = anthropic.Anthropic(base_url=target.url, api_key="sk-test-b", max_retries=0)
        with gpt, claude:
            raw = gpt.chat.completions.with_raw_response.create(model="any", messages=HELLO, max_tokens=10)
            assert raw.headers["x-ratelimit-limit-requests"] == "2"
            assert raw.headers["x-ratelimit-remaining-requests"] == "1"
            assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
            assert raw.headers["x-ratelimit-limit-tokens"] == "100000"
            assert raw.headers["x-ratelimit-remaining-tokens"] == "99985"
            gpt.chat.completions.create(model="any", messages=HELLO)
            with pytest.raises(openai.RateLimitError) as caught:
                gpt.chat.completions.create(model="any", messages=HELLO)
            assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
            assert 25 <= int(caught.value.response.headers["retry-after"]) <= 30
            said = claude.messages.with_raw_response.create(model="any", max_tokens=10, messages=HELLO)
            assert said.headers["anthropic-ratelimit-requests-limit"] == "2"
            assert said.headers["anthropic-ratelimit-requests-remaining"] == "1"
            assert said.headers["anthropic-ratelimit-tokens-remaining"] == "99985"
            assert said.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        assert target.truth()["ai"]["openai"]["refused"] == {"rate_limit": 1}


def test_who_finds_no_place_waits_or_is_told_so() -> None:
    options = ("--ai-slots", "1", "--ai-queue", "1", "--ai-ttft", "300ms", "--ai-gap", "0")
    with TargetProcess(*options) as target:
        body = json.dumps({"model": "any", "messages": HELLO, "max_tokens": 1}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        request = f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        parts = urlsplit(target.url)
        sockets = []
        for _ in range(3):
            sockets.append(socket.create_connection((parts.hostname, parts.port), timeout=10))
            sockets[-1].sendall(request)
            time.sleep(0.05)
        answers = [whole(connection).split(b"\r\n", 1)[0] for connection in sockets]
        assert answers == [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable"]
        figures = target.truth()["ai"]["openai"]
        assert (figures["answers"], figures["refused"]) == (2, {"overloaded": 1})
        assert figures["queue"]["count"] == 1
        assert figures["queue"]["min_ms"] > 100


def whole(connection: socket.socket) -> bytes:
    with connection:
        found = b""
        while data := connection.recv(65536):
            found += data
        return found
