"""One answer of a language model, as it arrived: what of it came when, and how it ended.

Times are nanoseconds on `time.perf_counter_ns`; what is derived from them is in milliseconds:

    TTFT   the first piece that is not empty, of any channel, minus the start
    TTFO   the first piece of content minus the start
    TPOT   (last piece - first piece) / (output tokens - 1)
    ICL    from one piece to the next; a piece may hold several tokens
    E2E    the last piece minus the start; to the end of the stream, its end minus the start

The start is the send or, for the first request of an arrival that was late, its intended start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Channel = Literal["content", "reasoning", "tool"]

TRUNCATED = "stream ended early"
MALFORMED = "malformed event"
NO_TOKENS = "no tokens"

MAX_CALLS = 128


@dataclass(slots=True)
class Usage:
    """What the server says it counted; None where it does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Of the input."""
    reasoning_tokens: int | None = None
    """Of the output."""


@dataclass(slots=True)
class Answer:
    """Filled while a stream is read, or at once from a response that was not one."""

    sent_ns: int
    """When the request was made: the making of a connection, where there was none, comes after it."""
    due_ns: int | None = None
    """When it should have been made, if that was earlier."""
    is_streamed: bool = True
    status: int = 0
    """That of the response; 0 where there was none."""
    retries: int = 0
    """How many requests before this one came to nothing."""
    piece_ns: list[int] = field(default_factory=list)
    """When each piece with something in it arrived, of whichever channel."""
    read_delay_ns: list[int] = field(default_factory=list)
    """How long each of them, or those that came with it, lay in the socket before this process read it."""
    first_content_ns: int | None = None
    texts: dict[Channel, list[str]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    error: str = ""
    """Why it failed, short and stable; empty for an answer that is whole."""
    error_message: str = ""
    """What the server said to that."""
    ended_ns: int | None = None
    """When the stream had ended."""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    """The tools that are to be called, by their place: `id`, `name`, `arguments`."""
    is_done: bool = False
    """Whether the server said that nothing follows: `[DONE]`, `message_stop`."""
    is_whole: bool = False
    """Whether the server said that this was all: `[DONE]`, a reason to finish, `message_stop`."""

    def add(self, channel: Channel, text: str, at_ns: int) -> None:
        """Take one piece; an empty one is none."""
        if not text:
            return
        pieces = self.piece_ns
        # The kernel's stamps are carried over to another clock, which may take a microsecond back.
        pieces.append(at_ns if not pieces or at_ns >= pieces[-1] else pieces[-1])
        if channel == "content" and self.first_content_ns is None:
            self.first_content_ns = at_ns
        self.texts.setdefault(channel, []).append(text)

    def fail(self, reason: str, message: str = "") -> None:
        """Note what went wrong; the first reason stays."""
        if not self.error:
            self.error, self.error_message = reason, message

    def end(self, at_ns: int) -> None:
        """Note that no more comes."""
        self.ended_ns = at_ns
        if not self.is_whole:
            self.fail(TRUNCATED)
        elif not self.piece_ns:
            self.fail(NO_TOKENS)

    @property
    def ok(self) -> bool:
        """Whether it is whole."""
        return not self.error

    @property
    def start_ns(self) -> int:
        """What latencies count from."""
        return self.sent_ns if self.due_ns is None else min(self.due_ns, self.sent_ns)

    def add_call(self, place: int, **parts: str) -> None:
        """Take a part of a call of a tool; parts of the same name go behind each other."""
        if place in self.calls or len(self.calls) < MAX_CALLS:
            call = self.calls.setdefault(place, {"id": "", "name": "", "arguments": ""})
            for name, part in parts.items():
                call[name] += part

    def text(self, channel: Channel = "content") -> str:
        """Return all that came over `channel`."""
        return "".join(self.texts.get(channel, ()))

    @property
    def output_tokens(self) -> int | None:
        """What the server counted; None where it did not, however many pieces came."""
        return self.usage.output_tokens

    @property
    def ttft_ms(self) -> float | None:
        """Time to first token."""
        return _ms(self.piece_ns[0] - self.start_ns) if self.piece_ns else None

    @property
    def ttfo_ms(self) -> float | None:
        """Time to first token of content: later than the above where a model thinks first."""
        return None if self.first_content_ns is None else _ms(self.first_content_ns - self.start_ns)

    @property
    def tpot_ms(self) -> float | None:
        """Time per output token after the first; None for fewer than two, and where nobody counted them."""
        tokens = self.output_tokens
        if tokens is None or tokens < 2 or len(self.piece_ns) < 2:
            return None
        return _ms(self.piece_ns[-1] - self.piece_ns[0]) / (tokens - 1)

    @property
    def gaps_ms(self) -> list[float]:
        """Inter-chunk latencies."""
        return [_ms(later - at) for at, later in zip(self.piece_ns, self.piece_ns[1:], strict=False)]

    @property
    def tokens_per_piece(self) -> float | None:
        """Mean tokens of a piece: what an inter-chunk latency is divided by to compare it with TPOT."""
        tokens = self.output_tokens
        return tokens / len(self.piece_ns) if tokens and self.piece_ns else None

    @property
    def e2e_ms(self) -> float | None:
        """Time to the last token."""
        return _ms(self.piece_ns[-1] - self.start_ns) if self.piece_ns else None

    @property
    def output_tokens_per_s(self) -> float | None:
        """Output tokens over the time to the last of them."""
        took_ms = self.e2e_ms
        return self.output_tokens * 1000 / took_ms if self.output_tokens and took_ms else None

    @property
    def whole_ms(self) -> float | None:
        """Time to the end of the stream."""
        return None if self.ended_ns is None else _ms(self.ended_ns - self.start_ns)


def _ms(ns: int) -> float:
    return ns / 1e6
