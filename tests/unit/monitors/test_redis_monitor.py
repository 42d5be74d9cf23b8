from collections.abc import Sequence
from typing import Any

import pytest
import redis

from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.redis import RedisMonitor
from perfload.monitors.redis.client import Command, RedisClient, refusal, right


class Recorded:
    """Answers by the first word of a command, as the server gives them."""

    node = "redis-1:6379"
    name = "perfload"

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "INFO": b"redis_version:7.0\r\nrun_id:a\r\nrole:master\r\ntotal_commands_processed:100\r\n",
            "SLOWLOG": [],
            "LATENCY": [],
            "CONFIG": [b"latency-monitor-threshold", b"100"],
            **answers,
        }

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def ask(self, *commands: Command) -> Sequence[Any]:
        return [self.answers[command[0]] for command in commands]


def measurements(found: Sequence[Measurement | Finding]) -> dict[str, Measurement]:
    return {item.metric: item for item in found if isinstance(item, Measurement)}


def test_everything_carries_the_server_as_its_node() -> None:
    monitor = RedisMonitor(Recorded())
    first = monitor.read(100)
    assert {item.node for item in first} == {"redis-1:6379"}
    assert "commands_per_s" not in measurements(first)
    assert {item.node for item in monitor.read(101)} == {"redis-1:6379"}


def test_the_server_is_named_once_and_again_when_its_role_changes() -> None:
    source = Recorded()
    monitor = RedisMonitor(source)

    def named(at_s: float) -> list[dict[str, str]]:
        found = monitor.read(at_s)
        return [dict(item.data) for item in found if isinstance(item, Finding) and item.kind == "server"]

    assert named(1) == [{"redis_version": "7.0", "role": "master"}]
    assert named(2) == []
    source.answers["INFO"] = source.answers["INFO"].replace(b"role:master", b"role:slave")
    assert named(3) == [{"redis_version": "7.0", "role": "slave"}]


def test_each_refusal_leaves_the_rest_alone() -> None:
    refused = MonitorUnavailable("the user lacks the right …")
    for word, metric in (("INFO", "info"), ("SLOWLOG", "slow_commands_per_s"), ("LATENCY", "latency_events")):
        monitor = RedisMonitor(Recorded(**{word: refused}))
        monitor.read(1)
        found = measurements(monitor.read(2))
        assert found[metric].unavailable == "the user lacks the right …"
        others = {"info": {"slow_commands_per_s", "latency_events"}}.get(metric, {"commands_per_s"})
        assert {found[name].value for name in others} == {0.0}


def test_without_config_the_logs_are_still_read() -> None:
    refused = MonitorUnavailable("the user lacks the right +config|get")
    monitor = RedisMonitor(Recorded(CONFIG=refused))
    monitor.read(1)
    found = measurements(monitor.read(2))
    assert found["slow_commands_per_s"].value == 0
    assert found["latency_events"].unavailable.endswith("+config|get")


def test_a_config_of_another_form_is_a_reason() -> None:
    monitor = RedisMonitor(Recorded(CONFIG={"a": "b"}))
    assert "CONFIG GET" in measurements(monitor.read(1))["latency_events"].unavailable


def test_a_refusal_names_the_right() -> None:
    said = redis.exceptions.NoPermissionError("this user has no permissions to run the 'slowlog|get' command")
    assert refusal(("SLOWLOG", "GET", "1"), said).message == "the user lacks the right +slowlog|get"
    assert right(("INFO", "all")) == "+info"
    assert right(("CONFIG", "GET", "maxclients")) == "+config|get"


def test_a_command_that_a_hosted_server_leaves_out_is_named() -> None:
    said = redis.ResponseError("unknown command `LATENCY`, with args beginning with: `LATEST`")
    assert refusal(("LATENCY", "LATEST"), said).message == (
        "this server has no LATENCY: hosted ones often leave it out"
    )
    other = redis.ResponseError("ERR something else")
    assert refusal(("CONFIG", "GET", "x"), other).message == "CONFIG: ERR something else"


def test_without_an_address_it_says_which_variable_to_set() -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        RedisMonitor.from_environment({}).open()
    assert raised.value.hint == "set REDIS_URL=redis://host:6379"


@pytest.mark.parametrize("url", ["http://host", "host:6379", "redis://u:hunter2@host:port", "redis://[::1"])
def test_a_bad_address_is_not_repeated(url: str) -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        RedisClient(url).open()
    assert raised.value.message == "REDIS_URL is no address of Redis"
    assert "hunter2" not in str(raised.value)
