"""From Locust's request event to the recorder."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from gevent import getcurrent
from locust.exception import CatchResponseError
from locust.stats import StatsError

from perfload.errors import PerfloadError
from perfload.load.arrivals import Visit
from perfload.load.clock import RunClock
from perfload.load.http.response import Response
from perfload.load.http.stamps import DialTimes
from perfload.load.statistics import StatisticsFeed
from perfload.model import PhaseSpan, span_at
from perfload.recorder import Recorder, RequestCell, StageCell
from perfload.redact import redact

_MAX_SERIES = 10_000
_perf_counter_ns = time.perf_counter_ns


class _Series:
    """Where the numbers of one request of one phase go in one second: looked up once, used for each."""

    __slots__ = ("cell", "method", "name", "phase", "second", "stages")

    def __init__(self, method: str, name: str) -> None:
        self.method = method
        self.name = presentable(name)
        self.phase = ""
        self.second = -1
        self.cell: RequestCell
        self.stages: StageCell


class RequestBridge:
    """Records every request of one node during one run."""

    def __init__(
        self, recorder: Recorder, clock: RunClock, spans: Sequence[PhaseSpan], feed: StatisticsFeed
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._zero_ns = clock.zero_ns
        self._spans = spans
        self._enter(spans[0])
        self._feed = feed
        self._series: dict[tuple[str, str], _Series] = {}

    def passed(self, response: Response) -> None:
        """Record a request of perfload's own client that has succeeded: the short way (`Sink`)."""
        call = response.call
        method, name, began_ns = call.method, call.name, call.began_ns
        service_us = (response.received_ns - began_ns + 500) // 1000
        phase, due_second, latency_us = self._place(call.visit, (began_ns - self._zero_ns) / 1e9, service_us)
        second = max(0, (_perf_counter_ns() - self._zero_ns) // 1_000_000_000)
        series = self._series.get((method, name))
        if series is None or series.second != second or series.phase is not phase:
            series = self._turn(method, name, second, phase)
        series.cell.passed(latency_us, service_us, due_second, response.body_bytes)
        _count_stages(series.stages, response)

    def _place(self, visit: Visit | None, began_s: float, service_us: int) -> tuple[str, int, int]:
        """Return (phase, second in which it was due, latency) of a request that was sent at `began_s`.

        Latency is service time and, for the first request of an arrival, what lay between the intended start
        and the send.
        """
        if visit is None:
            return self._phase_at(began_s), int(began_s) if began_s > 0 else 0, service_us
        if not visit.is_first:
            return visit.phase, int(began_s) if began_s > 0 else 0, service_us
        visit.is_first = False
        lag_us = round((began_s - visit.due_s) * 1e6)
        return visit.phase, int(visit.due_s), service_us + lag_us if lag_us > 0 else service_us

    def _turn(self, method: str, name: str, second: int, phase: str) -> _Series:
        """Return the series of a request, turned to the cells of this second and phase."""
        series = self._series.get((method, name))
        if series is None:
            if len(self._series) >= _MAX_SERIES:
                # Names with an identifier in them: keeping them all would be a leak.
                self._series.clear()
            series = self._series[method, name] = _Series(method, name)
        series.second, series.phase = second, phase
        series.cell = self._recorder.cell(second, phase, method, series.name)
        series.stages = self._recorder.stage_cell(second, phase, method, series.name)
        return series

    def on_request(
        self,
        *,
        request_type: str,
        name: str,
        response_time: float | None,
        response_length: int | None,
        response: Any = None,
        exception: Exception | str | None = None,
        start_time: float | None = None,
        **_: Any,
    ) -> None:
        """Record one finished request; the listener of Locust's `request` event.

        A response time of None (a message sent, nothing awaited) is not a latency.
        """
        name = presentable(name)
        length = response_length or 0
        if exception is not None or response_time is None:
            self._feed.tell(request_type, name, response_time, length, exception)
        if response_time is None:
            return
        ours = response if isinstance(response, Response) else None
        visit: Visit | None = ours.call.visit if ours else getattr(getcurrent(), "perfload_visit", None)
        service_us = round(response_time * 1000)
        began_s = self._began_s(ours, start_time, response_time, visit)
        phase, due_second, latency_us = self._place(visit, began_s, service_us)
        second = max(0, int(self._clock.now_s()))
        self._recorder.request(
            second,
            phase,
            request_type,
            name,
            latency_us=latency_us,
            service_us=service_us,
            due_second=due_second,
            received_bytes=length,
            reason=None if exception is None else reason_of(exception),
        )
        if ours and ours.status_code:
            _count_stages(self._recorder.stage_cell(second, phase, request_type, name), ours)

    def _began_s(
        self, ours: Response | None, start_time: float | None, response_time_ms: float, visit: Visit | None
    ) -> float:
        """Return the second of the run in which a request was sent, as well as it is known."""
        if ours is not None:
            return (ours.call.began_ns - self._zero_ns) / 1e9
        now_s = self._clock.now_s()
        if start_time is not None:
            return now_s - (self._clock.wall_now_s() - start_time)
        if visit is not None and visit.is_first:
            return visit.due_s  # nobody knows by how much it was late
        return now_s - response_time_ms / 1000

    def on_user_error(self, exception: Exception, **_: Any) -> None:
        """Record an exception in a scenario's own code; the listener of Locust's `user_error` event."""
        now_s = self._clock.now_s()
        visit = getattr(getcurrent(), "perfload_visit", None)
        phase = self._phase_at(now_s) if visit is None else visit.phase
        reason = reason_of(exception.message if isinstance(exception, PerfloadError) else exception)
        self._recorder.scenario_error(max(0, int(now_s)), phase, reason)

    def _phase_at(self, t_s: float) -> str:
        """Return the phase of second `t_s`: nearly always that of the last request."""
        if not self._start_s <= t_s < self._end_s:
            self._enter(span_at(self._spans, t_s))
        return self._phase

    def _enter(self, span: PhaseSpan) -> None:
        self._start_s, self._end_s, self._phase = span.start_s, span.end_s, span.name


def _count_stages(cell: StageCell, response: Response) -> None:
    """Count where the time of `response` went, and that of the redirects that led to it."""
    sent_ns, first_byte_ns = response.sent_ns, response.first_byte_ns
    cell.send.record((sent_ns - response.began_ns) // 1000)
    cell.wait.record((first_byte_ns - sent_ns) // 1000)
    cell.receive.record((response.received_ns - first_byte_ns) // 1000)
    if response.dialled is not None:
        _count_dialling(cell, response.dialled)
    if response.is_redirected:
        for earlier in response.history:
            _count_stages(cell, earlier)


def _count_dialling(cell: StageCell, dialled: DialTimes) -> None:
    cell.connect.record(dialled.connect_ns // 1000)
    if dialled.dns_ns is not None:
        cell.dns.record(dialled.dns_ns // 1000)
    if dialled.tls_ns is not None:
        cell.tls.record(dialled.tls_ns // 1000)


def reason_of(error: Exception | str) -> str:
    """Return a short reason, the same for the same failure: what a check said, or the exception's words."""
    if isinstance(error, (str, CatchResponseError)):
        return presentable(str(error))
    # Locust's rule takes the memory addresses out of exceptions.
    return presentable(StatsError.parse_error(error))


@functools.lru_cache(maxsize=10_000)
def presentable(text: str) -> str:
    """Return `text` as it may be written and sent: without secrets, and as Unicode that can be encoded.

    Names and reasons come from outside: a URL with a key in it, half a character in a body. Both repeat, so
    each is looked at once.
    """
    return str(redact(text)).encode("utf-8", "backslashreplace").decode("utf-8")
