"""One run as the process sees it that keeps its record: the local runner, or the master of a cluster."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perfload.analysis.measures import LiveMeasures
from perfload.analysis.tally import counted_phases
from perfload.config import Config
from perfload.errors import RecordError
from perfload.load.clock import RunClock
from perfload.load.node import Batch
from perfload.load.progress import Progress
from perfload.model import EndReason, Manifest, NodeRecord
from perfload.monitors.process import SamplerProcess
from perfload.plan import Plan
from perfload.store import READINGS, RunWriter
from perfload.thresholds import breaches_now

logger = logging.getLogger("perfload")

PROGRESS_S = 2.0


@dataclass(slots=True)
class NodeState:
    """What has arrived from one node."""

    index: int
    last_second: int = -1
    idle: bool = False
    complete: bool = False
    has_left: bool = False
    """Its last results came, but before the load had ended: its share was not offered from then on."""
    note: str = ""


class Run:
    """Keeps the record of one run: takes what nodes deliver, watches abort rules, knows when it is over."""

    def __init__(self, manifest: Manifest, config: Config, plan: Plan | None) -> None:
        """Make the record's folder and start the monitors; raises `RecordError` if it cannot be written."""
        self.clock = RunClock(manifest.started_at_s)
        self.nodes: dict[str, NodeState] = {}
        self.finished = False
        """True once the plan has been carried out."""
        self.breach = ""
        """Why an abort rule ended the run, in words."""
        self._load_ended_at_s: float | None = None
        self._plan = plan
        self._drain_s = config.drain_s
        self._rules = [rule for rule in config.rules if rule.abort]
        self._live = LiveMeasures(self._rules, counted_phases(manifest))
        self._writer = RunWriter(config.reports_dir / manifest.run_id, manifest)
        self._progress = Progress(manifest.phases)
        self._next_line_s = PROGRESS_S
        self._problem = ""
        self._sampler = self._start_sampler(config)

    @property
    def folder(self) -> Path:
        """Where the record is."""
        return self._writer.folder

    def _start_sampler(self, config: Config) -> SamplerProcess | None:
        if not config.monitor_host:
            return None
        return SamplerProcess.start(
            self.folder / READINGS, node="generator-host", interval_s=config.monitor_interval_s
        )

    def expect(self, node: str, index: int) -> None:
        """Name a node whose results this run waits for."""
        self.nodes[node] = NodeState(index)

    def take(self, node: str, batch: Batch) -> None:
        """Add what `node` delivers; nodes that nobody expected are counted too, and named in the record."""
        state = self.nodes.setdefault(node, NodeState(index=len(self.nodes), note="joined during the run"))
        state.idle = batch.idle
        state.complete = batch.final
        if batch.final and self._load_ended_at_s is None:
            state.has_left = True
            state.note = "left during the run"
        state.last_second = max([state.last_second, *(window.second for window in batch.windows)])
        self._live.add(batch.windows)
        self._progress.add(batch.windows, batch.readings)
        self._report_problem(self._writer.append(batch.windows, batch.readings))

    def _report_problem(self, problem: str) -> None:
        if problem and problem != self._problem:
            logger.error("the record cannot be written, it will be tried again every second: %s", problem)
        self._problem = problem

    def tick(self) -> str:
        """Look after the run; called once a second. Return the line to show, or ""."""
        now_s = self.clock.now_s()
        if not self.breach:
            reasons = (breaches_now(rule, self._live, int(now_s)) for rule in self._rules)
            self.breach = next(filter(None, reasons), "")
        if now_s < self._next_line_s:
            return ""
        self._next_line_s = now_s + PROGRESS_S - 0.5
        return self._progress.line(now_s)

    def is_over(self) -> bool:
        """Say whether the plan is done and every arrival has left, or had the time to (`run.drain`)."""
        if self.breach:
            return True
        if self._plan is None:
            return False
        after_s = self.clock.now_s() - self._plan.duration_s
        waiting = [state for state in self.nodes.values() if not (state.idle or state.complete)]
        self.finished = after_s >= 0 and (not waiting or after_s >= self._drain_s)
        return self.finished

    @property
    def is_complete(self) -> bool:
        """Whether every node has delivered its last results."""
        return all(state.complete for state in self.nodes.values())

    def end_load(self) -> None:
        """Note that the load ends now; users may take a while to stop, and their time is not the load's."""
        if self._load_ended_at_s is None:
            self._load_ended_at_s = time.time()

    def close(self, reason: EndReason, note: str = "") -> None:
        """Stop the monitors and complete the record. A disk that is still full is reported, not raised."""
        self.end_load()
        ended_at_s = self._load_ended_at_s or time.time()
        if self._sampler is not None:
            self._sampler.stop()
        try:
            self._writer.close(reason, ended_at_s=ended_at_s, nodes=self._node_records(), note=note)
        except RecordError as error:
            logger.error("%s", error)

    def _node_records(self) -> Sequence[NodeRecord]:
        return [
            NodeRecord(
                name, state.index, state.complete and not state.has_left, state.last_second, state.note
            )
            for name, state in self.nodes.items()
        ]


def new_run_id(name: str) -> str:
    """Return an id that sorts by time, names what is run and is unique: `20261120-104500-load_test-5f3a`."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    word = "".join(character if character.isalnum() else "_" for character in name)[:40]
    return f"{stamp}-{word or 'run'}-{secrets.token_hex(2)}"
