"""Requests as a load generator sees them: names, latencies, failures; the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from perfload.recorder import Recorder

PHASE = "Load"
METHOD = "GET"
REASON = "503 Service Unavailable"

FAILED = 0.01
SIGMA = 0.5
"""Of log-normal latencies: their 99th percentile is 3.2 times the median."""
QUICK_US, SLOW_US = 10_000, 300_000
"""Medians of the quickest and the slowest request."""
LAG_US = 700
"""How late virtual users start, on average."""
VISIT = 10
"""Requests of one virtual user: its first opens a connection and counts from the intended start."""


class Request(NamedTuple):
    """One finished request."""

    name: str
    service_us: int
    lag_us: int
    """From the intended start to the send: 0 for all but the first request of a virtual user."""
    failed: bool
    received_bytes: int


class Traffic:
    """What one load generator does, second by second: as many requests of every name."""

    def __init__(self, names: int, per_s: int, seed: int = 1) -> None:
        self._source = random.Random(seed)
        self._per_s = per_s
        self.names = [f"/api/projects/[id]/documents-{number:03}" for number in range(names)]
        step = (SLOW_US / QUICK_US) ** (1 / max(1, names - 1))
        self._medians_us = [QUICK_US * step**number for number in range(names)]

    def second(self) -> Iterator[Request]:
        """Yield the requests of the next second."""
        source = self._source
        for number in range(self._per_s):
            place = number % len(self.names)
            yield Request(
                self.names[place],
                int(self._medians_us[place] * source.lognormvariate(0, SIGMA)),
                0 if number % VISIT else 1 + int(source.expovariate(1 / LAG_US)),
                source.random() < FAILED,
                source.randrange(300, 3000),
            )


def record(recorder: Recorder, second: int, request: Request) -> None:
    """Count `request`, and what goes with it, as a load generator does."""
    if request.lag_us:
        recorder.arrival(second, PHASE, request.lag_us)
    recorder.request(
        second,
        PHASE,
        METHOD,
        request.name,
        latency_us=request.service_us + request.lag_us,
        service_us=request.service_us,
        due_second=second,
        received_bytes=request.received_bytes,
        reason=REASON if request.failed else None,
    )
    stages = recorder.stage_cell(second, PHASE, METHOD, request.name)
    stages.send.record(20 + request.service_us % 40)
    stages.wait.record(request.service_us)
    stages.receive.record(30 + request.received_bytes % 100)
    if request.lag_us:
        stages.connect.record(100 + request.lag_us // 4)
