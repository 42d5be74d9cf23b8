"""`/metrics`: what it says, to whom, and that whoever else wants to run need not wait for it."""

from __future__ import annotations

import importlib.util
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from perfload.errors import ExitCode, UsageError
from perfload.load.exposition import Exposition
from perfload.load.exposition.families import LiveCollector
from perfload.load.exposition.server import MIN_AGE_S
from perfload.load.live import BOUNDS_S, Live
from perfload.model import PhaseSpan, Reading
from perfload.readings import encode_reading
from tests.load.live_runs import STARTED_AT_S, Watched

Labels = dict[str, str]


class Scraped:
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, /, **labels: str) -> float:
        return self.samples[(name, *sorted(labels.items()))]

    def all(self, name: str) -> dict[str, float]:
        """Return the values of `name` by their labels' values."""
        return {
            " ".join(value for _, value in labels): number
            for (found, *labels), number in self.samples.items()
            if found == name
        }


class Page:
    """`/metrics` on a free port."""

    def __init__(self, live: Live, **options: Any) -> None:
        self.exposition = Exposition(live, bind="127.0.0.1", port=0, **options)
        self.url = f"http://127.0.0.1:{self.exposition.port}"

    def get(self, path: str = "/metrics", **headers: str) -> str:
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())

    def scrape(self) -> Scraped:
        gevent.sleep(MIN_AGE_S)
        return Scraped(self.get())


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, rules=("p95 < 30ms", "p95(nothing) < 1s"))


@pytest.fixture
def page(watched: Watched) -> Iterator[Page]:
    made = Page(watched.live)
    yield made
    made.exposition.stop()


def test_requests_and_their_times(watched: Watched, page: Page) -> None:
    watched.deliver(watched.requests(1, 4, 40, failed_ms=(7,), reason="503", service_ms=(4, 30)))
    found = page.scrape()
    request = {"method": "GET", "name": "/models"}
    assert found.all("perfload_requests_total") == {"GET /models failed Load": 1, "GET /models ok Load": 2}
    assert found.value("perfload_failures_total", **request, reason="503") == 1
    name = "perfload_response_time_seconds"
    buckets = [
        found.value(f"{name}_bucket", **request, outcome="ok", le=limit)
        for limit in (*(str(float(bound)) for bound in BOUNDS_S), "+Inf")
    ]
    assert buckets == [*[0.0] * 2, *[1.0] * 4, *[2.0] * 15]
    assert found.value(f"{name}_sum", **request, outcome="ok") == 0.044
    assert found.value(f"{name}_count", **request, outcome="failed") == 1
    assert found.value("perfload_service_time_seconds_sum", **request) == 0.034


def test_names_that_are_hostile(watched: Watched, page: Page) -> None:
    name = 'a"b\\c} 1'
    watched.deliver(watched.requests(1, 10, name=name))
    found = page.scrape()
    assert found.value("perfload_response_time_seconds_count", method="GET", name=name, outcome="ok") == 1
    assert found.value("perfload_requests_total", method="GET", name=name, outcome="ok", phase="Load") == 1


def test_arrivals(watched: Watched, page: Page) -> None:
    watched.at_s = 12.0
    watched.deliver(watched.arrivals(11, 0.1, 9.0, dropped=3))
    found = page.scrape()
    states = ("planned", "started", "late", "dropped", "lost")
    counts = [found.value(f"perfload_arrivals_{state}_total", phase="Load") for state in states]
    assert counts == [8, 2, 1, 3, 0]
    assert found.value("perfload_arrivals_planned_total", phase="Warm up") == 20
    assert found.value("perfload_arrival_lag_seconds_bucket", le="0.001") == 1
    assert found.value("perfload_arrival_lag_seconds_count") == 2


def test_counters_of_a_process_never_fall(watched: Watched, page: Page, tmp_path: Path) -> None:
    watched.deliver(watched.requests(1, 10, 10), watched.arrivals(1, 0.1))
    watched.at_s = 30.0
    first = page.scrape()
    watched.live.end([])
    second_run = Watched(tmp_path, watched.live, run_id="run-2")
    between = page.scrape()
    second_run.deliver(second_run.requests(0, 10))
    second = page.scrape()
    counters = [key for key in first.samples if key[0].endswith(("_total", "_count", "_bucket", "_sum"))]
    assert len(counters) > 50
    assert all(first.samples[key] <= between.samples[key] <= second.samples[key] for key in counters)
    assert second.all("perfload_requests_total")["GET /models ok Load"] == 3
    assert second.value("perfload_run_requests") == 1


def test_the_run(watched: Watched, page: Page) -> None:
    watched.at_s = 12.5
    found = page.scrape()
    assert found.value("perfload_run_active") == 1
    assert next(iter(found.all("perfload_run_info"))).startswith("http://localhost run-1 A,B LoadTest")
    assert found.all("perfload_phase") == {"arrivals Warm up": 0, "arrivals Load": 1}
    assert found.value("perfload_run_start_time_seconds") == STARTED_AT_S
    assert found.value("perfload_run_elapsed_seconds") == 12.5
    assert found.value("perfload_run_planned_seconds") == 30
    watched.has_ended = True
    assert page.scrape().value("perfload_run_active") == 0


def test_users_that_a_closed_plan_asks_for(tmp_path: Path) -> None:
    span = PhaseSpan("Closed", 0.0, 10.0, "users", 10.0, 30.0, planned=0)
    watched = Watched(tmp_path, phases=(span,))
    watched.at_s = 5.0
    assert Scraped(_text(watched.live)).value("perfload_users_planned") == 20


