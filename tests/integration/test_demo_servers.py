"""Which servers the demonstration uses, and that it leaves them as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perfload.cli import demo
from perfload.config import load_config
from perfload.errors import UsageError
from perfload.hosts import HostRules
from perfload.seeding import probe
from perfload.seeding.connection import MongoAddress
from perfload.target.process import TargetProcess
from tests.integration.mongod import MongodProcess, needs_mongod, running_mongod
from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.test_target import ADMIN, Client

pytestmark = [pytest.mark.integration, pytest.mark.monitors, needs_mongod]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with running_mongod(tmp_path_factory.mktemp("mongodb"), auth=True) as server:
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("r")) as server:
        yield server


def found(tmp_path: Path, **settings: str) -> dict[str, str]:
    return demo._servers(load_config(directory=tmp_path, environ=settings, flags={}))


def test_servers_that_are_named_are_used_and_left_as_they_were(
    server: MongodProcess, redis: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.add_user("owner", [{"role": "readWrite", "db": "perfload_demo"}])
    named = url.replace(f"{server.address}/", f"{server.address}/online_evaluation")
    with server.client() as client, redis.client() as keys:
        client.online_evaluation.users.insert_one({"_id": "theirs"})
        keys.set("theirs", 1)
        servers = found(tmp_path, MONGODB_URL=named, REDIS_URL=redis.url)
        said = capsys.readouterr().out
        assert f"its data in the MongoDB at {server.address}, database perfload_demo, and deletes it" in said
        assert "its sessions in the Redis at 127.0.0.1" in said
        assert "s3cret" not in said
        options = ("--no-latency", "--mongodb", "--redis", "--documents", "500")
        with TargetProcess(*options, environment=servers) as target, Client(target.url) as http:
            assert http.log_in(ADMIN).status("GET", "/api/ai-models/available") == 200
            assert "perfload_demo" in client.list_database_names()
            assert len(keys.keys("*")) > 1
        assert "perfload_demo" not in client.list_database_names()
        assert list(client.online_evaluation.users.find()) == [{"_id": "theirs"}]
        assert keys.keys("*") == ["theirs"]
        client.drop_database("online_evaluation")


def test_a_database_with_that_name_of_somebody_else_is_left_alone(
    server: MongodProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with server.client() as client:
        client.perfload_demo.users.insert_one({"_id": 1})
        assert found(tmp_path, MONGODB_URL=server.url, REDIS_URL="redis://127.0.0.1:1") == {}
        said = capsys.readouterr().out
        client.drop_database("perfload_demo")
    assert "Not used, MONGODB_URL: the database perfload_demo holds collections" in said
    assert "Not used, REDIS_URL: Redis does not answer" in said


def test_hosts_that_nobody_allowed_are_not_even_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = {"MONGODB_URL": "mongodb://db.example.com/", "REDIS_URL": "redis://:s3cret@cache.example.com"}
    assert found(tmp_path, **addresses) == {}
    assert capsys.readouterr().out == (
        "Not used, MONGODB_URL: load may not go to db.example.com\n"
        "Not used, REDIS_URL: load may not go to cache.example.com\n"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://h", "mongodb://h/d"),
        ("mongodb://h:1,i:2/", "mongodb://h:1,i:2/d"),
        ("mongodb://h/app?tls=true", "mongodb://h/d?tls=true"),
        ("mongodb://u:p%2Fq@h/app", "mongodb://u:p%2Fq@h/d?authSource=app"),
        ("mongodb://u:p@h/app?tls=true", "mongodb://u:p@h/d?tls=true&authSource=app"),
        ("mongodb://u:p@h/app?authSource=admin", "mongodb://u:p@h/d?authSource=admin"),
        ("mongodb://u:p@h/?replicaSet=r", "mongodb://u:p@h/d?replicaSet=r"),
    ],
)
def test_the_database_is_replaced_and_the_login_stays(url: str, expected: str) -> None:
    assert probe.in_database(url, MongoAddress(url), "d") == expected
    assert MongoAddress(expected).database == "d"


def test_a_redis_address_that_is_none() -> None:
    with pytest.raises(UsageError, match="REDIS_URL is no address of a Redis"):
        probe.redis("redis://127.0.0.1:x", HostRules())
