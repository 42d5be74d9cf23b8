"""perfload's own record of a run: what it reports of some of its seconds."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.generator.readers import Reported
from perfload import store
from perfload.histogram import Histogram

PERCENTILES = (50, 95, 99, 99.9)


def folder_of(reports: Path) -> Path | None:
    """Return the folder of the one run below `reports`; None while there is none."""
    return next((path.parent for path in reports.glob("*/run.json")), None)


def started_at_s(folder: Path) -> float:
    """Return when second 0 of the run was, in seconds since 1970."""
    found: float = json.loads((folder / "run.json").read_text("utf-8"))["started_at_s"]
    return found


def service_times(folder: Path, first: int, end: int) -> Reported:
    """Return what it reports of requests that finished in seconds `first` up to `end`, from their sending."""
    return _reported(folder, "service", first, end)


def response_times(folder: Path, first: int, end: int) -> Reported:
    """Return the same from the time at which the requests were due."""
    return _reported(folder, "latency", first, end)


def _reported(folder: Path, kind: str, first: int, end: int) -> Reported:
    total = Histogram()
    for window in store.load(folder).windows:
        if first <= window.second < end:
            if window.failed:
                raise ValueError(f"{len(window.failed)} requests failed: {window.reasons}")
            total.add(getattr(window, kind))
    if not total:
        raise ValueError(f"the record {folder} has no requests in seconds {first} to {end}")
    values = [value / 1000 for value in total.percentiles(PERCENTILES)]
    return Reported.of(len(total), [*values, total.max / 1000])


def arrival_lag_ms(folder: Path, first: int, end: int) -> tuple[int, float]:
    """Return how many arrivals those seconds had, and the 99th percentile of their lag in milliseconds."""
    total = Histogram()
    for window in store.load(folder).arrivals:
        if first <= window.second < end:
            total.add(window.lag)
    return len(total), total.percentile(99) / 1000 if total else 0.0
