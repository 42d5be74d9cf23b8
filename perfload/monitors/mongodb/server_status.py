"""`serverStatus`: the counters and gauges of one server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from perfload.monitors.base import Measurement, MonitorUnavailable
from perfload.monitors.mongodb.counters import CounterHistory, Interval
from perfload.monitors.mongodb.parts import Moment, measured
from perfload.monitors.mongodb.server_commands import CommandFailed, Commands, Document, number_in, text_in
from perfload.monitors.mongodb.server_fields import (
    FIELDS,
    UNREAD_METRICS,
    UNREAD_SECTIONS,
    Field,
    Gauge,
    Mean,
    Rate,
    Share,
)

_SHORT: Mapping[str, Any] = {
    "serverStatus": 1,
    **dict.fromkeys(UNREAD_SECTIONS.split(), False),
    "metrics": dict.fromkeys(UNREAD_METRICS.split(), False),
}
_WHOLE: Mapping[str, Any] = {"serverStatus": 1}


class ServerStatus:
    """The part of the monitor that reads `serverStatus`; which fields is in `server_fields`."""

    metrics: Sequence[tuple[str, str]] = tuple(
        (field.metric, field.unit)
        for field in FIELDS
        if not (isinstance(field, (Gauge, Rate)) and field.optional)
    )
    needs = "the role clusterMonitor"
    every_s = 0.0

    def __init__(self) -> None:
        self._history = CounterHistory()
        self._command = _SHORT

    def read(self, commands: Commands, moment: Moment) -> list[Measurement]:
        """Return every field; rates and means from the second read on."""
        status = self._status(commands)
        counters = dict(_counters_in(status))
        interval = self._history.advance(moment.at_s, moment.server, counters)
        missing = MonitorUnavailable(
            f"{text_in(status.get('process'), 20) or 'this server'} {text_in(status.get('version'), 20)} "
            "does not report it"
        )
        return [found for field in FIELDS for found in _measure(field, status, interval, missing)]

    def _status(self, commands: Commands) -> Document:
        try:
            return commands.run(self._command)
        except CommandFailed:
            if self._command is _WHOLE:
                raise
            # Some servers take no options here.
            self._command = _WHOLE
            return commands.run(self._command)


def _counters_in(status: Document) -> Iterable[tuple[str, float]]:
    for field in FIELDS:
        paths = [field.paths] if isinstance(field, Rate) else []
        if isinstance(field, Mean):
            paths = [field.paths, field.count]
        for alternatives in paths:
            value = _value_at(status, alternatives)
            if value is not None:
                yield alternatives[0], value


def _measure(
    field: Field, status: Document, interval: Interval | None, missing: MonitorUnavailable
) -> Iterable[Measurement]:
    now = _value_at(status, field.paths)
    if now is None:
        if not (isinstance(field, (Gauge, Rate)) and field.optional):
            yield measured(field.metric, field.unit, missing)
    elif isinstance(field, Gauge):
        yield Measurement(field.metric, field.unit, now * field.factor)
    elif isinstance(field, Share):
        yield measured(field.metric, field.unit, _share(field, now, _value_at(status, field.of), missing))
    elif interval is not None:
        yield measured(field.metric, field.unit, _change(field, interval))


def _share(
    field: Share, part: float, of: float | None, missing: MonitorUnavailable
) -> float | MonitorUnavailable:
    if of is None:
        return missing
    whole = part + of if field.of_sum else of
    return 100 * part / whole if whole > 0 else MonitorUnavailable("the server says that there are 0 in all")


def _change(field: Rate | Mean, interval: Interval) -> float | MonitorUnavailable:
    try:
        if isinstance(field, Rate):
            return interval.per_s(field.paths[0]) * field.factor
        count = interval.gained(field.count[0])
        if not count:
            return MonitorUnavailable(f"no {field.noun} since the read before")
        return interval.gained(field.paths[0]) / count * field.factor
    except MonitorUnavailable as error:
        return error


def _value_at(status: Document, paths: Sequence[str]) -> float | None:
    for path in paths:
        value: object = status
        for name in path.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        number = number_in(value)
        if number is not None:
            return number
    return None
