"""How answers of every form get to clients that stay, and to those that do not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from perfload.target.ai.spread import Spread
from tests.unit.target.ai.serving import ASK, CHAT, CLAUDE, FAST, KEY, Connection, Server, ask

pytestmark = pytest.mark.ai


def test_a_client_that_left_before_its_answer_is_no_answer() -> None:
    async def run() -> Server:
        server = Server(replace(FAST, slots=1, ttft=Spread(0.05)))
        impatient, waiting = Connection(), Connection()
        asks = [server.ask(connection=impatient), server.ask(connection=waiting)]
        tasks = [asyncio.create_task(ask) for ask in asks]
        await asyncio.sleep(0.01)
        impatient.has_left = waiting.has_left = True
        assert [answer.messages for answer in await asyncio.gather(*tasks)] == [[], []]
        assert (await server.ask()).status == 200
        return server

    figures = asyncio.run(run()).figures()
    # Whoever left the queue took no tokens in.
    assert (figures["answers"], figures["left"], figures["output_tokens"]) == (1, 2, 5)
    assert figures["input_tokens"] == 2 * 2


def test_half_an_answer_is_none() -> None:
    for fault in ("cut", "early_end", "malformed"):
        _, server = ask(FAST, CHAT, ASK, KEY | {"x-perfload-fault": fault})
        assert (server.figures()["answers"], server.figures()["output_tokens"]) == (0, 0)


@pytest.mark.parametrize("fault", ["cut", "early_end", "stream_error", "malformed", "stall"])
def test_an_answer_without_tokens_has_no_middle_to_break_in(fault: str) -> None:
    nothing = ASK | {"max_tokens": 0, "stream": True}
    answer, server = ask(FAST, "/v1/messages", nothing, CLAUDE | {"x-perfload-fault": fault})
    ((_, end),) = answer.connection.writes
    assert b"message_stop" in end
    assert answer.is_complete
    assert server.figures("anthropic")["ended"] == {"finished": 1}


def test_the_same_seed_of_a_request_makes_the_same_text() -> None:
    async def texts() -> list[str]:
        server = Server(replace(FAST, tokens=Spread(20, sigma=0.5), gap=Spread(0), ttft=Spread(0)))
        asked = [await server.ask(CHAT, ASK | {"seed": seed}) for seed in (7, 8, 7)]
        return [answer.body["choices"][0]["message"]["content"] for answer in asked]

    first, other, again = asyncio.run(texts())
    assert first == again != other


def test_choices_are_sent_side_by_side() -> None:
    answer, server = ask(
        replace(FAST, tokens=Spread(5, sigma=0.9)), CHAT, ASK | {"stream": True, "n": 3, "max_tokens": 50}
    )
    data = answer.messages[1]["body"] + b"".join(
        write.partition(b"\r\n")[2].removesuffix(b"\r\n") for _, write in answer.connection.writes
    )
    events = [json.loads(line[6:]) for line in data.split(b"\n\n") if line.startswith(b"data: {")]
    choices = [event["choices"][0] for event in events]
    assert [choice["index"] for choice in choices[:6]] == [0, 1, 2, 0, 1, 2]
    for index in range(3):
        mine = [choice for choice in choices if choice["index"] == index]
        assert [choice["finish_reason"] for choice in mine] == [None] * (len(mine) - 1) + ["stop"]
    words = sum(len(choice["delta"].get("content", "").split()) for choice in choices)
    figures = server.figures()
    assert (figures["output_tokens"], figures["ended"]) == (words, {"finished": 1})
    assert figures["chunks"] == max(
        sum(bool(choice["delta"].get("content")) for choice in choices if choice["index"] == index)
        for index in range(3)
    )


def test_thoughts_that_are_hidden_are_counted_with_the_next_token() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}
    body = ASK | {"max_tokens": 2000, "stream": True, "thinking": thinking}
    answer, server = ask(FAST, "/v1/messages", body, CLAUDE)
    (tape,) = server.truth.detail()["streams"]  # type: ignore[misc]
    assert tape["chunk_tokens"] == [21, 1, 1, 1, 1]
    sent = b"".join(data for _, data in answer.connection.writes)
    assert (sent.count(b"thinking_delta"), sent.count(b"signature_delta")) == (0, 1)
    assert not any(data.startswith(b"0\r\n") for _, data in answer.connection.writes)


def test_tokens_are_counted_for_anthropic_only() -> None:
    count = "/v1/messages/count_tokens"
    assert ask(FAST, count, ASK, CLAUDE)[0].body == {"input_tokens": 2}
    assert ask(FAST, count, ASK, CLAUDE, method="GET")[0].status == 405
    # The format follows from the path, whatever the headers say.
    assert ask(FAST, CHAT, ASK, KEY | CLAUDE)[0].body["object"] == "chat.completion"


def test_quirks_are_those_of_the_server_unless_a_request_asks() -> None:
    server = Server(replace(FAST, quirks=frozenset({"crlf"})))

    def opening(headers: dict[str, str]) -> bytes:
        found: bytes = asyncio.run(server.ask(CHAT, ASK | {"stream": True}, headers)).messages[1]["body"]
        return found

    assert opening(KEY).endswith(b"\r\n\r\n")
    assert opening(KEY | {"x-perfload-quirk": "bom"}).startswith(b"\xef\xbb\xbfdata: ")
    assert opening(KEY | {"x-perfload-quirk": "none"}).endswith(b"}\n\n")
    wrong = asyncio.run(server.ask(headers=KEY | {"x-perfload-quirk": "nothing"}))
    assert wrong.status == 400


@pytest.mark.parametrize("body", [b"", b"\xff\xfe{}", b"[]", b"null", b'{"model":"\\ud800"}', b"[" * 100_000])
@pytest.mark.parametrize(("path", "headers"), [(CHAT, KEY), ("/v1/messages", CLAUDE)])
def test_what_is_no_request_is_refused(path: str, headers: dict[str, str], body: bytes) -> None:
    answer, _ = ask(FAST, path, body, headers)
    assert (answer.status, answer.body["error"]["type"]) == (400, "invalid_request_error")


def test_a_stream_that_is_kept_is_small() -> None:
    _, server = ask(replace(FAST, gap=Spread(0), tokens=Spread(2000)), CHAT, ASK | {"stream": True})
    (tape,) = server.truth._tapes
    assert (tape.chunk_ns.itemsize, len(tape.chunk_ns)) == (8, 2000)  # type: ignore[attr-defined]
