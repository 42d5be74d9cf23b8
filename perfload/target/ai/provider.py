"""What the two providers have in common: a form of requests, a form of answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from perfload.target.ai.limits import Standing
from perfload.target.ai.question import Question
from perfload.target.ai.refusal import Refusal
from perfload.target.ai.reply import Chunk, Reply

Frame = tuple[bytes, int]
"""One write: events, and how many tokens they carry."""
RawHeaders = Mapping[bytes, bytes]
HeaderList = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one answer from the others, beside what it says."""

    answer_id: str
    request_id: str
    created_s: int
    quirks: frozenset[str] = frozenset()
    """How its stream departs from the format: names of `perfload.target.ai.quirks`."""


class Provider(Protocol):
    """One provider's API. All methods are pure: they wait for nothing and keep nothing."""

    name: str
    request_id_header: bytes

    def key(self, headers: RawHeaders) -> str:
        """Return the API key of a request, "" without one; raises `Refusal` for wrong headers."""

    def question(self, body: bytes, headers: RawHeaders) -> Question:
        """Read a request; raises `Refusal`."""

    def opening(self, reply: Reply, identity: Identity) -> bytes:
        """Return the events before the first token."""

    def frames(self, reply: Reply, identity: Identity, steps: Iterable[Sequence[Chunk]]) -> Iterator[Frame]:
        """Yield a frame per step, then one with the events at the end."""

    def idle_event(self, reply: Reply, identity: Identity) -> bytes:
        """Return an event that says nothing, as its quirks have it; without one, nothing."""

    def body(self, reply: Reply, identity: Identity) -> bytes:
        """Return the answer that is not streamed."""

    def status(self, refusal: Refusal) -> int:
        """Return the status of a refusal."""

    def error(self, refusal: Refusal, request_id: str) -> bytes:
        """Return the body of a refusal."""

    def error_event(self, refusal: Refusal, request_id: str) -> bytes:
        """Return a refusal as an event within a stream."""

    def malformed_event(self) -> bytes:
        """Return an event that cannot be read."""

    def limit_headers(self, standing: Standing, now_s: float) -> HeaderList:
        """Return how far the client is from its limits. `now_s`: seconds since the epoch."""

    def models(self, names: Sequence[str], created_s: int, query: bytes) -> bytes:
        """Return the list of models, or the page of it that the query asks for; raises `Refusal`."""

    def model(self, name: str, created_s: int) -> bytes:
        """Return one model."""
