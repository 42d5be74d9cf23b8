"""What each tool reports of its latencies, read from what it prints or writes: text in, milliseconds out.

A tool that does not report a percentile has None there. How each counts belongs to the comparison:

- wrk corrects for coordinated omission by the mean interval of a connection
- hey's list ends after a million requests
- autocannon rounds to milliseconds and has no p95
- vegeta estimates percentiles with a t-digest, Locust rounds to two digits
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.generator.paired import percentile

NAMES = ("p50", "p95", "p99", "p99_9", "max")
"""What is compared, in this order."""


@dataclass(frozen=True)
class Reported:
    """Latencies in milliseconds, and how many they are of."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    p99_9: float | None
    max: float | None

    @classmethod
    def of(cls, count: int, values_ms: Iterable[float]) -> Reported:
        """Return these five values, in the order of `NAMES`."""
        p50, p95, p99, p99_9, greatest = values_ms
        return cls(count, p50, p95, p99, p99_9, greatest)

    def errors_ms(self, truth: dict[str, float]) -> dict[str, float | None]:
        """Return reported - true of each percentile that is reported."""
        return {
            name: None if getattr(self, name) is None else getattr(self, name) - truth[name] for name in NAMES
        }


WRK_LINE = "LATENCIES"
WRK_DONE = """
done = function(summary, latency, requests)
    io.write(string.format("LATENCIES %d %d %d %d %d %d\\n", summary.requests, latency:percentile(50),
        latency:percentile(95), latency:percentile(99), latency:percentile(99.9), latency.max))
end
"""
"""A script for wrk that prints its percentiles in microseconds; by itself it has no p95 and no p99.9."""


def wrk(text: str) -> Reported:
    """Read what `WRK_DONE` prints."""
    found = re.search(rf"^{WRK_LINE} (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError("wrk printed no latencies")
    count, *values_us = map(int, found.groups())
    return Reported.of(count, (value / 1000 for value in values_us))


def hey(text: str) -> Reported:
    """Read hey's CSV: seconds in the first column."""
    rows = csv.DictReader(line for line in text.splitlines() if "," in line)
    return of_values(float(row["response-time"]) * 1000 for row in rows)


def oha(text: str) -> Reported:
    """Read oha's JSON: seconds."""
    document = json.loads(text[text.index("{") :])
    latencies = {
        name: value * 1000 for name, value in document["latencyPercentiles"].items() if value is not None
    }
    return Reported(
        sum(document["statusCodeDistribution"].values()),
        latencies["p50"],
        latencies["p95"],
        latencies["p99"],
        latencies["p99.9"],
        document["summary"]["slowest"] * 1000,
    )


def k6(text: str) -> Reported:
    """Read k6's exported summary: milliseconds, from sending to the last byte."""
    metrics = json.loads(text)["metrics"]
    found = metrics["http_req_duration"]
    values = [found[name] for name in ("p(50)", "p(95)", "p(99)", "p(99.9)", "max")]
    return Reported.of(metrics["http_reqs"]["count"], values)


def vegeta(text: str) -> Reported:
    """Read vegeta's JSON report: nanoseconds."""
    document = json.loads(text)
    found = {name: value / 1e6 for name, value in document["latencies"].items()}
    return Reported(document["requests"], found["50th"], found["95th"], found["99th"], None, found["max"])


def autocannon(text: str) -> Reported:
    """Read autocannon's JSON: whole milliseconds."""
    document = json.loads(text[text.index("{") :])
    found = document["latency"]
    return Reported(
        document["requests"]["total"], found["p50"], None, found["p99"], found["p99_9"], found["max"]
    )


def artillery(text: str) -> Reported:
    """Read Artillery's report: milliseconds."""
    aggregate = json.loads(text)["aggregate"]
    found = aggregate["summaries"]["http.response_time"]
    values = [found[name] for name in ("p50", "p95", "p99", "p999", "max")]
    return Reported.of(aggregate["counters"]["http.responses"], values)


def locust(text: str) -> Reported:
    """Read the JSON of Locust's own statistics, of one kind of request, and compute what Locust does."""
    (row,) = json.loads(text)
    count = row["num_requests"]
    counts = sorted(((float(value), times) for value, times in row["response_times"].items()), reverse=True)
    found = [_locust_percentile(counts, count, share) for share in (0.5, 0.95, 0.99, 0.999)]
    return Reported.of(count, [*found, row["max_response_time"]])


def _locust_percentile(counts: list[tuple[float, int]], total: int, share: float) -> float:
    """Do what `locust.stats.calculate_response_time_percentile` does, with the largest values first."""
    above = 0
    for value, times in counts:
        above += times
        if total - above <= int(total * share):
            return value
    return 0.0


def of_values(values_ms: Iterable[float]) -> Reported:
    """Return the percentiles of single latencies."""
    ordered = sorted(values_ms)
    found = [percentile(ordered, percent) for percent in (50, 95, 99, 99.9)]
    return Reported.of(len(ordered), [*found, ordered[-1]])
