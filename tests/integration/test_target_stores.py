"""The target with its data in a real MongoDB and its sessions in a real Redis."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from perfload.errors import PerfloadError
from perfload.target.process import TargetProcess
from tests.integration.mongod import MongodProcess, needs_mongod, running_mongod
from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.test_target import ADMIN, NEW_MODEL, SECRETARY, Client

pytestmark = [pytest.mark.integration, pytest.mark.monitors, needs_mongod]

DATABASE = "perfload_target"
SMALL = ("--no-latency", "--documents", "5000")
TEST_CONNECTION = "/api/ai-models/test-connection"
METRICS = "/api/ai-models/performance-metrics"
AVAILABLE = "/api/ai-models/available"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with running_mongod(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("r")) as server:
        yield server


def url_of(server: MongodProcess, database: str = "") -> str:
    return f"mongodb://{server.address}/{database}"


def databases(server: MongodProcess) -> set[str]:
    with server.client() as client:
        return set(client.list_database_names()) - {"admin", "config", "local"}


def use_everything(client: Client) -> None:
    """Call each endpoint once or twice, as an administrator."""
    client.log_in(ADMIN)
    assert client.status("GET", "/api/auth/me") == 200
    assert client.status("GET", AVAILABLE) == 200
    assert client.status("POST", TEST_CONNECTION, {"model_id": "openai-gpt4o"}) == 200
    assert client.status("GET", METRICS) == 200
    assert client.status("POST", "/api/ai-models/create", NEW_MODEL) == 201
    assert client.status("DELETE", "/api/ai-models/own-1") == 200


def test_the_api_is_the_same_and_everything_is_deleted(server: MongodProcess, redis: RedisServer) -> None:
    with TargetProcess(*SMALL, "--mongodb", url_of(server), "--redis", redis.url) as target:
        with Client(target.url) as client:
            assert client.status("POST", "/api/auth/login", {"email": ADMIN, "password": "x"}) == 401
            client.log_in(ADMIN.upper())
            assert client.call("GET", "/api/auth/me")[1] == {"email": ADMIN, "role": "admin"}
            _, models, _ = client.call("GET", AVAILABLE)
            assert len(models) == 20
            assert models[0].keys() == {
                *("model_id", "provider", "model_name", "display_name"),
                *("quality_score", "speed_score", "cost_efficiency", "reliability_score"),
            }
            assert client.status("POST", TEST_CONNECTION, {"model_id": "none"}) == 404
            assert client.status("POST", "/api/ai-models/create", NEW_MODEL) == 201
            assert client.call("GET", AVAILABLE)[1][0]["model_id"] == "own-1"
            assert client.status("POST", "/api/ai-models/create", NEW_MODEL) == 409
            for _ in range(3):
                client.status("POST", TEST_CONNECTION, {"model_id": "own-1"})
            first = client.call("GET", METRICS)[1]["models"][0]
            assert (first["model_id"], first["connection_tests"], first["quality_score"]) == ("own-1", 3, 70)
            assert client.status("DELETE", "/api/ai-models/own-1") == 200
            assert client.status("DELETE", "/api/ai-models/own-1") == 404
            client.log_in(SECRETARY)
            assert client.status("POST", "/api/ai-models/create", NEW_MODEL) == 403
            assert client.status("GET", AVAILABLE, authorization="Bearer x.y") == 401
        assert target.truth()["totals"]["by_status"] == {
            "200": 10,
            "201": 1,
            "401": 2,
            "403": 1,
            "404": 2,
            "409": 1,
        }
        assert databases(server) == {DATABASE}
        with redis.client() as keys:
            # Hashes: whoever lists the keys has no tokens.
            found = keys.keys("*")
            assert len(found) >= 2
            assert all(key.startswith("perfload_target:") for key in found)
    assert databases(server) == set()
    with redis.client() as keys:
        assert keys.keys("*") == []


def profiled(server: MongodProcess, *arguments: str) -> list[dict[str, Any]]:
    """Return what MongoDB's profiler says of every operation that each endpoint leads to."""
    with (
        TargetProcess(*SMALL, "--mongodb", url_of(server), *arguments) as target,
        Client(target.url) as client,
        server.client() as mongodb,
    ):
        mongodb[DATABASE].command("profile", 2)
        use_everything(client)
        mongodb[DATABASE].command("profile", 0)
        found = list(mongodb[DATABASE]["system.profile"].find({"appName": "perfload target"}))
        unused = [
            f"{name}.{index['name']}"
            for name in ("users", "models", "metrics")
            for index in mongodb[DATABASE][name].aggregate([{"$indexStats": {}}])
            if index["accesses"]["ops"] == 0 and index["name"] != "_id_"
        ]
        assert unused == []
        mongodb[DATABASE].drop_collection("system.profile")
        return found


