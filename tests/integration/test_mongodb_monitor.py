"""The monitor `mongodb` against a real server: every field, true rates, few rights, a server in trouble."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perfload.model import Observation, Reading
from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.mongodb.connection import APP_NAME
from perfload.monitors.mongodb.monitor import MongoMonitor
from perfload.monitors.mongodb.server_status import ServerStatus
from perfload.monitors.process import SamplerProcess
from perfload.monitors.reader import reason_of
from perfload.observations import decode_observation
from perfload.readings import decode_reading
from tests.integration.mongod import PASSWORD, MongodProcess, needs_mongod, running_mongod

pytestmark = [pytest.mark.integration, pytest.mark.monitors, needs_mongod]

ENOUGH_S = 60.0
TOP = {"collection_read_ms_per_s", "collection_write_ms_per_s", "collection_operations_per_s"}
SLOW = {"slow_operations", "slow_operations_waiting_for_lock", "slow_operation_longest_ms"}
REPLICATION = {"replication_lag_s", "replication_members", "replication_members_healthy"}
SIZES = {"data_bytes", "storage_bytes", "index_bytes", "documents"}
STATUS = {metric for metric, _ in ServerStatus.metrics}


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with running_mongod(tmp_path_factory.mktemp("standalone")) as server:
        yield server


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with running_mongod(tmp_path_factory.mktemp("set"), replica_set=True, auth=True) as server:
        yield server


@contextlib.contextmanager
def monitor_of(url: str, slow: str = "100ms") -> Iterator[MongoMonitor]:
    monitor = MongoMonitor.from_environment({"MONGODB_URL": url, "PERFLOAD_MONGODB_SLOW": slow})
    try:
        monitor.open()
        yield monitor
    finally:
        monitor.close()


def values(found: Found) -> dict[str, float]:
    return {
        item.metric: item.value for item in found if isinstance(item, Measurement) and item.value is not None
    }


def reasons(found: Found) -> dict[str, str]:
    return {
        item.metric: item.unavailable for item in found if isinstance(item, Measurement) and item.unavailable
    }


def findings(found: Found, kind: str) -> list[Finding]:
    return [item for item in found if isinstance(item, Finding) and item.kind == kind]


def use_everything(server: MongodProcess) -> None:
    with server.client() as client:
        collection = client.everything.things
        collection.insert_many([{"n": n, "text": "x" * 100} for n in range(2000)])
        list(collection.find({"n": {"$gt": 10}}).sort("text", 1).limit(50))
        collection.update_many({"n": 3}, {"$set": {"n": 4}})
        collection.delete_one({"n": 5})
        if server.replica_set:
            with client.start_session() as session, session.start_transaction():
                collection.insert_one({"n": -1}, session=session)


@pytest.mark.parametrize("kind", ["standalone", "replica_set"])
def test_every_field_has_a_value(kind: str, request: pytest.FixtureRequest) -> None:
    server: MongodProcess = request.getfixturevalue(kind)
    use_everything(server)
    with monitor_of(server.url) as monitor:
        first = monitor.read(100.0)
        use_everything(server)
        second = monitor.read(105.0)
        last = monitor.finish(106.0)
    expected = STATUS | SLOW | {f"{metric}[everything.things]" for metric in TOP}
    member = f"[{server.address}]"
    if server.replica_set:
        expected |= {"replication_members", "replication_members_healthy"}
        expected |= {f"replication_lag_s{member}", f"replication_state{member}"}
        assert values(second)[f"replication_state{member}"] == 1
        assert findings(first, "replica_set")[0].data["members"] == [
            {"name": server.address, "state": "PRIMARY", "healthy": True}
        ]
    else:
        expected.remove("latency_mean_ms[transactions]")
    assert values(second).keys() == expected
    assert {item.node for item in second} == {server.address}
    assert values(first).keys() >= SIZES
    assert values(last).keys() >= SIZES
    used = values(second)
    for metric in expected:
        if metric.startswith(
            ("cache_used", "memory", "tickets_available", "uptime", "network", "documents_per")
        ):
            assert used[metric] > 0, metric
    assert used["sorts_in_memory_per_s"] == pytest.approx(0.2)
    assert used["collection_scans_per_s"] == pytest.approx(3 / 5)


def test_rates_are_those_of_a_known_number_of_operations(standalone: MongodProcess) -> None:
    with standalone.client() as client, monitor_of(standalone.url) as monitor:
        collection = client.known.models
        collection.insert_one({"_id": -1})
        monitor.read(1000.0)
        for number in range(500):
            collection.insert_one({"_id": number})
        for number in range(300):
            assert collection.find_one({"_id": number})
        found = values(monitor.read(1010.0))
    assert found["operations_per_s[insert]"] * 10 == pytest.approx(500)
    assert found["operations_per_s[query]"] * 10 == pytest.approx(300)
    assert found["operations_per_s[update]"] == 0
    assert found["operations_per_s[delete]"] == 0
    assert found["documents_per_s[inserted]"] * 10 == pytest.approx(500)
    # The monitor's own look at operations and sizes returns documents too.
    assert found["documents_per_s[returned]"] * 10 == pytest.approx(300, abs=10)
    assert found["documents_examined_per_s"] * 10 == pytest.approx(300)
    assert found["keys_examined_per_s"] * 10 == pytest.approx(300)
    assert found["collection_scans_per_s"] == 0
    assert found["collection_operations_per_s[known.models]"] * 10 == pytest.approx(800, abs=5)
    assert 800 <= found["requests_per_s"] * 10 < 820
    # A local server that has nothing else to do.
    assert 0.005 < found["latency_mean_ms[reads]"] < 50
    assert 0.005 < found["latency_mean_ms[writes]"] < 50
    assert "latency_mean_ms[transactions]" not in found


def test_sizes_before_and_after(standalone: MongodProcess) -> None:
    with standalone.client() as client, monitor_of(standalone.url) as monitor:
        collection = client.sized.models
        collection.insert_many([{"_id": number, "status": "new"} for number in range(100)])
        collection.create_index("status")
        (before,) = findings(monitor.read(1.0), "sizes")
        collection.insert_many([{"_id": number, "status": "new"} for number in range(100, 150)])
        assert findings(monitor.read(2.0), "sizes") == []
        (after,) = findings(monitor.finish(3.0), "sizes")
    assert [before.data["when"], after.data["when"]] == ["before", "after"]
    sized = [
        next(entry for entry in finding.data["databases"] if entry["name"] == "sized")
        for finding in (before, after)
    ]
    assert [entry["documents"] for entry in sized] == [100, 150]
    assert [entry["biggest"][0]["documents"] for entry in sized] == [100, 150]
    assert sized[0]["biggest"][0]["indexes"].keys() == {"_id_", "status_1"}
    assert sized[0]["data_bytes"] == sized[0]["biggest"][0]["data_bytes"]
    assert sized[1]["data_bytes"] == sized[0]["data_bytes"] * 1.5


@contextlib.contextmanager
def in_background(run: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def read_until(monitor: MongoMonitor, condition: Callable[[Found], bool], from_s: float = 1000.0) -> Found:
    """Read as if two seconds passed each time, until `condition`."""
    deadline_s = time.monotonic() + ENOUGH_S
    for step in range(10_000):
        found = monitor.read(from_s + 2 * step)
        if condition(found):
            return found
        assert time.monotonic() < deadline_s, found
        time.sleep(0.02)
    raise AssertionError("unreachable")


def test_slow_operations_while_they_run(standalone: MongodProcess) -> None:
    """Sees that of the application once, in shape only, and never perfload's own."""
    slow = {"$where": "sleep(1500) || true", "email": "somebody@example.org"}
    with (
        standalone.client(appname="api") as api,
        standalone.client(appname=APP_NAME) as own,
        monitor_of(standalone.url) as monitor,
    ):
        api.slow.models.insert_one({"email": "somebody@example.org"})
        with (
            in_background(lambda: own.slow.models.find_one(slow)),
            in_background(lambda: api.slow.models.find_one(slow)),
        ):
            found = read_until(monitor, lambda found: values(found).get("slow_operations", 0) > 0)
            (finding,) = findings(found, "slow_operation")
            assert values(found)["slow_operations"] == 1
            assert values(found)["slow_operation_longest_ms"] >= 100
            again = monitor.read(200_000.0)
            assert findings(again, "slow_operation") == []
            assert values(again)["slow_operations"] == 1
        read_until(monitor, lambda found: values(found).get("slow_operations") == 0, 300_000.0)
    data = finding.data
    assert data["running_ms"] >= 100
    assert {key: data[key] for key in ("op", "ns", "plan", "waiting_for_lock", "app_name")} == {
        "op": "query",
        "ns": "slow.models",
        "plan": "COLLSCAN",
        "waiting_for_lock": False,
        "app_name": "api",
    }
    assert "somebody" not in str(found)


