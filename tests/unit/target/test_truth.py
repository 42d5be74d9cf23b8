from __future__ import annotations

from perfload.histogram import Histogram
from perfload.target.truth import Truth, summarize


def test_counts_by_how_a_request_ended() -> None:
    truth = Truth()
    row = truth.begin("GET /a")
    for _ in range(4):
        truth.begin("GET /a")
    row.answered(200, 1_000)
    row.answered(500, 50)
    row.cut_off(200, 2_000)
    row.aborted += 1
    found = truth.as_json()["endpoints"]["GET /a"]  # type: ignore[index]
    assert {key: found[key] for key in found if not key.endswith("latency")} == {
        "received": 5,
        "by_status": {"200": 2, "500": 1},
        "failed": 2,
        "truncated": 1,
        "aborted": 1,
        "in_progress": 1,
    }
    assert found["latency"]["count"] == 1
    assert found["latency"]["max_ms"] == 1.0
    assert found["failed_latency"]["count"] == 2
    assert found["failed_latency"]["min_ms"] == 0.05


def test_a_summary_is_in_milliseconds_and_carries_the_histogram() -> None:
    histogram = Histogram(range(1000, 2000))
    found = summarize(histogram)
    encoded = found.pop("encoded")
    assert found == {
        "count": 1000,
        "min_ms": 1.0,
        "mean_ms": 1.5,
        "p50_ms": 1.499,
        "p90_ms": 1.899,
        "p95_ms": 1.949,
        "p99_ms": 1.989,
        "p99_9_ms": 1.998,
        "max_ms": 1.999,
        "sum_us": 1_499_500,
    }
    assert Histogram.decode(str(encoded), total=1_499_500, least=1000, greatest=1999) == histogram


def test_totals_are_the_sum_of_the_rows() -> None:
    truth = Truth()
    truth.begin("GET /a").answered(200, 1_000)
    truth.begin("GET /b").answered(404, 3_000)
    truth.begin("GET /b").aborted += 1
    totals = truth.totals()
    assert (totals.received, totals.failed, totals.aborted, totals.in_progress) == (3, 1, 1, 0)
    assert dict(totals.by_status) == {200: 1, 404: 1}
    assert (totals.latency.max, totals.failed_latency.max) == (1_000, 3_000)


def test_a_request_in_progress_belongs_to_what_was_before_a_reset() -> None:
    truth = Truth()
    row = truth.begin("GET /a")
    truth.reset()
    row.answered(200, 1_000)
    assert truth.as_json()["endpoints"] == {}
    assert truth.totals().received == 0


def test_the_table() -> None:
    truth = Truth()
    truth.begin("POST /api/auth/login").answered(200, 80_250)
    truth.begin("GET /health").answered(503, 100)
    assert truth.table().splitlines()[1:] == [
        "endpoint              received  failed  aborted  p50 ms  p95 ms  p99 ms  max ms",
        "GET /health                  1       1        0       -       -       -       -",
        "POST /api/auth/login         1       0        0    80.2    80.2    80.2    80.2",
        "total                        2       1        0    80.2    80.2    80.2    80.2",
    ]
