"""The layer: who is refused, what is counted, when what is sent."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from perfload.histogram import Histogram
from perfload.target.ai.spread import Spread
from perfload.target.ai.stream import MAX_UNREAD_BYTES
from perfload.target.ai.truth import AiTruth
from tests.unit.target.ai.serving import ASK, CHAT, CLAUDE, FAST, KEY, Connection, Server, ask

pytestmark = pytest.mark.ai


def test_other_paths_are_passed_on() -> None:
    answer, server = ask(FAST, "/api/auth/me")
    assert (answer.status, server.truth.as_json()) == (418, {})


@pytest.mark.parametrize(
    ("path", "method", "headers", "status", "code"),
    [
        (CHAT, "POST", {}, 401, "invalid_api_key"),
        (CHAT, "POST", {"authorization": "Bearer sk-other"}, 401, "invalid_api_key"),
        (CHAT, "GET", KEY, 405, "method_not_supported"),
        ("/v1/embeddings", "POST", KEY, 404, "unknown_url"),
        ("/v1/models/none", "GET", KEY, 404, "model_not_found"),
        ("/v1/models", "GET", {}, 401, "invalid_api_key"),
        (CHAT, "POST", KEY | {"x-perfload-fault": "nonsense"}, 400, None),
    ],
)
def test_who_is_refused(
    path: str, method: str, headers: dict[str, str], status: int, code: str | None
) -> None:
    answer, server = ask(FAST, path, None, headers, method=method)
    assert (answer.status, answer.body["error"]["code"]) == (status, code)
    assert sum(server.figures()["refused"].values()) == 1


def test_one_more_key_may_be_accepted_and_is_never_told() -> None:
    server = Server(replace(FAST, key="the-real-one"))
    right = asyncio.run(server.ask(headers={"authorization": "Bearer the-real-one"}))
    wrong = asyncio.run(server.ask(headers={"authorization": "Bearer the-wrong-one"}))
    assert (right.status, wrong.status) == (200, 401)
    assert "wrong-one" not in json.dumps(wrong.body)


def test_models_and_context_are_limited() -> None:
    settings = replace(FAST, models=("known",), context_tokens=3)
    assert ask(settings)[0].body["error"]["code"] == "model_not_found"
    known = ASK | {"model": "known"}
    assert ask(settings, CHAT, known)[0].status == 200
    long = known | {"messages": [{"role": "user", "content": "a b c d"}]}
    assert ask(settings, CHAT, long)[0].body["error"]["code"] == "context_length_exceeded"
    listed, _ = ask(settings, "/v1/models", headers=CLAUDE, method="GET")
    assert [model["id"] for model in listed.body["data"]] == ["known"]


def test_the_largest_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfload.target.ai.layer.MAX_BODY_BYTES", 10)
    answer, _ = ask(FAST, "/v1/messages", headers=CLAUDE)
    assert (answer.status, answer.body["error"]["type"]) == (413, "request_too_large")


def test_a_body_nested_too_deeply() -> None:
    deep = '[{"content":' * 900 + '"a"' + "}]" * 900
    for path, headers in ((CHAT, KEY), ("/v1/messages", CLAUDE)):
        body = f'{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":{deep}}}]}}'
        answer, _ = ask(FAST, path, body.encode(), headers)
        assert (answer.status, answer.body["error"]["type"]) == (400, "invalid_request_error")


def test_an_answer_takes_the_time_that_its_tokens_take() -> None:
    begin_ns = time.perf_counter_ns()
    answer, server = ask(FAST)
    took_s = (time.perf_counter_ns() - begin_ns) / 1e9
    assert 0.004 + 5 * 0.002 <= took_s < 2
    assert (answer.body["usage"]["completion_tokens"], answer.is_complete) == (5, True)
    assert answer.headers[b"x-request-id"].startswith(b"req_")
    figures = server.figures()
    assert (figures["answers"], figures["streams"], figures["input_tokens"]) == (1, 0, 2)


def test_a_stream_is_written_when_it_is_due() -> None:
    answer, server = ask(FAST, CHAT, ASK | {"stream": True}, KEY | {"x-request-id": "mine"})
    assert answer.headers[b"content-type"].startswith(b"text/event-stream")
    assert answer.headers[b"x-request-id"] == b"mine"
    assert b'"role":"assistant"' in answer.messages[1]["body"]
    assert answer.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    (tape,) = server.truth.detail()["streams"]  # type: ignore[misc]
    writes = answer.connection.writes
    assert len(writes) == 6
    for number, ((wrote_ns, data), sent_ns) in enumerate(zip(writes, tape["chunk_ns"], strict=False)):
        size, _, rest = data.partition(b"\r\n")
        assert len(rest) == int(size, 16) + 2
        assert sent_ns <= wrote_ns
        assert sent_ns - tape["received_ns"] >= (0.004 + number * 0.002) * 1e9
    figures = server.figures()
    assert (figures["chunks"], figures["output_tokens"], figures["ended"]) == (5, 5, {"finished": 1})
    spans_us = [(b - a) // 1000 for a, b in zip(tape["chunk_ns"], tape["chunk_ns"][1:], strict=False)]
    assert figures["gaps"]["encoded"] == Histogram(spans_us).encode()
    assert (figures["ttft"]["count"], figures["late"]["count"], figures["last_token"]["count"]) == (1, 5, 1)


def test_the_n_th_answer_is_the_same_for_the_same_seed() -> None:
    settings = replace(FAST, tokens=Spread(20, sigma=0.5), gap=Spread(0), ttft=Spread(0))

    async def texts() -> list[str]:
        server = Server(settings)
        return [(await server.ask()).body["choices"][0]["message"]["content"] for _ in range(3)]

    first = asyncio.run(texts())
    assert first == asyncio.run(texts())
    assert len(set(first)) == 3


@pytest.mark.parametrize(
    ("fault", "writes", "is_complete", "ended"),
    [
        ("stream_error", 3, True, "stream_error"),
        ("cut", 2, False, "cut"),
        ("early_end", 2, True, "early_end"),
        ("stall", 6, True, "finished"),
        ("malformed", 6, True, "finished"),
    ],
)
def test_faults_in_a_stream(fault: str, writes: int, is_complete: bool, ended: str) -> None:
    began_ns = time.perf_counter_ns()
    answer, server = ask(FAST, CHAT, ASK | {"stream": True}, KEY | {"x-perfload-fault": fault})
    assert len(answer.connection.writes) == writes
    assert answer.is_complete is is_complete
    assert server.figures()["ended"] == {ended: 1}
    assert server.figures()["faults"] == {fault: 1}
    if fault == "stall":
        stalled_ns, _ = answer.connection.writes[2]
        assert stalled_ns - began_ns >= (0.004 + 0.002 + 0.05) * 1e9  # writes may be late, never early


@pytest.mark.parametrize(
    ("fault", "status", "is_complete"),
    [("stream_error", 500, True), ("cut", 200, False), ("stall", 200, True), ("malformed", 200, True)],
)
def test_the_same_faults_in_an_answer_at_once(fault: str, status: int, is_complete: bool) -> None:
    answer, _ = ask(FAST, CHAT, ASK, KEY | {"x-perfload-fault": fault})
    assert (answer.status, answer.is_complete) == (status, is_complete)
    sent = b"".join(message["body"] for message in answer.messages[1:])
    length = int(answer.headers[b"content-length"])
    assert len(sent) == (length // 2 if fault == "cut" else length)
    if fault == "malformed":
        with pytest.raises(json.JSONDecodeError):
            json.loads(sent)


def test_a_client_that_left_gets_no_more_and_gives_its_place_back() -> None:
    async def run() -> Server:
        server = Server(replace(FAST, slots=1))
        gone = await server.ask(CHAT, ASK | {"stream": True}, connection=Connection(leaves_after=2))
        assert len(gone.connection.writes) == 2
        assert (await server.ask()).status == 200
        return server

    assert asyncio.run(run()).figures()["ended"] == {"gone": 1}


def test_a_client_that_does_not_read_holds_its_stream_up() -> None:
    full_until_ns = time.perf_counter_ns() + 60_000_000

    def unread() -> int:
        return MAX_UNREAD_BYTES + 1 if time.perf_counter_ns() < full_until_ns else 0

    answer, server = ask(FAST, CHAT, ASK | {"stream": True}, connection=Connection(unread=unread))
    assert answer.connection.writes[0][0] >= full_until_ns
    assert server.figures()["ended"] == {"finished": 1}


def test_a_cancelled_stream_gives_its_place_back() -> None:
    async def run() -> None:
        server = Server(replace(FAST, slots=1, ttft=Spread(0.05)))
        task = asyncio.create_task(server.ask(CHAT, ASK | {"stream": True}))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await server.ask()).status == 200
        assert server.figures()["ended"] == {"gone": 1}

    asyncio.run(run())


def test_prefill_makes_long_questions_slower_unless_they_are_cached() -> None:
    long = ASK | {"messages": [{"role": "user", "content": "word " * 1000}], "stream": True}

    def ttft_ms(cached: float) -> float:
        _, server = ask(replace(FAST, ttft=Spread(0), prefill_s=0.4, cached_share=cached), CHAT, long)
        found: float = server.figures()["ttft"]["min_ms"]
        return found

    assert ttft_ms(0.0) >= 400
    assert 40 <= ttft_ms(0.9) < 400


def test_gaps_grow_with_the_number_of_streams() -> None:
    async def last_token_ms() -> float:
        server = Server(replace(FAST, ttft=Spread(0.05), slowdown=9.0))
        await asyncio.gather(*(server.ask(CHAT, ASK | {"stream": True}) for _ in range(3)))
        found: float = server.figures()["last_token"]["min_ms"]
        return found

    # Alone: 50 ms and four gaps of 2 ms. With one other in the batch, at least, each gap is 20 ms.
    assert asyncio.run(last_token_ms()) >= 50 + 4 * 20 - 1


def test_a_reset_forgets_what_was_begun_before() -> None:
    async def run() -> AiTruth:
        server = Server(replace(FAST, ttft=Spread(0.03)))
        task = asyncio.create_task(server.ask(CHAT, ASK | {"stream": True}))
        await asyncio.sleep(0.01)
        server.truth.reset()
        await task
        return server.truth

    truth = asyncio.run(run())
    assert (truth.as_json(), truth.detail()) == ({}, {"streams": []})


def test_only_the_last_streams_are_kept_write_by_write() -> None:
    async def run() -> AiTruth:
        server = Server(replace(FAST, raw_streams=2))
        for name in "abc":
            await server.ask(CHAT, ASK | {"stream": True}, KEY | {"x-request-id": name})
        return server.truth

    streams: Any = asyncio.run(run()).detail()["streams"]
    assert [stream["request_id"] for stream in streams] == ["b", "c"]


@pytest.mark.parametrize("asked", ["", "a b", "a\r\nb", "x" * 129])
def test_request_ids_that_could_do_harm_are_replaced(asked: str) -> None:
    answer, _ = ask(FAST, CHAT, ASK, KEY | {"x-request-id": asked})
    assert answer.headers[b"x-request-id"] == b"req_1" + b"%020x" % 1
