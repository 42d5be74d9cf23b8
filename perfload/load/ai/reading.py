"""From a response to an answer: events as they come, their deadlines, and what can go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from perfload.load.ai.answer import MALFORMED, TRUNCATED, Answer
from perfload.load.ai.json_values import JsonObject, parsed
from perfload.load.http.content import decode
from perfload.load.http.failures import CLOSED, RequestFailed
from perfload.load.http.response import Response
from perfload.load.http.sse import Event
from perfload.load.http.stream import BodyStream
from perfload.load.http.timeouts import NEVER_NS, Timeouts

FIRST_TOKEN = "timed out: first token"  # noqa: S105  # a reason
BETWEEN_TOKENS = "timed out: between tokens"
_FIRST_BYTE = "timed out: first byte"
_END = "timed out: end of stream"

_END_NS = 1_000_000_000
"""How long the end of the body is waited for once the stream has said that nothing follows."""
_MAX_SURPLUS_BYTES = 65_536
"""How much of what follows that is read: the end of the body, if it is one that means well."""
MAX_ANSWER_BYTES = 64 << 20
ANSWER_TOO_LARGE = "answer too large"
MAX_ERROR_BYTES = 65_536

_HOPELESS = (MALFORMED, ANSWER_TOO_LARGE)
"""Failures behind which nothing is read."""


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
        elif response.stream is not None and "json" not in response.headers.get("content-type", "").lower():
            _read_events(response, wire.take_event, answer, timeouts)
        else:
            answer.is_streamed = False
            body = response.content
            received_ns = response.stream.received_ns if response.stream is not None else response.received_ns
            if len(body) > MAX_ANSWER_BYTES:  # parsed it is many times as large
                answer.fail(ANSWER_TOO_LARGE)
                answer.end(received_ns)
            else:
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
    events = response.iter_sse()
    for event in events:
        take(answer, event)
        if len(pieces) != seen:
            seen = len(pieces)
            delayed(stream.read_ns - event.received_ns)
            stream.wait_until(event.received_ns + between_ns, BETWEEN_TOKENS)
        if stream.read_bytes > MAX_ANSWER_BYTES:  # what is kept need not be a piece
            answer.fail(ANSWER_TOO_LARGE)
        if answer.error and answer.error not in _HOPELESS:
            _hear_out(stream, events, take, answer)
        elif answer.is_done:
            _wait_for_end(stream, event.received_ns)
        if answer.error or answer.is_done:
            break
    answer.end(stream.received_ns)


def _hear_out(
    stream: BodyStream, events: Iterator[Event], take: Callable[[Answer, Event], None], answer: Answer
) -> None:
    """Read what follows an error, at which the stream ended: SGLang says only then what it has counted."""
    failed_ns = stream.received_ns
    stream.wait_until(failed_ns + _END_NS, _END)
    before = stream.read_bytes
    try:
        for event in events:
            take(answer, event)
            if answer.is_done or stream.read_bytes - before > _MAX_SURPLUS_BYTES:
                break
    except RequestFailed:
        pass  # the error before it is the reason
    if answer.is_done:
        _wait_for_end(stream, failed_ns)
    stream.received_ns = failed_ns


def _wait_for_end(stream: BodyStream, done_ns: int) -> None:
    """Read on until the body ends, so that the connection is free again; what comes now is of no interest.

    A body that does not end soon has ended when its server said that it was done: nobody waits for more.
    """
    stream.wait_until(done_ns + _END_NS, _END)
    before = stream.read_bytes
    try:
        for _ in stream:
            if stream.read_bytes - before > _MAX_SURPLUS_BYTES:
                stream.received_ns = done_ns
                break
    except RequestFailed:
        stream.received_ns = done_ns
    stream.close()


def _read_error(response: Response, wire: Wire, answer: Answer) -> None:
    """Note an error: `429 rate_limit_exceeded`, or `status 500` where the server says no more."""
    body = b""
    for chunk in response.iter_chunks():
        body += chunk
        if len(body) > MAX_ERROR_BYTES:
            break
    try:
        body = decode(body, response.headers.get("content-encoding", ""), MAX_ERROR_BYTES)
    except RequestFailed:
        body = b""  # its status says enough
    said = parsed(body) or {}
    code = wire.code_of(said)
    status = response.status_code
    answer.fail(f"{status} {code}" if code else f"status {status}", wire.message_of(said))
    answer.end(response.received_ns)


def _fail(answer: Answer, failure: RequestFailed) -> None:
    """Note a failure of the request, in the words of answers."""
    reason = failure.reason
    if reason == _FIRST_BYTE:
        reason = FIRST_TOKEN
    elif reason == CLOSED and answer.status:
        reason = TRUNCATED
    answer.fail(reason)


def _in_ns(limit_s: float | None) -> int:
    return NEVER_NS // 4 if limit_s is None else int(limit_s * 1e9)
