"""A MongoDB that gives recorded answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfload.monitors.base import Finding, Found, Measurement
from perfload.monitors.mongodb.server_commands import CommandRefused

REFUSED = CommandRefused("the user may not do this")


class Answers:
    """Answers by the name of the command, those of a database by `name@database`; errors are raised."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def run(self, command: Mapping[str, Any], *, database: str = "admin") -> Mapping[str, Any]:
        name = next(iter(command))
        subject = command[name]
        for key in (f"{name}:{subject}@{database}", f"{name}@{database}", name):
            if key in self.answers:
                self.asked.append(key)
                answer = self.answers[key]
                if isinstance(answer, Exception):
                    raise answer
                assert isinstance(answer, Mapping)
                return answer
        raise AssertionError(f"nobody expected {name} on {database}")


def batch(*documents: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"cursor": {"id": 0, "firstBatch": list(documents)}}


def values(found: Found) -> dict[str, float | None]:
    return {item.metric: item.value for item in found if isinstance(item, Measurement)}


def reasons(found: Found) -> dict[str, str]:
    return {
        item.metric: item.unavailable for item in found if isinstance(item, Measurement) and item.unavailable
    }


def findings(found: Found) -> list[Finding]:
    return [item for item in found if isinstance(item, Finding)]
