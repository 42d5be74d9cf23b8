"""A run on a cluster that changes: of four workers one is killed, one stands still for 10 s; a fifth joins.

Who owns which arrival and what is lost comes from `perfload.shares`, as it does in a real run; the rest are
seeded random numbers.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

from perfload.histogram import Histogram
from perfload.model import (
    ArrivalWindow,
    NodeEvent,
    NodeRecord,
    Phase,
    Reading,
    RunRecord,
    Window,
)
from perfload.plan import Arrival, Plan
from perfload.shares import era_at, evenly, given, lost, without
from tests.unit.report.records import RUN_ID, STARTED_AT_S, manifest

PLAN = Plan(
    [
        Phase(name="Warm-up", duration=10, arrival_rate=200, warmup=True),
        Phase(name="Normal load", duration=30, arrival_rate=200),
        Phase(name="Peak load", duration=20, arrival_rate=200),
    ]
)
PHASES = [span.name for span in PLAN.spans]
STOPPED_S, BACK_S = 30.3, 40.3
UNHEARD_S = 20.0
"""Worker 2 is killed at 20.1 s, before it has sent what it did in that second."""
EVENTS = (
    NodeEvent(22.107, "worker-2", "lost", "not heard of for 2 s; the others have its share from 22.3 s on"),
    NodeEvent(32.342, "worker-3", "lost", "not heard of for 2 s; the others have its share from 32.5 s on"),
    NodeEvent(39.981, "worker-4", "joined", "has a share from 42.0 s on"),
    NodeEvent(40.318, "worker-3", "returned", "has a share from 42.3 s on"),
)
NOTE = "it was last heard of at 20.1 s and did not return: everything after second 19 is missing"
FIRST = evenly(range(4), 0.0)
WITHOUT_2 = without(FIRST, 2, 22.307)
WITHOUT_3 = without(WITHOUT_2, 3, 32.542)
ERAS = (FIRST, WITHOUT_2, WITHOUT_3, evenly((0, 1, 4), 41.981), evenly((0, 1, 3, 4), 42.318))


def cluster_record() -> RunRecord:
    """Return the record of 60 s at 200 arrivals per second."""
    rng = random.Random(11)
    started = _started()
    arrivals, windows, readings = [], [], []
    for index, seconds in sorted(started.items()):
        node = f"worker-{index}"
        for (second, phase), count in sorted(seconds.items()):
            lag = Histogram(round(rng.lognormvariate(math.log(400), 0.5)) for _ in range(count))
            arrivals.append(ArrivalWindow(RUN_ID, node, second, phase, lag))
            windows += _windows(rng, node, second, phase, count)
            readings += _readings(rng, node, second, count)
    run = manifest(
        shape="load_test.ClusterTest",
        phases=PLAN.spans,
        thresholds=("p95 < 500ms", "error_rate < 1%"),
        nodes=tuple(_nodes(started)),
        events=EVENTS,
        ended_at_s=STARTED_AT_S + 60,
    )
    return RunRecord(run, tuple(windows), tuple(arrivals), readings=tuple(readings))


def busy_record(count: int) -> RunRecord:
    """Return the same run with `count` other events, evenly spread: a worker is lost and returns."""
    record = cluster_record()
    events = tuple(
        NodeEvent(60 * (number + 0.5) / count, "worker-3", "returned" if number % 2 else "lost", "")
        for number in range(count)
    )
    return replace(record, manifest=replace(record.manifest, events=events))


def _started() -> dict[int, Counter[tuple[int, str]]]:
    found: defaultdict[int, Counter[tuple[int, str]]] = defaultdict(Counter)
    for step in PLAN.schedule():
        owner = era_at(ERAS, step.at_s).owner(step.number) if isinstance(step, Arrival) else None
        if owner is not None and not _is_away(owner, step.at_s):
            found[owner][int(step.at_s), PHASES[step.phase]] += 1
    return found


def _is_away(node: int, at_s: float) -> bool:
    return (node == 2 and at_s >= UNHEARD_S) or (node == 3 and STOPPED_S <= at_s < BACK_S)


def _nodes(started: dict[int, Counter[tuple[int, str]]]) -> Iterator[NodeRecord]:
    shares = given(PLAN.schedule(), ERAS, PHASES, math.inf)
    for index in sorted(started):
        is_killed = index == 2
        missing = lost(shares[index], started[index])
        yield NodeRecord(
            f"worker-{index}",
            index,
            not is_killed,
            19 if is_killed else 59,
            NOTE if is_killed else "",
            joined_s=39.981 if index == 4 else 0.0,
            left_s=20.107 if is_killed else None,
            given=sum(shares[index].values()),
            lost=tuple((second, phase, count) for (second, phase), count in missing.items()),
            clock_offset_ms=(0.021, -0.004, 0.013, 1.204, -48_211_904.377)[index],
            clock_error_ms=(0.11, 0.09, 0.14, 0.21, 0.412)[index],
        )


def _windows(rng: random.Random, node: str, second: int, phase: str, count: int) -> Iterator[Window]:
    for method, name, median_ms in (("POST", "/api/auth/login", 62.0), ("GET", "/api/ai-models", 14.0)):
        times_us = [round(rng.lognormvariate(math.log(median_ms * 1000), 0.4)) for _ in range(count)]
        times, none = Histogram(times_us), Histogram()
        due = ((second, count, 0),)
        yield Window(RUN_ID, node, second, phase, method, name, times, times, none, count * 900, due)


def _readings(rng: random.Random, node: str, second: int, count: int) -> Iterator[Reading]:
    at_s = STARTED_AT_S + second + 0.5
    for metric, unit, value in (
        ("users", "users", float(round(count * 0.08 + rng.random() * 3))),
        ("cpu_percent", "%", 4 + count * 0.25 + rng.random() * 3),
        ("loop_lag_ms", "ms", rng.lognormvariate(math.log(0.7), 0.4)),
    ):
        yield Reading(at_s, node, "generator", metric, unit, value)
