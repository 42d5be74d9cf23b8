"""The last minutes of entries, numbered, in bounded memory."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from perfload.monitors.agent.page import MAX_ENTRIES, MAX_PAGE_CHARS


@dataclass(frozen=True, slots=True)
class Slice:
    """Lines in their order, the number of the last, and how many that were asked for are gone."""

    lines: Sequence[str]
    next: int
    lost: int


class Ring:
    """Lines of JSON by number, from 1; the oldest go first. Safe in threads."""

    def __init__(self, *, keep_s: float, max_lines: int = 200_000, max_chars: int = 64 * 2**20) -> None:
        self._keep_s = keep_s
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._held: deque[tuple[float, str]] = deque()
        self._chars = 0
        self._newest = 0
        self._changed = threading.Condition()

    @property
    def newest(self) -> int:
        """The number of the newest line; 0 before the first."""
        return self._newest

    def append(self, lines: Sequence[str], now_s: float) -> None:
        """Add `lines`, which came at `now_s`, and wake those who wait for them."""
        with self._changed:
            for line in lines:
                self._held.append((now_s, line))
                self._chars += len(line)
            self._newest += len(lines)
            while self._held and self._is_too_much(now_s):
                self._chars -= len(self._held.popleft()[1])
            self._changed.notify_all()

    def after(self, number: int, wait_s: float = 0.0) -> Slice:
        """Return the lines after `number`, as many as fit one page; waits for the first of them."""
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(lambda: self._newest > number, wait_s)
            asked = max(0, self._newest - number)
            held = min(asked, len(self._held))
            # From the newer end, where nearly everybody reads.
            lines = [line for _, line in itertools.islice(reversed(self._held), held)]
            page = _as_fits(reversed(lines))
            return Slice(page, self._newest - held + len(page), asked - held)

    def _is_too_much(self, now_s: float) -> bool:
        is_old = self._held[0][0] < now_s - self._keep_s
        return is_old or len(self._held) > self._max_lines or self._chars > self._max_chars


def _as_fits(lines: reversed[str]) -> list[str]:
    """Return the first of `lines`, at least one, within what a page may hold."""
    page: list[str] = []
    chars = 0
    for line in lines:
        chars += len(line)
        if page and (chars > MAX_PAGE_CHARS or len(page) == MAX_ENTRIES):
            break
        page.append(line)
    return page
