"""The commands that keep the server busiest, from INFO's commandstats and latencystats."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator

from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.redis.info import Fields, Interval, label, number, parts

MAX_COMMANDS = 10
MAX_COUNTED = 1000
"""Redis has some 400 commands; a server that names ever new ones is not remembered."""
MAX_PERCENTILES = 4

_STATISTICS = "cmdstat_"
_PERCENTILES = "latency_percentiles_usec_"
_PERCENTILE = re.compile(r"p\d{1,2}(?:\.\d{1,3})?")


class BusiestCommands:
    """Calls and mean time of the commands that took most of the server's time since this was made.

    Of the whole time and not of the last interval, so that the choice settles and the series have no gaps.
    """

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._spent_us: Counter[str] = Counter()
        self._latest: Fields = {}

    def measure(self, interval: Interval) -> Iterator[Measurement]:
        """Yield calls, mean and, where the server keeps it, the 99th percentile of the busiest commands."""
        self._latest = interval.now
        gained: dict[str, tuple[float, float]] = {}
        for line in interval.now:
            if line.startswith(_STATISTICS):
                with contextlib.suppress(MonitorUnavailable):
                    gained[line] = interval.gained(line, "calls"), interval.gained(line, "usec")
        for line, (calls, spent_us) in gained.items():
            if line in self._calls or len(self._calls) < MAX_COUNTED:
                self._calls[line] += round(calls)
                self._spent_us[line] += round(spent_us)
        for line in self._busiest():
            # Of no calls there is no mean; that is neither a 0 nor a failure to read one.
            calls, spent_us = gained.get(line, (0, 0))
            shown = label(line.removeprefix(_STATISTICS))
            if line in gained:
                yield Measurement(f"command_calls_per_s[{shown}]", "calls/s", calls / interval.seconds)
            if calls:
                yield Measurement(f"command_mean_us[{shown}]", "us", spent_us / calls)
            if calls and "p99" in (percentiles := self._percentiles_us(line)):
                yield Measurement(f"command_p99_since_start_us[{shown}]", "us", percentiles["p99"])

    def findings(self) -> list[Finding]:
        """Return the busiest commands over the whole time, with all percentiles that the server keeps."""
        return [
            Finding(
                "command",
                {
                    "command": label(line.removeprefix(_STATISTICS)),
                    "calls": self._calls[line],
                    "mean_us": self._spent_us[line] / self._calls[line],
                    "since_start_us": self._percentiles_us(line),
                },
            )
            for line in self._busiest()
        ]

    def _busiest(self) -> list[str]:
        called = [line for line, calls in self._calls.items() if calls]
        return sorted(called, key=lambda line: (-self._spent_us[line], line))[:MAX_COMMANDS]

    def _percentiles_us(self, line: str) -> dict[str, float]:
        held = parts(self._latest.get(_PERCENTILES + line.removeprefix(_STATISTICS), ""))
        known = [name for name in held if _PERCENTILE.fullmatch(name)][:MAX_PERCENTILES]
        percentiles: dict[str, float] = {}
        for name in known:
            with contextlib.suppress(MonitorUnavailable):
                percentiles[name] = number(held, name)
        return percentiles
