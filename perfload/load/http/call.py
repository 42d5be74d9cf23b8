"""One call of a session: what is sent for it, since when, and under which name it is counted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from perfload.load.http.request import Prepared
from perfload.load.http.timeouts import Limits

_perf_counter_ns = time.perf_counter_ns


class Call:
    """Made once per call of `HttpSession.request`, so it holds references and computes nothing."""

    __slots__ = (
        "began_ns",
        "body",
        "context",
        "is_sent",
        "is_stream",
        "limits",
        "method",
        "name",
        "prepared",
        "url",
        "visit",
    )

    def __init__(  # noqa: PLR0917  # keywords cost time
        self,
        prepared: Prepared,
        name: str,
        context: Mapping[str, Any] | None,
        body: bytes | None,
        is_stream: bool,
        limits: Limits,
        visit: Any,
    ) -> None:
        self.prepared = prepared
        """What is sent next; replaced by each redirect."""
        self.method = prepared.method
        self.url = prepared.url
        self.name = name
        self.context = context
        self.body = body
        self.is_stream = is_stream
        self.limits = limits
        self.visit = visit
        """The arrival that it belongs to, in the open model."""
        self.is_sent = False
        """Whether anything has been handed to a connection."""
        self.began_ns = _perf_counter_ns()

    def meta(self, *, received_ns: int, body_bytes: int, error: Exception | None) -> dict[str, Any]:
        """Return the arguments of Locust's request event, but the response."""
        taken_s = (_perf_counter_ns() - self.began_ns) / 1e9
        return {
            "request_type": self.method,
            "name": self.name,
            "context": self.context or {},
            "exception": error,
            "start_time": time.time() - taken_s,
            "url": self.url,
            "response_length": body_bytes,
            "response_time": (received_ns - self.began_ns) / 1e6,
        }
