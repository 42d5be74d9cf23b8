"""What the server's latency monitor saw since the read before: forks, expiry cycles, slow disks."""

from __future__ import annotations

from typing import Any

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.redis.info import Fields, label

METRIC = ("latency_events", "events")
THRESHOLD = "latency-monitor-threshold"

MAX_EVENTS = 50
"""Redis has some twenty kinds of them."""
MAX_FOUND = 500
_LATEST_TIME_S = 4_102_444_800


class LatencyEvents:
    """Follows LATENCY LATEST, which has the last event of each kind."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] | None = None
        self._found = 0

    def look(self, answer: Any, settings: Fields | MonitorUnavailable) -> Found:
        """Return how many kinds of event came anew, and the last one of each.

        `settings` has the latency monitor's threshold: without it, no event may mean that nobody looks.
        """
        try:
            latest = _parse(answer)
            new = self._new(latest)
            if not latest:
                _check_that_it_is_on(settings)
        except MonitorUnavailable as error:
            return [Measurement(*METRIC, None, error.message)]
        if new is None:
            return []
        shown = new[: MAX_FOUND - self._found]
        self._found += len(shown)
        return [Measurement(*METRIC, float(len(new))), *shown]

    def _new(self, latest: dict[str, tuple[int, int, int]]) -> list[Finding] | None:
        before, self._before = self._before, {name: held[:2] for name, held in latest.items()}
        if before is None:
            return None
        return [
            Finding(
                "latency_event",
                {"event": name, "latest_ms": latest_ms, "longest_ms": longest_ms},
                at_s=float(at_s),
            )
            for name, (at_s, latest_ms, longest_ms) in sorted(latest.items())
            if before.get(name) != (at_s, latest_ms)
        ]


def _parse(answer: Any) -> dict[str, tuple[int, int, int]]:
    """Return (time, milliseconds, longest ever) by the name of the event."""
    if isinstance(answer, MonitorUnavailable):
        raise answer
    latest = {}
    try:
        for name, *numbers in answer[:MAX_EVENTS]:
            at_s, latest_ms, longest_ms = (int(value) for value in numbers[:3])
            if not 0 <= at_s <= _LATEST_TIME_S:
                raise ValueError
            latest[label(name.decode("utf-8", "replace"))] = at_s, latest_ms, longest_ms
    except (AttributeError, TypeError, ValueError):
        raise MonitorUnavailable("LATENCY LATEST is answered in an unknown form") from None
    return latest


def _check_that_it_is_on(settings: Fields | MonitorUnavailable) -> None:
    if isinstance(settings, MonitorUnavailable):
        raise MonitorUnavailable(f"it cannot be told whether the latency monitor is on: {settings.message}")
    if settings.get(THRESHOLD) == "0":
        raise MonitorUnavailable(f"the latency monitor is off: CONFIG SET {THRESHOLD} 100")
