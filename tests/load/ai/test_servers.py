"""What servers really send: read whole, cut anywhere, and by a user over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from perfload.load import AnthropicUser, OpenAIUser
from perfload.load.ai import anthropic_wire, openai_wire
from perfload.load.ai.answer import Answer
from perfload.load.http.sse import Event, EventParser
from tests.load.ai.conftest import HEAD, LAST, Site, part
from tests.load.ai.sent import Sent
from tests.load.ai.servers import SENT

pytestmark = pytest.mark.ai

WIRES: dict[str, Callable[[Answer, Event], None]] = {
    "openai": openai_wire.take_event,
    "anthropic": anthropic_wire.take_event,
}
USERS: dict[str, type[Any]] = {"openai": OpenAIUser, "anthropic": AnthropicUser}


def read(sent: Sent, *parts: bytes) -> Answer:
    """Return the answer in `parts`."""
    answer, parser = Answer(sent_ns=0), EventParser()
    for at_ns, data in enumerate(parts, start=1):
        for event in parser.feed(data, at_ns):
            WIRES[sent.wire](answer, event)
    answer.end(len(parts))
    return answer


def what_is_read(answer: Answer) -> dict[str, Any]:
    return {
        "texts": [answer.text("content"), answer.text("reasoning"), answer.text("tool")],
        "calls": [(call["id"], call["name"], call["arguments"]) for call in answer.calls.values()],
        "pieces": len(answer.piece_ns),
        "usage": answer.usage,
        "finish_reason": answer.finish_reason,
        "error": answer.error,
    }


def what_was_sent(sent: Sent) -> dict[str, Any]:
    return {
        "texts": [sent.content, sent.reasoning, sent.tool],
        "calls": list(sent.calls),
        "pieces": sent.pieces,
        "usage": sent.usage,
        "finish_reason": sent.finish_reason,
        "error": sent.error,
    }


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.name)
def test_a_stream_in_one_piece(sent: Sent) -> None:
    assert what_is_read(read(sent, sent.body)) == what_was_sent(sent)


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.name)
def test_a_stream_cut_at_every_byte(sent: Sent) -> None:
    expected = what_was_sent(sent)
    for at in range(1, len(sent.body)):
        assert what_is_read(read(sent, sent.body[:at], sent.body[at:])) == expected, f"cut at byte {at}"
    assert what_is_read(read(sent, *(bytes([byte]) for byte in sent.body))) == expected


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.name)
def test_a_stream_as_a_user_reads_it(site: Site, sent: Sent) -> None:
    site.server.answer(HEAD, part(sent.body), LAST)
    answer = site.ask(USERS[sent.wire])
    assert what_is_read(answer) == what_was_sent(sent)
    assert site.reasons == [sent.error or None]


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.name)
def test_the_streams_themselves_are_without_a_slip(sent: Sent) -> None:
    fields = [line.partition(":") for line in sent.body.decode().splitlines() if line]
    assert {name for name, _, _ in fields} <= {"", "data", "event"}
    data = [value.strip() for name, _, value in fields if name == "data"]
    assert all(isinstance(json.loads(text), dict) for text in data if text != "[DONE]")
