"""The process that keeps a run's record: the only one of a local run, or the master of a cluster."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

import gevent

from perfload.config import Config
from perfload.errors import UsageError
from perfload.load import manifest
from perfload.load.cluster.master import MasterLink
from perfload.load.interrupts import Interrupts
from perfload.load.live import Live
from perfload.load.node import Assignment, Node
from perfload.load.preflight import Preflight
from perfload.load.reporting import Reporting
from perfload.load.run import Run, new_run_id
from perfload.load.shape import digest
from perfload.model import EndReason, Manifest
from perfload.plan import Plan
from perfload.shares import evenly

logger = logging.getLogger("perfload")

LOCAL_LEAD_S = 0.1
CLUSTER_LEAD_S = 1.0
"""Between announcing a run and its start: every worker must have heard of it."""


class Keeper:
    """Starts runs, looks after the one under way, and closes it; with a link, over workers."""

    def __init__(
        self,
        environment: Any,
        config: Config,
        preflight: Preflight,
        interrupts: Interrupts,
        link: MasterLink | None = None,
        *,
        live: Live | None = None,
    ) -> None:
        self._environment = environment
        self._config = config
        self._preflight = preflight
        self._interrupts = interrupts
        self._link = link
        self._live = live
        """Whoever wants to know how a run goes looks here; None where nobody does."""
        self._reporting = Reporting()
        self._ticker: gevent.Greenlet | None = None
        self._has_said_why = False
        self.run: Run | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self.run is not None

    def check_start(self, host: str | None) -> None:
        """Refuse a start from the web UI, at `host`, that would come to nothing."""
        if self.run is not None and self.run.has_ended:
            raise UsageError("the last run is still being stopped", hint="wait for its report")
        self._preflight.check_start(host)

    def begin(self) -> Node | None:
        """Start a run: its record and its workers, or the node, which is returned, if there are none."""
        self._preflight.check_target()
        self._preflight.check_rules()
        self._interrupts.install()  # again: by now Locust has replaced the handler of SIGTERM
        plan = self._preflight.plan()
        record = self._describe(plan)
        run = self.run = Run(record, self._config, plan)
        self._has_said_why = False
        if self._live is not None:
            self._live.begin(run, record, self._config.rules, plan)
            run.watch = self._live.take
        if plan is not None:
            self._environment.shape_class.is_over = self._is_over
        node = self._spread(run, self._terms(run, record, plan), record, plan)
        self._ticker = gevent.spawn(self._tick, run)
        logger.info("run %s has started; its record is %s", record.run_id, run.folder)
        return node

    def _describe(self, plan: Plan | None) -> Manifest:
        lead_s = LOCAL_LEAD_S if self._link is None else CLUSTER_LEAD_S
        named = type(self._environment.shape_class).__module__ if plan else self._environment.locustfile
        return manifest.describe(
            self._environment,
            self._config,
            plan,
            run_id=new_run_id(str(named).removesuffix(".py")),
            started_at_s=time.time() + lead_s,
        )

    def _spread(self, run: Run, terms: Assignment, record: Manifest, plan: Plan | None) -> Node | None:
        """Hand the run out to the workers, or return the one node that makes all of its load."""
        if self._link is not None:
            self._link.begin(run, terms, plan)
            return None
        run.expect(terms.node, terms.index)
        return Node(
            self._environment,
            terms,
            plan,
            record.phases,
            partial(run.take, terms.node),
            clock=run.clock,
            freezes_objects=self._config.freeze_objects,
        )

    def _terms(self, run: Run, record: Manifest, plan: Plan | None) -> Assignment:
        """Return the whole run as the share of one node."""
        return Assignment(
            run_id=record.run_id,
            node="local",
            index=0,
            count=1,
            started_at_s=record.started_at_s,
            zero_s=run.clock.zero_s,
            seed=self._config.seed,
            eras=(evenly((0,), 0.0),),
            time_scale=record.time_scale,
            shape=record.shape,
            phases=digest(plan),
            allow=self._config.host_rules.allow,
        )

    def _is_over(self) -> bool:
        """Answer the shape's ticks; the first one comes before its run has started."""
        return self.run is not None and self.run.is_over()

    def _tick(self, run: Run) -> None:
        stopping = False
        while True:
            gevent.sleep(1)
            line = run.tick()
            if line:
                logger.info("%s", line)
            if run.breach and not stopping:
                stopping = True
                self._say_why(run)
                gevent.spawn(self._abort, run)

    def _say_why(self, run: Run) -> None:
        """Say once why `run` is aborted: a plan may end at its shape's tick, before ours comes."""
        if run.breach and not self._has_said_why:
            self._has_said_why = True
            logger.error("aborting the run: %s", run.breach)

    def abort(self, reason: str) -> bool:
        """Have the run under way end, within a second; return whether there is one."""
        if self.run is None:
            return False
        self.run.breach = self.run.breach or reason
        return True

    def _abort(self, run: Run) -> None:
        """End the load. A plan ends with its shape's next tick: two stops at once would clash in Locust."""
        if run.has_plan:
            return
        if self._environment.parsed_options and self._environment.parsed_options.headless:
            self._environment.runner.quit()
        else:
            self._environment.runner.stop()

    def stopping(self) -> None:
        """End the load: have the workers hand over what they have."""
        if self.run is None:
            return
        self.run.end_load()
        if self._link is not None:
            self._link.drain(self._environment.stop_timeout)

    def stopped(self) -> None:
        """Close the record of the run and begin its report."""
        if self.run is not None:
            try:
                self._close(self.run)
            finally:
                self.run = None

    def _close(self, run: Run) -> None:
        if self._ticker is not None:
            self._ticker.kill(block=False)
        if self._link is not None:
            self._link.end()
        reason, note = self._end_of(run)
        if reason == "aborted":
            self._say_why(run)
        run.close(reason, note)
        if self._live is not None:
            self._live.end(run.node_records())
        self._reporting.start(run.folder)

    def _end_of(self, run: Run) -> tuple[EndReason, str]:
        if self._interrupts.received:
            return "interrupted", "stopped by a signal"
        if run.breach:
            return "aborted", run.breach
        if run.finished or not run.has_plan:
            return "finished", ""
        return "stopped", "stopped before its plan had ended"

    def finish(self) -> int | None:
        """Wait for the reports; return the exit code of the last run."""
        return self._reporting.wait()
