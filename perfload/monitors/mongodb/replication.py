"""`replSetGetStatus`: the members of a replica set, their states, and how far they are behind the primary."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.mongodb.parts import Moment, measured
from perfload.monitors.mongodb.server_commands import Commands, Document, number_in, text_in

MAX_MEMBERS = 50
"""As many as MongoDB allows."""

_PRIMARY = 1
_HOLDS_DATA = frozenset({1, 2, 3, 5, 9})
"""Primary, secondary, recovering, first synchronisation, rollback: not the arbiters."""

_APPLIED = ("lastAppliedWallTime", "optimeDate")
"""When the operation that a member applied last was made; the first to the millisecond, from 5.0 on."""


class Replication:
    """The part of the monitor that reads `replSetGetStatus`, where there is a replica set."""

    metrics: Sequence[tuple[str, str]] = (
        ("replication_lag_s", "s"),
        ("replication_members", "members"),
        ("replication_members_healthy", "members"),
    )
    needs = "the role clusterMonitor"
    every_s = 2.0

    def __init__(self) -> None:
        self._states: Sequence[tuple[str, str]] = ()

    def read(self, commands: Commands, moment: Moment) -> Found:
        """Return the lag and state code of each member, and a finding whenever a state changed."""
        if not moment.is_replica_set:
            return []
        status = commands.run({"replSetGetStatus": 1})
        listed = status.get("members")
        members = (
            [member for member in listed if isinstance(member, dict)] if isinstance(listed, list) else []
        )
        members = members[:MAX_MEMBERS]
        healthy = sum(1 for member in members if _is_healthy(member))
        found: list[Measurement | Finding] = [
            Measurement("replication_members", "members", float(len(members))),
            Measurement("replication_members_healthy", "members", float(healthy)),
        ]
        primary = next((member for member in members if member.get("state") == _PRIMARY), None)
        for member in members:
            found += _of_member(member, primary)
        states = [(_name(member), text_in(member.get("stateStr"), 60)) for member in members]
        if states != self._states:
            self._states = states
            found.append(Finding("replica_set", _described(status, members)))
        return found


def _of_member(member: Document, primary: Document | None) -> Iterable[Measurement]:
    name = _name(member)
    state = number_in(member.get("state"))
    if state is not None:
        yield Measurement(f"replication_state[{name}]", "state", state)
    if state in _HOLDS_DATA or not _is_healthy(member):
        yield measured(f"replication_lag_s[{name}]", "s", _lag_s(member, primary))


def _lag_s(member: Document, primary: Document | None) -> float | MonitorUnavailable:
    if primary is None:
        return MonitorUnavailable("the replica set has no primary")
    if not _is_healthy(member):
        return MonitorUnavailable(f"the member is {text_in(member.get('stateStr'), 60) or 'not healthy'}")
    for name in _APPLIED:
        ahead, behind = primary.get(name), member.get(name)
        if isinstance(ahead, datetime.datetime) and isinstance(behind, datetime.datetime):
            # What the members say of each other is a heartbeat old, so that a secondary can look ahead.
            return max(0.0, (ahead - behind).total_seconds())
    return MonitorUnavailable("the server does not say what the member applied last")


def _is_healthy(member: Document) -> bool:
    return number_in(member.get("health")) == 1


def _name(member: Document) -> str:
    return text_in(member.get("name"), 120) or "?"


def _described(status: Document, members: Sequence[Document]) -> Document:
    return {
        "set": text_in(status.get("set"), 120),
        "members": [
            {
                "name": _name(member),
                "state": text_in(member.get("stateStr"), 60),
                "healthy": _is_healthy(member),
            }
            for member in members
        ],
    }
