from typing import Any

from perfload.monitors.mongodb import current_operations
from perfload.monitors.mongodb.current_operations import CurrentOperations
from perfload.monitors.mongodb.parts import Moment
from tests.unit.monitors.mongodb.answers import Answers, batch, findings, values


def operation(opid: object = 7, running_us: int = 250_000, **others: Any) -> dict[str, Any]:
    found = {
        "opid": opid,
        "op": "query",
        "ns": "app.models",
        "microsecs_running": running_us,
        "planSummary": "COLLSCAN",
        "waitingForLock": False,
        "appName": "api",
        "command": {"filter": {"email": "somebody@example.org"}},
    }
    return found | others


def test_counts_them_and_describes_each_once_without_values() -> None:
    waiting = operation(9, 3_000_000, waitingForLock=True, op="update", planSummary=None)
    answers, part = Answers({"aggregate": batch(operation(), waiting)}), CurrentOperations(100)
    found = part.read(answers, Moment(1.0, "a"))
    assert values(found) == {
        "slow_operations": 2,
        "slow_operations_waiting_for_lock": 1,
        "slow_operation_longest_ms": 3000,
    }
    assert [finding.kind for finding in findings(found)] == ["slow_operation"] * 2
    assert findings(found)[0].data == {
        "opid": "9",
        "op": "update",
        "ns": "app.models",
        "running_ms": 3000,
        "plan": "",
        "waiting_for_lock": True,
        "app_name": "api",
    }
    assert "somebody" not in str(findings(found))
    answers.answers["aggregate"] = batch(operation(running_us=9_000_000), operation("shard1:9", 200_000))
    again = part.read(answers, Moment(3.0, "a"))
    assert [finding.data["opid"] for finding in findings(again)] == ["shard1:9"]
    assert values(again)["slow_operation_longest_ms"] == 9000


def test_nothing_slow() -> None:
    found = CurrentOperations(100).read(Answers({"aggregate": batch()}), Moment(1.0, "a"))
    assert values(found) == {
        "slow_operations": 0,
        "slow_operations_waiting_for_lock": 0,
        "slow_operation_longest_ms": 0,
    }
    assert findings(found) == []


def test_describes_a_limited_number_in_a_run() -> None:
    part = CurrentOperations(100)
    described = 0
    for second in range(10):
        running = batch(*(operation(1000 * second + n) for n in range(100)))
        found = part.read(Answers({"aggregate": running}), Moment(float(second), "a"))
        described += len(findings(found))
        assert values(found)["slow_operations"] == 100
    assert described == current_operations.MAX_FINDINGS


def test_texts_of_the_server_are_cut() -> None:
    long = operation(ns="x" * 10_000, planSummary="y" * 10_000, op="z" * 999, appName="\ud800" * 999)
    found = CurrentOperations(100).read(Answers({"aggregate": batch(long)}), Moment(1.0, "a"))
    data = findings(found)[0].data
    assert [len(data[key]) for key in ("ns", "plan", "op", "app_name")] == [120, 240, 40, 80]
    assert data["app_name"].isascii() or data["app_name"].endswith("…")
