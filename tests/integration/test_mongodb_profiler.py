"""MongoDB's profiler against a real mongod: what it finds, and that everything is as before afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from perfload.analysis.advice import advice
from perfload.analysis.database import database
from perfload.child import child_environment
from perfload.model import Manifest, Observation, PhaseSpan, Reading, RunRecord
from perfload.monitors.mongodb import profile_note
from perfload.monitors.mongodb.profile_lease import ProfilerLease
from perfload.monitors.process import SamplerProcess
from perfload.observations import decode_observation
from perfload.readings import decode_reading
from tests.integration.mongod import PASSWORD, MongodProcess, needs_mongod, running_mongod

pytestmark = [pytest.mark.integration, pytest.mark.monitors, needs_mongod]

OFF = {"was": 0, "slowms": 100, "sampleRate": 1.0}
SECRET = "Ann-Smith-4711"
"""A value of users' data: it must appear nowhere."""


class ProfiledRun:
    """The real sampler with the profiler's monitor on one server."""

    def __init__(self, folder: Path, url: str, *, profile: str, slow: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.url = url
        self.state = folder.parent / "state"
        self.environment = {"MONGODB_URL": url, "XDG_STATE_HOME": str(self.state)}
        self.environment |= {"PERFLOAD_MONGODB_PROFILE": profile, "PERFLOAD_MONGODB_SLOW": slow}
        self.started_at_s = 0.0
        self.process: SamplerProcess | None = None

    def start(self) -> None:
        self.started_at_s = time.time()
        self.process = SamplerProcess.start(
            self.folder / "readings.jsonl",
            observations=self.folder / "observations.jsonl",
            node="db-1",
            interval_s=0.2,
            # A late answer is dropped, and whatever it had found: a busy machine must not fail a test.
            timeout_s=20.0,
            monitors=["mongodb_profiler"],
            environment=self.environment,
        )

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.stop()

    def wait_for(self, condition: Callable[[], object], within_s: float = 40.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, (self.observations(), self.readings()[-5:])
            time.sleep(0.05)

    def observations(self) -> list[Observation]:
        path = self.folder / "observations.jsonl"
        return [decode_observation(line) for line in path.read_text().splitlines()] if path.exists() else []

    def readings(self) -> list[Reading]:
        path = self.folder / "readings.jsonl"
        return [decode_reading(line) for line in path.read_text().splitlines()] if path.exists() else []

    def of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        return [found.data for found in self.observations() if found.kind == kind]

    def count(self, op: str) -> int:
        """Return how many operations of this kind have been seen."""
        return sum(data["count"] for data in self.of_kind("operation") if data["op"] == op)

    def values(self, metric: str) -> list[float]:
        found = [reading.value for reading in self.readings() if reading.metric == metric]
        return [value for value in found if value is not None]

    def reasons(self, metric: str) -> list[str]:
        return [item.unavailable for item in self.readings() if item.metric == metric and item.unavailable]

    def notes(self) -> list[profile_note.ProfilerNote]:
        return profile_note.read_all(profile_note.state_folder(self.environment))

    def record(self) -> RunRecord:
        ended_at_s = time.time()
        phase = PhaseSpan("Load", 0.0, ended_at_s - self.started_at_s, "users", 1, 1, 0)
        manifest = Manifest(
            run_id="run-1",
            started_at_s=self.started_at_s,
            host="",
            scenarios=(),
            shape="",
            phases=(phase,),
            thresholds=(),
            ended_at_s=ended_at_s,
            end_reason="finished",
        )
        return RunRecord(manifest, readings=tuple(self.readings()), observations=tuple(self.observations()))

    def doctor(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "perfload.cli.main", "doctor", *options],
            env=child_environment(self.environment),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@contextmanager
def profiled(folder: Path, url: str, *, profile: str = "all", slow: str = "100ms") -> Iterator[ProfiledRun]:
    """A run whose profiler is set and whose indexes have been looked at; stopped in order at the end."""
    run = ProfiledRun(folder, url, profile=profile, slow=slow)
    run.start()
    try:
        run.wait_for(lambda: run.of_kind("profiler") and run.readings())
        yield run
    finally:
        assert run.process is not None
        run.process.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[MongodProcess]:
    with running_mongod(tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[MongodProcess]:
    with running_mongod(tmp_path_factory.mktemp("guarded"), auth=True) as running:
        yield running


@pytest.fixture
def client(server) -> Iterator[MongoClient[dict[str, Any]]]:
    """Of the system under test, with 3,000 documents in app.models and no index."""
    with server.client(appname="shop") as made:
        made.drop_database("app")
        seed(made)
        yield made
        made.app.command({"profile": 0, "filter": "unset", "slowms": 100, "sampleRate": 1.0})
        made.drop_database("app")


def seed(client: MongoClient[dict[str, Any]]) -> None:
    client.app.models.insert_many(
        [{"owner": f"{SECRET}-{n % 50}", "kind": n % 3, "at": n, "name": f"m{n}"} for n in range(3_000)]
    )


def url_of(server: MongodProcess, database_name: str = "app") -> str:
    return f"mongodb://{server.address}/{database_name}"


def search(client: MongoClient[dict[str, Any]], times: int) -> None:
    """Read and change models, as the system under test would do."""
    models = client.app.models
    for n in range(times):
        owner = f"{SECRET}-{n % 50}"
        list(models.find({"owner": owner, "at": {"$gt": 10}}).sort("at", -1).limit(10))
        models.update_one({"_id": models.find_one({}, {"_id": 1})["_id"]}, {"$set": {"seen": n}})
        models.insert_one({"owner": "other", "kind": 7, "at": -n, "name": "new"})


def settings(client: MongoClient[dict[str, Any]], name: str = "app") -> dict[str, Any]:
    answer = client[name].command({"profile": -1})
    return {key: answer[key] for key in ("was", "slowms", "sampleRate", "filter") if key in answer}


def test_a_missing_index_is_found_and_no_more_once_it_is_made(server, client, tmp_path):
    with profiled(tmp_path / "first", url_of(server), profile="slow", slow="1ms") as run:
        search(client, 100)
    first = run.record()
    [missing] = advice(first)
    assert (missing["kind"], missing["ns"], missing["phase"]) == ("missing_index", "app.models", "Load")
    assert missing["command"] == "db.models.createIndex({owner: 1, at: -1})"
    assert missing["operations"] == ["find {owner: =, at: >} sort {at: -1} limit"]
    worst = database(first)["operations"][0]
    assert (worst["plan"], worst["growth"]) == ("COLLSCAN", None)
    assert worst["examined_per_returned"] == pytest.approx(300, rel=0.1)
    assert 0 < worst["count"] <= 100
    [plan] = [plan for plan in database(first)["plans"] if plan["shape"] == worst["shape"]]
    assert [stage["text"].split()[0] for stage in plan["stages"]] == ["SORT", "COLLSCAN"]
    client.app.models.create_index([("owner", 1), ("at", -1)])
    with profiled(tmp_path / "second", url_of(server), profile="all") as again:
        search(client, 100)
        again.wait_for(lambda: again.count("insert") == 100)
    assert advice(again.record()) == []
    by_shape = {found["shape"]: found for found in database(again.record())["operations"]}
    assert by_shape[worst["shape"]]["count"] == 100
    assert by_shape[worst["shape"]]["plan"] == "IXSCAN { owner: 1, at: -1 }"
    assert by_shape[worst["shape"]]["examined_per_returned"] == 1


def test_nothing_is_advised_on_a_healthy_schema_under_load(server, client, tmp_path):
    models = client.app.models
    models.create_index([("owner", 1), ("at", -1)])
    models.create_index("name", unique=True, partialFilterExpression={"name": {"$gt": "m"}})
    with profiled(tmp_path / "run", url_of(server)) as run:
        for n in range(150):
            list(models.find({"owner": f"{SECRET}-{n % 50}"}).sort("at", -1).limit(20))
            list(models.find().limit(20))
            models.count_documents({"owner": f"{SECRET}-{n % 50}", "at": {"$gte": 1_000}})
            match = {"$match": {"owner": f"{SECRET}-{n % 50}"}}
            list(models.aggregate([match, {"$group": {"_id": "$kind", "n": {"$sum": 1}}}]))
            models.estimated_document_count()
            models.update_one({"name": f"m{n}"}, {"$inc": {"seen": 1}})
            models.delete_one({"name": f"m{2_000 + n}"})
        run.wait_for(lambda: run.count("delete") == 150)
    assert advice(run.record()) == []
    counts = {found["shape"]: found["count"] for found in database(run.record())["operations"]}
    assert counts["find {owner: =} sort {at: -1} limit"] == 150
    assert counts["update {name: =} $inc"] == 150


def test_everything_is_as_before_after_a_run(server, client, tmp_path):
    client.app.command({"profile": 1, "slowms": 250, "sampleRate": 0.5, "filter": {"op": "remove"}})
    before = settings(client)
    assert before["filter"] == {"op": {"$eq": "remove"}}
    with profiled(tmp_path / "run", url_of(server), profile="slow", slow="30ms") as run:
        now = settings(client)
        assert now["was"] == 1
        assert "perfload" in str(now["filter"])
        assert now["slowms"] == 250
        assert [note.database for note in run.notes()] == ["app"]
    assert settings(client) == before
    assert run.notes() == []
    assert "system.profile" in client.app.list_collection_names()
    assert run.of_kind("profiler")[-1]["done"] == "put back to level 1"


def test_slowms_of_the_whole_server_is_put_back_where_there_are_no_filters(server, client, tmp_path):
    client.app.command({"profile": 0, "slowms": 77, "sampleRate": 0.5})
    client.shop.orders.insert_one({})
    leases = [
        ProfilerLease(client[name], server=server.address, server_version=(4, 4, 1), notes=tmp_path)
        for name in ("app", "shop")
    ]
    for lease in leases:
        assert lease.take("slow", 30.0) == ""
    for name in ("app", "shop"):
        assert settings(client, name) == {"was": 1, "slowms": 30, "sampleRate": 1.0}
    for lease in leases:
        assert lease.give_back() == "put back to level 0, system.profile removed"
    for name in ("app", "shop"):
        assert settings(client, name) == {"was": 0, "slowms": 77, "sampleRate": 0.5}
    assert list(tmp_path.iterdir()) == []
    client.drop_database("shop")


def test_what_was_made_for_the_run_is_removed_after_it(server, client, tmp_path):
    with profiled(tmp_path / "run", url_of(server)) as run:
        assert client.app.command("collStats", "system.profile")["maxSize"] == 32 * 1024 * 1024
        run.wait_for(lambda: 2.0 in run.values("profile_level[app]"))
    assert settings(client) == OFF
    assert client.app.list_collection_names() == ["models"]


def test_a_killed_run_is_put_right_by_the_next_one(server, client, tmp_path):
    client.app.command({"profile": 0, "slowms": 77})
    before = settings(client)
    with profiled(tmp_path / "killed", url_of(server)) as killed:
        killed.kill()
    assert settings(client)["was"] == 2
    [note] = killed.notes()
    assert note.found.slow_ms == 77
    with profiled(tmp_path / "next", url_of(server), profile="slow") as following:
        [told] = following.of_kind("profiler")
        assert told["cleared_up"] == "put back to level 0, system.profile removed"
        assert (told["found_level"], told["is_set"]) == (0, True)
        assert settings(client)["was"] == 1
    assert settings(client) == before
    assert following.notes() == []


def test_a_killed_run_is_put_right_by_the_doctor(server, client, tmp_path):
    before = settings(client)
    with profiled(tmp_path / "killed", url_of(server), profile="slow") as killed:
        killed.kill()
    assert settings(client)["was"] == 1
    done = killed.doctor()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"MongoDB profiler of 'app' on {server.address}: put back to level 0" in done.stdout
    assert settings(client) == before
    assert killed.notes() == []
    again = killed.doctor()
    assert (again.returncode, again.stdout) == (0, "MongoDB profiler: no run has left one behind.\n")


def test_the_doctor_leaves_a_run_alone_that_goes_on(server, client, tmp_path):
    with profiled(tmp_path / "run", url_of(server)) as run:
        answer = run.doctor()
        assert answer.returncode == 1
        assert "still runs" in answer.stdout
        assert settings(client)["was"] == 2
        run.environment["MONGODB_URL"] = ""
        without = run.doctor()
        assert without.returncode == 1
        assert "set MONGODB_URL" in without.stdout


def test_two_runs_at_once_do_not_get_into_each_others_way(server, client, tmp_path):
    with profiled(tmp_path / "first", url_of(server)):
        with profiled(tmp_path / "second", url_of(server), profile="slow") as second:
            [told] = second.of_kind("profiler")
            assert told["is_set"] is False
            assert "another perfload (process" in told["reason"]
            assert settings(client)["was"] == 2
            search(client, 5)
            second.wait_for(lambda: second.of_kind("operation"))
        assert settings(client)["was"] == 2
    assert settings(client) == OFF


def test_what_somebody_changed_in_mid_run_is_left_as_it_is(server, client, tmp_path):
    with profiled(tmp_path / "run", url_of(server)) as run:
        client.app.command({"profile": 1, "filter": {"op": "remove"}})
        run.wait_for(lambda: 1.0 in run.values("profile_level[app]"))
        client.app.command({"profile": 0})
        off = "the profiler is off: somebody else has set it so"
        run.wait_for(lambda: off in run.reasons("slow_operations_per_s[app]"))
    assert settings(client)["filter"] == {"op": {"$eq": "remove"}}
    assert "changed since" in run.of_kind("profiler")[-1]["done"]


def test_what_was_written_over_unread_is_said_to_be_missing(server, client, tmp_path):
    client.app.create_collection("system.profile", capped=True, size=64 * 1024)
    with profiled(tmp_path / "run", url_of(server)) as run:
        search(client, 2)
        run.wait_for(lambda: run.of_kind("operation"))
        assert run.process is not None
        os.kill(run.process.pid, signal.SIGSTOP)
        search(client, 200)
        os.kill(run.process.pid, signal.SIGCONT)
        run.wait_for(lambda: run.reasons("profile_lost_entries[app]"))
        [lost] = {reason.partition(":")[0] for reason in run.reasons("profile_lost_entries[app]")}
        assert lost == "system.profile was written over before it could be read"
        assert run.reasons("slow_operations_per_s[app]")
    notes = database(run.record())["notes"]
    assert [note for note in notes if note.startswith("Some operations are missing: system.profile")]


def test_own_operations_and_users_values_are_nowhere(server, client, tmp_path):
    with profiled(tmp_path / "run", url_of(server)) as run:
        search(client, 20)
        list(client.app.models.find({"$where": f"this.owner == '{SECRET}'"}).limit(1))
        client.app.models.find_one({"$comment": SECRET, "name": {"$in": [SECRET, "x"]}})
        client.app.models.delete_one({"_id": 1})
        run.wait_for(lambda: run.count("delete") == 1)
    written = (run.folder / "observations.jsonl").read_text() + (run.folder / "readings.jsonl").read_text()
    assert SECRET not in written
    shapes = {data["shape"] for data in run.of_kind("operation")}
    assert "find {$where} limit" in shapes
    assert not [shape for shape in shapes if "indexStats" in shape or "collStats" in shape]
    assert run.count("insert") == 20


def test_rates_are_those_of_a_known_number_of_operations(server, client, tmp_path):
    with profiled(tmp_path / "run", url_of(server), slow="0ms") as run:
        run.wait_for(lambda: run.values("slow_operations_per_s[app]"))
        search(client, 25)
        run.wait_for(lambda: run.values("slow_operations_per_s[app]")[-1] == 0)
    times = [item.at_s for item in run.readings() if item.metric == "slow_operations_per_s[app]"]
    rates = run.values("slow_operations_per_s[app]")
    levels = [item.at_s for item in run.readings() if item.metric == "profile_level[app]"]
    seen = sum(rate * (at - max(t for t in levels if t < at)) for at, rate in zip(times, rates, strict=True))
    # The times of readings are those at which they were due: on a busy machine they are made a little later.
    assert seen == pytest.approx(100, rel=0.15)


def test_indexes_and_sizes_are_seen_before_and_after(server, client, tmp_path):
    client.app.models.create_index("kind")
    with profiled(tmp_path / "run", url_of(server)) as run:
        run.wait_for(lambda: run.of_kind("indexes"))
        for n in range(120):
            client.app.models.find_one({"_id": n})
        client.app.models.update_many({}, {"$set": {"text": "x" * 2_000}})
    before, after = run.of_kind("indexes")
    assert (before["when"], after["when"]) == ("before", "after")
    assert [index["name"] for index in after["indexes"]] == ["_id_", "kind_1"]
    assert after["documents"] == 3_000
    assert after["average_document_bytes"] > before["average_document_bytes"] + 1_900
    kinds = {item["kind"]: item for item in advice(run.record())}
    assert set(kinds) == {"unused_index", "growing_documents"}
    assert kinds["unused_index"]["title"] == "kind_1 on models was not used in this run"


def test_without_a_database_in_the_address_all_are_watched(server, client, tmp_path):
    with profiled(tmp_path / "run", f"mongodb://{server.address}/") as run:
        assert {data["database"] for data in run.of_kind("profiler")} == {"app"}
        assert settings(client)["was"] == 2
    assert settings(client) == OFF


def roles(*names: str) -> list[str | dict[str, str]]:
    return [{"role": name, "db": "app"} for name in names]


@pytest.fixture
def guarded_client(guarded) -> Iterator[MongoClient[dict[str, Any]]]:
    with guarded.client(appname="shop") as made:
        made.drop_database("app")
        seed(made)
        yield made
        made.app.command({"profile": 0, "filter": "unset"})


def url_with_database(guarded: MongodProcess, url: str) -> str:
    return url.replace(f"{guarded.address}/", f"{guarded.address}/app")


def test_without_dbadmin_the_level_stays_and_the_entries_are_read(guarded, guarded_client, tmp_path):
    watches = [*roles("read"), {"role": "clusterMonitor", "db": "admin"}]
    url = url_with_database(guarded, guarded.add_user("watcher", watches))
    with profiled(tmp_path / "off", url) as off:
        off.wait_for(lambda: off.reasons("slow_operations_per_s[app]"))
    [told] = off.of_kind("profiler")
    needed = "setting the profiler needs the role dbAdmin on app (action enableProfiler)"
    assert (told["is_set"], told["reason"]) == (False, needed)
    assert set(off.reasons("slow_operations_per_s[app]")) == {needed}
    assert not off.values("slow_operations_per_s[app]")
    assert settings(guarded_client) == OFF
    guarded_client.app.command({"profile": 2})
    with profiled(tmp_path / "on", url) as on:
        search(guarded_client, 30)
        on.wait_for(lambda: on.count("insert") == 30)
    assert "find {owner: =, at: >} sort {at: -1} limit" in {data["shape"] for data in on.of_kind("operation")}
    assert settings(guarded_client)["was"] == 2
    assert [item["command"] for item in advice(on.record())] == ["db.models.createIndex({owner: 1, at: -1})"]


def test_without_clustermonitor_the_use_of_indexes_is_refused_and_the_rest_goes_on(
    guarded, guarded_client, tmp_path
):
    url = url_with_database(guarded, guarded.add_user("local", roles("read", "dbAdmin")))
    with profiled(tmp_path / "run", url) as run:
        search(guarded_client, 30)
        run.wait_for(lambda: run.count("insert") == 30)
    assert settings(guarded_client) == OFF
    [state] = [data for data in run.of_kind("indexes") if data["when"] == "after"]
    [refused] = state["refused"]
    assert refused.startswith("the use of indexes needs clusterMonitor")
    assert state["documents"] == 3_030
    assert [item["kind"] for item in advice(run.record())] == ["missing_index"]


def test_without_read_the_level_is_set_and_plans_are_refused(guarded, guarded_client, tmp_path):
    url = url_with_database(guarded, guarded.add_user("keeper", roles("dbAdmin")))
    with profiled(tmp_path / "run", url) as run:
        search(guarded_client, 30)
        run.wait_for(lambda: run.count("insert") == 30)
    assert settings(guarded_client) == OFF
    refused = [data for data in run.of_kind("refused") if data["what"].startswith("the plan of find")]
    assert refused
    assert refused[0]["reason"] == "Unauthorized (13)"


def test_without_any_right_the_reasons_say_which(guarded, guarded_client, tmp_path):
    url = url_with_database(guarded, guarded.add_user("nobody", []))
    with profiled(tmp_path / "run", url) as run:
        run.wait_for(lambda: run.reasons("slow_operations_per_s[app]"))
    assert set(run.reasons("slow_operations_per_s[app]")) == {
        "reading system.profile needs the role clusterMonitor, or dbAdmin on app"
    }
    assert PASSWORD not in (run.folder / "readings.jsonl").read_text()


def test_no_password_is_in_the_note(guarded, guarded_client, tmp_path):
    url = url_with_database(guarded, guarded.url)
    with profiled(tmp_path / "run", url) as run:
        [path] = profile_note.state_folder(run.environment).iterdir()
        assert PASSWORD not in path.read_text()
        assert "administrator" not in path.read_text()
    assert settings(guarded_client) == OFF


def test_a_restarted_server_is_profiled_again_and_put_back(tmp_path):
    with running_mongod(tmp_path / "server") as server, profiled(tmp_path / "run", url_of(server)) as run:
        with server.client() as client:
            seed(client)
        server.kill()
        run.wait_for(lambda: run.reasons("*"))
        server.start()
        run.wait_for(lambda: len(run.of_kind("profiler")) >= 2)
        with server.client() as client:
            assert settings(client)["was"] == 2
            assert run.process is not None
            run.process.stop()
            assert settings(client) == OFF
            assert "system.profile" not in client.app.list_collection_names()


def test_a_server_that_hangs_at_the_end_is_put_right_later(tmp_path):
    with running_mongod(tmp_path / "server") as server, profiled(tmp_path / "run", url_of(server)) as run:
        server.hang()
        assert run.process is not None
        run.process.stop()
        server.resume()
        done = run.doctor()
        assert (done.returncode, run.notes()) == (0, [])
        with server.client() as client:
            assert settings(client) == OFF


def test_the_primary_of_a_replica_set_is_profiled(tmp_path):
    with running_mongod(tmp_path / "server", replica_set=True) as server:
        with server.client(appname="shop") as client:
            seed(client)
            url = f"mongodb://{server.address}/app?replicaSet=rs0"
            with profiled(tmp_path / "run", url) as run:
                search(client, 30)
                run.wait_for(lambda: run.count("insert") == 30)
                [note] = run.notes()
                assert note.server == server.address
            assert settings(client) == OFF
        assert [item["kind"] for item in advice(run.record())] == ["missing_index"]


def test_load_from_several_threads_is_counted_to_the_last_operation(server, client, tmp_path):
    client.app.models.create_index([("owner", 1), ("at", -1)])
    with profiled(tmp_path / "run", url_of(server)) as run:
        threads = [threading.Thread(target=search, args=(client, 200)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.wait_for(lambda: run.count("find") + run.count("update") + run.count("insert") >= 3_200)
    assert (run.count("find"), run.count("update"), run.count("insert")) == (1_600, 800, 800)
