"""`perfload seed` and locustfiles/mongodb_load.py against a real MongoDB: counted there, left as it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.locust_runs import (
    ROOT,
    Finished,
    locust,
    read_summary,
    requests_of,
    run_cluster,
    run_folders,
    run_locust,
)
from tests.integration.mongod import MongodProcess, needs_mongod, running_mongod

pytestmark = [pytest.mark.integration, pytest.mark.monitors, needs_mongod]

SCENARIO = ROOT / "locustfiles" / "mongodb_load.py"
DATABASE = "perfload_load"
DOCUMENTS = 2_000
WITHOUT_TRANSACTIONS = ("ModelReader", "MetricsAnalyst", "MetricWriter")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    """A replica set of one member, with the data set."""
    with running_mongod(tmp_path_factory.mktemp("set"), replica_set=True) as server:
        assert seed(server, "--documents", DOCUMENTS).returncode == 0
        yield server


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with running_mongod(tmp_path_factory.mktemp("alone")) as server:
        yield server


def settings(server: MongodProcess, **options: Any) -> dict[str, str]:
    """Return the environment of whoever makes load on `server`; a monitor's queries would be counted."""
    url = server.url
    for name, value in options.items():
        url += f"{'&' if '?' in url else '?'}{name}={value}"
    return {"MONGODB_URL": url, "PERFLOAD_MONITOR_MONGODB": "false"}


