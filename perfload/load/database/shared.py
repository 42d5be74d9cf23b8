"""The one connection pool of a process, shared by all its users, and what they leave behind in the database.

Checked before the load: the hosts are allowed, somebody answers, the data set is there. What this process's
users insert is marked with the run in its `_id`, and deleted when the run is over.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any

import gevent
from locust.exception import StopTest
from locust.runners import MasterRunner, WorkerRunner

from perfload.errors import PerfloadError, UsageError
from perfload.hosts import HostRules
from perfload.seeding.claim import Claim, read_claim
from perfload.seeding.connection import (
    MongoAddress,
    check_node,
    failures_explained,
    open_client,
    reason_in,
)
from perfload.seeding.documents import DataSet

logger = logging.getLogger("perfload")

DEFAULT_DATABASE = "perfload_load"
APP_NAME = "perfload load"
"""Not that of the monitors, whose operations do not count: these are what is to be watched."""

CLEAN_WITHIN_S = 20.0


class RunMark:
    """Makes the `_id`s of what one process inserts during one run, in one range of their own."""

    def __init__(self, run_id: str, node: str) -> None:
        self._prefix = f"run:{run_id}:{node}"
        self._numbers = itertools.count()
        self.is_used = False

    def new_id(self) -> str:
        """Return an `_id` that nobody else makes."""
        self.is_used = True
        return f"{self._prefix}:{next(self._numbers):09d}"

    @property
    def query(self) -> dict[str, Any]:
        """What finds all of them, by the index that every collection has."""
        return {"_id": {"$gte": f"{self._prefix}:", "$lt": f"{self._prefix};"}}


class LoadDatabase:
    """The database that `url` and `name` say. Nothing is sent before `open`."""

    def __init__(self, url: str, name: str = "") -> None:
        self.address = MongoAddress(url)
        self.name = name or self.address.database or DEFAULT_DATABASE
        self.data: DataSet | None = None
        """What is in it, once it is open."""
        self.has_transactions = False
        self.mark = RunMark("none", "local")
        self._url = url
        self._client: Any = None
        self._claim: Claim | None = None

    @property
    def shown(self) -> str:
        """Return the address as the record has it: the first host, nothing of user or password."""
        host, port = self.address.nodes[0]
        if port is None:
            return "mongodb://localhost:27017"  # a socket of this machine
        return f"mongodb://[{host}]:{port}" if ":" in host else f"mongodb://{host}:{port}"

    @property
    def client(self) -> Any:
        """Return pymongo's client; `open` comes first."""
        assert self._client is not None
        return self._client

    @property
    def database(self) -> Any:
        """Return pymongo's database; `open` comes first."""
        return self.client[self.name]

    def open(self, rules: HostRules, *, pool_size: int) -> None:
        """Connect and check, once; raises `UsageError` that says what to do."""
        if self._client is not None:
            return
        self.address.check(rules)
        from perfload.load.database.meter import PoolListener, ServerListener

        # What the driver tries again by itself would be missing from the report.
        client = open_client(
            self._url,
            self.address,
            app_name=APP_NAME,
            maxPoolSize=pool_size,
            waitQueueTimeoutMS=10_000,
            connectTimeoutMS=5_000,
            socketTimeoutMS=60_000,
            retryReads=False,
            retryWrites=False,
            forced={"event_listeners": [PoolListener(), ServerListener()]},
        )
        try:
            with failures_explained(self.address):
                self._look_at(client, rules)
        except BaseException:
            client.close()
            raise
        self._client = client

    def _look_at(self, client: Any, rules: HostRules) -> None:
        hello = client.admin.command("hello")
        # A member of a replica set names the others, and the driver goes there too.
        for host, port in client.nodes:
            check_node(host, port, rules)
        self.has_transactions = "setName" in hello or hello.get("msg") == "isdbgrid"
        claim = read_claim(client[self.name])
        if claim is None or claim.made_by != "seed" or not claim.complete:
            raise UsageError(
                f"the database {self.name} at {self.address} has no data set",
                hint="put one in: perfload seed --documents 100000",
            )
        self._claim = claim
        self.data = DataSet(claim.documents, claim.seed)

    def clean(self) -> None:
        """Delete what this process's users have inserted since the last run began."""
        if self._client is None or self._claim is None or not self.mark.is_used:
            return
        import pymongo
        from pymongo.errors import PyMongoError

        self.mark.is_used = False
        try:
            # A transaction that was cut off may hold its documents for a minute.
            with pymongo.timeout(CLEAN_WITHIN_S):
                for name in self._claim.collections:
                    self.database[name].delete_many(self.mark.query)
        except PyMongoError as error:
            logger.error(
                "documents of this run are still in %s: %s; perfload seed deletes them",
                self.name,
                reason_in(error),
            )

    def close(self) -> None:
        """Close every connection; it can be opened again."""
        if self._client is not None:
            self._client.close()
            self._client = None


class Sharing:
    """Makes one `LoadDatabase` for all user classes of a process, and ties it to Locust's events."""

    def __init__(self, make: Callable[[], LoadDatabase], plugin: Any) -> None:
        self.database = make()
        self.pool_size = 0
        self._plugin = plugin
        self._cleaning: gevent.Greenlet | None = None

    def listen(self, events: Any) -> None:
        """Register with Locust's events; perfload's own listeners have done so before."""
        events.test_start.add_listener(self._on_test_start)
        events.test_stop.add_listener(self._on_test_stop)
        # Called in reverse order, and last of all: perfload's own listener stops the load first.
        events.quitting._handlers.insert(0, self._on_quitting)

    def open(self) -> LoadDatabase:
        """Return the database, open and checked against the hosts that are allowed by now."""
        self.database.open(self._plugin.config.host_rules, pool_size=self.pool_size)
        return self.database

    def check(self, environment: Any) -> None:
        """Open the database before the load; a worker hears only later where its load may go."""
        if isinstance(environment.runner, WorkerRunner):
            return
        self.open()
        if isinstance(environment.runner, MasterRunner):
            self.database.close()

    def _on_test_start(self, environment: Any, **_: Any) -> None:
        node = self._plugin.node
        if node is None:
            return
        self.database.mark = RunMark(node.assignment.run_id, node.assignment.node)
        try:
            self.open()
        except PerfloadError as error:
            environment.process_exit_code = int(error.exit_code)
            raise StopTest(str(error)) from error

    def _on_test_stop(self, **_: Any) -> None:
        # In a greenlet of its own: Locust kills whoever stops a run when another stop, a Ctrl-C, comes.
        if self._cleaning is None or self._cleaning.dead:
            self._cleaning = gevent.spawn(self.database.clean)
        self._cleaning.join()

    def _on_quitting(self, **_: Any) -> None:
        self._on_test_stop()
        self.database.close()
