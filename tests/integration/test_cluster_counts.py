"""Totals over workers, to the request: the target's, the summary's, the workers' own; with the UI in use."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import (
    API_FLOW,
    LocustProcess,
    free_port,
    read_summary,
    requests_of,
    run_folders,
)
from tests.integration.test_web_ui import WebUi, wait_until_served

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

SHAPE = """
from perfload.load import Phase, PhasedShape

class Short(PhasedShape):
    phases = (Phase(name="Load", duration="3s", arrival_rate=20, max_users=40),)
"""
ARRIVALS = 60

OWN_COUNTS = """
import json, os
from collections import Counter
from pathlib import Path
from locust import events
from locust.runners import WorkerRunner
from perfload.load import record

counts = Counter()

@events.request.add_listener
def count(request_type, name, exception, **_):
    counts[f"{request_type} {name}", exception is not None] += 1
    record("listened", 1)

@events.test_stop.add_listener
def keep(environment, **_):
    if isinstance(environment.runner, WorkerRunner):
        rows = [[name, failed, number] for (name, failed), number in counts.items()]
        path = Path(f"own-{os.getpid()}.json")
        path.with_suffix(".partial").write_text(json.dumps(rows))
        path.with_suffix(".partial").rename(path)
    counts.clear()
"""
"""What each worker counts by itself, of one run; a listener of the user's sees every request."""

PAGES = ("/stats/requests", "/stats/failures/csv", "/stats/requests/csv", "/exceptions", "/stats/report", "/")


@contextmanager
def in_use(ui: WebUi) -> Iterator[None]:
    """Look at all pages of the UI, over and over, for the length of a with-block."""
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for page in PAGES:
                ui.read(page)
            done.wait(0.1)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        done.set()
        looking.join()


def own_counts(folder: Path, workers: int) -> Counter[tuple[str, bool]]:
    """Return what the workers have counted, which they write when their part of a run ends."""
    until_s = time.monotonic() + 20
    while len(paths := list(folder.glob("own-*.json"))) < workers:
        assert time.monotonic() < until_s, f"{len(paths)} of {workers} workers have written their counts"
        time.sleep(0.02)
    total: Counter[tuple[str, bool]] = Counter()
    for path in paths:
        total.update({(name, failed): number for name, failed, number in json.loads(path.read_text())})
        path.unlink()
    return total


def check_agreement(
    summary: dict[str, Any], own: Counter[tuple[str, bool]], seen: Counter[str], failed: Counter[str]
) -> None:
    rows = requests_of(summary)
    assert {name: row["count"] for name, row in rows.items()} == dict(seen)
    assert {name: row["failures"] for name, row in rows.items() if row["failures"]} == dict(failed)
    assert {name: own[name, False] + own[name, True] for name in rows} == dict(seen)
    assert {name: own[name, True] for name in failed} == dict(failed)
    metrics = {row["metric"]: row["count"] for row in summary["metrics"]}
    assert metrics["listened"] == seen.total()


def truth_by_request(target: TargetProcess) -> tuple[Counter[str], Counter[str]]:
    """Return (received, failed) so far, by `METHOD name` as the scenario has it."""
    received, failed = Counter[str](), Counter[str]()
    for endpoint, row in target.truth()["endpoints"].items():
        name = endpoint.replace("{model_id}", "[id]").replace("{id}", "[id]")
        received[name] += row["received"]
        failed[name] += row["failed"]
    return received, failed


def wait_for_summary(folder: Path, count: int, master: LocustProcess) -> dict[str, Any]:
    until_s = time.monotonic() + 60
    while not (len(runs := run_folders(folder)) == count and (runs[-1] / "summary.json").exists()):
        assert time.monotonic() < until_s, master.output
        time.sleep(0.05)
    return read_summary(runs[-1])


def wait_for_workers(ui: WebUi, workers: int) -> None:
    until_s = time.monotonic() + 60
    while True:
        seen = ui.get("/stats/requests")
        if sum(1 for worker in seen.get("workers", ()) if worker["state"] == "ready") == workers:
            return
        assert time.monotonic() < until_s, seen
        time.sleep(0.05)


def repeat(folder: Path, workers: int, repetitions: int) -> None:
    """Run the same load over and over in one cluster; every third run is stopped by hand."""
    (folder / "short.py").write_text(SHAPE)
    (folder / "own_counts.py").write_text(OWN_COUNTS)
    files = ("-f", f"{API_FLOW},{folder / 'own_counts.py'},{folder / 'short.py'}", "--stop-timeout", "3")
    port, web_port = free_port(), free_port()
    ui = WebUi(web_port)
    faults = ("--error-rate", "10%", "--throttle-rate", "3%", "--truncate-rate", "2%", "--seed", "5")
    started: list[LocustProcess] = []
    with TargetProcess("--no-latency", *faults) as target:
        try:
            master = LocustProcess(
                *(*files, "--master", "--master-bind-port", port, "--web-port", web_port, "-H", target.url),
                cwd=folder,
            )
            started.append(master)
            for _ in range(workers):
                started.append(LocustProcess(*files, "--worker", "--master-port", port, cwd=folder))
            wait_until_served(ui, master)
            before = truth_by_request(target)
            with in_use(ui):
                for repetition in range(repetitions):
                    wait_for_workers(ui, workers)
                    assert ui.post("/swarm", host=target.url)["success"]
                    is_stopped = repetition % 3 == 2
                    if is_stopped:
                        time.sleep(2.5)
                        ui.post("/stop")
                    summary = wait_for_summary(folder, repetition + 1, master)
                    after = truth_by_request(target)
                    seen, failed = (now - then for now, then in zip(after, before, strict=True))
                    before = after
                    check_agreement(summary, own_counts(folder, workers), seen, failed)
                    assert all(node["complete"] for node in summary["nodes"])
                    arrivals = summary["phases"][0]["arrivals"]
                    assert arrivals["started"] + arrivals["dropped"] == ARRIVALS or is_stopped
        finally:
            for process in started:
                process.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_three_counts_agree(tmp_path: Path, workers: int) -> None:
    repeat(tmp_path, workers, repetitions=3)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_three_counts_agree_twenty_times(tmp_path: Path, workers: int) -> None:
    repeat(tmp_path, workers, repetitions=20)
