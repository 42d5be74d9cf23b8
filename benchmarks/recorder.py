"""What recording one request costs, beside Locust's own statistics and the hdrhistogram package."""

from __future__ import annotations

import random
import statistics
import timeit

from hdrh.histogram import HdrHistogram
from locust.stats import RequestStats

from perfload.histogram import Histogram
from perfload.recorder import Recorder

SOURCE = random.Random(1)
VALUES_US = [int(SOURCE.lognormvariate(11, 1)) for _ in range(20_000)]
REPETITIONS = 7


def with_recorder() -> None:
    """Record into windows: response time, service time, due second, bytes."""
    recorder = Recorder("run", "node")
    for value in VALUES_US:
        recorder.request(3, "Load", "GET", "/a", latency_us=value, service_us=value, due_second=3)


def with_histogram() -> None:
    """Record into one of perfload's histograms."""
    histogram = Histogram()
    for value in VALUES_US:
        histogram.record(value)


def with_hdrhistogram() -> None:
    """Record into one histogram of the hdrhistogram package."""
    histogram = HdrHistogram(1, 3_600_000_000, 3)
    for value in VALUES_US:
        histogram.record_value(value)


def with_locust() -> None:
    """Record into Locust's statistics."""
    stats = RequestStats()
    for value in VALUES_US:
        stats.log_request("GET", "/a", value / 1000, 0)


if __name__ == "__main__":
    print(f"ns per request, median of {REPETITIONS} interleaved repetitions")
    seen: dict[str, list[float]] = {}
    for _ in range(REPETITIONS):
        for body in (with_recorder, with_histogram, with_hdrhistogram, with_locust):
            seconds = timeit.timeit(body, number=1)
            seen.setdefault(body.__name__.removeprefix("with_"), []).append(seconds / len(VALUES_US) * 1e9)
    for name, values in seen.items():
        print(f"  {name:13} {statistics.median(values):6.0f}   ({min(values):.0f} .. {max(values):.0f})")
