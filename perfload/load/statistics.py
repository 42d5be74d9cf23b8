"""Locust's own statistics, fed a second at a time from what the recorder has counted.

Locust counts every request twice, with a dictionary look-up for each of a dozen numbers: three times what the
recorder needs. Its resolution is ours anyway (`bucket_response_time`), so they are added up once
a second, by the same method with which Locust's master adds up its workers. Up to that second, counts and
percentiles are what Locust would have counted; sums of response times are those of whole microseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from locust.stats import StatsEntry

from perfload.histogram import representative, slot_middle
from perfload.load.clock import RunClock
from perfload.model import AnyWindow, Window


class _Told(NamedTuple):
    """A request that is not in the windows as Locust counts it: failed, or without an answer."""

    second: int
    method: str
    name: str
    response_time_ms: float | None
    length: int
    error: Exception | str | None


class StatisticsFeed:
    """Stands in for Locust's listener of the request event during one run."""

    def __init__(self, environment: Any, clock: RunClock) -> None:
        self._environment = environment
        self._statistics = environment.stats
        self._clock = clock
        self._replaced: list[Callable[..., Any]] = []
        self._untold: list[_Told] = []
        self._told_bytes: Counter[tuple[str, str]] = Counter()
        """Bytes of failed requests: they are in the windows too, and are not to be counted twice."""
        self._first_second = 0
        self._kept_caches = True

    def begin(self) -> None:
        """Take Locust's own listener off the request event."""
        events = self._environment.events
        # A function inside `Runner.__init__`: there is no other way to name it.
        self._replaced = [handler for handler in events.request._handlers if _is_locusts(handler)]
        for handler in self._replaced:
            events.request.remove_listener(handler)
        # Twenty copies of a dictionary for each name, which nothing reads but a history of each name.
        self._kept_caches = self._statistics.use_response_times_cache
        options = self._environment.parsed_options
        self._statistics.use_response_times_cache = bool(options and options.stats_history_enabled)
        events.reset_stats.add_listener(self._reset)
        events.spawning_complete.add_listener(self._on_spawning_complete)

    def end(self) -> None:
        """Give the events back as they were."""
        events = self._environment.events
        for handler in self._replaced:
            events.request.add_listener(handler)
        self._replaced = []
        self._statistics.use_response_times_cache = self._kept_caches
        events.reset_stats.remove_listener(self._reset)
        events.spawning_complete.remove_listener(self._on_spawning_complete)

    def _on_spawning_complete(self, **_: Any) -> None:
        if self._environment.reset_stats:
            self._reset()

    def _reset(self, **_: Any) -> None:
        """Begin anew with the next full second."""
        self._first_second = int(self._clock.now_s()) + 1

    def tell(
        self,
        method: str,
        name: str,
        response_time_ms: float | None,
        length: int,
        error: Exception | str | None,
    ) -> None:
        """Take what no window holds for Locust: a failure, or a message without an answer."""
        if self._replaced:
            second = max(0, int(self._clock.now_s()))
            self._untold.append(_Told(second, method, name, response_time_ms, length, error))

    def add(self, windows: Iterable[AnyWindow], before: int | None = None) -> None:
        """Add the requests that succeeded in `windows`, and what was told in the seconds below `before`."""
        if not self._replaced:
            return
        untold, self._untold = self._untold, []
        for told in untold:
            if before is not None and told.second >= before:
                self._untold.append(told)
            elif told.second >= self._first_second:
                self._log(told)
        for window in windows:
            if isinstance(window, Window) and window.second >= self._first_second:
                entry = self._entry(window)
                self._statistics.get(window.name, window.method).extend(entry)
                self._statistics.total.extend(entry)

    def _log(self, told: _Told) -> None:
        self._statistics.log_request(told.method, told.name, told.response_time_ms, told.length)
        if told.error:
            self._statistics.log_error(told.method, told.name, told.error)
        if told.response_time_ms is not None:
            self._told_bytes[told.method, told.name] += told.length

    def _entry(self, window: Window) -> Any:
        """Return `window` as the statistics of a worker that has seen nothing else."""
        entry: Any = StatsEntry(self._statistics, window.name, window.method)
        entry.total_content_length = window.received_bytes
        entry.total_content_length -= self._told_bytes.pop((window.method, window.name), 0)
        service = window.service
        if not service.count:
            return entry
        began_s = self._clock.epoch_s(window.second)
        entry.start_time = began_s
        entry.last_request_timestamp = min(began_s + 1, self._clock.wall_now_s())
        entry.num_requests = service.count
        entry.num_reqs_per_sec = {int(began_s): service.count}
        entry.total_response_time = service.sum / 1000
        entry.min_response_time = service.min / 1000
        entry.max_response_time = service.max / 1000
        entry.response_times = {slot_middle(slot) / 1000: count for slot, count in service.slots.items()}
        return entry


def keep_no_copies(environment: Any) -> None:
    """Have Locust's master keep no copies of its statistics: twenty of a dictionary for each name.

    It makes them when a worker's report has a new name, whatever it was told; only a history reads them.
    """

    def forget(**_: Any) -> None:
        for entry in environment.stats.entries.values():
            if entry.use_response_times_cache:
                entry.use_response_times_cache, entry.response_times_cache = False, None

    options = environment.parsed_options
    if not (options and options.stats_history_enabled):
        environment.events.worker_report.add_listener(forget)


def _is_locusts(handler: Callable[..., Any]) -> bool:
    return getattr(handler, "__module__", "") == "locust.runners"


def bucket_response_time(response_time_ms: float) -> float:
    """Return the value, in milliseconds, under which Locust's own statistics count a response time.

    Locust's rule keeps two digits (147 ms becomes 150); with this one its UI and CSV files agree with ours.
    """
    return representative(round(response_time_ms * 1000)) / 1000
