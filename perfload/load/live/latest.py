"""The newest reading of everything that is watched, out of the file that the sampler appends to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perfload.model import Reading
from perfload.readings import decode_reading

MAX_POLL_BYTES = 512 * 1024
"""Most that is read at a time; what is older is passed over: this is about now."""
MAX_READINGS = 1000
"""Values that are told apart; further ones are left out and counted."""
LINES_AT_A_TIME = 20
"""After so many lines, a fraction of a millisecond, others get their turn."""

STALE_S = 15.0
STALE_READS = 3
"""A value is of now for so many of its own intervals, and for `STALE_S` at least."""

WHOLE_SOURCE = "*"
"""Metric of the reading that says why a source as a whole has no values."""

_OWN = b'"source":"generator"'
"""What the load generators say of themselves comes another way."""

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """A reading, and whether it still says how things are."""

    reading: Reading
    is_fresh: bool


class LatestReadings:
    """Follows a file of readings; reads only when asked to, and only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self._latest: dict[_Key, Reading] = {}
        self._gaps_s: dict[_Key, float] = {}
        """Between the last two readings."""
        self.left_out = 0
        """Readings that there was no room for."""

    def poll(self, pause: Callable[[], None]) -> None:
        """Take in what was appended since the last call; `pause` lets others run meanwhile."""
        for number, line in enumerate(self._new_lines()):
            if number and not number % LINES_AT_A_TIME:
                pause()
            if _OWN not in line:
                self._take(line)

    def _new_lines(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                behind = size - self._offset
                if behind < 0 or behind > MAX_POLL_BYTES:
                    self._offset, self._rest = max(0, size - MAX_POLL_BYTES), b""
                file.seek(self._offset)
                data = file.read(MAX_POLL_BYTES)
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-MAX_POLL_BYTES:]
        return lines

    def _take(self, line: bytes) -> None:
        try:
            reading = decode_reading(line.decode("ascii"))
        except ValueError:
            return  # cut off, or in the middle of which reading began; the report says so
        key = (reading.node, reading.source, reading.metric)
        before = self._latest.get(key)
        if before is None and len(self._latest) >= MAX_READINGS:
            self._make_room(reading.at_s)
            if len(self._latest) >= MAX_READINGS:
                self.left_out += 1
                return
        if before is not None and reading.at_s > before.at_s:
            self._gaps_s[key] = reading.at_s - before.at_s
        if before is None or reading.at_s >= before.at_s:
            self._latest[key] = reading

    def _make_room(self, now_s: float) -> None:
        for key, reading in list(self._latest.items()):
            if not self._is_fresh(key, reading, now_s):
                del self._latest[key]
                self._gaps_s.pop(key, None)

    def _is_fresh(self, key: _Key, reading: Reading, now_s: float) -> bool:
        return now_s - reading.at_s <= max(STALE_S, STALE_READS * self._gaps_s.get(key, 0.0))

    def standing(self, now_s: float) -> list[Standing]:
        """Return the newest reading of everything, by node, source and metric; `now_s` since the epoch.

        Where a source as a whole could not be read since, its values are gone and the reason is left. A
        reason is said once, so it holds for as long as its source says anything.
        """
        heard: dict[tuple[str, str], tuple[float, bool]] = {}
        """Source -> when it last said something, and whether that was of now."""
        for key, reading in self._latest.items():
            said = reading.at_s, self._is_fresh(key, reading, now_s)
            heard[key[:2]] = max(heard.get(key[:2], said), said)
        found = []
        for key, reading in sorted(self._latest.items()):
            last_s, is_heard = heard[key[:2]]
            whole = self._latest.get((*key[:2], WHOLE_SOURCE))
            if whole is not None and reading.at_s < (last_s if reading is whole else whole.at_s):
                continue
            is_fresh = is_heard if reading.value is None else self._is_fresh(key, reading, now_s)
            found.append(Standing(reading, is_fresh))
        return found