def test_a_healthy_schema_serves_each_query_by_an_index_and_has_none_besides(server: MongodProcess) -> None:
    operations = profiled(server)
    assert {operation["ns"] for operation in operations} >= {f"{DATABASE}.{n}" for n in ("users", "models")}
    assert [operation for operation in operations if operation.get("planSummary") == "COLLSCAN"] == []
    assert [operation for operation in operations if operation.get("hasSortStage")] == []


def test_a_missing_index_is_missed_by_the_list_of_models(server: MongodProcess) -> None:
    scans = [op for op in profiled(server, "--fault", "missing-index") if op.get("planSummary") == "COLLSCAN"]
    assert {scan["ns"] for scan in scans} == {f"{DATABASE}.models"}
    (scan,) = scans
    assert scan["command"]["filter"].keys() == {"owner", "status"}
    assert scan["command"]["sort"] == {"created_at": -1}
    assert scan["hasSortStage"]


def test_a_slow_query_is_planted_and_pulled_out(server: MongodProcess) -> None:
    def longest_ms(target: TargetProcess, client: Client) -> float:
        target.reset_truth()
        for _ in range(3):
            client.status("GET", METRICS)
        latency: dict[str, float] = target.truth()["endpoints"][f"GET {METRICS}"]["latency"]
        return latency["min_ms"]

    arguments = ("--no-latency", "--documents", "50000", "--mongodb", url_of(server))
    with TargetProcess(*arguments, "--fault", "slow-query") as target, Client(target.url) as client:
        client.log_in(ADMIN)
        slow_ms = longest_ms(target, client)
        target.set_faults()
        assert slow_ms > 3 * longest_ms(target, client)
        with pytest.raises(PerfloadError, match="missing-index is planted at the start only"):
            target.set_faults(fault="missing-index")


def test_a_small_pool_makes_requests_wait(server: MongodProcess) -> None:
    """Two connections, each held for 20 ms a request: no more than 100 requests a second."""
    with TargetProcess(*SMALL, "--mongodb", url_of(server), "--fault", "small-pool") as target:
        with Client(target.url) as client:
            headers = client.log_in(ADMIN).headers

        def read_often(_: int) -> None:
            with Client(target.url) as client:
                client.headers = headers
                for _ in range(5):
                    assert client.status("GET", "/api/auth/me") == 200

        began_s = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read_often, range(8)))
        assert time.monotonic() - began_s >= 40 / 100


def test_what_a_killed_target_left_is_taken_over(server: MongodProcess) -> None:
    arguments = (*SMALL, "--mongodb", url_of(server))
    killed = TargetProcess(*arguments)
    killed.start()
    os.kill(killed.pid, signal.SIGKILL)
    killed.stop()
    assert databases(server) == {DATABASE}
    with TargetProcess(*arguments), pytest.raises(PerfloadError, match=r"another target \(process \d+ on"):
        TargetProcess(*arguments).start()
    assert databases(server) == set()


