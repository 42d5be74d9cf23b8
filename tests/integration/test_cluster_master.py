"""A master that is killed leaves a record, stops the load and makes way for another."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.clusters import cluster
from tests.integration.locust_runs import run_folders

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
