"""A load test in the eyes of a real Prometheus: every panel and every rule has data; the numbers agree."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from perfload.model import Reading
from perfload.readings import encode_reading
from perfload.target.process import TargetProcess
from tests.integration.locust_runs import AI_MODELS, Finished, LocustProcess, free_port, locust, run_folders
from tests.integration.prometheus_scraper import (
    MONITORING,
    PROMETHEUS,
    PROMTOOL,
    Scraper,
    copy_of_monitoring,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.monitors,
    pytest.mark.skipif(
        not (PROMETHEUS and PROMTOOL), reason="no Prometheus on PATH: scripts/from-debian prometheus"
    ),
]

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (
        Phase(name="Warm up", duration="4s", arrival_rate=5, warmup=True),
        Phase(name="Load", duration="18s", arrival_rate=10, ramp_to=20, max_users=30),
    )
"""

RECORDING = yaml.safe_load((MONITORING / "rules" / "recording.yml").read_text("utf-8"))
ALERTS = yaml.safe_load((MONITORING / "rules" / "alerts.yml").read_text("utf-8"))
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "perfload.json").read_text("utf-8"))

NOT_HERE = (
    ("db-1:27017", "mongodb", "operations_per_s[query]", "operations/s", 240.0),
    ("db-1:27017", "mongodb", "latency_mean_ms[reads]", "ms", 1.5),
    ("db-1:27017", "mongodb", "lock_queue[readers]", "operations", 2.0),
    ("db-1:27017", "mongodb", "tickets_used_percent[read]", "%", 12.0),
    ("db-1:27017", "mongodb", "cache_used_percent", "%", 40.0),
    ("db-1:27017", "mongodb", "cache_dirty_percent", "%", 3.0),
    ("db-1:27017", "mongodb", "collection_read_ms_per_s[app.models]", "ms/s", 70.0),
    ("db-1:27017", "mongodb", "keys_examined_per_s", "keys/s", 900.0),
    ("db-1:27017", "mongodb", "documents_examined_per_s", "documents/s", 90_000.0),
    ("db-1:27017", "mongodb", "collection_scans_per_s", "scans/s", 9.0),
    ("db-1:27017", "mongodb", "connections[current]", "connections", 31.0),
    ("db-1:27017", "mongodb", "replication_lag_s[db-2:27017]", "s", 0.5),
    ("db-1:6379", "redis", "commands_per_s", "commands/s", 410.0),
    ("db-1:6379", "redis", "hit_percent", "%", 88.0),
    ("db-1:6379", "redis", "memory_limit_percent", "%", 20.0),
    ("db-1:6379", "redis", "clients_connected", "clients", 7.0),
    ("db-1", "gpu", "utilisation_percent[0]", "%", 60.0),
    ("db-1", "gpu", "memory_percent[0]", "%", 30.0),
    ("db-1", "agent", "*", "", None),
)
"""What monitors of servers say that do not run in this test, in the words of those monitors."""


def test_what_stands_in_for_monitors_is_in_their_words() -> None:
    monitors = MONITORING.parent / "perfload" / "monitors"
    texts = {
        source: "".join(path.read_text("utf-8") for path in sorted((monitors / source).rglob("*.py")))
        for source in ("mongodb", "redis", "gpu")
    }
    named = [(source, metric.partition("[")[0]) for _, source, metric, _, _ in NOT_HERE if metric != "*"]
    assert [pair for pair in named if f'"{pair[1]}' not in texts[pair[0]]] == []


# --- the files


def promtool(*arguments: object) -> str:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_the_configuration_and_the_rules(tmp_path: Path) -> None:
    checked = promtool("check", "config", copy_of_monitoring(tmp_path) / "prometheus.yml")
    rules = sum(len(group["rules"]) for file in (RECORDING, ALERTS) for group in file["groups"])
    assert sum(map(int, re.findall(r"(\d+) rules found", checked))) == rules


def alert_test(name: str, series: dict[str, str], labels: dict[str, str], at: str = "60s") -> dict[str, Any]:
    """Return a test of promtool: `series` make the alert fire while a run goes on, not once it is over."""
    own = 'job="perfload", instance="a"'
    both = {
        f"perfload_run_active{{{own}}}": "1x12 0x12",
        **{key.replace("OWN", own): v for key, v in series.items()},
    }
    expected = [{"exp_labels": {"alertname": name, "job": "perfload", "instance": "a", **labels}}]
    return {
        "interval": "5s",
        "input_series": [{"series": key, "values": values} for key, values in both.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": name, "exp_alerts": expected},
            {"eval_time": "110s", "alertname": name, "exp_alerts": []},
        ],
    }


