"""`top`: how long operations read and wrote each collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perfload.monitors.base import Measurement, MonitorUnavailable
from perfload.monitors.mongodb.counters import CounterHistory, Interval
from perfload.monitors.mongodb.parts import Moment, measured
from perfload.monitors.mongodb.server_commands import Commands, Document, number_in, text_in

BUSIEST = 10
"""How many collections are shown: those with the most time since the monitor began."""

MANY_COLLECTIONS = 1000
MAX_NAMESPACE_CHARS = 120

SYSTEM_DATABASES = frozenset({"admin", "config", "local"})

_FAMILIES = (
    ("collection_read_ms_per_s", "ms/s", "readLock/time", 1e-3),
    ("collection_write_ms_per_s", "ms/s", "writeLock/time", 1e-3),
    ("collection_operations_per_s", "operations/s", "total/count", 1.0),
)


class Top:
    """The part of the monitor that reads `top`."""

    metrics: Sequence[tuple[str, str]] = tuple((metric, unit) for metric, unit, _, _ in _FAMILIES)
    needs = "the role clusterMonitor"

    def __init__(self) -> None:
        self._history = CounterHistory()
        self._spent_us: dict[str, float] = {}

    @property
    def every_s(self) -> float:
        """Return its pace: the answer has half a kilobyte for each collection there is."""
        return 5.0 if len(self._spent_us) <= MANY_COLLECTIONS else 30.0

    def read(self, commands: Commands, moment: Moment) -> list[Measurement]:
        """Return the busiest collections, from the second read on."""
        counters = dict(_counters_in(commands.run({"top": 1})))
        interval = self._history.advance(moment.at_s, moment.server, counters)
        if interval is None:
            return []
        if interval.broken:
            broken = MonitorUnavailable(interval.broken)
            return [measured(metric, unit, broken) for metric, unit in self.metrics]
        namespaces = {counter.partition(" ")[2] for counter in counters}
        self._spent_us = {namespace: self._spent_us.get(namespace, 0.0) for namespace in namespaces}
        for namespace in namespaces:
            for counter in ("readLock/time", "writeLock/time"):
                gain = _gained(interval, f"{counter} {namespace}")
                self._spent_us[namespace] += 0.0 if isinstance(gain, MonitorUnavailable) else gain
        used = [namespace for namespace in namespaces if self._spent_us[namespace] > 0]
        used.sort(key=lambda namespace: (-self._spent_us[namespace], namespace))
        return [found for namespace in used[:BUSIEST] for found in _of_collection(namespace, interval)]


def _of_collection(namespace: str, interval: Interval) -> Iterable[Measurement]:
    for metric, unit, counter, factor in _FAMILIES:
        gain = _gained(interval, f"{counter} {namespace}")
        value = gain if isinstance(gain, MonitorUnavailable) else gain / interval.seconds * factor
        yield measured(f"{metric}[{namespace}]", unit, value)


def _gained(interval: Interval, counter: str) -> float | MonitorUnavailable:
    try:
        return interval.gained(counter)
    except MonitorUnavailable as error:
        return error


def _counters_in(answer: Document) -> Iterable[tuple[str, float]]:
    totals = answer.get("totals")
    for name, by_kind in (totals if isinstance(totals, dict) else {}).items():
        database, _, collection = name.partition(".")
        if not isinstance(by_kind, dict) or database in SYSTEM_DATABASES or not collection:
            continue
        namespace = text_in(name, MAX_NAMESPACE_CHARS)
        for _, _, counter, _ in _FAMILIES:
            kind, _, value_name = counter.partition("/")
            value = by_kind.get(kind)
            number = number_in(value.get(value_name)) if isinstance(value, dict) else None
            if number is not None:
                yield f"{counter} {namespace}", number
