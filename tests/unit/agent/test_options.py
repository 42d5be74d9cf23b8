import argparse
from pathlib import Path

import pytest

from perfload.agent.command import AgentOptions, configure, read_options
from perfload.agent.server import is_loopback
from perfload.errors import UsageError


def options(folder: Path, *arguments: str, **environ: str) -> AgentOptions:
    parser = argparse.ArgumentParser()
    configure(parser)
    return read_options(
        parser.parse_args(arguments), directory=folder, environ={"PERFLOAD_MONITOR_GPU": "off"} | environ
    )


def names(found: AgentOptions) -> list[tuple[str, float]]:
    return [(plan.name, plan.interval_s) for plan in found.plans]


def test_without_anything_it_reads_this_host_for_this_machine(tmp_path: Path) -> None:
    found = options(tmp_path)
    assert (found.bind, found.port, found.token, names(found)) == ("127.0.0.1", 9465, "", [("host", 1.0)])


def test_what_the_configuration_has_an_address_for_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "perfload.toml").write_text(
        '[monitors]\ninterval = "2s"\nprocesses = ["name:uvicorn"]\n'
        '[prometheus]\nurl = "http://p"\nqueries = { up = "up" }\n'
        '[[agents]]\nname = "other"\nurl = "http://other"\n'
    )
    found = options(tmp_path, MONGODB_URL="mongodb://db", REDIS_URL="redis://cache")
    # Not the other agent, and not Prometheus: a master asks those by itself.
    assert sorted(names(found)) == [("host", 2.0), ("mongodb", 2.0), ("processes", 2.0), ("redis", 2.0)]
    assert found.environment["MONGODB_URL"] == "mongodb://db"
    assert found.environment["PERFLOAD_MONITOR_PROCESSES"] == "name:uvicorn"


def test_what_is_named_is_read_and_nothing_else(tmp_path: Path) -> None:
    found = options(
        tmp_path, "--monitor=processes@5s", "--interval=500ms", "--monitor=host", REDIS_URL="redis://c"
    )
    assert names(found) == [("processes", 5.0), ("host", 0.5)]


def test_other_machines_need_a_token(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--bind 0.0.0.0: other machines could read along\n  set PERFLOAD_AGENT"
    ):
        options(tmp_path, "--bind=0.0.0.0")
    assert options(tmp_path, "--bind=0.0.0.0", PERFLOAD_AGENT_TOKEN="sesame").token == "sesame"
    (tmp_path / ".env.performance").write_text("PERFLOAD_AGENT_TOKEN=from-file\n")
    assert options(tmp_path, "--bind=0.0.0.0").token == "from-file"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--monitor=agent.db-1"], "an agent of an agent"),
        (["--monitor=hots"], "there is no monitor 'hots'"),
        (["--interval=1ms"], "an interval of 0.001 s"),
        (["--node="], "--node"),
    ],
)
def test_bad_options_are_usage_errors(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(tmp_path, *arguments)


def test_a_token_that_no_header_can_carry_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be sent in a header"):
        options(tmp_path, PERFLOAD_AGENT_TOKEN="two words")


def test_who_can_reach_an_address() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST")] == [
        True
    ] * 5
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "db-1", "")] == [False] * 5
