"""docker-compose.yml comes up: the services run as it says, and nothing reaches what it keeps closed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from perfload.analysis.summary import exit_code
from perfload.cluster_key import ClusterKey
from tests.integration.compose import run_config, services
from tests.integration.compose_hosts import Host, Hosts, hosts
from tests.integration.locust_runs import read_summary, run_folders
from tests.integration.namespaces import inside

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

TARGET = "http://target:8000"
SETTINGS = {
    "PERFLOAD_HOST": TARGET,
    "PERFLOAD_ALLOW": "target",
    "PERFLOAD_TIME_SCALE": "780",  # 65 minutes in 5 s
}
WORKERS = ("worker", "worker-2")
PUBLISHED = "127.0.0.1:8089"
"""Where the machine's browsers find the web UI; an engine passes on what they send there, as it is."""
TIMEOUT_S = 90.0


@pytest.fixture
def settings() -> dict[str, str]:
    return {"PERFLOAD_CLUSTER_KEY": ClusterKey.generate().text, **SETTINGS}


def start(made: Hosts, *names: str) -> None:
    for name in names:
        made[name].start()
        made[name].wait_until_healthy()


def ask(url: str, form: dict[str, str] | None = None, **headers: str) -> Any:
    """Return the JSON at `url`; a form is posted."""
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as response:
        return json.load(response)


def is_reached(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def report_of(master: Host) -> dict[str, Any]:
    """Return the summary of the master's only run, once its report is there."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not any((folder / "report.html").exists() for folder in run_folders(master.folder)):
        assert time.monotonic() < deadline_s, master.output
        time.sleep(0.2)
    (folder,) = run_folders(master.folder)
    return read_summary(folder)


def check_counts(made: Hosts) -> None:
    """Hold a run of the whole plan by both workers against what the target saw."""
    summary = report_of(made["master"])
    with inside(made["target"].namespace):
        seen = ask("http://127.0.0.1:8000/_truth")["endpoints"]
    received = sum(row["received"] for name, row in seen.items() if name != "GET /health")  # the health check
    rows = [row for row in summary["requests"] if row["phase"] == "all"]
    assert sum(row["count"] for row in rows) == received > 300
    assert [node["complete"] for node in summary["nodes"]] == [True, True]
    assert summary["end_reason"] == "finished"


def test_the_demo_comes_up_and_runs_what_its_web_ui_is_told(tmp_path: Path, settings: dict[str, str]) -> None:
    with hosts(services(tmp_path / "env", settings), ("master", *WORKERS, "target"), tmp_path) as made:
        start(made, "target", "master", *WORKERS)
        master = made["master"].addresses
        ui = f"http://{master['load']}:8089"
        with inside(made["target"].namespace):
            assert not is_reached(master["load"], 5557)
            assert not is_reached(master["cluster"], 5557)
        with inside(made.machine):
            assert is_reached(master["cluster"], 5557)  # else nothing was shown above
            for headers in (
                {"Host": "evil.example:8089"},
                {"Host": PUBLISHED, "Origin": "http://evil.example"},
            ):
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    ask(f"{ui}/swarm", {"host": TARGET}, **headers)
            page = {"Host": PUBLISHED, "Origin": f"http://{PUBLISHED}"}
            assert ask(f"{ui}/swarm", {"host": TARGET}, **page)["success"]
        check_counts(made)
        assert made["master"].stop() in {0, 3, 4}, made["master"].output


def test_for_ci_it_starts_by_itself_and_ends_with_the_exit_code_of_the_verdict(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    settings |= {"LOCUST_HEADLESS": "true", "LOCUST_EXPECT_WORKERS": "2", "PERFLOAD_WAIT_S": "60"}
    with hosts(services(tmp_path / "env", settings), ("master", *WORKERS, "target"), tmp_path) as made:
        start(made, "master", *WORKERS, "target")  # nothing makes the master wait for the target but itself
        master = made["master"]
        assert master.process is not None
        code = master.process.wait(TIMEOUT_S)
        check_counts(made)
        assert code == exit_code(report_of(master)), master.output


def test_a_worker_without_its_master_is_not_healthy(tmp_path: Path, settings: dict[str, str]) -> None:
    with hosts(services(tmp_path / "env", settings), ("master", "worker"), tmp_path) as made:
        made["worker"].start()
        assert not made["worker"].is_healthy()
        start(made, "master")
        made["worker"].wait_until_healthy()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server on PATH: redis is not started")
def test_redis_wants_its_password(tmp_path: Path, settings: dict[str, str]) -> None:
    settings["REDIS_PASSWORD"] = "a long one, with blanks"
    with hosts(services(tmp_path / "env", settings), ("redis", "worker"), tmp_path) as made:
        start(made, "redis")
        said = made["worker"].run("redis-cli", "-h", "redis", "ping")
        assert "NOAUTH" in said.stdout


def test_without_a_key_nothing_starts_and_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    done = run_config(tmp_path / "env", SETTINGS)
    assert done.returncode != 0
    assert "perfload cluster keygen >> .env" in done.stderr


@pytest.mark.parametrize(("name", "variable"), [("redis", "REDIS_PASSWORD"), ("grafana", "GRAFANA_PASSWORD")])
def test_a_service_without_its_password_ends_and_says_which(
    name: str, variable: str, tmp_path: Path, settings: dict[str, str]
) -> None:
    service = services(tmp_path / "env", settings)[name]
    command = service.get("entrypoint") or service["command"]
    environment = {"PATH": "/usr/bin:/bin", **service["environment"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert f"write {variable} into .env" in done.stderr
