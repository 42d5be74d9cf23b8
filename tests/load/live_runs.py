"""A run that is watched, without Locust: its clock is told the time, and what nodes deliver is made up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from perfload.histogram import Histogram
from perfload.load.live import Live
from perfload.load.node import Batch
from perfload.model import AnyWindow, ArrivalWindow, Manifest, Phase, Reading, Window
from perfload.plan import Plan
from perfload.thresholds import parse_rules

STARTED_AT_S = 1_767_225_600.0
PLAN = Plan(
    [Phase(name="Warm up", duration=10, arrival_rate=2), Phase(name="Load", duration=20, arrival_rate=4)]
)


class Watched:
    """A run as `Live` sees it."""

    def __init__(
        self, folder: Path, live: Live | None = None, *, run_id: str = "run-1", **options: Any
    ) -> None:
        self.folder = folder
        self.readings = folder / "readings.jsonl"
        self.nodes: dict[str, Any] = {"local": SimpleNamespace(is_lost=False, is_done=False)}
        self.at_s = 0.0
        self.has_ended = False
        self.clock = SimpleNamespace(now_s=lambda: self.at_s)
        self.run_id = run_id
        spans = options.get("phases", PLAN.spans)
        rules = options.get("rules", ())
        manifest = Manifest(
            run_id, STARTED_AT_S, "http://localhost", ("A", "B"), "LoadTest", spans, tuple(rules)
        )
        self.live = live or Live()
        self.live.begin(self, manifest, parse_rules(rules), options.get("plan"))
        assert self.live.run is not None
        self.run = self.live.run

    def requests(self, second: int, *ok_ms: float, failed_ms: tuple[float, ...] = (), **more: Any) -> Window:
        """Return the requests of one second, that are counted in milliseconds."""
        latency = Histogram([round(1000 * value) for value in ok_ms])
        failed = Histogram([round(1000 * value) for value in failed_ms])
        reasons = ((more.get("reason", "503"), len(failed_ms)),) if failed_ms else ()
        key = (self.run_id, more.get("node", "local"), second, more.get("phase", "Load"))
        service = Histogram([round(1000 * value) for value in more.get("service_ms", ok_ms)])
        request = (more.get("method", "GET"), more.get("name", "/models"))
        return Window(
            *key, *request, latency, service, failed, reasons=reasons, due=((second, len(ok_ms), 0),)
        )

    def arrivals(self, second: int, *lags_ms: float, phase: str = "Load", **more: Any) -> ArrivalWindow:
        """Return the virtual users that started in one second, each so late."""
        lag = Histogram([round(1000 * value) for value in lags_ms])
        return ArrivalWindow(
            self.run_id, more.get("node", "local"), second, phase, lag, more.get("dropped", 0)
        )

    def deliver(self, *windows: AnyWindow, readings: tuple[Reading, ...] = ()) -> None:
        self.live.take(Batch(list(windows), list(readings), idle=False))

    def health(self, second: float, node: str = "local", **values: float) -> tuple[Reading, ...]:
        """Return what a node says of itself."""
        at_s = STARTED_AT_S + second
        return tuple(Reading(at_s, node, "generator", metric, "", value) for metric, value in values.items())
