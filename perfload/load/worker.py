"""A worker's part in runs: it makes its share of the load and sends what it measures to the master."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from perfload.config import Config
from perfload.hosts import HostRules
from perfload.load import manifest
from perfload.load.ai import spending
from perfload.load.cluster.worker import WorkerLink
from perfload.load.node import Node
from perfload.load.preflight import Preflight
from perfload.load.shape import digest

logger = logging.getLogger("perfload")


class Worker:
    """Makes a node for every run that the master assigns."""

    def __init__(self, environment: Any, config: Config) -> None:
        self.config = config
        """With the hosts that the master allows: its command line is where people write them."""
        self._environment = environment
        self._link = WorkerLink(environment)
        self._link.compare_clocks()

    @property
    def is_busy(self) -> bool:
        """A worker's own run is its node; it keeps no record."""
        return False

    def begin(self) -> Node | None:
        """Return the node for the run that has been assigned; None if none has."""
        terms = self._link.assignment
        if terms is None:
            logger.error("this worker was given no part in the run; its requests will not be recorded")
            return None
        rules = HostRules(dict.fromkeys((*self.config.host_rules.allow, *terms.allow)))
        self.config = replace(self.config, host_rules=rules)
        self._environment.shape_class = (self._environment.available_shape_classes or {}).get(terms.shape)
        plan = Preflight(self._environment, self.config).plan(terms.time_scale)
        if digest(plan) != terms.phases:
            self._link.decline(f"the shape {terms.shape} there is not the master's")
            logger.error(
                "the shape %s here is not the master's: install the same file on every worker", terms.shape
            )
            return None
        node = Node(
            self._environment,
            terms,
            plan,
            plan.spans if plan else (manifest.whole_run(),),
            self._link.open(),
            clock=self._link.clock(terms),
            freezes_objects=self.config.freeze_objects,
            lend=self._link.lend,
        )
        self._link.attend(node, spending.share(terms.run_id, self._environment.runner.user_classes))
        return node

    def stopping(self) -> None:
        """Say so: a master that has not asked for it has the others take over."""
        self._link.say_goodbye()

    def stopped(self) -> None:
        """Nothing: the node's final batch is on its way."""

    def finish(self) -> int | None:
        """Wait until the master has everything."""
        self._link.flush()
        return None
