import datetime
from typing import Any

from perfload.monitors.mongodb.parts import Moment
from perfload.monitors.mongodb.replication import Replication
from tests.unit.monitors.mongodb.answers import Answers, findings, reasons, values

NOON = datetime.datetime(2026, 1, 1, 12)
STATES = {1: "PRIMARY", 2: "SECONDARY", 7: "ARBITER", 8: "(not reachable/healthy)"}


def member(name: str, state: int, behind_s: float = 0, *, health: float = 1.0) -> dict[str, Any]:
    applied = NOON - datetime.timedelta(seconds=behind_s)
    return {
        "name": name,
        "state": state,
        "stateStr": STATES[state],
        "health": health,
        "optimeDate": applied.replace(microsecond=0),
        "lastAppliedWallTime": applied,
    }


def status_of(*members: dict[str, Any]) -> Answers:
    return Answers({"replSetGetStatus": {"set": "rs0", "members": list(members)}})


def moment(at_s: float) -> Moment:
    return Moment(at_s, "a", is_replica_set=True)


def test_lag_and_state_of_each_member() -> None:
    status = status_of(member("a", 1), member("b", 2, 1.25), member("c", 7), member("d", 8, health=0.0))
    found = Replication().read(status, moment(1.0))
    assert values(found) == {
        "replication_members": 4,
        "replication_members_healthy": 3,
        "replication_state[a]": 1,
        "replication_lag_s[a]": 0,
        "replication_state[b]": 2,
        "replication_lag_s[b]": 1.25,
        "replication_state[c]": 7,
        "replication_state[d]": 8,
        "replication_lag_s[d]": None,
    }
    assert reasons(found) == {"replication_lag_s[d]": "the member is (not reachable/healthy)"}
    assert findings(found)[0].kind == "replica_set"
    assert findings(found)[0].data["members"][1] == {"name": "b", "state": "SECONDARY", "healthy": True}


def test_a_finding_only_when_a_state_changed() -> None:
    part = Replication()
    assert len(findings(part.read(status_of(member("a", 1), member("b", 2)), moment(1.0)))) == 1
    assert len(findings(part.read(status_of(member("a", 1), member("b", 2, 3)), moment(3.0)))) == 0
    changed = findings(part.read(status_of(member("a", 2), member("b", 1)), moment(5.0)))
    assert [entry["state"] for entry in changed[0].data["members"]] == ["SECONDARY", "PRIMARY"]


def test_without_a_primary_nobody_knows_the_lag() -> None:
    found = Replication().read(status_of(member("a", 2), member("b", 2)), moment(1.0))
    assert reasons(found)["replication_lag_s[a]"] == "the replica set has no primary"


def test_a_member_that_is_ahead_of_what_the_primary_was_heard_to_have() -> None:
    found = Replication().read(status_of(member("a", 1, 2), member("b", 2)), moment(1.0))
    assert values(found)["replication_lag_s[b]"] == 0


def test_older_versions_tell_whole_seconds() -> None:
    members = [member("a", 1), member("b", 2, 3.0)]
    for entry in members:
        del entry["lastAppliedWallTime"]
    assert values(Replication().read(status_of(*members), moment(1.0)))["replication_lag_s[b]"] == 3
    for entry in members:
        del entry["optimeDate"]
    found = Replication().read(status_of(*members), moment(3.0))
    assert reasons(found)["replication_lag_s[b]"] == "the server does not say what the member applied last"


def test_a_standalone_server_is_not_asked() -> None:
    assert Replication().read(Answers({}), Moment(1.0, "a")) == []


def test_strange_answers_do_no_harm() -> None:
    for members in (None, [3], [{}], [{"name": 5, "state": "x", "health": []}]):
        found = Replication().read(Answers({"replSetGetStatus": {"members": members}}), moment(1.0))
        assert values(found)["replication_members_healthy"] == 0