def test_every_alert_fires_when_it_should_and_not_after_the_run(tmp_path: Path) -> None:
    requests = 'perfload_requests_total{OWN, method="GET", name="/", phase="Load", outcome='
    rule, monitor = 'rule="p95 < 5s", state="fail"', 'node="db-1", source="mongodb", metric="*"'
    tests = [
        alert_test(
            "PerfloadErrorRateHigh",
            {f'{requests}"ok"}}': "0+90x24", f'{requests}"failed"}}': "0+10x24"},
            {"severity": "warning"},
        ),
        alert_test(
            "PerfloadThresholdFailing",
            {f"perfload_threshold_state{{OWN, {rule}}}": "1x24"},
            {"severity": "warning", "rule": "p95 < 5s", "state": "fail"},
        ),
        alert_test(
            "PerfloadLoadNotOffered",
            {
                'perfload_arrivals_planned_total{OWN, phase="Load"}': "0+100x24",
                'perfload_arrivals_started_total{OWN, phase="Load"}': "0+80x24",
                "perfload_run_elapsed_seconds{OWN}": "40+5x24",
            },
            {"severity": "critical"},
        ),
        alert_test(
            "PerfloadGeneratorSaturated",
            {
                'perfload_generator_cpu_ratio{OWN, node="worker-1"}': "0.97x24",
                "perfload_generator_cpu_limit_ratio{OWN}": "0.9x24",
            },
            {"severity": "critical", "node": "worker-1"},
        ),
        alert_test(
            "PerfloadArrivalsLate",
            {
                'perfload_arrival_lag_seconds_bucket{OWN, le="0.05"}': "0+10x24",
                'perfload_arrival_lag_seconds_bucket{OWN, le="0.5"}': "0+100x24",
                'perfload_arrival_lag_seconds_bucket{OWN, le="+Inf"}': "0+100x24",
                "perfload_arrival_lag_limit_seconds{OWN}": "0.05x24",
            },
            {"severity": "critical"},
        ),
        alert_test(
            "PerfloadArrivalsDropped",
            {'perfload_arrivals_dropped_total{OWN, phase="Load"}': "0+1x24"},
            {"severity": "warning", "phase": "Load"},
        ),
        alert_test(
            "PerfloadGeneratorLost",
            {'perfload_generators{OWN, state="lost"}': "1x24"},
            {"severity": "critical", "state": "lost"},
        ),
        alert_test(
            "PerfloadMonitorUnavailable",
            {f"perfload_reading_unavailable{{OWN, {monitor}}}": "1x24"},
            {"severity": "info", "node": "db-1", "source": "mongodb", "metric": "*"},
        ),
    ]
    names = {test["alert_rule_test"][0]["alertname"] for test in tests}
    assert names == {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}
    copy = copy_of_monitoring(tmp_path)
    for group in (rules := yaml.safe_load((copy / "rules" / "alerts.yml").read_text("utf-8")))["groups"]:
        for alert in group["rules"]:
            del alert["annotations"]  # promtool would compare them word by word
    (copy / "rules" / "alerts.yml").write_text(yaml.safe_dump(rules), "utf-8")
    files = [str(copy / "rules" / name) for name in ("recording.yml", "alerts.yml")]
    (copy / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": files, "evaluation_interval": "5s", "tests": tests}), "utf-8"
    )
    assert "SUCCESS" in promtool("test", "rules", copy / "tests.yml")


# --- a run


@dataclass(frozen=True)
class Seen:
    """What Prometheus said while a run went on, and what the run left behind."""

    results: dict[str, list[tuple[dict[str, str], float]]]
    """By query."""
    rule_problems: list[str]
    requests: float
    finished: Finished


def panel_queries() -> dict[str, str]:
    """Return the queries of the dashboard, the one of its phases and of its variable too, by panel."""
    queries = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    }
    (phases,), (variable,) = DASHBOARD["annotations"]["list"], DASHBOARD["templating"]["list"]
    queries["phases"] = phases["expr"]
    queries["variable"] = re.fullmatch(r"label_values\((.*), instance\)", variable["query"]["query"])[1]  # type: ignore[index]
    return {panel: query.replace("$instance", ".*") for panel, query in queries.items()}


