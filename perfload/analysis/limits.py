"""What counts as a resource at its limit: one line for each metric that can say so (the USE method).

Utilisation is how much of the resource is in use, saturation how much work waits for it, errors what it
refused. A monitor of another package adds to this by naming its metrics as these do.
Source: Brendan Gregg, "The USE Method", https://www.brendangregg.com/usemethod.html
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from perfload.model import Reading

Aspect = Literal["utilisation", "saturation", "errors"]


@dataclass(frozen=True, slots=True)
class Limit:
    """From `limit` on, `metric` of `source` says that `resource` is full, waited for or failing."""

    source: str
    metric: str
    """Up to the bracket of its label: `cpu_percent` for `cpu_percent[uvicorn]`, too."""
    limit: float
    aspect: Aspect
    resource: str
    """In words; `{label}` is what stands in the metric's brackets."""
    rank: int
    """The cause before its effects: of several that are full, the lowest is named. A pool that is used up
    comes before the processor of the database behind it, a process before the machine that it runs on."""
    up_to: float = math.inf
    """Above, it says nothing: a process that uses several cores is not held up by one."""


LIMITS = (
    Limit("mongodb", "ticket_queue", 1, "saturation", "the {label} tickets of MongoDB", 1),
    Limit("mongodb", "tickets_used_percent", 95, "utilisation", "the {label} tickets of MongoDB", 1),
    Limit("mongodb", "lock_queue", 5, "saturation", "a lock in MongoDB that {label} wait for", 1),
    Limit("mongodb", "cache_application_evictions_per_s", 1, "saturation", "the cache of MongoDB", 1),
    Limit("redis", "connections_rejected_per_s", 0.01, "errors", "the connections of Redis", 1),
    Limit("redis", "evicted_per_s", 1, "saturation", "the memory of Redis", 1),
    Limit("redis", "cpu_main_thread_percent", 90, "utilisation", "the processor time of Redis", 2),
    Limit(
        "processes", "process_cpu_percent_busiest", 90, "utilisation", "one core for {label}", 2, up_to=115
    ),
    Limit("processes", "process_open_files_percent", 95, "utilisation", "the open files of {label}", 2),
    Limit("host", "container_throttled_percent", 10, "saturation", "the container's processor limit", 2),
    Limit("host", "container_memory_percent", 95, "utilisation", "the container's memory limit", 2),
    Limit("host", "tcp_listen_overflows_per_s", 0.01, "errors", "a queue of new connections", 2),
    Limit("host", "conntrack_percent", 95, "utilisation", "the table of tracked connections", 2),
    Limit("gpu", "utilisation_percent", 95, "utilisation", "the GPU {label}", 3),
    Limit("gpu", "memory_percent", 98, "utilisation", "the memory of the GPU {label}", 3),
    Limit("host", "disk_busy_percent_max", 95, "utilisation", "a disk", 3),
    Limit("host", "io_pressure_full_percent", 20, "saturation", "the disks", 3),
    Limit("host", "memory_pressure_full_percent", 10, "saturation", "the memory", 3),
    Limit("host", "memory_percent", 97, "utilisation", "the memory", 4),
    Limit("host", "cpu_percent", 90, "utilisation", "the processors", 5),
)

SUSTAINED = 3
"""Readings in a row: one busy second is not a limit."""

NEARLY = 0.9
"""Of its limit: a full resource is a little less in a single reading, and once others want it, too."""

_LABEL = re.compile(r"\[(.*)\]$")


@dataclass(frozen=True, slots=True)
class Use:
    """How near one resource of one node came to its limit in some stretch of time."""

    limit: Limit
    node: str
    metric: str
    unit: str
    highest: float
    """The highest mean of `SUSTAINED` readings in a row, none of which was much lower."""
    full_since_s: float | None
    """When it reached its limit for so long, seconds since the epoch; None if it did not."""
    full_share: float
    """The part of the readings that were at the limit, or nearly."""

    @property
    def share(self) -> float:
        """Of its limit."""
        return self.highest / self.limit.limit

    @property
    def words(self) -> str:
        """What it is, where."""
        label = _LABEL.search(self.metric)
        return f"{self.limit.resource.replace('{label}', spoken(label[1]) if label else '')} on {self.node}"


def spoken(label: str) -> str:
    """Return what a label stands for: `port:8000`, a choice of the monitor of processes, is a process."""
    kind, _, value = label.partition(":")
    return {"port": f"the process at port {value}", "pid": f"process {value}", "name": value}.get(kind, label)


def uses(readings: Sequence[Reading]) -> list[Use]:
    """Return how much each resource of which something is known was used, the nearest to its limit first."""
    known = {(limit.source, limit.metric): limit for limit in LIMITS}
    series: defaultdict[tuple[str, str, str, str], list[Reading]] = defaultdict(list)
    for reading in readings:
        if reading.value is not None:
            series[reading.source, reading.node, reading.metric, reading.unit].append(reading)
    found = [
        _use(known[source, base], node, metric, unit, held)
        for (source, node, metric, unit), held in series.items()
        if (source, base := metric.partition("[")[0]) in known and len(held) >= SUSTAINED
    ]
    return sorted(found, key=lambda use: -use.share)


def _use(limit: Limit, node: str, metric: str, unit: str, held: Sequence[Reading]) -> Use:
    highest, full_since_s = 0.0, None
    full = sum(1 for reading in held if NEARLY * limit.limit <= (reading.value or 0.0) <= limit.up_to)
    for first in range(len(held) - SUSTAINED + 1):
        values = [reading.value or 0.0 for reading in held[first : first + SUSTAINED]]
        level = min(sum(values) / SUSTAINED, min(values) / NEARLY) if max(values) <= limit.up_to else 0.0
        highest = max(highest, level)
        if full_since_s is None and level >= limit.limit:
            full_since_s = held[first].at_s
    return Use(limit, node, metric, unit, highest, full_since_s, full / len(held))
