"""What a simulated worker does in every second of a run."""

from __future__ import annotations

from locust.stats import RequestStats

from benchmarks.cluster import traffic
from benchmarks.cluster.seen import Seen
from benchmarks.cluster.traffic import METHOD, REASON, Request, Traffic
from perfload.load.clock import RunClock
from perfload.load.cluster.messages import Data
from perfload.load.licence import Licence
from perfload.load.node import Assignment, Batch
from perfload.model import Reading
from perfload.recorder import Recorder
from perfload.shares import Shares

USERS = 10
"""Virtual users in flight while there is load."""


class Share:
    """One worker's part of the load: for its link to the master, the node that makes it."""

    def __init__(self, terms: Assignment, clock: RunClock, load: Traffic, seen: Seen) -> None:
        self.assignment = terms
        self.clock = clock
        self.licence = Licence(Shares(terms.index, terms.eras, terms.version), terms.lease_until_s)
        self._load = load
        self._seen = seen
        self._recorder = Recorder(terms.run_id, terms.node)
        self._statistics = RequestStats()
        self.left_s: float | None = None
        """For the link: when it left; it never does."""

    def work(self, second: int) -> tuple[Batch, int]:
        """Return the results of a second with load, and how many requests are in them."""
        count = 0
        for request in self._load.second():
            traffic.record(self._recorder, second, request)
            self._log(request)
            self._seen.add(request)
            count += 1
        windows = self._recorder.take(second + 1)
        return Batch(windows, self._readings(second, USERS), idle=False), count

    def rest(self, second: int, *, final: bool = False) -> Batch:
        """Return the results of a second after the load; the `final` ones have all that is left."""
        windows = self._recorder.take(None if final else second + 1)
        return Batch(windows, self._readings(second, 0), idle=True, final=final)

    def _readings(self, second: int, users: int) -> list[Reading]:
        at_s, node = self.clock.epoch_s(second + 0.5), self.assignment.node
        seen = (("users", "users", float(users)), ("cpu_percent", "%", 12.5), ("loop_lag_ms", "ms", 1.234))
        return [Reading(at_s, node, "generator", metric, unit, value) for metric, unit, value in seen]

    def _log(self, request: Request) -> None:
        service_ms = request.service_us / 1000
        # Locust's own listener hands over fractions of milliseconds too.
        self._statistics.log_request(METHOD, request.name, service_ms, request.received_bytes)  # type: ignore[arg-type]
        if request.failed:
            self._statistics.log_error(METHOD, request.name, REASON)

    def statistics(self) -> Data:
        """Return what Locust's worker reports besides."""
        held = self._statistics
        report: Data = {"stats": held.serialize_stats(), "stats_total": held.total.get_stripped_report()}
        report["errors"] = held.serialize_errors()
        held.errors = {}
        return report
