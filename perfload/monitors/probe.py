"""Whether monitors work here: each is opened and read twice, all at the same time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perfload.model import Reading
from perfload.monitors import find_monitor
from perfload.monitors.reader import EVERY_METRIC, Answer, MonitorReader

PAUSE_S = 1.0
"""Between the two reads, for rates."""

PATIENCE_S = 4.0
"""For each of the two answers of them all."""

CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What one monitor said the second time, or why it did not."""

    values: int
    unavailable: Mapping[str, str]
    """Reason by metric, for those without a value."""
    reason: str = ""
    """Why there is nothing at all; empty for a monitor that works."""


def probe(
    names: Sequence[str],
    *,
    environment: Mapping[str, str],
    clock: Callable[[], float],
    pause_s: float = PAUSE_S,
    patience_s: float = PATIENCE_S,
) -> dict[str, Probe]:
    """Return what became of each monitor; raises `UsageError` for a name that there is not."""
    inbox: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    readers = {
        name: MonitorReader(name, find_monitor(name), node="here", environment=environment, answer=inbox.put)
        for name in names
    }
    first = _ask(readers, inbox, clock, patience_s)
    worked = {name: readers[name] for name, answer in first.items() if not answer.failure}
    if worked:
        threading.Event().wait(pause_s)
    answers = first | _ask(worked, inbox, clock, patience_s)
    missed = Probe(0, {}, f"no answer within {patience_s:g} s")
    # One that was too late the second time has said something the first.
    found = {name: _probe_of(answers[name]) if name in answers else missed for name in names}
    for reader in readers.values():
        reader.close(clock())
    for name in worked:
        readers[name].join(CLOSE_S)
    return found


def _ask(
    readers: Mapping[str, MonitorReader],
    inbox: queue.SimpleQueue[Answer],
    clock: Callable[[], float],
    patience_s: float,
) -> dict[str, Answer]:
    """Ask all at once and return the answers that came in time."""
    asked_s = clock()
    for reader in readers.values():
        reader.ask(asked_s)
    answers: dict[str, Answer] = {}
    while len(answers) < len(readers):
        try:
            answer = inbox.get(timeout=max(0.0, asked_s + patience_s - clock()))
        except queue.Empty:
            break
        answers[answer.name] = answer
    return answers


def _probe_of(answer: Answer) -> Probe:
    readings = [entry for entry in answer.entries if isinstance(entry, Reading)]
    whole = [reading.unavailable for reading in readings if reading.metric == EVERY_METRIC]
    values = sum(reading.value is not None for reading in readings)
    unavailable = {
        reading.metric: reading.unavailable
        for reading in readings
        if reading.value is None and reading.metric != EVERY_METRIC
    }
    reason = answer.failure or next(iter(whole), "")
    if not values and not reason:
        reason = next(iter(unavailable.values()), "")
    return Probe(values, unavailable, reason)
