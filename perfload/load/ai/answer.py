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

LATE_READ_NS = 1_000_000
"""Ten times what a process that has time for it takes."""

MAX_CALLS = 128
MAX_CHOICES = 128


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
class Call:
    """Of a tool, in the parts in which it comes."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Thought:
    """A block of Anthropic's reasoning, which goes back as it came when the conversation goes on."""

    parts: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: str = ""
    """What nobody may read takes the place of both."""


@dataclass(slots=True)
class Answer:
    """Filled while a stream is read, or at once from a response that was not one."""

    sent_ns: int
    """When the request was made: the making of a connection, where there was none, comes after it."""
    due_ns: int | None = None
    """When it should have been made, if that was earlier."""
    is_streamed: bool = True
    is_sent: bool = True
    """Whether anything of the request has left, so that it may have been taken and have to be paid."""
    status: int = 0
    """That of the response; 0 where there was none."""
    retries: int = 0
    """How many requests before this one came to nothing."""
    piece_ns: list[int] = field(default_factory=list)
    """When each piece with something in it arrived, of whichever channel."""
    read_delay_ns: list[int] = field(default_factory=list)
    """How long each of them, or those that came with it, lay in the socket before this process read it."""
    first_content_ns: int | None = None
    text_bytes: int = 0
    """Of all pieces, as UTF-8."""
    texts: dict[Channel, list[str]] = field(default_factory=dict)
    """Of the first choice, where a request asks for several (`n`)."""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    error: str = ""
    """Why it failed, short and stable; empty for an answer that is whole."""
    error_message: str = ""
    """What the server said to that."""
    ended_ns: int | None = None
    """When the stream had ended."""
    choices: int = 1
    """How many were asked for."""
    finished: set[int] = field(default_factory=set)
    """Those that had a reason to finish."""
    thoughts: dict[int, Thought] = field(default_factory=dict)
    """By their place in the answer; only where the provider wants them back."""
    _calls: dict[int, Call] = field(default_factory=dict)
    is_done: bool = False
    """Whether the server said that nothing follows: `[DONE]`, `message_stop`."""
    is_whole: bool = False
    """Whether the server said that this was all: `[DONE]`, a reason to finish, `message_stop`."""

    def add(self, channel: Channel, text: str, at_ns: int, choice: int = 0) -> None:
        """Take one piece; an empty one is none."""
        if not text:
            return
        pieces = self.piece_ns
        if pieces and at_ns < pieces[-1]:
            # The kernel's stamps are carried over to another clock, which may take a microsecond back.
            at_ns = pieces[-1]
        pieces.append(at_ns)
        if channel == "content" and self.first_content_ns is None:
            self.first_content_ns = at_ns
        self.text_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if choice == 0:
            self.texts.setdefault(channel, []).append(text)

    def finish(self, reason: str, choice: int = 0) -> None:
        """Note why a choice has ended; when all that were asked for have, the answer is whole."""
        if choice == 0 or not self.finish_reason:
            self.finish_reason = reason
        if len(self.finished) < MAX_CHOICES:
            self.finished.add(choice)
        self.is_whole = self.is_whole or len(self.finished) >= self.choices

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
    def is_counted(self) -> bool:
        """Whether it has come to some end; what was never sent, since its user left, has none."""
        return self.ended_ns is not None or bool(self.error)

    @property
    def start_ns(self) -> int:
        """What latencies count from."""
        return self.sent_ns if self.due_ns is None else min(self.due_ns, self.sent_ns)

    def add_call(self, place: int | None, *, id: str = "", name: str = "", arguments: str = "") -> str:
        """Take a part of a call of a tool; return what is new in it of what the model has said.

        Without a place it belongs to the call before, unless it has an identifier of its own. The identifier
        goes before the place, which some servers give to all calls alike. It and the name may come with every
        part.
        """
        last = next(reversed(self._calls), 0) if place is None else place
        held = self._calls.get(last)
        if held is not None and id and held.id and id != held.id:
            last = next((at for at, call in self._calls.items() if call.id == id), max(self._calls) + 1)
            held = self._calls.get(last)
        if held is None:
            if len(self._calls) >= MAX_CALLS:
                return name + arguments
            held = self._calls[last] = Call()
        held.id = held.id or id
        if name == held.name:
            name = ""
        held.name += name
        held.arguments.append(arguments)
        return name + arguments

    def has_call(self, place: int) -> bool:
        """Return whether a call of a tool has begun at `place`."""
        return place in self._calls

    def thought(self, place: int) -> Thought:
        """Return the block of reasoning at `place`, to add to it."""
        if place not in self.thoughts and len(self.thoughts) >= MAX_CALLS:
            return Thought()
        return self.thoughts.setdefault(place, Thought())

    @property
    def calls(self) -> dict[int, dict[str, str]]:
        """The tools that are to be called, by their place: `id`, `name`, `arguments`."""
        return {
            place: {"id": call.id, "name": call.name, "arguments": "".join(call.arguments)}
            for place, call in self._calls.items()
        }

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
    def is_blurred(self) -> bool:
        """Whether the first piece was read so late that it has the second one's time.

        Pieces that were sent together have one time too, but are soon read.
        """
        pieces, delays = self.piece_ns, self.read_delay_ns
        return len(pieces) > 1 and pieces[0] == pieces[1] and bool(delays) and delays[0] > LATE_READ_NS

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
    def input_tokens_per_s(self) -> float | None:
        """Input tokens over the time to first token, in which a server reads them."""
        took_ms, tokens = self.ttft_ms, self.usage.input_tokens
        return tokens * 1000 / took_ms if tokens and took_ms else None

    @property
    def whole_ms(self) -> float | None:
        """Time to the end of the stream."""
        return None if self.ended_ns is None else _ms(self.ended_ns - self.start_ns)


def _ms(ns: int) -> float:
    return ns / 1e6
