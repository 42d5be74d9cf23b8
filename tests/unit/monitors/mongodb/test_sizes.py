from collections.abc import Mapping
from typing import Any

import pytest

from perfload.monitors.base import Found, MonitorUnavailable
from perfload.monitors.mongodb import sizes
from perfload.monitors.mongodb.parts import Moment
from perfload.monitors.mongodb.server_commands import CommandFailed
from perfload.monitors.mongodb.sizes import Sizes
from tests.unit.monitors.mongodb.answers import REFUSED, Answers, batch, findings, reasons, values

DATABASES = {"databases": [{"name": name} for name in ("admin", "app", "config", "local", "other")]}


def database(data_bytes: int) -> Mapping[str, Any]:
    return {
        "collections": 2,
        "objects": 10,
        "dataSize": float(data_bytes),
        "storageSize": 4096.0,
        "indexes": 3,
        "indexSize": 512.0,
    }


def collection(data_bytes: int) -> Mapping[str, Any]:
    stats = {
        "size": data_bytes,
        "count": 5,
        "storageSize": 2048,
        "totalIndexSize": 300,
        "indexSizes": {"_id_": 100, "status_1": 200},
    }
    return batch({"ns": "?", "storageStats": stats})


def a_server() -> Answers:
    return Answers(
        {
            "listDatabases": DATABASES,
            "dbStats@app": database(1000),
            "dbStats@other": database(20),
            "listCollections@app": batch({"name": "models"}, {"name": "users"}),
            "listCollections@other": batch({"name": "things"}),
            "aggregate:models@app": collection(100),
            "aggregate:users@app": collection(900),
            "aggregate:things@other": collection(20),
        }
    )


def survey(part: Sizes, answers: Answers, reads: int = 50) -> Found:
    return [item for second in range(reads) for item in part.read(answers, Moment(float(second), "a"))]


def test_databases_and_their_biggest_collections_once() -> None:
    part, answers = Sizes(), a_server()
    found = survey(part, answers)
    (finding,) = findings(found)
    assert finding.kind == "sizes"
    assert finding.data["when"] == "before"
    assert finding.data["complete"] is True
    assert finding.data["left_out"] == 0
    app, other = finding.data["databases"]
    assert app["name"] == "app"
    assert app["data_bytes"] == 1000
    assert [entry["name"] for entry in app["biggest"]] == ["users", "models"]
    assert app["biggest"][0] == {
        "name": "users",
        "documents": 5,
        "data_bytes": 900,
        "storage_bytes": 2048,
        "index_bytes": 300,
        "indexes": {"status_1": 200, "_id_": 100},
    }
    assert [entry["name"] for entry in other["biggest"]] == ["things"]
    assert values(found) == {
        "data_bytes": 1020,
        "storage_bytes": 8192,
        "index_bytes": 1024,
        "documents": 20,
    }
    after = findings(part.finish(answers))
    assert after[0].data["when"] == "after"
    assert after[0].data["databases"] == finding.data["databases"]


def test_a_few_commands_in_each_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "STEPS_PER_READ", 2)
    part, answers = Sizes(), a_server()
    asked = []
    for second in range(4):
        found = part.read(answers, Moment(float(second), "a"))
        asked.append(len(answers.asked))
    assert asked == [3, 6, 8, 8]
    assert len(findings(found)) == 1


def test_what_is_beyond_the_limits_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MAX_LOOKED_AT", 2)
    monkeypatch.setattr(sizes, "BIGGEST", 1)
    (finding,) = findings(survey(Sizes(), a_server()))
    assert [entry["name"] for entry in finding.data["databases"][0]["biggest"]] == ["users"]
    assert finding.data["left_out"] == 2


def test_what_may_not_be_seen_is_named_and_the_rest_goes_on() -> None:
    answers = a_server()
    answers.answers["dbStats@other"] = REFUSED
    answers.answers["aggregate:models@app"] = CommandFailed("aggregate: it is gone")
    (finding,) = findings(survey(Sizes(), answers))
    assert finding.data["complete"] is False
    assert finding.data["not_read"] == [
        {"ns": "other", "reason": "the user may not do this"},
        {"ns": "app.models", "reason": "aggregate: it is gone"},
    ]
    assert [entry["name"] for entry in finding.data["databases"]] == ["app"]


@pytest.mark.parametrize("change", [{"listDatabases": {"databases": []}}, {"listDatabases": REFUSED}])
def test_nothing_that_may_be_seen_is_a_refusal(change: Mapping[str, Any]) -> None:
    part, answers = Sizes(), Answers(a_server().answers | change)
    before, after = survey(part, answers), part.finish(answers)
    for found in (before, after):
        assert len(found) == len(Sizes.metrics)
        assert reasons(found)["data_bytes"].endswith(
            "; needs the role read on each database, or clusterMonitor"
        )


def test_a_survey_that_was_cut_off_begins_anew() -> None:
    part, answers = Sizes(), a_server()
    answers.answers["listDatabases"] = CommandFailed("listDatabases: too slow")
    with pytest.raises(CommandFailed):
        part.read(answers, Moment(1.0, "a"))
    answers.answers["listDatabases"] = DATABASES
    assert len(findings(survey(part, answers))) == 1


def test_a_connection_that_breaks_at_the_end_leaves_what_was_seen() -> None:
    answers = a_server()
    answers.answers["aggregate:users@app"] = MonitorUnavailable("the connection failed")
    (finding,) = findings(Sizes().finish(answers))
    assert finding.data["complete"] is False
    assert [entry["name"] for entry in finding.data["databases"][0]["biggest"]] == ["models"]
    answers.answers["listDatabases"] = MonitorUnavailable("the connection failed")
    assert reasons(Sizes().finish(answers))["documents"] == "the connection failed"


def test_sizes_of_shards_are_added() -> None:
    answers = a_server()
    shard = collection(50)["cursor"]["firstBatch"][0]
    answers.answers["aggregate:users@app"] = batch(shard, shard)
    (finding,) = findings(survey(Sizes(), answers))
    users = next(entry for entry in finding.data["databases"][0]["biggest"] if entry["name"] == "users")
    assert users["data_bytes"] == 100
    assert users["indexes"] == {"status_1": 400, "_id_": 200}
