"""The newest value of every metric, for those who ask from time to time and want no history."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perfload.model import Observation, Reading

MAX_SERIES = 2000
"""More would be a monitor whose names have no end; what comes later is left out and counted."""

STALE_INTERVALS = 3

_EVERY_METRIC = "*"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at one moment."""

    readings: Sequence[Reading]
    """With values, and fresh."""
    is_up: Mapping[str, bool]
    """By monitor: whether its last read worked."""
    left_out: int
    """Series beyond `MAX_SERIES`."""


class LastValues:
    """Takes entries as they come. Safe in threads."""

    def __init__(self, intervals_s: Mapping[str, float]) -> None:
        self._intervals_s = intervals_s
        self._longest_s = max(intervals_s.values())
        self._lock = threading.Lock()
        self._readings: dict[tuple[str, str, str], Reading] = {}
        self._is_up: dict[str, bool] = {}
        self._left_out: set[int] = set()

    def update(self, entries: Sequence[Reading | Observation]) -> None:
        """Take what one monitor brought."""
        with self._lock:
            for entry in entries:
                is_failure = isinstance(entry, Reading) and entry.metric == _EVERY_METRIC
                if entry.source in self._intervals_s:
                    self._is_up[entry.source] = not is_failure
                if isinstance(entry, Reading) and not is_failure:
                    self._keep(entry)

    def snapshot(self, now_s: float) -> Snapshot:
        """Return what is not older than three intervals of its monitor, and forget the rest."""
        with self._lock:
            self._readings = {
                key: reading
                for key, reading in self._readings.items()
                if reading.at_s >= now_s - STALE_INTERVALS * self._interval_s(reading.source)
            }
            left_out, self._left_out = len(self._left_out), set()
            return Snapshot(tuple(self._readings.values()), dict(self._is_up), left_out)

    def _keep(self, reading: Reading) -> None:
        key = (reading.node, reading.source, reading.metric)
        if reading.value is None:
            self._readings.pop(key, None)
        elif key in self._readings or len(self._readings) < MAX_SERIES:
            self._readings[key] = reading
        elif len(self._left_out) < MAX_SERIES:
            self._left_out.add(hash(key))

    def _interval_s(self, source: str) -> float:
        return self._intervals_s.get(source, self._longest_s)
