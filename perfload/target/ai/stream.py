"""One streamed answer: a frame each time the pacer says that one is due, written straight to the connection.

Past ASGI on purpose: its `send` costs a coroutine and a dictionary per write, and a task that waits
costs a timer and two turns of the loop. Head and end of the response do go through ASGI, so the server's
own account of the connection stays right.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from perfload.target.ai import faults
from perfload.target.ai.batch import Batch
from perfload.target.ai.provider import Frame
from perfload.target.ai.spread import Spread
from perfload.target.ai.truth import FINISHED, GONE, AiTruth, Tape

MAX_UNREAD_BYTES = 1 << 20
"""A client that does not read gets no more until it does."""
_LOOK_AGAIN_NS = 10_000_000


class Connection(Protocol):
    """What is needed of `asyncio.Transport`."""

    def write(self, data: bytes) -> None:
        """Send, now if possible."""

    def is_closing(self) -> bool:
        """Return whether it is closed, by either end."""

    def get_write_buffer_size(self) -> int:
        """Return the bytes that could not be sent yet."""


@dataclass(slots=True)
class Gaps:
    """The time from one chunk of a stream to the next."""

    spread: Spread
    source: random.Random
    batch: Batch
    _always_ns: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        if self.spread.is_constant and self.batch.is_even:
            self._always_ns = int(self.spread.middle * 1e9)

    def next_ns(self) -> int:
        """Return the next gap, stretched by what else is in the batch now."""
        if self._always_ns >= 0:
            return self._always_ns
        return int(self.spread.draw(self.source) * self.batch.stretch() * 1e9)


class Stream:
    """Frames of one stream, each at its due time: a `Paced`. `done` gets how it ended."""

    def __init__(
        self,
        connection: Connection,
        frames: Iterator[Frame],
        gaps: Gaps,
        *,
        tape: Tape,
        truth: AiTruth,
        clock_ns: Callable[[], int],
        ends_as: str = FINISHED,
        stall: tuple[int, int] = (-1, 0),
    ) -> None:
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._frames = frames
        self._gaps = gaps
        self._tape = tape
        self._truth = truth
        self._clock_ns = clock_ns
        self._ends_as = ends_as
        self._stall_after, self._stall_ns = stall
        self._written = 0
        self._load()

    def step(self, due_ns: int) -> int:
        """Write what is due; returns when the next is."""
        connection = self._connection
        if connection.is_closing() or self.done.done():
            return self._over(GONE)
        if connection.get_write_buffer_size() > MAX_UNREAD_BYTES:
            return self._clock_ns() + _LOOK_AGAIN_NS
        # Before the write: what a client on this machine sees cannot be earlier.
        at_ns = self._clock_ns()
        connection.write(self._data)
        if self._tokens:
            self._tape.wrote(at_ns, due_ns, self._tokens)
        if not self._load():
            return self._over(self._ends_as)
        next_ns = due_ns + self._gaps.next_ns()
        self._written += 1
        return next_ns + self._stall_ns if self._written == self._stall_after else next_ns

    def fail(self, error: Exception) -> None:
        """Hand `error` to whoever waits for the end."""
        self._truth.end(self._tape, "broken", self._clock_ns())
        if not self.done.done():
            self.done.set_exception(error)

    def _load(self) -> bool:
        """Encode the next frame, which then only has to be written."""
        frame = next(self._frames, None)
        if frame is None:
            return False
        data, self._tokens = frame
        self._data = b"%x\r\n%b\r\n" % (len(data), data)
        return True

    def _over(self, how: str) -> int:
        self._truth.end(self._tape, how, self._clock_ns())
        if not self.done.done():
            self.done.set_result(how)
        return 0


class Pause:
    """Waits for one moment: a `Paced` whose `done` is set then."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def step(self, due_ns: int) -> int:
        """Let go on who waits."""
        if not self.done.done():
            self.done.set_result(None)
        return 0

    def fail(self, error: Exception) -> None:
        """Never called: `step` does nothing that could raise."""


def broken(
    frames: Iterator[Frame], after: int, fault: str, error: bytes, malformed: bytes
) -> Iterator[Frame]:
    """Yield `frames`, but for what `fault` does to them after the first `after`."""
    for number, (data, tokens) in enumerate(frames):
        if number == after and fault == faults.MALFORMED:
            yield malformed + data, tokens
        elif number == after and fault == faults.STREAM_ERROR:
            yield error, 0
            return
        elif number == after and fault in (faults.CUT, faults.EARLY_END):
            return
        else:
            yield data, tokens
