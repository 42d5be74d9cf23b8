"""Records of runs whose database was profiled, for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

from perfload.codec import encode_histogram
from perfload.histogram import Histogram
from perfload.model import Manifest, Observation, PhaseSpan, Reading, RunRecord

START_S = 1_767_225_600.0

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=START_S,
    host="http://localhost:8000",
    scenarios=("GetModels",),
    shape="",
    phases=(
        PhaseSpan("Warm up", 0.0, 10.0, "arrivals", 2.0, 2.0, 4, warmup=True),
        PhaseSpan("Low", 10.0, 20.0, "arrivals", 1.0, 1.0, 4),
        PhaseSpan("High", 30.0, 10.0, "arrivals", 1.0, 1.0, 4),
    ),
    thresholds=(),
    ended_at_s=START_S + 40,
    end_reason="finished",
)


def observation(second: float, kind: str, data: dict[str, Any]) -> Observation:
    return Observation(START_S + second, "db-1", "mongodb_profiler", kind, data)


def operation(second: float = 15.0, **changes: Any) -> Observation:
    """A hundred searches that scan 3,000 documents for 60 each, in the second before `second`."""
    times_us = changes.pop("times_us", [5_000] * 100)
    data = {
        "ns": "app.models",
        "op": "find",
        "shape": "find {owner: =} sort {created_at: -1}",
        "hash": "8EB89E3C",
        "equality": ["owner"],
        "sort": [["created_at", -1]],
        "range": [],
        "unindexable": [],
        "filtered": True,
        "branches": [],
        "lookups": [],
        "counts_matches": True,
        "from_s": START_S + second - 1,
        "plan": "COLLSCAN",
        "count": len(times_us),
        "total_us": sum(times_us),
        "max_us": max(times_us),
        "histogram": encode_histogram(Histogram(times_us)),
        "docs_examined": 3_000 * len(times_us),
        "keys_examined": 0,
        "returned": 60 * len(times_us),
        "collection_scans": len(times_us),
        "in_memory_sorts": len(times_us),
        "limit_missing": 0,
        "lock_wait_us": 0,
        "errors": 0,
    }
    return observation(second, "operation", data | changes)


def served(second: float = 15.0, **changes: Any) -> Observation:
    """The same, with the index that fits."""
    fits = {
        "plan": "IXSCAN { owner: 1, created_at: -1 }",
        "docs_examined": 6_000,
        "keys_examined": 6_000,
        "collection_scans": 0,
        "in_memory_sorts": 0,
    }
    return operation(second, **fits | changes)


def index(*keys: tuple[str, int], uses: int | None = 0, **changes: Any) -> dict[str, Any]:
    name = "_".join(f"{field}_{way}" for field, way in keys)
    return {
        "name": "_id_" if name == "_id_1" else name,
        "keys": [list(key) for key in keys],
        "unique": False,
        "ttl": False,
        "sparse": False,
        "partial": False,
        "hidden": False,
        "collation": False,
        "uses": uses,
        "since": "2026-01-01T00:00:00",
        **changes,
    }


def state(when: str, *indexes: dict[str, Any], ns: str = "app.models", **changes: Any) -> Observation:
    data = {
        "ns": ns,
        "when": when,
        "indexes": [index(("_id", 1), uses=0 if when == "before" else 500), *indexes],
        "documents": 3_000,
        "average_document_bytes": 100,
        "refused": [],
    }
    return observation(-1.0 if when == "before" else 41.0, "indexes", data | changes)


def reading(second: float, metric: str, value: float | None, **changes: Any) -> Reading:
    known = {
        "node": "db-1",
        "source": "mongodb",
        "unit": "",
        "unavailable": "" if value is not None else "gone",
    }
    return Reading(at_s=START_S + second, metric=metric, value=value, **(known | changes))


def record(*observations: Observation, readings: tuple[Reading, ...] = ()) -> RunRecord:
    return RunRecord(MANIFEST, observations=observations, readings=readings)
