"""A part of the host: metrics that come from one source, and so fail together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perfload.monitors.base import Measurement, MonitorUnavailable

FAMILY_MARK = "[]"
"""Ends a metric of which there is one per core or device: `cpu_core_percent[]`."""

REMIND_EVERY_S = 60.0
"""How often it is said again that a host does not have something: at each tick it would fill the record."""

_PIECE_BYTES = 65_536


class NotHere(MonitorUnavailable):
    """Something that this host does not have, such as swap; no failure, and nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands for the value of one metric that could not be read while others of its part could."""

    reason: str


Values = Mapping[str, float | Missing]
"""Values by metric. One that needs an earlier read to compare with is left out until there is one."""


class Part(Protocol):
    """Metrics of one source."""

    @property
    def units(self) -> Mapping[str, str]:
        """Unit by metric; one per core or device is there once, as `cpu_core_percent[]`."""

    def read(self, at_s: float) -> Values:
        """Return the values of now; an exception says why there are none."""


class PartReader:
    """Reads one part, and makes measurements of whatever happens."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._told_at_s: float | None = None

    def measure(self, at_s: float) -> list[Measurement]:
        """Return a measurement per value, or one per metric that says why there is none."""
        try:
            values = self._part.read(at_s)
        except NotHere as error:
            if self._told_at_s is not None and at_s - self._told_at_s < REMIND_EVERY_S:
                return []
            self._told_at_s = at_s
            return self._unavailable(str(error))
        except MonitorUnavailable as error:
            return self._unavailable("; ".join(text for text in (error.message, error.hint) if text))
        except Exception as error:
            return self._unavailable(f"{type(error).__name__}: {error}")
        self._told_at_s = None
        return [self._measurement(metric, value) for metric, value in values.items()]

    def _measurement(self, metric: str, value: float | Missing) -> Measurement:
        family, is_labelled, _ = metric.partition("[")
        unit = self._part.units[family + FAMILY_MARK if is_labelled else family]
        if isinstance(value, Missing):
            return Measurement(metric, unit, None, value.reason)
        return Measurement(metric, unit, value)

    def _unavailable(self, reason: str) -> list[Measurement]:
        return [
            Measurement(metric, unit, None, reason)
            for metric, unit in self._part.units.items()
            if not metric.endswith(FAMILY_MARK)
        ]


def read_file(path: Path) -> str:
    """Return what a file of the kernel holds; raises `NotHere` where there is none."""
    try:
        # Not path.read_text, which takes twice the system calls: two dozen files are read at every tick.
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        raise NotHere(f"this host has no {path}") from None
    except PermissionError:
        raise MonitorUnavailable(f"may not read {path}", hint="run as a user who may") from None
    try:
        pieces = list(iter(lambda: os.read(descriptor, _PIECE_BYTES), b""))
    finally:
        os.close(descriptor)
    return b"".join(pieces).decode("ascii", "replace")


def read_fields(path: Path) -> dict[str, int]:
    """Return the first number of each line of a file like /proc/vmstat, by the name that stands before it."""
    fields = {}
    for line in read_file(path).splitlines():
        name, *numbers = line.split(None, 2)[:2] or [""]
        if numbers and numbers[0].isdigit():
            fields[name.removesuffix(":")] = int(numbers[0])
    return fields
