"""What the emulator really sent, and when: counts, histograms, and every write of the last streams."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import MutableSequence
from dataclasses import dataclass, field

from perfload.histogram import Histogram
from perfload.target.truth import summarize

FINISHED = "finished"
GONE = "gone"
"""The client closed the connection."""

MAX_RAW_CHUNKS = 10_000


@dataclass(slots=True)
class Figures:
    """What one provider's API did. Times are microseconds, read at the moment of the write."""

    streams: int = 0
    """Streams begun: all of `ended` and those in progress."""
    ended: Counter[str] = field(default_factory=Counter)
    """How streams ended: `finished`, `gone`, or the fault that ended them."""
    answers: int = 0
    """Answers sent at once, and whole."""
    left: int = 0
    """Clients that were gone before anything was sent to them."""
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    """Tokens sent: of a stream that was cut, those before the cut."""
    chunks: int = 0
    """Writes with tokens in them."""
    ttft: Histogram = field(default_factory=Histogram)
    """From the first bytes of a request to the write of the first token."""
    gaps: Histogram = field(default_factory=Histogram)
    """From one write with tokens to the next of the same stream."""
    late: Histogram = field(default_factory=Histogram)
    """From when a write was due to when it was made."""
    last_token: Histogram = field(default_factory=Histogram)
    """From the first bytes of a request to its last token, of streams that finished."""
    queue: Histogram = field(default_factory=Histogram)
    """How long those waited who did not get a place in the batch at once."""

    def as_json(self) -> dict[str, object]:
        """Return the figures as `GET /_truth` shows them."""
        return {
            "streams": self.streams,
            "ended": dict(sorted(self.ended.items())),
            "answers": self.answers,
            "left": self.left,
            "refused": dict(sorted(self.refused.items())),
            "faults": dict(sorted(self.faults.items())),
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "output_tokens": self.output_tokens,
            "chunks": self.chunks,
            "ttft": summarize(self.ttft),
            "gaps": summarize(self.gaps),
            "late": summarize(self.late),
            "last_token": summarize(self.last_token),
            "queue": summarize(self.queue),
        }


class Tape:
    """One stream, write by write. Nanoseconds on `time.perf_counter_ns`: CLOCK_MONOTONIC on Linux."""

    __slots__ = (
        "chunk_ns",
        "chunk_tokens",
        "ended",
        "ended_ns",
        "figures",
        "last_ns",
        "opened_ns",
        "provider",
        "received_ns",
        "request_id",
    )

    def __init__(self, provider: str, request_id: str, received_ns: int, figures: Figures) -> None:
        self.provider = provider
        self.request_id = request_id
        self.received_ns = received_ns
        self.figures = figures
        self.opened_ns = 0
        self.chunk_ns: MutableSequence[int] = []
        self.chunk_tokens: MutableSequence[int] = []
        self.last_ns = 0
        self.ended = ""
        self.ended_ns = 0

    def wrote(self, at_ns: int, due_ns: int, tokens: int) -> None:
        """Note a write with tokens in it."""
        figures = self.figures
        if self.last_ns:
            figures.gaps.record((at_ns - self.last_ns) // 1000)
        else:
            figures.ttft.record((at_ns - self.received_ns) // 1000)
        figures.late.record((at_ns - due_ns) // 1000)
        figures.chunks += 1
        figures.output_tokens += tokens
        self.last_ns = at_ns
        if len(self.chunk_ns) < MAX_RAW_CHUNKS:
            self.chunk_ns.append(at_ns)
            self.chunk_tokens.append(tokens)

    def as_json(self) -> dict[str, object]:
        """Return the stream as `GET /_truth/ai` shows it."""
        return {
            "request_id": self.request_id,
            "provider": self.provider,
            "received_ns": self.received_ns,
            "opened_ns": self.opened_ns,
            "chunk_ns": list(self.chunk_ns),
            "chunk_tokens": list(self.chunk_tokens),
            "ended": self.ended,
            "ended_ns": self.ended_ns,
        }


class AiTruth:
    """What both providers' APIs did since the start or the last `reset`."""

    def __init__(self, raw_streams: int = 1000) -> None:
        self._tapes: deque[Tape] = deque(maxlen=raw_streams)
        self._figures: dict[str, Figures] = {}

    def figures(self, provider: str) -> Figures:
        """Return the figures that `provider` adds to now."""
        return self._figures.setdefault(provider, Figures())

    def begin(self, provider: str, request_id: str, received_ns: int) -> Tape:
        """Count a stream and return its tape."""
        figures = self.figures(provider)
        figures.streams += 1
        return Tape(provider, request_id, received_ns, figures)

    def end(self, tape: Tape, how: str, at_ns: int) -> None:
        """Close `tape`: no more is sent. One that was begun before a `reset` is in no later count."""
        tape.ended, tape.ended_ns = how, at_ns
        tape.figures.ended[how] += 1
        if how == FINISHED and tape.last_ns:
            tape.figures.last_token.record((tape.last_ns - tape.received_ns) // 1000)
        if self._figures.get(tape.provider) is tape.figures:
            # Four times smaller than a list of numbers, which is quicker while they are written.
            tape.chunk_ns = array("q", tape.chunk_ns)
            tape.chunk_tokens = array("l", tape.chunk_tokens)
            self._tapes.append(tape)

    def reset(self) -> None:
        """Start anew."""
        self._figures = {}
        self._tapes.clear()

    def as_json(self) -> dict[str, object]:
        """Return counts and histograms, by provider."""
        return {name: figures.as_json() for name, figures in sorted(self._figures.items())}

    def detail(self) -> dict[str, object]:
        """Return the last streams that ended, oldest first."""
        return {"streams": [tape.as_json() for tape in self._tapes]}