def seed(server: MongodProcess | str, *arguments: object, database: str = "") -> Any:
    url = server if isinstance(server, str) else server.url
    return subprocess.run(
        [sys.executable, "-m", "perfload.cli.main", "seed", *map(str, arguments)],
        env={**os.environ, "MONGODB_URL": url, "MONGODB_DATABASE": database, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def hashes(server: MongodProcess, database: str = DATABASE) -> dict[str, str]:
    """Return what is in the collections of the data set, as the server hashes it."""
    with server.client() as client:
        names = ["users", "models", "metrics"]
        found: dict[str, str] = client[database].command("dbHash", collections=names)["collections"]
        return found


def opcounters(server: MongodProcess) -> dict[str, int]:
    with server.client() as client:
        found: dict[str, int] = client.admin.command("serverStatus")["opcounters"]
        return found


def metrics_of(finished: Finished) -> dict[str, dict[str, Any]]:
    return {row["metric"]: {**row, **row["spread"]} for row in finished.summary["metrics"]}


# The data set


def test_the_same_seed_fills_a_database_with_the_same(server: MongodProcess) -> None:
    for database, arguments in (("first", (1_500, "--seed", 7)), ("second", (1_500, "--seed", 7))):
        done = seed(server, "--documents", *arguments, database=database)
        assert done.stdout == (
            f"Put 1,500 documents into {database} at {server.address}: 75 users, 300 models, 1,125 metrics.\n"
        )
    assert hashes(server, "first") == hashes(server, "second")
    other = seed(server, "--documents", 1_500, "--seed", 8, "--drop", database="second")
    assert other.stdout.startswith("Deleted the data set of 1,500 documents from second")
    assert hashes(server, "first") != hashes(server, "second")
    refused = seed(server, "--documents", 1_600, database="first")
    assert (refused.returncode, "first holds 1,500 documents of seed 7" in refused.stderr) == (2, True)
    for database in ("first", "second"):
        assert seed(server, "--drop", database=database).returncode == 0
    with server.client() as client:
        assert not {"first", "second"} & set(client.list_database_names())
    again = seed(server, "--drop", database="first")
    assert "holds no data set of perfload" in again.stdout


def test_what_somebody_else_made_is_never_touched(server: MongodProcess) -> None:
    with server.client() as client:
        client.online.users.insert_one({"_id": 1})
        refused = seed(server, "--documents", 100, "--drop", database="online")
        assert refused.returncode == 2
        assert "the database online holds collections that perfload did not make: users" in refused.stderr
        assert client.online.list_collection_names() == ["users"]
        client.drop_database("online")


def test_seeding_again_deletes_what_killed_runs_left_behind(server: MongodProcess) -> None:
    before = hashes(server)
    with server.client() as client:
        client[DATABASE].metrics.insert_many([{"_id": f"run:1:local:{n}"} for n in range(3)])
    done = seed(server, "--documents", DOCUMENTS)
    assert "deleted 3 documents that killed runs left behind" in done.stdout
    assert hashes(server) == before


def test_a_data_set_that_is_not_complete_is_no_data_set(server: MongodProcess, tmp_path: Path) -> None:
    assert seed(server, "--documents", 100, database="broken").returncode == 0
    with server.client() as client:
        client.broken.perfload_claim.update_one({"_id": "claim"}, {"$set": {"complete": False}})
    again = seed(server, "--documents", 100, database="broken")
    assert (again.returncode, "is not complete" in again.stderr) == (2, True)
    environment = settings(server) | {"MONGODB_DATABASE": "broken"}
    refused = run_locust("-f", SCENARIO, cwd=tmp_path, environment=environment)
    assert (refused.code, "the database broken at" in refused.output) == (2, True)
    assert seed(server, "--drop", database="broken").returncode == 0


def test_only_allowed_hosts_are_written_to() -> None:
    refused = seed("mongodb://me:s3cret@db.example.com:27018,127.0.0.1/", "--documents", 100)
    assert refused.returncode == 2
    assert "load may not go to db.example.com" in refused.stderr
    assert "s3cret" not in refused.stdout + refused.stderr


# The scenario


def test_the_server_counts_what_the_report_says(server: MongodProcess, tmp_path: Path) -> None:
    before, data = opcounters(server), hashes(server)
    finished = run_locust(
        *("-f", SCENARIO, "-u", 40, "-r", 40, "-t", "6s"), cwd=tmp_path, environment=settings(server)
    )
    after = opcounters(server)
    requests = requests_of(finished.summary)
    assert {"MONGODB users.find by email", "MONGODB models.find by owner"} <= requests.keys()
    assert all(re.fullmatch(r"MONGODB (\w+\.\w+|transaction) [a-z ]+", name) for name in requests), (
        requests.keys()
    )
    assert sum(row["failures"] for row in requests.values()) == 0

    def count(*names: str) -> int:
        return sum(requests[f"MONGODB {name}"]["count"] for name in names if f"MONGODB {name}" in requests)

    grown = {name: after[name] - before[name] for name in after}
    transactions = count("transaction create model")
    queries = count("users.find by email", "models.find by owner", "models.find by id")
    inserted = count("metrics.insert one", "models.insert one") + 20 * count("metrics.insert bulk")
    # The check before the load reads the claim; cleaning deletes once in each of three collections.
    assert queries + 1 <= grown["query"] <= queries + 10
    assert inserted + 2 * transactions <= grown["insert"] <= inserted + 2 * transactions + 5
    assert count("models.update status") + transactions <= grown["update"]
    assert grown["update"] <= count("models.update status") + transactions + 5
    assert grown["delete"] == count("models.delete own") + 3
    assert grown["command"] >= count("metrics.aggregate by model", "metrics.aggregate by day")
    assert hashes(server) == data
    metrics = metrics_of(finished)
    assert (
        metrics["pool_wait"]["count"]
        == metrics["server_time"]["count"]
        == sum(row["count"] for row in requests.values())
    )
    by_owner = requests["MONGODB models.find by owner"]
    assert by_owner["received_bytes"] > 100 * by_owner["count"]


CROWD = """
from locust import constant, task
from perfload.load import Phase, PhasedShape
from perfload.load.database import DatabaseUser
from perfload.seeding.documents import email_of

class Reader(DatabaseUser):
    wait_time = constant(0.1)

    @task
    def read(self):
        # Unindexed, so that the server has something to do.
        self.collection("metrics").find("all slow ones", {"latency_ms": {"$gt": 400}}, batch_size=100)
"""

ARRIVALS = """
class Arrivals(PhasedShape):
    phases = (Phase(name="Flat", duration="4s", arrival_rate=25),)
"""

DUPLICATES = """
from locust import constant, task
from perfload.load.database import DatabaseUser, StepFailed

class Twice(DatabaseUser):
    wait_time = constant(0.2)

    @task
    def insert(self):
        first = self.collection("models").insert_one("first", {"model_id": self.new_id()})
        self.collection("models").insert_one("again", {"_id": first})
        raise AssertionError("a step that failed ends the task")

    @task
    def outlast(self):
        try:
            self.collection("models").update_one("no such", {"_id": 1}, {"$nonsense": 1})
        except StepFailed:
            return
        raise AssertionError("it is told")
"""


def test_waiting_for_the_pool_is_told_from_waiting_for_the_server(
    server: MongodProcess, tmp_path: Path
) -> None:
    """Twelve users on one connection: eleven of them wait, and the server is no slower for that."""
    scenario = tmp_path / "crowd.py"
    scenario.write_text(CROWD.replace("constant(0.1)", "constant(0)"))
    command = ("-f", scenario, "-u", 12, "-r", 12, "-t", "3s")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    narrow = run_locust(*command, cwd=tmp_path / "a", environment=settings(server, maxPoolSize=1))
    wide = run_locust(*command, cwd=tmp_path / "b", environment=settings(server))
    assert list(requests_of(narrow.summary)) == ["MONGODB metrics.find all slow ones"]
    waits, served = metrics_of(narrow)["pool_wait"], metrics_of(narrow)["server_time"]
    assert waits["p50"] > 4 * served["p50"] > 0
    assert metrics_of(wide)["pool_wait"]["p50"] < waits["p50"] / 10
    # Everything was read: more than one batch, and the time covers all of them.
    with server.client() as client:
        matching = client[DATABASE].metrics.count_documents({"latency_ms": {"$gt": 400}})
    assert matching > 101
    assert metrics_of(narrow)["documents"]["p50"] == pytest.approx(matching, rel=0.002)
    whole = requests_of(narrow.summary)["MONGODB metrics.find all slow ones"]
    assert whole["response_time_ms"]["p50"] >= served["p50"] + waits["p50"] * 0.8


def test_users_arrive_as_planned(server: MongodProcess, tmp_path: Path) -> None:
    scenario = tmp_path / "crowd.py"
    scenario.write_text(CROWD + ARRIVALS)
    finished = run_locust("-f", scenario, cwd=tmp_path, environment=settings(server))
    arrivals = finished.summary["totals"]["arrivals"]
    assert (arrivals["planned"], arrivals["started"]) == (100, 100)
    assert requests_of(finished.summary)["MONGODB metrics.find all slow ones"]["count"] == 100


def test_failures_have_short_reasons_and_are_no_mistakes_of_the_scenario(
    server: MongodProcess, tmp_path: Path
) -> None:
    before = hashes(server)
    scenario = tmp_path / "duplicates.py"
    scenario.write_text(DUPLICATES)
    finished = run_locust(
        *("-f", scenario, "-u", 4, "-r", 4, "-t", "3s"), cwd=tmp_path, environment=settings(server)
    )
    # Locust may kill a user that has just begun again when the run ends.
    reasons = {
        (row["name"], row["reason"])
        for row in finished.summary["failures"]
        if row["reason"] != "no response when the run ended"
    }
    assert reasons == {("models.insert again", "DuplicateKey"), ("models.update no such", "error 9")}
    again = requests_of(finished.summary)["MONGODB models.insert again"]
    assert again["count"] == again["failures"] > 0
    assert not any("the scenario itself failed" in reason for reason in finished.summary["reasons"])
    assert hashes(server) == before


def test_an_interrupt_leaves_nothing_behind(server: MongodProcess, tmp_path: Path) -> None:
    before = hashes(server)
    with locust(
        *("-f", SCENARIO, "-u", 30, "-r", 30, "--headless"), cwd=tmp_path, environment=settings(server)
    ) as process:
        process.wait_for("All users spawned")
        deadline_s = time.monotonic() + 30
        with server.client() as client:
            while not (marked := client[DATABASE].metrics.find_one({"_id": {"$gte": "run:", "$lt": "run;"}})):
                assert time.monotonic() < deadline_s, process.output
                time.sleep(0.05)
        process.send(signal.SIGINT)
        assert process.wait() == 130, process.output
    (folder,) = run_folders(tmp_path)
    assert marked["_id"].startswith(f"run:{folder.name}:local:")
    assert hashes(server) == before
    assert requests_of(read_summary(folder))


def test_workers_clean_up_what_each_has_written(
    server: MongodProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(server)
    monkeypatch.setenv("MONGODB_URL", server.url)
    finished = run_cluster(2, "-u", 30, "-r", 30, "-t", "4s", files=[SCENARIO], cwd=tmp_path)
    assert requests_of(finished.summary)["MONGODB metrics.insert one"]["count"] > 0
    assert sum(row["failures"] for row in requests_of(finished.summary).values()) == 0
    assert hashes(server) == before


def test_transactions_need_a_replica_set(standalone: MongodProcess, tmp_path: Path) -> None:
    no_data = run_locust("-f", SCENARIO, cwd=tmp_path, environment=settings(standalone))
    assert no_data.code == 2
    assert f"the database {DATABASE} at {standalone.address} has no data set" in no_data.output
    assert "perfload seed --documents 100000" in no_data.output
    assert seed(standalone, "--documents", DOCUMENTS).returncode == 0
    refused = run_locust("-f", SCENARIO, cwd=tmp_path, environment=settings(standalone))
    assert refused.code == 2
    assert "ModelTransaction needs transactions" in refused.output
    assert run_folders(tmp_path) == []
    options = ("-f", SCENARIO, *WITHOUT_TRANSACTIONS, "-u", 20, "-r", 20, "-t", "3s")
    finished = run_locust(*options, cwd=tmp_path, environment=settings(standalone))
    assert sum(row["failures"] for row in requests_of(finished.summary).values()) == 0
    assert finished.summary["target"]["host"] == f"mongodb://{standalone.address}"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mongodb://me:s3cret@db.example.com/", "load may not go to db.example.com"),
        ("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300", "MongoDB at 127.0.0.1:1 cannot be reached"),
        ("mongodb://me:s3cret@here:now@127.0.0.1/", "MONGODB_URL is no valid address of a MongoDB"),
        ("", "MONGODB_URL is not set"),
    ],
)
def test_a_wrong_address_ends_it_before_the_load(url: str, message: str, tmp_path: Path) -> None:
    finished = run_locust("-f", SCENARIO, cwd=tmp_path, environment={"MONGODB_URL": url})
    assert finished.code == 2
    assert message in finished.output
    assert "s3cret" not in finished.output
    assert "Traceback" not in finished.output