def test_an_operation_that_waits_for_a_lock(standalone: MongodProcess) -> None:
    with standalone.client() as client, monitor_of(standalone.url) as monitor:
        client.locked.models.insert_one({})
        client.admin.command("fsync", 1, lock=True)
        try:
            with in_background(lambda: client.locked.models.insert_one({})):
                try:
                    found = read_until(
                        monitor, lambda found: values(found).get("slow_operations_waiting_for_lock", 0) > 0
                    )
                finally:
                    client.admin.command("fsyncUnlock")
        finally:
            with contextlib.suppress(Exception):
                client.admin.command("fsyncUnlock")
    (finding,) = findings(found, "slow_operation")
    assert finding.data["op"] == "insert"
    assert finding.data["waiting_for_lock"] is True
    assert values(found)["lock_queue[writers]"] == 1


def test_one_connection_for_commands_and_one_for_the_drivers_watch(standalone: MongodProcess) -> None:
    stages = [{"$currentOp": {"allUsers": True, "idleConnections": True}}, {"$match": {"appName": APP_NAME}}]

    def own_connections() -> set[str]:
        return {connection["desc"] for connection in client.admin.aggregate(stages)}

    with standalone.client() as client:
        others = own_connections()
        with monitor_of(standalone.url) as monitor:
            for at_s in (1.0, 2.0, 3.0):
                monitor.read(at_s)
            assert 1 <= len(own_connections() - others) <= 2


RIGHTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "serverStatus": ({"cluster": True}, STATUS),
    "top": ({"cluster": True}, TOP),
    "inprog": ({"cluster": True}, SLOW),
    "replSetGetStatus": ({"cluster": True}, REPLICATION),
    "dbStats": ({"db": "app", "collection": ""}, SIZES),
}


@pytest.mark.parametrize("missing", RIGHTS)
def test_a_right_that_is_missing_costs_its_own_metrics_only(replica_set: MongodProcess, missing: str) -> None:
    role = f"all_but_{missing}"
    privileges = [
        {"resource": resource, "actions": [right]}
        for right, (resource, _) in RIGHTS.items()
        if right != missing
    ]
    privileges.append(
        {"resource": {"db": "app", "collection": ""}, "actions": ["collStats", "listCollections"]}
    )
    with replica_set.client() as client:
        client.app.models.insert_one({})
        client.admin.command("createRole", role, privileges=privileges, roles=[])
    with monitor_of(replica_set.add_user(role, [role])) as monitor:
        first, second = monitor.read(100.0), monitor.read(105.0)
    _, lost = RIGHTS[missing]
    refused = {metric: reason for metric, reason in reasons([*first, *second]).items() if "may not" in reason}
    if missing == "dbStats":
        # Then there is no database at all that this user could measure.
        refused = {metric: reason for metric, reason in reasons([*first, *second]).items() if metric in SIZES}
        assert "needs the role read on each database, or clusterMonitor" in refused["data_bytes"]
    else:
        assert set(refused.values()) == {"the user may not do this; needs the role clusterMonitor"}
    assert refused.keys() == lost
    for right, (_, metrics) in RIGHTS.items():
        if right not in (missing, "top", "replSetGetStatus"):
            there = values([*first, *second]).keys()
            assert metrics - {"latency_mean_ms[reads]", *_quiet()} <= there, right


def _quiet() -> set[str]:
    return {f"latency_mean_ms[{kind}]" for kind in ("reads", "writes", "commands", "transactions")}


@pytest.mark.parametrize(
    ("roles", "lost"),
    [
        ([], STATUS | TOP | SLOW | REPLICATION | SIZES),
        ([{"role": "read", "db": "app"}], STATUS | TOP | SLOW | REPLICATION),
        (["clusterMonitor"], set()),
        ([{"role": "readWrite", "db": "app"}, "clusterMonitor"], set()),
    ],
    ids=["nothing", "read@app", "clusterMonitor", "both"],
)
def test_users_as_they_are_in_life(replica_set: MongodProcess, roles: list[Any], lost: set[str]) -> None:
    with replica_set.client() as client:
        client.app.models.insert_one({})
    with monitor_of(replica_set.add_user("somebody", roles)) as monitor:
        found = [*monitor.read(100.0), *monitor.read(105.0)]
        last = monitor.finish(106.0)
    refused = {metric for metric, reason in reasons(found).items() if "needs the role" in reason}
    assert refused == lost
    sizes = findings([*found, *last], "sizes")
    assert [finding.data["when"] for finding in sizes] == (
        [] if "data_bytes" in lost else ["before", "after"]
    )
    seen = {entry["name"] for finding in sizes for entry in finding.data["databases"]}
    assert ("app" in seen) is ("data_bytes" not in lost)
    assert ("everything" in seen) <= ("clusterMonitor" in roles)


def test_nobody_logged_in(replica_set: MongodProcess) -> None:
    with monitor_of(f"mongodb://{replica_set.address}") as monitor:
        found = reasons(monitor.read(1.0))
    assert found["uptime_s"] == "the user may not do this; needs the role clusterMonitor"
    assert found.keys() == STATUS | TOP | SLOW | REPLICATION | SIZES


def test_a_wrong_password_is_said_and_not_shown(replica_set: MongodProcess) -> None:
    url = replica_set.url_of("administrator", "wrong-" + PASSWORD)
    with pytest.raises(MonitorUnavailable) as raised, monitor_of(url):
        pass
    assert reason_of(raised.value) == (
        f"MongoDB at {replica_set.address} refused the login; "
        "check user, password and authSource in MONGODB_URL"
    )