def test_a_database_of_somebody_else_is_not_touched(server: MongodProcess) -> None:
    with server.client() as client:
        client.precious.users.insert_one({"_id": 1})
        try:
            with pytest.raises(PerfloadError, match="collections that perfload did not make: users"):
                TargetProcess(*SMALL, "--mongodb", url_of(server, "precious")).start()
            assert list(client.precious.users.find()) == [{"_id": 1}]
            assert client.precious.list_collection_names() == ["users"]
        finally:
            client.drop_database("precious")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mongodb", "mongodb://me:s3cret@127.0.0.1/"), "--mongodb has a password in it"),
        (("--redis", "redis://:s3cret@127.0.0.1/"), "--redis has a password in it"),
        (("--mongodb", "http://127.0.0.1"), "MONGODB_URL is no valid address"),
        (("--mongodb", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"), "cannot be reached"),
        (("--redis", "redis://127.0.0.1:1"), "Redis does not answer as REDIS_URL has it"),
        (("--mongodb",), "MONGODB_URL is not set"),
        (("--fault", "missing-index"), "missing-index needs a MongoDB"),
        (("--mongodb-pool", "5"), "--mongodb-pool needs --mongodb"),
        (("--rate-limit", "5"), "--rate-limit needs --redis"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MONGODB_URL", raising=False)
    with pytest.raises(PerfloadError) as caught:
        TargetProcess("--no-latency", *arguments).start()
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_address_comes_from_the_environment(
    server: MongodProcess, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_URL", url_of(server, "another"))
    monkeypatch.setenv("REDIS_URL", redis.url)
    with TargetProcess(*SMALL, "--mongodb", "--redis") as target, Client(target.url) as client:
        use_everything(client)
        assert databases(server) == {"another"}
    assert databases(server) == set()


def test_a_mongodb_that_is_gone_is_answered_503_and_counted(tmp_path: Path) -> None:
    address = "?serverSelectionTimeoutMS=300"
    with running_mongod(tmp_path) as server:
        arguments = ("--no-latency", "--documents", "100", "--mongodb", url_of(server, address))
        with TargetProcess(*arguments) as target, Client(target.url) as client:
            client.log_in(ADMIN)
            server.kill()
            for _ in range(3):
                status, answer, _ = client.call("GET", AVAILABLE)
                assert status == 503
                assert answer["detail"].startswith("no answer from a store: MongoDB: ")
            assert client.status("GET", "/health") == 200
            assert target.truth()["endpoints"][f"GET {AVAILABLE}"]["by_status"] == {"503": 3}
            server.start()
            deadline_s = time.monotonic() + 15
            while client.status("GET", AVAILABLE) != 200:
                assert time.monotonic() < deadline_s
        assert "Traceback" not in target.log


def test_rate_limits(redis: RedisServer) -> None:
    with TargetProcess("--no-latency", "--redis", redis.url, "--rate-limit", "20") as target:
        with Client(target.url) as client:
            client.log_in(ADMIN)
            # Of more requests than two seconds allow, some are refused, however a second begins.
            answers = [client.call("GET", "/api/auth/me") for _ in range(200)]
        statuses = [status for status, _, _ in answers]
        assert statuses[:20] == [200] * 20
        assert 429 in statuses
        refused = next(answer for answer in answers if answer[0] == 429)
        assert (refused[1], refused[2]["retry-after"]) == ({"detail": "too many requests"}, "1")


def test_a_redis_that_hangs_holds_nobody_up_for_ever(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path) as server,
        TargetProcess("--no-latency", "--redis", server.url) as target,
        Client(target.url, timeout_s=30) as client,
    ):
        client.log_in(ADMIN)
        server.send(signal.SIGSTOP)
        resumed = threading.Timer(2.0, server.send, (signal.SIGCONT,))
        resumed.start()
        assert client.status("GET", "/api/auth/me") in {200, 503}
        resumed.join()
        assert client.status("GET", "/api/auth/me") == 200
