"""One part of what the monitor reads: it has its own pace, needs rights of its own, and fails alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.mongodb.server_commands import CommandFailed, CommandRefused, Commands, CommandUnknown

ASK_AGAIN_S = 60.0
"""After this long something that was refused is tried again: rights may have been granted."""

_TICK_TOLERANCE_S = 0.05
"""Reads come a little before or after their time."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a read takes place and which start of which server it comes from."""

    at_s: float
    server: str
    is_replica_set: bool = False


class Part(Protocol):
    """A command or a few of them, and the metrics that come from it."""

    @property
    def metrics(self) -> Sequence[tuple[str, str]]:
        """(metric, unit) of what is unavailable when it cannot be read."""

    @property
    def needs(self) -> str:
        """The role that allows it."""

    @property
    def every_s(self) -> float:
        """Its own pace, where it is slower than the sampler's."""

    def read(self, commands: Commands, moment: Moment) -> Found:
        """Return its values; raises `CommandRefused` or `CommandFailed` when there are none."""


class PacedPart:
    """Reads a part when it is due; says why while it is refused and asks again now and then."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._due_s = 0.0
        self._refused = ""
        self._ask_again_s = 0.0

    def read(self, commands: Commands, moment: Moment) -> Found:
        """Return what there is to say at `moment`; nothing while it is not due."""
        if moment.at_s < self._due_s - _TICK_TOLERANCE_S:
            return []
        self._due_s = moment.at_s + self._part.every_s
        if self._refused and moment.at_s < self._ask_again_s:
            return self._unavailable(self._refused)
        self._refused = ""
        try:
            return self._part.read(commands, moment)
        except CommandRefused as error:
            self._ask_again_s = moment.at_s + ASK_AGAIN_S
            self._refused = refusal(error, self._part.needs)
            return self._unavailable(self._refused)
        except CommandFailed as error:
            return self._unavailable(error.message)

    def _unavailable(self, reason: str) -> list[Measurement]:
        return [Measurement(metric, unit, None, reason) for metric, unit in self._part.metrics]


def refusal(error: CommandRefused, needs: str) -> str:
    """Return the reason for a report, with the role that would help, if one would."""
    return error.message if isinstance(error, CommandUnknown) else f"{error.message}; needs {needs}"


def measured(metric: str, unit: str, value: float | MonitorUnavailable) -> Measurement:
    """Return the measurement of a value, or of the reason why there is none."""
    if isinstance(value, MonitorUnavailable):
        return Measurement(metric, unit, None, value.message)
    return Measurement(metric, unit, value)


def of_node(found: Found, node: str) -> list[Measurement | Finding]:
    """Return `found` with the server's name as its node."""
    return [replace(item, node=item.node or node) for item in found]
