import json

import pytest

from benchmarks.generator import readers
from benchmarks.generator.readers import Reported


def test_wrk_script_output_is_microseconds() -> None:
    text = "Running 10s test\n  2 threads\nLATENCIES 1234 50100 51200 52300 53400 60500\n"
    assert readers.wrk(text) == Reported(1234, 50.1, 51.2, 52.3, 53.4, 60.5)


def test_wrk_without_the_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="no latencies"):
        readers.wrk("Running 10s test\n")


def test_hey_csv_is_seconds_one_request_a_line() -> None:
    head = "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset"
    rows = "\n".join(f"{number / 1000:.4f},0.0,0.0,0.0,0.05,0.0,200,0.1" for number in range(1, 1001))
    assert readers.hey(f"{head}\n{rows}\n") == Reported(1000, 500.0, 950.0, 990.0, 999.0, 1000.0)


def test_oha_json_is_seconds() -> None:
    document = {
        "summary": {"slowest": 0.25},
        "latencyPercentiles": {"p50": 0.05, "p95": 0.06, "p99": 0.07, "p99.9": 0.08, "p99.99": None},
        "statusCodeDistribution": {"200": 10, "503": 2},
    }
    found = readers.oha("a line before it\n" + json.dumps(document))
    assert found.count == 12
    assert (found.p50, found.p95, found.p99, found.p99_9, found.max) == pytest.approx((50, 60, 70, 80, 250))


def test_k6_summary_is_milliseconds() -> None:
    duration = {"p(50)": 50.1, "p(95)": 51, "p(99)": 52, "p(99.9)": 53, "max": 60}
    text = json.dumps({"metrics": {"http_reqs": {"count": 7, "rate": 1.0}, "http_req_duration": duration}})
    assert readers.k6(text) == Reported(7, 50.1, 51, 52, 53, 60)


def test_vegeta_report_is_nanoseconds_and_has_no_p99_9() -> None:
    latencies = {"50th": 50_000_000, "90th": 1, "95th": 51_500_000, "99th": 52_000_000, "max": 60_000_000}
    text = json.dumps({"latencies": latencies, "requests": 9})
    assert readers.vegeta(text) == Reported(9, 50.0, 51.5, 52.0, None, 60.0)


def test_autocannon_has_no_p95() -> None:
    latency = {"p50": 50, "p97_5": 51, "p99": 52, "p99_9": 53, "max": 60}
    text = json.dumps({"latency": latency, "requests": {"total": 8}})
    assert readers.autocannon(text) == Reported(8, 50, None, 52, 53, 60)


def test_artillery_report_is_milliseconds() -> None:
    times = {"p50": 50, "p95": 55, "p99": 66, "p999": 77, "max": 80}
    aggregate = {"counters": {"http.responses": 5}, "summaries": {"http.response_time": times}}
    assert readers.artillery(json.dumps({"aggregate": aggregate})) == Reported(5, 50, 55, 66, 77, 80)


def test_locust_percentiles_are_the_ones_of_locust() -> None:
    counts = {"50": 940, "58.0": 50, "77": 9, "150": 1}
    row = {"num_requests": 1000, "response_times": counts, "max_response_time": 153.2}
    assert readers.locust(json.dumps([row])) == Reported(1000, 50, 58, 77, 150, 153.2)


def test_errors_are_reported_minus_true_and_none_where_nothing_is_reported() -> None:
    reported = Reported(3, 50.5, None, 53.0, 55.0, 60.0)
    truth = {"p50": 50.0, "p95": 50.2, "p99": 50.5, "p99_9": 56.0, "max": 58.0}
    assert reported.errors_ms(truth) == {"p50": 0.5, "p95": None, "p99": 2.5, "p99_9": -1.0, "max": 2.0}
