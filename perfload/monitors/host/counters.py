"""Counters that only ever rise, and what they gained between two reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perfload.monitors.base import MonitorUnavailable


@dataclass(frozen=True, slots=True)
class Gained:
    """What the counters of each device gained, in the order in which they were given."""

    elapsed_s: float
    by_device: Mapping[str, tuple[float, ...]]

    def rates(self) -> tuple[float, ...]:
        """Return each counter's gain per second, added up over the devices."""
        columns = zip(*self.by_device.values(), strict=True)
        return tuple(sum(column) / self.elapsed_s for column in columns)


class Counters:
    """The counters of one source, by device; a source without devices has one."""

    def __init__(self) -> None:
        self._before: tuple[float, Mapping[str, Sequence[float]]] | None = None

    def gained(self, at_s: float, counters: Mapping[str, Sequence[float]]) -> Gained | None:
        """Return what was gained since the read before by devices seen at both; None at the first read.

        Raises `MonitorUnavailable` when that cannot be known: a counter ran backwards, no device is left.
        """
        before, self._before = self._before, (at_s, counters)
        if before is None:
            return None
        before_s, before_counters = before
        if at_s <= before_s:
            raise MonitorUnavailable("no time passed between two reads")
        by_device = {}
        for device in sorted(counters.keys() & before_counters.keys()):
            pairs = zip(counters[device], before_counters[device], strict=True)
            by_device[device] = tuple(new - old for new, old in pairs)
            if min(by_device[device]) < 0:
                raise MonitorUnavailable(f"the counters of {device} were reset")
        if not by_device:
            raise MonitorUnavailable("every device was replaced between two reads")
        return Gained(at_s - before_s, by_device)
