"""Counts that only grow, for as long as the process lives: what Prometheus asks of a counter.

A run that began again at 0 would lie: if it had done more by the next scrape than the one before it at its
end, nobody could tell, and what it did would be missing from every rate. So the runs of one process add up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable

from perfload.histogram import HIGHEST_TRACKABLE_US, Histogram, slot_bounds, slot_of
from perfload.model import AnyWindow, ArrivalWindow, Window

BOUNDS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15),
    *(0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the buckets in which response times are counted."""

MAX_NAMES = 200
"""Requests, failures and phases that are told apart; what comes after is summed under `OTHER`."""
MAX_TEXT_CHARS = 120
OTHER = "other"

LATE_AFTER_US = 5_000
"""An arrival counts as late when it starts more than this after its intended time, as in `summary.json`."""

_BOUNDS_US = [round(bound_s * 1_000_000) for bound_s in BOUNDS_S]
_BUCKET_OF_SLOT = bytes(
    bisect_left(_BOUNDS_US, slot_bounds(slot)[0]) for slot in range(slot_of(HIGHEST_TRACKABLE_US) + 1)
)
"""Bucket of each slot of a histogram; a slot that a bound cuts in two, 0.1 % wide, belongs to the bound."""


class Distribution:
    """How many values lie in each bucket, and their sum."""

    __slots__ = ("buckets", "sum_us")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        """Values in each bucket, not cumulative; the last one has those above every bound."""
        self.sum_us = 0

    def add(self, histogram: Histogram) -> None:
        """Add every value of `histogram`, in microseconds."""
        buckets, bucket_of, known = self.buckets, _BUCKET_OF_SLOT, len(_BUCKET_OF_SLOT)
        for slot, count in histogram.slots.items():
            buckets[bucket_of[slot] if slot < known else -1] += count
        self.sum_us += histogram.sum

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self.buckets)


class RequestTotals:
    """One request, by whatever outcome."""

    __slots__ = ("by_phase", "failed", "latency", "service")

    def __init__(self) -> None:
        self.by_phase: dict[str, list[int]] = {}
        """Phase -> [succeeded, failed]."""
        self.latency = Distribution()
        self.service = Distribution()
        self.failed = Distribution()


class ArrivalTotals:
    """Virtual users of one phase."""

    __slots__ = ("dropped", "late", "lost", "planned", "started")

    def __init__(self) -> None:
        self.planned = 0
        """Of runs that are over; the one under way knows its own."""
        self.started = 0
        self.late = 0
        self.dropped = 0
        self.lost = 0


class Totals:
    """Everything that was measured since this process began, in bounded room."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], RequestTotals] = {}
        """By (method, name)."""
        self.failures: Counter[tuple[str, str, str]] = Counter()
        """By (method, name, reason)."""
        self.arrivals: defaultdict[str, ArrivalTotals] = defaultdict(ArrivalTotals)
        """By phase."""
        self.lag = Distribution()
        self.scenario_errors = 0
        self._phases: dict[str, str] = {}
        self._requests_by_window: dict[tuple[str, str], RequestTotals] = {}

    def add(self, windows: Iterable[AnyWindow]) -> None:
        """Take in windows, each of which comes once."""
        for window in windows:
            if isinstance(window, Window):
                self._add_requests(window)
            elif isinstance(window, ArrivalWindow):
                totals = self.arrivals[self.phase(window.phase)]
                totals.started += window.lag.count
                totals.late += window.lag.count_above(LATE_AFTER_US)
                totals.dropped += window.dropped
                self.lag.add(window.lag)
                self.scenario_errors += sum(count for _, count in window.errors)

    def _add_requests(self, window: Window) -> None:
        totals = self._requests_by_window.get((window.method, window.name)) or self._request(window)
        totals.latency.add(window.latency)
        totals.service.add(window.service)
        totals.failed.add(window.failed)
        counts = totals.by_phase.setdefault(self.phase(window.phase), [0, 0])
        counts[0] += window.latency.count
        counts[1] += window.failed.count
        for reason, count in window.reasons:
            key = (_label(window.method), _label(window.name), _label(reason))
            self.failures[key if self._has_room(key) else (OTHER, OTHER, OTHER)] += count

    def _has_room(self, key: tuple[str, str, str]) -> bool:
        return key in self.failures or (len(self.failures) < MAX_NAMES and key[:2] in self.requests)

    def _request(self, window: Window) -> RequestTotals:
        key = (_label(window.method), _label(window.name))
        if key not in self.requests and len(self.requests) >= MAX_NAMES:
            return self.requests.setdefault((OTHER, OTHER), RequestTotals())
        totals = self.requests.setdefault(key, RequestTotals())
        self._requests_by_window[window.method, window.name] = totals
        return totals

    def phase(self, name: str) -> str:
        """Return the label of phase `name`."""
        if name not in self._phases and len(self._phases) >= MAX_NAMES:
            return OTHER
        return self._phases.setdefault(name, _label(name))


def _label(text: str) -> str:
    """Return `text` as a label: of bounded length, and nothing in it that cannot be sent."""
    whole = "".join(character if character.isprintable() else " " for character in text)
    return whole if len(whole) <= MAX_TEXT_CHARS else f"{whole[: MAX_TEXT_CHARS - 1]}…"