def test_thresholds(watched: Watched, page: Page) -> None:
    watched.deliver(watched.requests(1, 40))
    found = page.scrape()
    assert found.all("perfload_threshold_state") == {
        "p95 < 30ms pass": 0,
        "p95 < 30ms fail": 1,
        "p95 < 30ms no_data": 0,
        "p95(nothing) < 1s pass": 0,
        "p95(nothing) < 1s fail": 0,
        "p95(nothing) < 1s no_data": 1,
    }
    assert found.all("perfload_threshold_observed") == {"p95 < 30ms ms": pytest.approx(40, rel=0.001)}
    assert found.all("perfload_threshold_limit") == {"p95 < 30ms ms": 30, "p95(nothing) < 1s ms": 1000}


def test_load_generators(watched: Watched, page: Page) -> None:
    watched.nodes["worker-1"] = SimpleNamespace(is_lost=True, is_done=False)
    watched.at_s = 3.0
    watched.deliver(readings=watched.health(2, users=5, cpu_percent=40, loop_lag_ms=2))
    found = page.scrape()
    assert found.all("perfload_generators") == {"running": 1, "done": 0, "lost": 1}
    assert found.value("perfload_users", node="local") == 5
    assert found.value("perfload_generator_cpu_ratio", node="local") == 0.4
    assert found.value("perfload_generator_loop_lag_seconds", node="local") == 0.002
    assert found.value("perfload_generator_cpu_limit_ratio") == 0.9
    assert found.value("perfload_arrival_lag_limit_seconds") == 0.05


def test_workers_that_are_connected_with_and_without_a_run() -> None:
    assert Scraped(_text(Live(), 3)).all("perfload_workers") == {"": 3}
    assert Scraped(_text(Live(), None)).all("perfload_workers") == {}
    assert Scraped(_text(Live())).all("perfload_run_active") == {"": 0}


def test_readings(watched: Watched, page: Page) -> None:
    hostile = 'a"b\\c\nd'
    readings = [
        Reading(STARTED_AT_S + 30, "db-1", "mongodb", "reads[orders]", "ms/s", 7.5),
        Reading(STARTED_AT_S + 31, "db-1", "mongodb", hostile, "", 1.0),
        Reading(STARTED_AT_S + 31, "db-1", "redis", "*", "", None, "refused"),
        Reading(STARTED_AT_S + 1, "db-1", "host", "cpu_percent", "%", 3.0),
    ]
    watched.readings.write_text("".join(encode_reading(reading) + "\n" for reading in readings))
    watched.at_s = 32.0
    found = page.scrape()
    assert found.all("perfload_reading") == {
        "reads[orders] db-1 mongodb ms/s": 7.5,
        f"{hostile} db-1 mongodb ": 1,
    }
    assert found.all("perfload_reading_unavailable") == {"* db-1 redis": 1}
    assert found.all("perfload_source_read_time_seconds") == {
        "db-1 mongodb": STARTED_AT_S + 31,
        "db-1 redis": STARTED_AT_S + 31,
    }


# --- how it is served


def test_whoever_asks_for_openmetrics_gets_it(watched: Watched, page: Page) -> None:
    watched.deliver(watched.requests(1, 10), watched.arrivals(1, 1))
    text = page.get(Accept="application/openmetrics-text; version=1.0.0")
    assert {"perfload_requests", "perfload_arrival_lag_seconds"} <= {
        family.name for family in read_openmetrics(text)
    }


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [("/", {}, 404), ("/metrics", {"Host": "evil.example"}, 403)],
)
def test_other_requests_are_refused(page: Page, path: str, headers: Labels, code: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        page.get(path, **headers)
    assert raised.value.code == code
    raised.value.close()


def test_names_of_this_machine_are_not_known_beyond_loopback() -> None:
    exposition = Exposition(Live(), bind="0.0.0.0", port=0)
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{exposition.port}/metrics", headers={"Host": "master:9464"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200
    finally:
        exposition.stop()


def test_a_used_port_is_an_error_that_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"cannot be served at 127.0.0.1:{port}: address already in use"
        ) as raised:
            Exposition(Live(), bind="127.0.0.1", port=port)
    assert raised.value.exit_code == ExitCode.USAGE


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        Exposition(Live(), bind="127.0.0.1", port=0)
    assert "perfload[prometheus]" in raised.value.hint


def test_scrapers_that_come_at_once_share_an_answer(watched: Watched, page: Page) -> None:
    texts = [gevent.spawn(page.exposition.text, "") for _ in range(5)]
    gevent.joinall(texts)
    assert len({id(greenlet.value[1]) for greenlet in texts}) == 1


def test_others_get_their_turn_while_many_names_are_written_down(watched: Watched, page: Page) -> None:
    for number in range(200):
        watched.deliver(watched.requests(1, *range(1, 200), failed_ms=(1,), name=f"/api/{number}"))
    turns: list[float] = []

    def take_turns() -> None:
        while True:
            turns.append(time.perf_counter())
            gevent.sleep(0)

    other = gevent.spawn(take_turns)
    gevent.sleep(0)
    first = len(turns)
    page.exposition.text("")
    other.kill()
    assert len(turns) - first > 50
    stretches = [after - before for before, after in pairwise(turns[first:])]
    # A median: whatever else this machine does meanwhile does not count.
    assert sorted(stretches)[len(stretches) // 2] < 0.002


def _text(live: Live, workers: int | None = None) -> str:
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(LiveCollector(live, lambda: None, lambda: workers))
    return generate_latest(registry).decode()
