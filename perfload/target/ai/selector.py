"""An event loop that wakes on time: asyncio's own, on Linux, rounds every wait up to whole milliseconds."""

from __future__ import annotations

import asyncio
import select
import selectors
import sys

_MAX_SELECT_FD = 1023


def precise_loop() -> asyncio.SelectorEventLoop:
    """Return a new event loop whose timers, on Linux, end within a fraction of a millisecond."""
    return asyncio.SelectorEventLoop(_selector())


if sys.platform == "linux":

    class PreciseSelector(selectors.EpollSelector):
        """epoll with waits in microseconds: `select`, which has those, waits on the descriptor of epoll."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """Return the files that are ready; waits for `timeout` seconds at most, None: for ever."""
            fd = self.fileno()
            if timeout is None or timeout <= 0 or fd > _MAX_SELECT_FD:
                return super().select(timeout)
            select.select([fd], (), (), timeout)
            return super().select(0)

    def _selector() -> selectors.BaseSelector:
        return PreciseSelector()

else:

    def _selector() -> selectors.BaseSelector:
        return selectors.DefaultSelector()
