"""Hooks a Locust process up to perfload: options, checks, the parts that each kind of runner needs, the end.

    local runner   Node -> Run                        generates the load and keeps the record
    worker         Node -> WorkerLink ~~~> master     generates the load
    master                    MasterLink -> Run       keeps the record

Locust swallows exceptions of event listeners, so every listener here turns them into an ending of its own.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from locust import stats
from locust.exception import StopTest
from locust.runners import MasterRunner, WorkerRunner

from perfload.config import Config, load_config
from perfload.errors import ExitCode, PerfloadError, UsageError
from perfload.hosts import HostRules
from perfload.load import manifest, web
from perfload.load.cluster import BATCH, ENDING, FINAL_DEADLINE_S, MasterLink, WorkerLink
from perfload.load.guard import check_host, wait_for_target
from perfload.load.interrupts import Interrupts, install_excepthook
from perfload.load.node import Assignment, Node, Sink
from perfload.load.reporting import Reporting
from perfload.load.run import Run, new_run_id
from perfload.load.shape import NoUsersDispatcher, PhasedShape
from perfload.load.statistics import bucket_response_time
from perfload.load.users import check_users
from perfload.model import EndReason, Manifest, PhaseSpan
from perfload.options import STOP_TIMEOUT_S, add_options, config_flags
from perfload.plan import Plan
from perfload.thresholds import parse_rules

logger = logging.getLogger("perfload")

LOCAL_LEAD_S = 0.1
CLUSTER_LEAD_S = 1.0
"""Between announcing a run and its start: every worker must have heard of it."""


class Plugin:
    """Everything that perfload is in one Locust process; made once, by `install`."""

    def __init__(self) -> None:
        self.environment: Any = None
        self.config: Config
        self.node: Node | None = None
        self.run: Run | None = None
        self._interrupts = Interrupts()
        self._reporting = Reporting()
        self._master_link: MasterLink | None = None
        self._worker_link: WorkerLink | None = None
        self._ticker: gevent.Greenlet | None = None

    def listen(self, events: Any) -> None:
        """Register with Locust's events, and give its statistics the resolution of ours."""
        events.init_command_line_parser.add_listener(_add_options)
        events.init.add_listener(self._on_init)
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        events.worker_connect.add_listener(self._on_worker_connect)
        stats.bucket_response_time = bucket_response_time  # type: ignore[assignment]  # any number will do
        install_excepthook(self._abandon)

    # --- before the load

    def _on_init(self, environment: Any, runner: Any, web_ui: Any, **_: Any) -> None:
        self.environment = environment
        try:
            self._prepare(runner, web_ui)
        except PerfloadError as error:
            logger.error("%s", error)
            sys.exit(int(error.exit_code))

    def _prepare(self, runner: Any, web_ui: Any) -> None:
        environment = self.environment
        options = dict(vars(environment.parsed_options)) if environment.parsed_options else {}
        self.config = load_config(directory=Path.cwd(), environ=os.environ, flags=config_flags(options))
        environment.dispatcher_class = self._make_dispatcher
        # Called in reverse order: the runner's own listener, which says goodbye, comes after ours.
        environment.events.quitting.add_listener(self._on_quitting)
        self._interrupts.install()
        check_users(environment.user_classes)
        if isinstance(runner, WorkerRunner):
            self._worker_link = WorkerLink(environment)
            return
        if isinstance(runner, MasterRunner):
            runner.register_message(BATCH, self._on_batch)
        if not environment.host and not any(user.host for user in environment.user_classes):
            environment.host = self.config.host or None
        logging.getLogger("locust.runners").addFilter(_says_more_than_zero_users)
        self._check_shapes()
        self._check_rules()
        if options.get("headless"):
            self._check_target()
            _quieten_tables(options)
        elif environment.host:
            check_host(environment.host, self.config.host_rules)
        if web_ui is not None:
            web.guard(web_ui, self._check_start)

    def _make_dispatcher(self, worker_nodes: list[Any], user_classes: list[Any]) -> Any:
        from locust.dispatch import UsersDispatcher

        planned = isinstance(self.environment.shape_class, PhasedShape)
        return (NoUsersDispatcher if planned else UsersDispatcher)(worker_nodes, user_classes)

    def _check_shapes(self) -> None:
        """Refuse two shapes: Locust would take the first without a word."""
        shapes = self.environment.available_shape_classes or {}
        if len(shapes) > 1 and not self.environment.parsed_options.class_picker:
            raise UsageError(
                f"there are {len(shapes)} shapes: {', '.join(shapes)}", hint="name one of them with -f"
            )

    def _check_rules(self) -> None:
        """Find mistakes in the plan, and in rules that name its phases, before any load."""
        plan = self._plan()
        if plan is not None:
            names = [span.name for span in plan.spans]
            parse_rules([rule.text for rule in self.config.rules], phases=names)

    def _check_target(self, host: str | None = None) -> None:
        """Raise `UsageError` unless every host under test is allowed and answers."""
        for name in {host} if host is not None else self._hosts():
            check_host(name, self.config.host_rules)
            if not self._has_detour():
                wait_for_target(name, self.config.wait_s)

    def _has_detour(self) -> bool:
        """Say whether users reach the host another way than this process would."""
        users = self.environment.user_classes
        return any(getattr(user, "proxy", None) or getattr(user, "unix_socket", None) for user in users)

    def _check_start(self, host: str | None) -> None:
        """Raise `UsageError` unless a run may be started at `host` from the web UI."""
        runner = self.environment.runner
        if isinstance(runner, MasterRunner) and not runner.worker_count:
            raise UsageError("no worker is connected", hint="start one: locust -f ... --worker")
        self._check_target(host)

    def _hosts(self) -> set[str]:
        if self.environment.host:
            return {self.environment.host}
        return {user.host or "" for user in self.environment.user_classes}

    def _plan(self) -> Plan | None:
        shape = self.environment.shape_class
        return shape.plan(self.config.time_scale) if isinstance(shape, PhasedShape) else None

    # --- during the load

    def _on_test_start(self, **_: Any) -> None:
        try:
            if self._worker_link is not None:
                self._start_worker(self._worker_link)
            else:
                self._start_run()
        except Exception as error:
            # Locust would log it and go on: a load that nobody records.
            code = error.exit_code if isinstance(error, PerfloadError) else ExitCode.UNEXPECTED
            self.environment.process_exit_code = int(code)
            # Locust's master would take the shape for running for ever, and refuse every later start.
            self.environment.runner.shape_greenlet = self.environment.runner.shape_last_tick = None
            raise StopTest(str(error) or repr(error)) from error

    def _start_run(self) -> None:
        runner = self.environment.runner
        self._check_target()
        self._check_rules()
        self._interrupts.install()  # again: by now Locust has replaced the handler of SIGTERM
        plan = self._plan()
        is_master = isinstance(runner, MasterRunner)
        lead_s = CLUSTER_LEAD_S if is_master else LOCAL_LEAD_S
        named = type(self.environment.shape_class).__module__ if plan else self.environment.locustfile
        record = manifest.describe(
            self.environment,
            self.config,
            plan,
            run_id=new_run_id(str(named).removesuffix(".py")),
            started_at_s=time.time() + lead_s,
        )
        run = self.run = Run(record, self.config, plan)
        if plan is not None:
            self.environment.shape_class.is_over = self._is_over
        terms = self._terms(record)
        if is_master:
            self._master_link = MasterLink(runner, run, terms)
            self._master_link.begin()
        else:
            run.expect(terms.node, terms.index)
            sink = partial(run.take, terms.node)
            self.node = self._make_node(terms, plan, record.phases, sink)
            self.node.start()
        self._ticker = gevent.spawn(self._tick, run)
        logger.info("run %s has started; its record is %s", record.run_id, run.folder)

    def _terms(self, record: Manifest) -> Assignment:
        """Return the whole run as the share of one node."""
        return Assignment(
            run_id=record.run_id,
            node="local",
            index=0,
            count=1,
            started_at_s=record.started_at_s,
            seed=self.config.seed,
            time_scale=record.time_scale,
            shape=record.shape,
            allow=self.config.host_rules.allow,
        )

    def _is_over(self) -> bool:
        """Answer the shape's ticks; the first one comes before its run has started."""
        return self.run is not None and self.run.is_over()

    def _start_worker(self, link: WorkerLink) -> None:
        if link.assignment is None:
            logger.error("this worker was given no part in the run; its requests will not be recorded")
            return
        terms = link.assignment
        # What the master allows, the load on its workers may do: its command line is where people write it.
        rules = HostRules(dict.fromkeys((*self.config.host_rules.allow, *terms.allow)))
        self.config = replace(self.config, host_rules=rules, time_scale=terms.time_scale)
        self.environment.shape_class = (self.environment.available_shape_classes or {}).get(terms.shape)
        plan = self._plan()
        spans = plan.spans if plan else (manifest.whole_run(),)
        self.node = self._make_node(terms, plan, spans, link.open())
        self.node.start()

    def _make_node(
        self, terms: Assignment, plan: Plan | None, spans: tuple[PhaseSpan, ...], sink: Sink
    ) -> Node:
        freezes_objects = self.config.freeze_objects
        return Node(self.environment, terms, plan, spans, sink, freezes_objects=freezes_objects)

    def _tick(self, run: Run) -> None:
        stopping = False
        while True:
            gevent.sleep(1)
            line = run.tick()
            if line:
                logger.info("%s", line)
            if run.breach and not stopping:
                stopping = True
                logger.error("aborting the run: %s", run.breach)
                gevent.spawn(self._abort)

    def _abort(self) -> None:
        """End the load. A plan ends with its shape's next tick: two stops at once would clash in Locust."""
        if self._plan() is not None:
            return
        if self.environment.parsed_options and self.environment.parsed_options.headless:
            self.environment.runner.quit()
        else:
            self.environment.runner.stop()

    def _on_batch(self, msg: Any, **_: Any) -> None:
        if self._master_link is not None:
            self._master_link.receive(msg.node_id, msg.data)

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        if self.run is not None and self._master_link is not None:
            self._master_link.join(client_id)

    # --- after the load

    def _on_test_stopping(self, **_: Any) -> None:
        if self.run is not None:
            self.run.end_load()
        if self.node is not None:
            self.node.stop_arrivals()
        if self.run is not None and self._master_link is not None:
            self._master_link.drain(self.environment.stop_timeout)

    def _on_test_stop(self, **_: Any) -> None:
        node, self.node = self.node, None
        if node is not None:
            node.finish()
        run, self.run = self.run, None
        if run is None:
            return
        self._master_link = None
        if self._ticker is not None:
            self._ticker.kill(block=False)
        reason, note = self._end_of(run)
        run.close(reason, note)
        self._reporting.start(run.folder)

    def _end_of(self, run: Run) -> tuple[EndReason, str]:
        if self._interrupts.received:
            return "interrupted", "stopped by a signal"
        if run.breach:
            return "aborted", run.breach
        if self._plan() is None or run.finished:
            return "finished", ""
        return "stopped", "stopped before its plan had ended"

    def _on_quitting(self, environment: Any, **_: Any) -> None:
        """End a run that is still going (Ctrl-C, SIGTERM), wait for its report and take its exit code."""
        if self.run is not None or self.node is not None:
            self._interrupts.received = True
            self._stop_runner()
        deadline_s = time.monotonic() + environment.stop_timeout + FINAL_DEADLINE_S
        while self.node is not None and time.monotonic() < deadline_s:
            gevent.sleep(0.05)  # the master's order to stop is being carried out, in another greenlet
        if self._worker_link is not None:
            self._worker_link.flush(timeout_s=5.0)
        ended_s = time.monotonic()
        code = self._reporting.wait()
        if environment.parsed_options and environment.parsed_options.csv_prefix:
            # Locust writes its CSV files once a second, and not at the end: the last second would be missing.
            gevent.sleep(max(0.0, ended_s + stats.CSV_STATS_INTERVAL_SEC + 0.2 - time.monotonic()))
        if code is not None:
            environment.process_exit_code = code

    def _stop_runner(self) -> None:
        runner = self.environment.runner
        if runner.state in ENDING:
            return
        if isinstance(runner, MasterRunner):
            # The workers have been told: `MasterLink.drain`.
            runner.stop(send_stop_to_client=False)
        else:
            runner.stop()

    def _abandon(self) -> None:
        """Send the workers home when the master is interrupted before there is a run."""
        if self.environment is not None and isinstance(self.environment.runner, MasterRunner):
            self.environment.runner.quit()


def _add_options(parser: Any, **_: Any) -> None:
    add_options(parser)
    # Listeners on all interfaces, and users killed in the middle of a request, only if somebody asks for it.
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1", stop_timeout=STOP_TIMEOUT_S)


def _quieten_tables(options: dict[str, Any]) -> None:
    """Leave the terminal to perfload's own progress and verdict, unless Locust's tables were asked for."""
    if not options.get("print_stats") and not options.get("only_summary"):
        logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)


def _says_more_than_zero_users(record: logging.LogRecord) -> bool:
    """Drop Locust's notes on spawning 0 users: a plan's virtual users are not spawned by Locust."""
    message = record.getMessage()
    chatter = ("Ramping to 0 ", "Shape test updating to 0 ", "Sending spawn jobs of 0 ")
    return not message.startswith(chatter) and not message.endswith("(0 total users)")


installed: Plugin | None = None


def install(events: Any) -> Plugin:
    """Connect perfload with `events`, once per process however many files import it."""
    global installed  # noqa: PLW0603  # Locust's events are global too
    if installed is None:
        installed = Plugin()
        installed.listen(events)
    return installed
