"""The thread in which one monitor lives: whatever its source does, only this thread waits for it."""

from __future__ import annotations

import contextlib
import math
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perfload.model import Observation, Reading
from perfload.monitors.base import (
    Finding,
    FinishingMonitor,
    Found,
    Measurement,
    Monitor,
    MonitorFactory,
    MonitorUnavailable,
)
from perfload.observations import encode_observation
from perfload.readings import MAX_TEXT_CHARS, check_reading

EVERY_METRIC = "*"
"""The metric of a reading that says why a whole monitor has no values."""

Entry = Reading | Observation
"""One line of a run record that comes from a monitor."""

_CREDENTIALS = re.compile(r"://[^/\s@]*@")


@dataclass(frozen=True, slots=True)
class Answer:
    """How one read of the monitor `name` ended: what it brought, and the reason if it failed as a whole."""

    name: str
    entries: Sequence[Entry]
    failure: str = ""
    is_last: bool = False
    """True for what a monitor had to say at its end."""


class MonitorReader:
    """Opens, reads and closes one monitor, all in one thread, and makes a new one after a failure.

    `answer` is called from that thread, once for every `ask` and once for `close`; it must not block.
    """

    def __init__(
        self,
        name: str,
        factory: MonitorFactory,
        *,
        node: str,
        environment: Mapping[str, str],
        answer: Callable[[Answer], None],
    ) -> None:
        self._name = name
        self._factory = factory
        self._node = node
        self._environment = environment
        self._answer = answer
        self._monitor: Monitor | None = None
        self._end_s = 0.0
        self._requests: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"monitor {name}", daemon=True)
        self._thread.start()

    def ask(self, at_s: float) -> None:
        """Start one read, stamped `at_s`. The caller waits for the answer before it asks again."""
        self._requests.put(at_s)

    @property
    def has_to_finish(self) -> bool:
        """Whether its monitor has something to do at the end."""
        monitor: object = self._monitor
        return isinstance(monitor, FinishingMonitor)

    def close(self, at_s: float) -> None:
        """Let the thread finish and close the monitor and end, once it is free; returns at once."""
        self._end_s = at_s
        self._requests.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end after `close`, at most `timeout_s`."""
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while (at_s := self._requests.get()) is not None:
            self._answer(self._attempt(at_s))
        self._answer(self._finish(self._end_s))
        self._close_monitor()

    def _finish(self, at_s: float) -> Answer:
        monitor: object = self._monitor
        if not isinstance(monitor, FinishingMonitor):
            return Answer(self._name, [], is_last=True)
        try:
            return Answer(self._name, self._entries(at_s, monitor.finish(at_s)), is_last=True)
        except BaseException as error:
            unread = unavailable_reading(at_s, self._node, self._name, f"at its end: {reason_of(error)}")
            return Answer(self._name, [unread], is_last=True)

    def _attempt(self, at_s: float) -> Answer:
        try:
            if self._monitor is None:
                self._monitor = self._factory(self._environment)
                self._monitor.open()
            entries = self._entries(at_s, self._monitor.read(at_s))
            # A first read may have nothing yet where all values are rates; none at all is still to be told.
            nothing = unavailable_reading(at_s, self._node, self._name, "no values in this read")
            return Answer(self._name, entries or [nothing])
        # A client that calls sys.exit would end this thread unseen, and look like one that hangs.
        except BaseException as error:
            reason = reason_of(error)
            self._close_monitor()
            return Answer(self._name, [unavailable_reading(at_s, self._node, self._name, reason)], reason)

    def _entries(self, at_s: float, found: Found) -> list[Entry]:
        return [
            reading_of(item, at_s=at_s, node=self._node, source=self._name)
            if isinstance(item, Measurement)
            else observation_of(item, at_s=at_s, node=self._node, source=self._name)
            for item in found
        ]

    def _close_monitor(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            with contextlib.suppress(BaseException):
                monitor.close()


def reading_of(measurement: Measurement, *, at_s: float, node: str, source: str) -> Reading:
    """Return what `measurement` says as a reading; raises `ValueError` for one that could not be written."""
    value, reason = measurement.value, measurement.unavailable
    if value is not None and not math.isfinite(value):
        value, reason = None, f"the source says {value}"
    reading = Reading(
        at_s=_to_milliseconds(at_s if measurement.at_s is None else measurement.at_s),
        node=measurement.node or node,
        source=measurement.source or source,
        metric=measurement.metric,
        unit=measurement.unit,
        value=value,
        unavailable=_one_line(reason),
    )
    check_reading(reading)
    return reading


def observation_of(finding: Finding, *, at_s: float, node: str, source: str) -> Observation:
    """Return `finding` as an observation; raises `ValueError` for one that could not be written."""
    observation = Observation(
        at_s=_to_milliseconds(at_s if finding.at_s is None else finding.at_s),
        node=finding.node or node,
        source=finding.source or source,
        kind=finding.kind,
        data=finding.data,
    )
    encode_observation(observation)
    return observation


def unavailable_reading(at_s: float, node: str, source: str, reason: str) -> Reading:
    """Return the reading that says why the whole of `source` has no values at `at_s`."""
    return Reading(_to_milliseconds(at_s), node, source, EVERY_METRIC, "", None, reason)


def reason_of(error: BaseException) -> str:
    """Return `error` in one line fit for a report: cut to length, without the credentials in addresses."""
    if isinstance(error, MonitorUnavailable):
        parts = (error.message, error.hint)
        return _one_line("; ".join(part for part in parts if part)) or type(error).__name__
    return _one_line(f"{type(error).__name__}: {error}".removesuffix(": "))


def _one_line(text: str) -> str:
    readable = text.encode("utf-8", "replace").decode("utf-8")
    line = _CREDENTIALS.sub("://***@", " ".join(readable.split()))
    return line if len(line) <= MAX_TEXT_CHARS else f"{line[: MAX_TEXT_CHARS - 1]}…"


def _to_milliseconds(at_s: float) -> float:
    # More digits than a thread's wake-up deserves; they would double the file.
    return round(at_s, 3)
