"""A master that is killed leaves a record, stops the load and makes way for another."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.clusters import Cluster, cluster
from tests.integration.locust_runs import free_port, run_folders
from tests.integration.test_web_ui import WebUi, wait_until_served

pytestmark = [pytest.mark.integration, pytest.mark.cluster, pytest.mark.timing]

LEASE_S = 2
"""As docs/cluster.md has it."""


def test_a_master_that_is_killed_and_started_again(tmp_path: Path) -> None:
    with cluster(tmp_path, rate=50, seconds=15) as made:
        made.add_worker()
        made.add_worker()
        made.start()
        made.wait_until(6)
        made.master.send(signal.SIGKILL)
        made.master.wait()
        time.sleep(LEASE_S + 1)
        stopped_at = made.target.truth()["totals"]["received"]
        time.sleep(2)
        assert made.target.truth()["totals"]["received"] == stopped_at < made.planned

        report = subprocess.run(
            [sys.executable, "-m", "perfload.cli.main", "report", str(made.folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert report.returncode == 4, report.stdout
        assert "INCOMPLETE" in report.stdout
        assert "never closed" in report.stdout
        assert 4 * 50 <= sum(made.offered().values()) <= stopped_at

        made.start()
        assert made.master.wait() in (0, 3), made.master.output
        first, second = run_folders(tmp_path)
        assert (first, second) == (first, made.folder)
        assert sum(made.offered().values()) == made.planned
        assert made.target.truth()["totals"]["received"] == stopped_at + made.planned
        assert all(node.complete and not node.lost for node in made.nodes.values())
        for worker in made.workers:
            assert worker.wait() == 0, worker.output
            assert worker.output.count("the master was started anew") == 1


def check_all_is_recorded(made: Cluster) -> None:
    """Hold the record against what the target saw: not one request more."""
    received = made.target.truth()["totals"]["received"]
    assert made.requests_by_node().total() == received > 0


@pytest.mark.parametrize("is_away", [False, True], ids=["all there", "one is away"])
def test_an_interruption_as_the_plan_ends(tmp_path: Path, is_away: bool) -> None:
    """Two stops at once: Locust kills who carries out the first one when the second one comes."""
    with cluster(tmp_path, rate=40, seconds=4) as made:
        made.add_worker()
        away = made.add_worker()
        made.start()
        made.wait_until(2)
        if is_away:
            away.send(signal.SIGSTOP)
        made.master.wait_for("Shape test stopping")  # and now it waits for the last results
        made.master.send(signal.SIGINT)
        if is_away:
            time.sleep(0.5)
            away.send(signal.SIGCONT)
        assert made.master.wait() == 130, made.master.output
        assert made.record.manifest.end_reason == "interrupted"
        assert made.summary["verdict"] == "incomplete"
        assert all(node.complete for node in made.nodes.values()), made.nodes
        check_all_is_recorded(made)
        for worker in made.workers:
            assert worker.wait(20) == 0, worker.output


SLOW = ("--delay", "6s")
"""Users that are asked to stop need as long to finish what they do."""
LATE = """
import time
from pathlib import Path

while not Path("go").exists():
    time.sleep(0.02)
"""


def test_workers_that_join_or_are_killed_while_the_last_users_finish(tmp_path: Path) -> None:
    with cluster(tmp_path, rate=1, seconds=60, latency=SLOW) as made:
        made.without_plan()
        _, killed = made.add_worker(), made.add_worker()
        late = tmp_path / "late.py"
        late.write_text(LATE)
        made.start("-u", 4, "-r", 4, "--expect-workers", 2)
        made.add_worker(first=late)  # it is ready to begin, but for a word
        made.wait_until(2)
        made.master.send(signal.SIGINT)
        began_s = time.monotonic()
        (tmp_path / "go").touch()
        time.sleep(1)
        killed.send(signal.SIGKILL)
        assert made.master.wait() == 130, made.master.output
        # Ten seconds for the killed one, and no more: it is known that nobody stops its users.
        assert time.monotonic() - began_s < 18

        assert made.master.output.count("reported as ready") == 3
        assert [(event.kind, event.note) for event in made.record.manifest.events] == [
            ("lost", "not heard of for 2 s")
        ]
        assert len(made.nodes) == 2  # who joined had no part
        (lost,) = [node for node in made.nodes.values() if not node.complete]
        assert "it was last heard of at" in lost.note
        received = made.target.truth()["totals"]["received"]
        assert (received, made.requests_by_node().total()) == (4, 2)  # two were the killed one's


def test_stop_and_start_at_once_in_the_web_ui(tmp_path: Path) -> None:
    """Locust's master goes on with its ramp-up, and takes a start, before perfload's has all results."""
    with cluster(tmp_path, rate=1, seconds=60, latency=("--delay", "2s")) as made:
        made.without_plan()
        made.add_worker()
        made.add_worker()
        port = free_port()
        ui = WebUi(port)
        made.start("--web-port", port, mode="")
        made.master.wait_for("Starting web interface at http://127.0.0.1")
        wait_until_served(ui, made.master)
        while made.master.output.count("reported as ready") < 2:
            time.sleep(0.05)
        start = {"user_count": "20", "spawn_rate": "2", "host": made.target.url}
        assert ui.post("/swarm", **start)["success"]
        made.wait_until(3)
        with ThreadPoolExecutor() as pool:
            stopping = pool.submit(ui.post, "/stop")
            time.sleep(0.3)
            refused = ui.post("/swarm", **start)
            assert refused["success"] is False
            assert "the last run is still being stopped\n  wait for its report" in refused["message"]
            assert stopping.result()["success"]
        made.master.wait_for("Report:")
        assert len(run_folders(tmp_path)) == 1
        assert all(node.complete for node in made.nodes.values())
        time.sleep(1)  # in which more would come, if anybody went on
        check_all_is_recorded(made)
        made.master.send(signal.SIGINT)
        made.master.wait()
