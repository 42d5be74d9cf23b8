"""From Locust's request event to the recorder."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from gevent import getcurrent
from locust.exception import CatchResponseError
from locust.stats import StatsError

from perfload.errors import PerfloadError
from perfload.load.clock import RunClock
from perfload.model import PhaseSpan, span_at
from perfload.recorder import Recorder
from perfload.redact import redact


class RequestBridge:
    """Records every request event of one node during one run."""

    def __init__(self, recorder: Recorder, clock: RunClock, spans: Sequence[PhaseSpan]) -> None:
        self._recorder = recorder
        self._clock = clock
        self._spans = spans
        self._span = spans[0]

    def on_request(
        self,
        *,
        request_type: str,
        name: str,
        response_time: float | None,
        response_length: int | None,
        exception: Exception | str | None = None,
        start_time: float | None = None,
        **_: Any,
    ) -> None:
        """Record one finished request; the listener of Locust's `request` event, so it runs for each.

        Service time is what the client measured. Latency adds, for the first request of an arrival, what lay
        between the intended start and the send; a user that looks to the server like one who has been waiting
        since then has been. A response time of None (a message sent, nothing awaited) is not a latency.
        """
        if response_time is None:
            return
        now_s = self._clock.now_s()
        service_us = round(response_time * 1000)
        latency_us = service_us
        visit = getattr(getcurrent(), "perfload_visit", None)
        if visit is None:
            sent_s = now_s - response_time / 1000
            due_second = max(0, int(sent_s))
            phase = self._phase_at(sent_s)
        else:
            phase = visit.phase
            due_second = visit.due_second
            if visit.is_first:
                visit.is_first = False
                if start_time is not None:
                    latency_us += max(0, round((start_time - visit.due_epoch_s) * 1e6))
            else:
                due_second = max(0, int(now_s - response_time / 1000))
        self._recorder.request(
            int(now_s),
            phase,
            request_type,
            presentable(name),
            latency_us=latency_us,
            service_us=service_us,
            due_second=due_second,
            received_bytes=response_length or 0,
            reason=None if exception is None else reason_of(exception),
        )

    def on_user_error(self, exception: Exception, **_: Any) -> None:
        """Record an exception in a scenario's own code; the listener of Locust's `user_error` event."""
        now_s = self._clock.now_s()
        visit = getattr(getcurrent(), "perfload_visit", None)
        phase = self._phase_at(now_s) if visit is None else visit.phase
        reason = reason_of(exception.message if isinstance(exception, PerfloadError) else exception)
        self._recorder.scenario_error(int(now_s), phase, reason)

    def _phase_at(self, t_s: float) -> str:
        """Return the phase of second `t_s`: nearly always that of the last request."""
        span = self._span
        if not span.start_s <= t_s < span.end_s:
            self._span = span = span_at(self._spans, t_s)
        return span.name


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
