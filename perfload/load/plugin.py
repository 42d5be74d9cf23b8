"""Hooks a Locust process up to perfload: options, checks, the part that it plays in runs, the end.

    local runner   Node -> Run                        Keeper   generates the load and keeps the record
    worker         Node -> WorkerLink ~~~> master     Worker   generates the load
    master                    MasterLink -> Run       Keeper   keeps the record

Locust swallows exceptions of event listeners, so every listener here turns them into an ending of its own.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from locust import stats
from locust.exception import StopTest
from locust.runners import MasterRunner, WorkerRunner

from perfload.config import Config, load_config
from perfload.errors import ExitCode, PerfloadError
from perfload.load import web, web_tab
from perfload.load.cluster import rpc
from perfload.load.cluster.master import FINAL_DEADLINE_S, MasterLink
from perfload.load.cluster.worker import ENDING
from perfload.load.exposition import Exposition
from perfload.load.interrupts import Interrupts, install_excepthook
from perfload.load.keeper import Keeper
from perfload.load.live import Live
from perfload.load.node import Node
from perfload.load.preflight import Preflight
from perfload.load.shape import NoUsersDispatcher, PhasedShape
from perfload.load.statistics import bucket_response_time, keep_no_copies
from perfload.load.users import check_users
from perfload.load.worker import Worker
from perfload.options import STOP_TIMEOUT_S, add_options, config_flags

logger = logging.getLogger("perfload")


class Plugin:
    """Everything that perfload is in one Locust process; made once, by `install`."""

    def __init__(self) -> None:
        self.environment: Any = None
        self.node: Node | None = None
        """What makes load in this process, while a run is under way."""
        self._config: Config | None = None
        self._part: Keeper | Worker | None = None
        self._link: MasterLink | None = None
        self._exposition: Exposition | None = None
        self._ending: gevent.Greenlet | None = None
        self._interrupts = Interrupts()

    @property
    def config(self) -> Config:
        """The configuration; that of a worker grows with what its master allows."""
        if isinstance(self._part, Worker):
            return self._part.config
        assert self._config is not None
        return self._config

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
        config = load_config(directory=Path.cwd(), environ=os.environ, flags=config_flags(options))
        self._config = config
        environment.dispatcher_class = self._make_dispatcher
        # Called in reverse order: the runner's own listener, which says goodbye, comes after ours.
        environment.events.quitting.add_listener(self._on_quitting)
        self._interrupts.install()
        check_users(environment.user_classes)
        if isinstance(runner, WorkerRunner):
            self._part = Worker(environment, config)
            rpc.ready.set()
            return
        if not environment.host and not any(user.host for user in environment.user_classes):
            environment.host = config.host or None
        logging.getLogger("locust.runners").addFilter(_says_more_than_zero_users)
        preflight = Preflight(environment, config)
        preflight.check_shapes()
        preflight.check_rules()
        preflight.check_monitors()
        if options.get("headless"):
            preflight.check_target()
            _quieten_tables(options)
        else:
            preflight.check_host()
        self._link = None
        if isinstance(runner, MasterRunner):
            self._link = MasterLink(runner)
            keep_no_copies(environment)
        if isinstance(environment.shape_class, PhasedShape):
            # Or Locust's master hears nobody for a second whenever a worker comes: it waits for "0 users".
            os.environ.setdefault("LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP", "0")
        live = Live() if web_ui is not None or config.prometheus_port else None
        self._part = Keeper(environment, config, preflight, self._interrupts, self._link, live=live)
        if live is not None and config.prometheus_port:
            self._exposition = Exposition(
                live, bind=config.prometheus_bind, port=config.prometheus_port, workers=self._workers
            )
        if live is not None and web_ui is not None:
            web.guard(web_ui, self._part.check_start)
            web_tab.show(web_ui, live)

    def _workers(self) -> int | None:
        """Return how many workers are connected; None without a cluster."""
        runner = self.environment.runner
        return runner.worker_count if isinstance(runner, MasterRunner) else None

    def _make_dispatcher(self, worker_nodes: list[Any], user_classes: list[Any]) -> Any:
        from locust.dispatch import UsersDispatcher

        planned = isinstance(self.environment.shape_class, PhasedShape)
        return (NoUsersDispatcher if planned else UsersDispatcher)(worker_nodes, user_classes)

    # --- during the load

    def _on_test_start(self, **_: Any) -> None:
        if self._part is None:
            return
        try:
            self.node = self._part.begin()
            if self.node is not None:
                self.node.start()
        except Exception as error:
            # Locust would log it and go on: a load that nobody records.
            code = error.exit_code if isinstance(error, PerfloadError) else ExitCode.UNEXPECTED
            self.environment.process_exit_code = int(code)
            # Locust's master would take the shape for running for ever, and refuse every later start.
            self.environment.runner.shape_greenlet = self.environment.runner.shape_last_tick = None
            raise StopTest(str(error) or repr(error)) from error

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        if self._link is not None:
            self._link.join(client_id)

    def abort(self, reason: str) -> bool:
        """End the run under way for `reason`; return whether this process keeps it, and so can."""
        return isinstance(self._part, Keeper) and self._part.abort(reason)

    # --- after the load

    def _on_test_stopping(self, **_: Any) -> None:
        if self.node is not None:
            self.node.stop_arrivals()
        if self._part is not None:
            self._part.stopping()

    def _on_test_stop(self, **_: Any) -> None:
        # In a greenlet of its own: Locust kills whoever stops a run when a second stop, a Ctrl-C, comes.
        if self._ending is None or self._ending.dead:
            self._ending = gevent.spawn(self._end)
        self._ending.join()

    def _end(self) -> None:
        try:
            if self.node is not None:
                self.node.finish()
        finally:
            self.node = None
            if self._part is not None:
                self._part.stopped()

    def _on_quitting(self, environment: Any, **_: Any) -> None:
        """End a run that is still going (Ctrl-C, SIGTERM), wait for its report and take its exit code."""
        if self._part is None:
            return
        if self._part.is_busy or self.node is not None:
            self._interrupts.received = True
            self._stop_runner()
        deadline_s = time.monotonic() + environment.stop_timeout + FINAL_DEADLINE_S
        while (self._part.is_busy or self.node is not None) and time.monotonic() < deadline_s:
            gevent.sleep(0.05)  # another greenlet stops the run
        self._on_test_stop()  # that may have been killed
        ended_s = time.monotonic()
        code = self._part.finish()
        if code is None and self._interrupts.received and environment.parsed_options.headless:
            code = int(ExitCode.INTERRUPTED)  # before its run had begun: nothing has passed
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
        rpc.install()
        installed = Plugin()
        installed.listen(events)
    return installed
