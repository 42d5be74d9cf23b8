"""Many workers in one process: each has a socket of its own, and says everything that a worker says.

They make no load, so they are light. But what they report is recorded, encoded, sent and sent again by
perfload's own code, and their beats, shares and leases are those of its own link to the master; only Locust's
runner is another one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import locust.stats
from locust import __version__
from locust.rpc import Message
from locust.runners import (
    HEARTBEAT_INTERVAL,
    STATE_INIT,
    STATE_RUNNING,
    STATE_STOPPED,
    WORKER_REPORT_INTERVAL,
)

from benchmarks.cluster.seen import SAY_S, Seen
from benchmarks.cluster.share import USERS, Share
from benchmarks.cluster.traffic import Traffic
from perfload.load.cluster import rpc
from perfload.load.cluster.messages import ACK, BATCH, BEAT
from perfload.load.cluster.worker import WorkerLink
from perfload.load.node import Batch
from perfload.load.statistics import bucket_response_time

PORTION = (0.1, 0.9)
"""When in a second its requests are made up, by one worker after the other; all send them at its end."""


class SimulatedWorker:
    """Stands in for Locust's runner of one worker."""

    def __init__(self, number: int, options: argparse.Namespace, seen: Seen) -> None:
        first, last = PORTION
        self._turn_s = first + (last - first) * number / options.of
        self._identity = f"simulated-{number}-{os.getpid()}"
        self._load = Traffic(options.names, options.requests, seed=number)
        self._seconds = options.seconds
        self._seen = seen
        self._client = rpc.Client("127.0.0.1", options.port, self._identity)
        self._handlers: dict[str, Callable[..., None]] = {}
        self._link: WorkerLink | None = None
        self._share: Share | None = None
        self._deliver: Callable[[Batch], None]
        self._made: Batch | None = None
        self._requests = 0
        """In the batch that is about to be sent."""
        self._waiting: dict[int, int] = {}
        """Number of a message that is not acknowledged -> requests in it."""
        self.state = self.worker_state = STATE_INIT
        self.user_count = 0
        gevent.spawn(self._listen)
        self.send_message("client_ready", __version__)

    @property
    def has_delivered(self) -> bool:
        """Whether the master has its final batch, and all before it."""
        return self.state == STATE_STOPPED and not self._waiting

    # --- what perfload's link asks of a runner

    def register_message(self, kind: str, handler: Callable[..., None], concurrent: bool = False) -> None:
        """Have messages of this kind handled."""
        self._handlers[kind] = handler

    def send_message(self, kind: str, data: Any) -> None:
        """Send a message to the master."""
        if kind == BATCH:
            self._seen.note("repeated", data["number"] in self._waiting)
            self._waiting.setdefault(data["number"], self._requests)
            self._requests = 0
        self._client.send(Message(kind, data, self._identity))

    def stop(self) -> None:
        """End the load: deliver what is left."""
        if self.state != STATE_RUNNING or self._share is None:
            return
        self.state, self.user_count = STATE_STOPPED, 0
        if self._made is not None:
            self._deliver(self._made)
        self._deliver(self._share.rest(int(self._share.clock.now_s()), final=True))

    # --- what it hears

    def _listen(self) -> None:
        while True:
            message = self._client.recv()
            if message.type == BEAT:
                self._time(message.data)
            elif message.type == ACK:
                self._note_acknowledged(message.data["number"])
            elif message.type == "ack" and self._link is None:
                self._begin_to_speak()
            elif message.type == "spawn":
                self._start()
            elif message.type in ("stop", "quit"):
                self.stop()
                self.send_message("client_stopped" if message.type == "stop" else "quit", None)
            handler = self._handlers.get(message.type)
            if handler is not None:
                handler(environment=None, msg=message)

    def _time(self, answer: Any) -> None:
        if self.state == STATE_RUNNING:
            self._seen.round_trip(time.perf_counter() - answer["sent_s"])

    def _note_acknowledged(self, number: int) -> None:
        if number in self._waiting:
            self._seen.note("batches")
            self._seen.note("requests", self._waiting.pop(number))

    def _begin_to_speak(self) -> None:
        self._link = WorkerLink(SimpleNamespace(runner=self))
        gevent.spawn(self._every, HEARTBEAT_INTERVAL, self._say_it_is_there)
        gevent.spawn(self._every, WORKER_REPORT_INTERVAL, self._report_to_locust)

    def _every(self, interval_s: float, say: Callable[[], None]) -> None:
        gevent.sleep(interval_s * self._turn_s)
        while True:
            say()
            gevent.sleep(interval_s)

    def _say_it_is_there(self) -> None:
        usage = {"current_cpu_usage": 12.5, "current_memory_usage": 60_000_000}
        self.send_message("heartbeat", {"state": self.worker_state, **usage})

    def _report_to_locust(self) -> None:
        if self._share is not None:
            users = {"Visitor": self.user_count} if self.user_count else {}
            counts = {"user_classes_count": users, "user_count": self.user_count}
            self.send_message("stats", self._share.statistics() | counts)

    # --- a run

    def _start(self) -> None:
        assert self._link is not None
        terms = self._link.assignment
        if terms is None or self._share is not None:
            return
        self.send_message("spawning", None)
        self.state = self.worker_state = STATE_RUNNING
        self._share = Share(terms, self._link.clock(terms), self._load, self._seen)
        self._deliver = self._link.open()
        self._link.attend(self._share)  # type: ignore[arg-type]  # it is asked for no more than a share has
        self.user_count = USERS
        self.send_message("spawning_complete", {"user_classes_count": {}, "user_count": 0})
        gevent.spawn(self._work, self._share)

    def _work(self, share: Share) -> None:
        """Make up a second in the course of it, and deliver it at its end."""
        second = max(0, int(share.clock.now_s()))
        while True:
            self._sleep_until(share, second + self._turn_s)
            if self.state != STATE_RUNNING:
                return
            self._make(share, second)
            self._sleep_until(share, second + 1)
            if self.state != STATE_RUNNING or self._made is None:
                return
            made, self._made = self._made, None
            self._deliver(made)
            second += 1

    def _make(self, share: Share, second: int) -> None:
        self._seen.note("lapsed leases", share.licence.until_s < share.clock.now_s())
        self._seen.note("changed shares", share.licence.shares.version > share.assignment.version)
        if second < self._seconds:
            self._made, self._requests = share.work(second)
        else:
            self.user_count = 0
            self._made = share.rest(second)

    @staticmethod
    def _sleep_until(share: Share, at_s: float) -> None:
        while (rest_s := at_s - share.clock.now_s()) > 0:
            gevent.sleep(rest_s)


def main() -> None:
    """Simulate workers until this process is ended; say when the master has all of their results."""
    locust.stats.bucket_response_time = bucket_response_time  # type: ignore[assignment]  # as perfload has it
    rpc.ready.set()
    options, seen = _options(), Seen()
    workers = [SimulatedWorker(n, options, seen) for n in range(options.first, options.first + options.count)]
    while not all(worker.has_delivered for worker in workers):
        gevent.sleep(SAY_S)
        seen.say()
    seen.say_sent()
    gevent.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.cluster.simulated", description=__doc__)
    for name in ("port", "first", "count", "of", "names", "requests", "seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
