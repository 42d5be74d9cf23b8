import sys
import warnings

import pytest

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.mongodb.connection import address_of, connect
from perfload.monitors.mongodb.monitor import MongoMonitor
from perfload.monitors.reader import reason_of

SECRET = "hunter2secret"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mongodb://127.0.0.1:27017", "127.0.0.1:27017"),
        ("mongodb://a:1,b:2/app?replicaSet=rs0", "a:1,b:2"),
        (f"mongodb://user:{SECRET}@db.example.org/app?tls=true", "db.example.org"),
        (f"mongodb+srv://user:{SECRET}@cluster0.example.net/", "cluster0.example.net"),
        (f"mongodb://user:{SECRET}/@?@db:1/x@y", "y"),
        (f"mongodb://user:x/{SECRET}@db", "db"),
        ("", "?"),
        ("nothing", "?"),
        ("mongodb://" + "h" * 500, "h" * 100),
    ],
)
def test_the_address_has_nothing_of_the_login(url: str, address: str) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    [
        f"mongodb://user:{SECRET}",
        f"mongodb://user:{SECRET}/x@db",
        f"mongodb://user:{SECRET}@x@db",
        f"mongodb://user:{SECRET}?x@db",
        f"mongodb://user:%{SECRET}@db",
        f"postgres://user:{SECRET}@db",
        f"mongodb://user:{SECRET}@db:99999",
        f"mongodb://user:{SECRET}@[::1",
        "mongodb://",
        "",
    ],
)
def test_a_malformed_address_says_how_one_looks_and_not_what_was_in_it(url: str) -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        connect(url)
    assert raised.value.message == "MONGODB_URL is no valid address of a MongoDB"
    assert SECRET not in reason_of(raised.value)
    assert "%40 for @" in reason_of(raised.value)


def test_a_certificate_that_is_not_there() -> None:
    with pytest.raises(MonitorUnavailable, match="a file that MONGODB_URL names cannot be read"):
        connect(f"mongodb://user:{SECRET}@db/?tls=true&tlsCAFile=/nowhere/ca.pem")


def test_options_that_the_driver_does_not_know_pass_quietly() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connect(f"mongodb://127.0.0.1:1/?useNewUrlParser=true&secret={SECRET}").close()


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymongo", None)
    monitor = MongoMonitor.from_environment({"MONGODB_URL": "mongodb://127.0.0.1"})
    with pytest.raises(MonitorUnavailable) as raised:
        monitor.open()
    assert reason_of(raised.value) == "the MongoDB client is not installed; pip install 'perfload[mongodb]'"
    monitor.close()


def test_without_an_address_there_is_nothing_to_open() -> None:
    monitor = MongoMonitor.from_environment({})
    with pytest.raises(MonitorUnavailable, match="MONGODB_URL is not set"):
        monitor.open()
    monitor.close()


def test_nobody_there() -> None:
    monitor = MongoMonitor.from_environment({"MONGODB_URL": f"mongodb://u:{SECRET}@127.0.0.1:1/"})
    with pytest.raises(MonitorUnavailable) as raised:
        monitor.open()
    assert raised.value.message.startswith(
        "MongoDB at 127.0.0.1:1 cannot be reached: 127.0.0.1:1: [Errno 111]"
    )
    assert SECRET not in reason_of(raised.value)
    monitor.close()
