"""What a master did from one look at it to the next, and what its workers saw meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.generator.paired import percentile, slope
from benchmarks.generator.table import render

ROW_S = 60.0


@dataclass(frozen=True)
class Look:
    """What /proc and the disk said at one time."""

    at_s: float
    """Seconds since 1970."""
    cpu_s: float
    memory_bytes: int
    record_bytes: int


@dataclass(frozen=True)
class Interval:
    """The time between two looks."""

    from_s: float
    """Seconds of the run."""
    until_s: float
    cpu_percent: float
    """Of a core."""
    memory_bytes: int
    """At its end; so is the next."""
    record_bytes: int
    round_trips_us: list[int]
    """Of the beats that were answered; in order of size."""
    counts: Counter[str]
    """What the workers counted: batches and requests acknowledged, and what should not happen."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.until_s - self.from_s

    def round_trip_ms(self, percent: float) -> float:
        """Return a percentile of the round trips; 0 if there were none."""
        return percentile(self.round_trips_us, percent) / 1000 if self.round_trips_us else 0.0

    def figures(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "from_s": round(self.from_s, 1),
            "until_s": round(self.until_s, 1),
            "cpu_percent": self.cpu_percent,
            "memory_bytes": self.memory_bytes,
            "record_bytes": self.record_bytes,
            "round_trip_p50_ms": self.round_trip_ms(50),
            "round_trip_p99_ms": self.round_trip_ms(99),
            "round_trip_max_ms": self.round_trip_ms(100),
            **self.counts,
        }


Line = dict[str, Any]


def lines(logs: Sequence[Path]) -> list[Line]:
    """Return what the processes with workers have said so far; what else they print is left out."""
    texts = (text for log in logs for text in log.read_text("utf-8").splitlines())
    return [json.loads(text) for text in texts if text.startswith("{") and text.endswith("}")]


def intervals(looks: Sequence[Look], said: Sequence[Line], began_s: float) -> list[Interval]:
    """Return the stretches between `looks`, each with what was said in it; a run began at `began_s`."""
    return [_interval(one, other, said, began_s) for one, other in pairwise(looks)]


def _interval(one: Look, other: Look, said: Sequence[Line], began_s: float) -> Interval:
    meanwhile = [line for line in said if one.at_s < line.get("at_s", 0.0) <= other.at_s]
    counts: Counter[str] = Counter()
    for line in meanwhile:
        counts.update(line["counts"])
    return Interval(
        from_s=one.at_s - began_s,
        until_s=other.at_s - began_s,
        cpu_percent=100 * (other.cpu_s - one.cpu_s) / (other.at_s - one.at_s),
        memory_bytes=other.memory_bytes,
        record_bytes=other.record_bytes,
        round_trips_us=sorted(us for line in meanwhile for us in line["round_trips_us"]),
        counts=counts,
    )


def together(held: Sequence[Interval], at_least_s: float = ROW_S) -> list[Interval]:
    """Return `held` with neighbours joined until each is as long as asked for; the last may be shorter."""
    joined: list[Interval] = []
    for one in held:
        if joined and joined[-1].seconds < at_least_s - 1:
            joined[-1] = _join(joined[-1], one)
        else:
            joined.append(one)
    return joined


def _join(one: Interval, other: Interval) -> Interval:
    seconds = one.seconds + other.seconds
    cpu = (one.cpu_percent * one.seconds + other.cpu_percent * other.seconds) / seconds
    return Interval(
        from_s=one.from_s,
        until_s=other.until_s,
        cpu_percent=cpu,
        memory_bytes=other.memory_bytes,
        record_bytes=other.record_bytes,
        round_trips_us=sorted(one.round_trips_us + other.round_trips_us),
        counts=one.counts + other.counts,
    )


def growth_bytes_per_min(held: Sequence[Interval], warm_s: float) -> float | None:
    """Return how fast memory grows once `warm_s` have passed; None for a run that is too short to tell."""
    if held[-1].until_s < 2 * warm_s:
        return None
    return 60 * slope([(one.until_s, float(one.memory_bytes)) for one in held if one.until_s >= warm_s])


def table(title: str, held: Sequence[Interval]) -> str:
    """Return a row for each of `held`."""
    header = ["second", "CPU %", "memory MB", "round trip p50 ms", "p99 ms", "longest ms"]
    header += ["batches/s", "requests/s", "record MB"]
    rows = [
        (
            f"{one.from_s:.0f} .. {one.until_s:.0f}",
            f"{one.cpu_percent:.1f}",
            f"{one.memory_bytes / 1e6:.1f}",
            f"{one.round_trip_ms(50):.1f}",
            f"{one.round_trip_ms(99):.1f}",
            f"{one.round_trip_ms(100):.1f}",
            f"{one.counts['batches'] / one.seconds:.1f}",
            f"{one.counts['requests'] / one.seconds:,.0f}",
            f"{one.record_bytes / 1e6:.1f}",
        )
        for one in held
    ]
    return render(title, header, rows)
