"""Pressure stall information of Linux: the time in which work had to wait for a resource."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.host.counters import Counters
from perfload.monitors.host.parts import Values, read_file

_TOTAL = re.compile(r"^(some|full) .*total=(\d+)$", re.MULTILINE)
"""Microseconds since boot."""


def stalled_us(path: Path) -> Mapping[str, int]:
    """Return the stall times so far in one of the kernel's pressure files: `some`, and `full` if it is there.

    Raises `MonitorUnavailable` where the kernel was started without them (`psi=1` switches them on).
    """
    try:
        text = read_file(path)
    except OSError as error:
        raise MonitorUnavailable(f"{path}: {error.strerror}", hint="start the kernel with psi=1") from error
    return {kind: int(total) for kind, total in _TOTAL.findall(text)}


class Pressure:
    """Share of the time in which some work (`some`) or all of it (`full`) waited for a resource.

    From the totals and not from the kernel's own averages, which trail behind by ten seconds and more.
    """

    def __init__(self, proc: Path, resource: str) -> None:
        self._path = proc / "pressure" / resource
        # The kernel's `full` of the processors is always 0: somebody runs.
        kinds = ("some",) if resource == "cpu" else ("some", "full")
        self._metrics = {kind: f"{resource}_pressure_{kind}_percent" for kind in kinds}
        self._counters = Counters()
        self.units = MappingProxyType(dict.fromkeys(self._metrics.values(), "%"))

    def read(self, at_s: float) -> Values:
        """Return shares of the time since the read before."""
        stalled = stalled_us(self._path)
        gained = self._counters.gained(at_s, {"pressure": [stalled[kind] for kind in self._metrics]})
        if gained is None:
            return {}
        # The kernel's total and the tick are not of quite the same moment.
        shares = [min(100.0, 100 * rate / 1e6) for rate in gained.rates()]
        return dict(zip(self._metrics.values(), shares, strict=True))