PANELS = panel_queries()
RULES = [rule["record"] for group in RECORDING["groups"] for rule in group["rules"]]


class Monitors(threading.Thread):
    """Writes what monitors of other servers would into the record, as the sampler does: a line at a time."""

    def __init__(self, reports: Path) -> None:
        super().__init__(daemon=True)
        self._reports = reports
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(1.0):
            for folder in run_folders(self._reports):
                with (folder / "readings.jsonl").open("a") as file:
                    for node, source, metric, unit, value in NOT_HERE:
                        reason = "" if value is not None else "connection refused"
                        reading = Reading(time.time(), node, source, metric, unit, value, reason)
                        file.write(encode_reading(reading) + "\n")

    def stop(self) -> None:
        self._over.set()
        self.join()


def answers(prometheus: Scraper, process: LocustProcess) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return what every query gave, as soon as it gave anything, from the middle of the run to its end."""
    results: dict[str, list[tuple[dict[str, str], float]]] = {}
    queries = [*PANELS.values(), *RULES, "perfload_run_active"]
    while process.process.poll() is None and not all(results.get(query) for query in queries):
        time.sleep(0.5)
        if prometheus.value("max(perfload_run_elapsed_seconds)") > 12:
            results |= {query: prometheus.query(query) for query in queries if not results.get(query)}
    return results


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("scraped")
    (folder / "shape.py").write_text(SHAPE)
    port = free_port()
    rules = ("--threshold", "error_rate <= 50%", "--threshold", "p95 < 1ms")
    arguments = ("-f", f"{AI_MODELS},{folder / 'shape.py'}", "--headless", "--prometheus-port", port, *rules)
    monitors = Monitors(folder)
    with (
        TargetProcess("--error-rate", "10%") as target,
        Scraper(folder, port) as prometheus,
        locust(*arguments, "--host", target.url, cwd=folder) as process,
    ):
        monitors.start()
        try:
            process.wait_for("Load  ")
            results = answers(prometheus, process)
            problems = prometheus.rule_problems()
            code = process.wait()
        finally:
            monitors.stop()
        requests = prometheus.value("sum(max_over_time(perfload_requests_total[2m]))")
        yield Seen(results, problems, requests, Finished(code, process.output, run_folders(folder)))


def test_the_run_went_on_meanwhile(seen: Seen) -> None:
    assert [value for _, value in seen.results["perfload_run_active"]] == [1.0]
    # The p95 is above a millisecond. A machine with too much to do makes the run invalid, which goes first.
    assert seen.finished.code in (3, 4)


@pytest.mark.parametrize("panel", PANELS)
def test_every_query_of_the_dashboard_has_data(seen: Seen, panel: str) -> None:
    assert seen.results.get(PANELS[panel]), PANELS[panel]


@pytest.mark.parametrize("rule", RULES)
def test_every_recording_rule_has_data(seen: Seen, rule: str) -> None:
    assert seen.results.get(rule)


def test_no_rule_has_a_problem(seen: Seen) -> None:
    assert seen.rule_problems == []


def test_prometheus_counts_what_the_report_counts(seen: Seen) -> None:
    total = sum(row["count"] for row in seen.finished.summary["requests"] if row["phase"] == "all")
    warm_up = sum(row["count"] for row in seen.finished.summary["requests"] if row["phase"] == "Warm up")
    # What finished after its last scrape is missing.
    assert 0.8 * (total + warm_up) <= seen.requests <= total + warm_up


def test_the_planted_failure_rate_is_seen(seen: Seen) -> None:
    ((_, ratio),) = seen.results["perfload:requests_failed:ratio30s"]
    assert 0.02 < ratio < 0.25


# --- mistakes


def test_a_used_port_ends_the_run_before_any_load(tmp_path: Path) -> None:
    (tmp_path / "shape.py").write_text(SHAPE)
    with TargetProcess() as target:
        port = target.url.rpartition(":")[2]
        arguments = (
            "-f",
            f"{AI_MODELS},shape.py",
            "--headless",
            "--host",
            target.url,
            "--prometheus-port",
            port,
        )
        with locust(*arguments, cwd=tmp_path) as process:
            assert process.wait() == 2
            assert (
                f"Prometheus cannot be served at 127.0.0.1:{port}: address already in use" in process.output
            )
        assert target.truth()["totals"]["received"] == 0
    assert run_folders(tmp_path) == []
