"""A body that is read as it arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from gevent import GreenletExit

from perfload.load.http.failures import CUT_OFF, TIMED_OUT_OUTSIDE, RequestFailed


class Source(Protocol):
    """The connection that the rest of a body comes from."""

    received_ns: int
    read_ns: int

    @property
    def is_idle(self) -> bool:
        """Whether the response has ended and the connection may take the next request."""

    def next_piece(self) -> bytes:
        """Return what has come of the body, waiting for it; b"" at its end."""

    def wait_until(self, deadline_ns: int, reason: str) -> None:
        """Give the rest up at `deadline_ns`, for `reason`."""

    def close(self) -> None:
        """Close the connection."""


class BodyStream:
    """Iterates over the pieces of a body in the sizes in which they come; once."""

    def __init__(self, source: Source, give_back: Callable[[], None]) -> None:
        self._source: Source | None = source
        self._give_back = give_back
        self.read_bytes = 0
        self.received_ns = 0
        """When the piece that was returned last had come, or when no more was waited for."""
        self.read_ns = 0
        """When this process got round to reading that piece."""
        self.cut_off = ""
        """Why the scenario stopped waiting for the next piece, if it did: the reason of the failure."""

    def __iter__(self) -> Iterator[bytes]:
        while self._source is not None:
            piece = self._next_piece(self._source)
            if not piece:
                self.close()
                return
            self.read_bytes += len(piece)
            self.received_ns, self.read_ns = self._source.received_ns, self._source.read_ns
            yield piece

    def _next_piece(self, source: Source) -> bytes:
        try:
            return source.next_piece()
        except RequestFailed:
            self.received_ns = time.perf_counter_ns()
            raise
        except BaseException as end:  # a gevent.Timeout raises whatever it was given
            self.cut_off = CUT_OFF if isinstance(end, GreenletExit) else TIMED_OUT_OUTSIDE
            self.received_ns = time.perf_counter_ns()
            raise

    def wait_until(self, deadline_ns: int, reason: str) -> None:
        """Fail with `reason` at `deadline_ns` (`time.perf_counter_ns`), unless this is called again before.

        For a reader that looks for something in the body, and moves the deadline as it finds it. It costs no
        timer; the limit of the whole request stays.
        """
        if self._source is not None:
            self._source.wait_until(deadline_ns, reason)

    def close(self) -> None:
        """Give the connection back when the body has ended, close it when not."""
        source, self._source = self._source, None
        if source is None:
            return
        if source.is_idle:
            self._give_back()
        else:
            source.close()

    def __del__(self) -> None:
        # A response that nobody read to its end must not keep its connection.
        self.close()