def test_a_restart_between_two_reads_leaves_a_gap_and_no_lie(tmp_path: Path) -> None:
    with running_mongod(tmp_path) as server, server.client() as client, monitor_of(server.url) as monitor:
        client.app.models.insert_many([{} for _ in range(10)])
        monitor.read(100.0)
        server.kill()
        server.start()
        client.app.models.insert_many([{} for _ in range(1000)])
        # The driver looks at a connection that was idle for a second before it uses it.
        time.sleep(1.1)
        found = read_after_a_failure(monitor, 105.0)
        assert (
            reasons(found)["operations_per_s[insert]"]
            == "the server was restarted, or another one answers now"
        )
        assert (
            reasons(found)["collection_read_ms_per_s"]
            == "the server was restarted, or another one answers now"
        )
        client.app.models.insert_many([{} for _ in range(50)])
        assert values(monitor.read(110.0))["operations_per_s[insert]"] * 5 == pytest.approx(50)


def read_after_a_failure(monitor: MongoMonitor, at_s: float) -> Found:
    with contextlib.suppress(MonitorUnavailable):
        return monitor.read(at_s)
    return monitor.read(at_s)


class Sampled:
    """What the real sampler process wrote about a server."""

    def __init__(self, folder: Path) -> None:
        self.readings_path = folder / "readings.jsonl"
        self.observations_path = folder / "observations.jsonl"
        self.log_path = folder / "sampler.log"

    def readings(self) -> list[Reading]:
        text = self.readings_path.read_text() if self.readings_path.exists() else ""
        return [decode_reading(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def observations(self) -> list[Observation]:
        return [decode_observation(line) for line in self.observations_path.read_text().splitlines()]

    def wait_for(self, condition: Callable[[list[Reading]], bool], what: str) -> list[Reading]:
        deadline_s = time.monotonic() + ENOUGH_S
        while not condition(found := self.readings()):
            assert time.monotonic() < deadline_s, f"waited {ENOUGH_S:g} s for {what}: {found[-5:]}"
            time.sleep(0.05)
        return found

    def wait_for_rates(self, after: int = 0) -> int:
        """Wait for a rate among the readings after the first `after`; return how many there are."""

        def has_rates(found: list[Reading]) -> bool:
            return any(
                reading.metric == "operations_per_s[insert]" and reading.value is not None
                for reading in found[after:]
            )

        return len(self.wait_for(has_rates, "rates"))

    def wait_for_reason(self, after: int) -> Reading:
        found = self.wait_for(lambda found: any(r.metric == "*" for r in found[after:]), "a reason")
        return next(reading for reading in found[after:] if reading.metric == "*")

    def everything_written(self) -> str:
        paths = (self.readings_path, self.observations_path, self.log_path)
        return "".join(path.read_text() for path in paths if path.exists())


@contextlib.contextmanager
def sampling(server: MongodProcess, folder: Path) -> Iterator[Sampled]:
    folder.mkdir()
    sampled = Sampled(folder)
    process = SamplerProcess.start(
        sampled.readings_path,
        observations=sampled.observations_path,
        node="generator",
        interval_s=0.25,
        monitors=("mongodb",),
        environment={"MONGODB_URL": server.url},
    )
    try:
        yield sampled
    finally:
        process.stop()


@pytest.mark.parametrize("trouble", ["killed", "hung"])
def test_a_server_in_trouble_in_mid_run(tmp_path: Path, trouble: str) -> None:
    with running_mongod(tmp_path, auth=True) as server:
        with server.client() as client:
            client.app.models.insert_one({})
        with sampling(server, tmp_path / "run") as sampled:
            count = sampled.wait_for_rates()
            if trouble == "killed":
                server.kill()
            else:
                server.hang()
            reason = sampled.wait_for_reason(count)
            if trouble == "killed":
                server.start()
            else:
                server.resume()
            sampled.wait_for_rates(len(sampled.readings()))
        assert reason.source == "mongodb"
        assert reason.value is None
        said = {r.unavailable for r in sampled.readings() if r.metric == "*"}
        assert any(server.address in text for text in said), said
        words = ("cannot be reached", "does not answer", "failed", "no answer within")
        assert all(any(word in text for word in words) for text in said), said
        negative = [r for r in sampled.readings() if r.value is not None and r.value < 0]
        assert negative == []
        kinds = [entry.data["when"] for entry in sampled.observations() if entry.kind == "sizes"]
        assert kinds[0] == "before"
        assert kinds[-1] == "after"
        assert PASSWORD not in sampled.everything_written()
        assert "s3cret" not in sampled.everything_written()
