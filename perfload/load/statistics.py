"""Locust's own statistics, fed a second at a time from what the recorder has counted.

Locust counts every request twice, with a dictionary look-up for each of a dozen numbers: three times what the
recorder needs. Its resolution is ours anyway (`bucket_response_time`), so they are added up once
a second, by the same method with which Locust's master adds up its workers. Counts and percentiles are what
Locust would have counted; sums of response times are those of whole microseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from locust.stats import RequestStats, StatsEntry

from perfload.histogram import representative, slot_middle
from perfload.load.clock import RunClock
from perfload.model import AnyWindow, Window


class StatisticsFeed:
    """Stands in for Locust's listener of the request event during one run."""

    def __init__(self, statistics: RequestStats, clock: RunClock) -> None:
        # Locust's annotations say int for milliseconds; its values are not.
        self._statistics: Any = statistics
        self._clock = clock
        self._hook: Any = None
        self._replaced: list[Callable[..., Any]] = []
        self._told_bytes: Counter[tuple[str, str]] = Counter()
        """Bytes of failed requests: Locust has heard of them already."""

    def replace_listener(self, hook: Any) -> None:
        """Take Locust's own listener off the request event."""
        self._hook = hook
        # A function inside `Runner.__init__`: there is no other way to name it.
        self._replaced = [handler for handler in hook._handlers if _is_locusts(handler)]
        for handler in self._replaced:
            hook.remove_listener(handler)

    def restore_listener(self) -> None:
        """Give the request event back as it was."""
        for handler in self._replaced:
            self._hook.add_listener(handler)
        self._replaced = []

    def tell(
        self,
        method: str,
        name: str,
        response_time_ms: float | None,
        length: int,
        error: Exception | str | None,
    ) -> None:
        """Pass on at once what no window holds for Locust: a failure, or a message without an answer."""
        if not self._replaced:
            return
        self._statistics.log_request(method, name, response_time_ms, length)
        if error:
            self._statistics.log_error(method, name, error)
        if response_time_ms is not None:
            self._told_bytes[method, name] += length

    def add(self, windows: Iterable[AnyWindow]) -> None:
        """Add the requests that succeeded in `windows`."""
        if not self._replaced:
            return
        for window in windows:
            if isinstance(window, Window):
                entry = self._entry(window)
                self._statistics.get(window.name, window.method).extend(entry)
                self._statistics.total.extend(entry)

    def _entry(self, window: Window) -> Any:
        """Return `window` as the statistics of a worker that has seen nothing else."""
        entry: Any = StatsEntry(self._statistics, window.name, window.method)
        entry.total_content_length = window.received_bytes
        entry.total_content_length -= self._told_bytes.pop((window.method, window.name), 0)
        service = window.service
        if not service.count:
            return entry
        began_s = self._clock.epoch_s(window.second)
        entry.start_time, entry.last_request_timestamp = began_s, began_s + 1
        entry.num_requests = service.count
        entry.num_reqs_per_sec = {int(began_s): service.count}
        entry.total_response_time = service.sum / 1000
        entry.min_response_time = service.min / 1000
        entry.max_response_time = service.max / 1000
        entry.response_times = {slot_middle(slot) / 1000: count for slot, count in service.slots.items()}
        return entry


def _is_locusts(handler: Callable[..., Any]) -> bool:
    return getattr(handler, "__module__", "") == "locust.runners"


def bucket_response_time(response_time_ms: float) -> float:
    """Return the value, in milliseconds, under which Locust's own statistics count a response time.

    Locust's rule keeps two digits (147 ms becomes 150); with this one its UI and CSV files agree with ours.
    """
    return representative(round(response_time_ms * 1000)) / 1000
