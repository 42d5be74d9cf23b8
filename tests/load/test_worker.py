"""A worker's part in runs: the node that it makes of what its master has assigned."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from locust import User, constant, task

from perfload.config import load_config
from perfload.errors import UsageError
from perfload.load import Phase, PhasedShape
from perfload.load.ai import spending
from perfload.load.ai.budget import Cap
from perfload.load.cluster import worker as link
from perfload.load.cluster.messages import BATCH, BEAT
from perfload.load.node import Assignment
from perfload.load.shape import digest
from perfload.load.worker import Worker
from perfload.plan import Plan
from perfload.shares import evenly


class LoadTest(PhasedShape):
    phases = (Phase(name="Load", duration=600, arrival_rate=1),)


class Visitor(User):
    wait_time = constant(0)

    @task
    def nothing(self) -> None:
        """Do nothing."""


PLAN = LoadTest().plan(1.0)

TERMS = Assignment(
    "run-1",
    "worker-3",
    1,
    2,
    started_at_s=1_700_000_000.0,
    seed=3,
    eras=(evenly([0, 1], 0.0),),
    lease_until_s=2.0,
    zero_s=0.0,
    time_scale=60.0,
    shape="LoadTest",
    phases=digest(PLAN),
    allow=("b.example.com",),
)


@pytest.fixture
def sent() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def worker(
    make_environment: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: list[tuple[str, Any]],
) -> Worker:
    """One whose master has not answered yet."""
    monkeypatch.setattr(link, "CLOCKS_S", 0.001)
    monkeypatch.setattr(link, "BEAT_S", 60.0)
    environment = make_environment(Visitor)
    environment.available_shape_classes = {"Other": object(), "LoadTest": LoadTest()}
    monkeypatch.setattr(environment.runner, "send_message", lambda kind, data: sent.append((kind, data)))
    flags = {"target.allow": ["a.example.com"]}
    return Worker(environment, load_config(directory=tmp_path, environ={}, flags=flags))


def test_a_worker_makes_a_node_for_its_share_of_the_plan(worker: Worker, sent: list[tuple[str, Any]]) -> None:
    worker._link.assignment = TERMS
    node = worker.begin()
    assert node is not None
    assert node.assignment == TERMS
    assert (node.licence.shares.node, node.licence.until_s) == (1, 2.0)
    assert [span.duration_s for span in node._spans] == [10.0]  # ten minutes, sixty times as fast
    assert node.lend("accounts.csv", 8) is node.lend("accounts.csv", 8)
    node.start()
    node.stop_arrivals()
    worker.stopping()
    node.finish()
    worker.stopped()
    assert [data["run"] for kind, data in sent if kind == BEAT][-2:] == ["run-1", "run-1"]
    assert [data["final"] for kind, data in sent if kind == BATCH][-1] is True
    assert worker.is_busy is False


def test_a_worker_tells_of_its_cap_before_the_load(worker: Worker, sent: list[tuple[str, Any]]) -> None:
    class Asker(User):
        @classmethod
        def perfload_cap(cls) -> Cap:
            return Cap(tokens=400)

    worker._environment.user_classes = [Visitor, Asker]
    worker._link.assignment = TERMS
    node = worker.begin()
    assert node is not None
    assert sent[-1][1]["account"] == {"tokens": [400, 0.0]}
    assert spending.of_run("run-1").is_shared
    node.start()
    node.finish()


def test_the_hosts_that_the_master_allows_are_allowed_here(worker: Worker) -> None:
    worker.config.host_rules.check("http://a.example.com")
    with pytest.raises(UsageError):
        worker.config.host_rules.check("http://b.example.com")
    worker._link.assignment = TERMS
    node = worker.begin()
    assert node is not None
    for host in ("a", "b"):
        worker.config.host_rules.check(f"http://{host}.example.com")
    node.start()
    node.finish()


def test_a_shape_that_a_worker_does_not_know_is_no_plan(worker: Worker) -> None:
    worker._link.assignment = Assignment("run-1", "w", 0, 1, 0.0, 3, TERMS.eras, zero_s=0.0, shape="")
    node = worker.begin()
    assert node is not None
    assert [span.name for span in node._spans] == ["Closed load"]
    node.start()
    node.finish()


@pytest.mark.parametrize("shape", ["LoadTest", "Unknown"])
def test_a_worker_with_another_shape_takes_no_part(
    worker: Worker, sent: list[tuple[str, Any]], caplog: pytest.LogCaptureFixture, shape: str
) -> None:
    others = Plan([Phase(name="Load", duration=600, arrival_rate=2)])
    phases = digest(others if shape == "LoadTest" else PLAN)
    worker._link.assignment = replace(TERMS, shape=shape, phases=phases)
    assert worker.begin() is None
    assert caplog.messages == [
        f"the shape {shape} here is not the master's: install the same file on every worker"
    ]
    said = sent[-1][1]
    assert (said["run"], said["declined"]) == ("run-1", f"the shape {shape} there is not the master's")


def test_a_worker_without_an_assignment_has_no_part_in_the_run(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    assert worker.begin() is None
    assert caplog.messages == ["this worker was given no part in the run; its requests will not be recorded"]
    assert worker.finish() is None
