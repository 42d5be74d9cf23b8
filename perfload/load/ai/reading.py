"""From a response to an answer: events as they come, their deadlines, and what can go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from perfload.load.ai.answer import TRUNCATED, Answer
from perfload.load.ai.json_values import JsonObject, parsed
from perfload.load.http.failures import CLOSED, RequestFailed
from perfload.load.http.response import Response
from perfload.load.http.sse import Event
from perfload.load.http.timeouts import NEVER_NS, Timeouts

FIRST_TOKEN = "timed out: first token"  # noqa: S105  # a reason
BETWEEN_TOKENS = "timed out: between tokens"
_FIRST_BYTE = "timed out: first byte"
_END = "timed out: end of stream"

_END_NS = 1_000_000_000
"""How long the end of the body is waited for once the stream has said that nothing follows."""
MAX_ANSWER_BYTES = 64 << 20
ANSWER_TOO_LARGE = "answer too large"
MAX_ERROR_BYTES = 65_536
MAX_MESSAGE = 500

_clean = str.maketrans({"\r": " ", "\n": " "})


@dataclass(frozen=True, slots=True)
class AnswerTimeouts:
    """Limits in seconds; None is no limit. Without a stream only the first and the last one count."""

    connect_s: float | None = 30.0
    first_token_s: float | None = 60.0
    """From the request to the first piece of the answer: no comment and no ping puts it off."""
    between_tokens_s: float | None = 30.0
    """From one piece to the next, or to the end."""
    total_s: float | None = 300.0

    def of_request(self, *, is_streamed: bool) -> Timeouts:
        """Return them as the client has them."""
        first_s = self.first_token_s if is_streamed else None
        return Timeouts(connect_s=self.connect_s, first_byte_s=first_s, total_s=self.total_s)


class Wire(Protocol):
    """One provider's format."""

    def take_event(self, answer: Answer, event: Event) -> None:
        """Add what one event of a stream says."""

    def take_body(self, answer: Answer, body: bytes, at_ns: int) -> None:
        """Fill an answer from a response that was not streamed."""

    def code_of(self, body: JsonObject) -> str:
        """Return what kind of error a body tells of."""

    def message_of(self, body: JsonObject) -> str:
        """Return the server's own words."""


def read(response: Response, wire: Wire, answer: Answer, timeouts: AnswerTimeouts) -> None:
    """Fill `answer` from `response`, to its end or to its first failure."""
    answer.status = response.status_code
    if not response.status_code:
        _fail(answer, response.error or RequestFailed(TRUNCATED))
        answer.end(response.received_ns)
        return
    try:
        if not 200 <= response.status_code < 300:
            _read_error(response, wire, answer)
        elif response.stream is not None and "json" not in response.headers.get("content-type", ""):
            _read_events(response, wire.take_event, answer, timeouts)
        else:
            answer.is_streamed = False
            body = response.content
            received_ns = response.stream.received_ns if response.stream is not None else response.received_ns
            wire.take_body(answer, body, received_ns)
    except RequestFailed as failure:
        _fail(answer, failure)
        answer.end(response.received_ns if response.stream is None else response.stream.received_ns)


def _read_events(
    response: Response, take: Callable[[Answer, Event], None], answer: Answer, timeouts: AnswerTimeouts
) -> None:
    stream = response.stream
    assert stream is not None
    pieces, seen = answer.piece_ns, 0
    delayed = answer.read_delay_ns.append
    between_ns = _in_ns(timeouts.between_tokens_s)
    stream.wait_until(answer.sent_ns + _in_ns(timeouts.first_token_s), FIRST_TOKEN)
    for event in response.iter_sse():
        take(answer, event)
        if len(pieces) != seen:
            seen = len(pieces)
            delayed(stream.read_ns - event.received_ns)
            stream.wait_until(event.received_ns + between_ns, BETWEEN_TOKENS)
            if stream.read_bytes > MAX_ANSWER_BYTES:
                answer.fail(ANSWER_TOO_LARGE)
        elif answer.is_done:
            stream.wait_until(event.received_ns + _END_NS, _END)
        if answer.error:
            break
    answer.end(stream.received_ns)


def _read_error(response: Response, wire: Wire, answer: Answer) -> None:
    """Note an error: `429 rate_limit_exceeded`, or `status 500` where the server says no more."""
    body = b""
    for chunk in response.iter_chunks():
        body += chunk
        if len(body) > MAX_ERROR_BYTES:
            break
    said = parsed(body) or {}
    code = wire.code_of(said)
    status = response.status_code
    answer.fail(f"{status} {code}" if code else f"status {status}", shown(wire.message_of(said)))
    answer.end(response.received_ns)


def shown(message: str) -> str:
    """Return the words of a server on one line of no great length."""
    return message[:MAX_MESSAGE].translate(_clean)


def _fail(answer: Answer, failure: RequestFailed) -> None:
    """Note a failure of the request, in the words of answers. What had said that it was done is whole."""
    reason = failure.reason
    if answer.is_done and answer.is_whole:
        return
    if reason == _FIRST_BYTE:
        reason = FIRST_TOKEN
    elif reason == CLOSED and answer.status:
        reason = TRUNCATED
    answer.fail(reason)


def _in_ns(limit_s: float | None) -> int:
    return NEVER_NS // 4 if limit_s is None else int(limit_s * 1e9)
