"""Runs over master and workers: who takes part, and every result exactly once.

Messages (besides Locust's own), each a small dictionary:

    perfload_start   master -> worker   an `Assignment`; sent before Locust's spawn message
    perfload_batch   worker -> master   what one worker finished in a second, numbered from 1 without gaps
    perfload_ack     master -> worker   the number of a batch that is in the record
    perfload_stop    master -> worker   stop the load and send the final batch

A batch is sent again until it is acknowledged and counted once, by its number.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event
from locust.exception import RPCError
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING

from perfload.codec import decode_window, encode_window
from perfload.load.node import Assignment, Batch
from perfload.load.run import Run
from perfload.readings import decode_reading, encode_reading

logger = logging.getLogger("perfload")

ENDING = (STATE_CLEANUP, STATE_STOPPING, STATE_STOPPED)
"""States of a runner that must not be told to stop: it has been, and two stops at once clash."""

START, BATCH, ACK, STOP = "perfload_start", "perfload_batch", "perfload_ack", "perfload_stop"

RESEND_AFTER_S = 3.0
FINAL_DEADLINE_S = 10.0
"""How long the master waits for the last results, beyond the time that users may take to stop."""


def encode_batch(number: int, run_id: str, batch: Batch) -> dict[str, Any]:
    """Return `batch` as the data of a `perfload_batch` message."""
    return {
        "number": number,
        "run": run_id,
        "windows": [encode_window(window) for window in batch.windows],
        "readings": [encode_reading(reading) for reading in batch.readings],
        "idle": batch.idle,
        "final": batch.final,
    }


def decode_batch(data: Mapping[str, Any]) -> Batch:
    """Return the batch in a message's data; raises `ValueError` or `KeyError` if it is none."""
    return Batch(
        windows=[decode_window(window) for window in data["windows"]],
        readings=[decode_reading(line) for line in data["readings"]],
        idle=bool(data["idle"]),
        final=bool(data["final"]),
    )


class Outbox:
    """The worker's batches on their way to the master; kept until acknowledged."""

    def __init__(self, run_id: str, send: Callable[[str, dict[str, Any]], None]) -> None:
        self._run_id = run_id
        self._send = send
        self._number = 0
        self._waiting: dict[int, dict[str, Any]] = {}
        self._sent_s: dict[int, float] = {}
        """When each of those that wait was last sent."""
        self._empty = Event()
        self._empty.set()

    def put(self, batch: Batch) -> None:
        """Send `batch`, and again whatever has waited too long for its acknowledgement."""
        self._number += 1
        self._empty.clear()
        self._waiting[self._number] = encode_batch(self._number, self._run_id, batch)
        long_ago_s = time.monotonic() - RESEND_AFTER_S
        for number in list(self._waiting):
            # Sending may switch to the greenlet that handles acknowledgements.
            if number in self._waiting and self._sent_s.get(number, -math.inf) < long_ago_s:
                self._try(number)

    def _try(self, number: int) -> None:
        self._sent_s[number] = time.monotonic()
        try:
            self._send(BATCH, self._waiting[number])
        except RPCError as error:
            logger.warning("results could not be sent to the master and will be sent again: %s", error)

    def acknowledge(self, run_id: str, number: int) -> None:
        """Forget batch `number`, which the master has."""
        if run_id == self._run_id:
            self._waiting.pop(number, None)
            self._sent_s.pop(number, None)
        if not self._waiting:
            self._empty.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged, sending again meanwhile; False when time ran out."""
        deadline_s = time.monotonic() + timeout_s
        while not self._empty.wait(min(RESEND_AFTER_S, timeout_s)):
            if time.monotonic() >= deadline_s:
                return False
            for number in list(self._waiting):
                if number in self._waiting:
                    self._try(number)
        return True


class Inbox:
    """The numbers of the batches that came from one worker."""

    def __init__(self) -> None:
        self._through = 0
        """All batches up to this number are here."""
        self._beyond: set[int] = set()
        self._final = 0

    def is_new(self, number: int, *, final: bool) -> bool:
        """Note batch `number`; False if it has come before."""
        if number <= self._through or number in self._beyond:
            return False
        self._beyond.add(number)
        self._final = number if final else self._final
        while self._through + 1 in self._beyond:
            self._through += 1
            self._beyond.remove(self._through)
        return True

    @property
    def complete(self) -> bool:
        """True once the final batch and all before it are here."""
        return bool(self._final) and self._through == self._final


class MasterLink:
    """The master's side of one run."""

    def __init__(self, runner: Any, run: Run, terms: Assignment) -> None:
        """Prepare to hand out `terms`, to each worker with its own node, index and count."""
        self._runner = runner
        self._run = run
        self._terms = terms
        self._inboxes: dict[str, Inbox] = {}
        self._all_complete = Event()

    def begin(self) -> None:
        """Tell every worker that is there its share of the run."""
        clients = self._runner.clients
        workers = [client.id for client in (*clients.ready, *clients.spawning, *clients.running)]
        for index, client_id in enumerate(workers):
            self._run.expect(self._node(client_id), index)
            self._assign(client_id, index, len(workers))

    def join(self, client_id: str) -> None:
        """Let a worker that connects during the run record, without a share of the arrivals."""
        self._assign(client_id, len(self._run.nodes), 0)

    def _node(self, client_id: str) -> str:
        return f"worker-{self._runner.get_worker_index(client_id)}"

    def _assign(self, client_id: str, index: int, count: int) -> None:
        terms = dataclasses.replace(self._terms, node=self._node(client_id), index=index, count=count)
        self._runner.send_message(START, dataclasses.asdict(terms), client_id=client_id)

    def receive(self, client_id: str, data: Mapping[str, Any]) -> None:
        """Take a batch into the record and acknowledge it; one that is already there is only acknowledged.

        What a slow worker still sends of an earlier run has no place here: its numbers are not this run's.
        """
        if data["run"] != self._run.folder.name:
            logger.warning("late results of run %s came from %s and were left out", data["run"], client_id)
            return
        node = self._node(client_id)
        inbox = self._inboxes.setdefault(node, Inbox())
        batch = decode_batch(data)
        if inbox.is_new(int(data["number"]), final=batch.final):
            self._run.take(node, dataclasses.replace(batch, final=inbox.complete))
        ack = {"number": data["number"], "run": data["run"]}
        self._runner.send_message(ACK, ack, client_id=client_id)
        if self._run.is_complete:
            self._all_complete.set()

    def drain(self, stop_timeout_s: float) -> None:
        """End the load: have every worker stop and wait for its last results, up to the deadline."""
        self._run.end_load()
        for client in list(self._runner.clients.all):
            self._runner.send_message(STOP, {}, client_id=client.id)
        if not self._run.is_complete:
            self._all_complete.wait(stop_timeout_s + FINAL_DEADLINE_S)
        for node, state in self._run.nodes.items():
            if not state.complete:
                state.note = f"no final results within {stop_timeout_s + FINAL_DEADLINE_S:.0f} s"
                logger.error("%s sent %s", node, state.note)


class WorkerLink:
    """The worker's side: keeps the assignment of the next run, and the outbox of the one under way."""

    def __init__(self, environment: Any) -> None:
        self._runner = environment.runner
        self._outbox: Outbox | None = None
        self.assignment: Assignment | None = None
        self._runner.register_message(START, self._on_start)
        self._runner.register_message(ACK, self._on_ack)
        self._runner.register_message(STOP, self._on_stop, concurrent=True)

    def _on_start(self, msg: Any, **_: Any) -> None:
        self.assignment = Assignment(**msg.data)

    def _on_ack(self, msg: Any, **_: Any) -> None:
        if self._outbox is not None:
            self._outbox.acknowledge(msg.data["run"], msg.data["number"])

    def _on_stop(self, **_: Any) -> None:
        if self._runner.state not in ENDING:
            self._runner.stop()

    def open(self) -> Callable[[Batch], None]:
        """Return the sink for the run that has been assigned."""
        if self.assignment is None:
            raise ValueError("no run has been assigned")
        outbox = self._outbox = Outbox(self.assignment.run_id, self._runner.send_message)
        self.assignment = None  # the next run brings its own

        def deliver(batch: Batch) -> None:
            outbox.put(batch)
            if batch.final:  # there is no next batch to notice that this one, or one before it, was lost
                gevent.spawn(outbox.flush, FINAL_DEADLINE_S)

        return deliver

    def flush(self, timeout_s: float) -> None:
        """Wait until the master has everything, before this process ends."""
        if self._outbox is not None and not self._outbox.flush(timeout_s):
            logger.error("the master did not acknowledge the last results within %.0f s", timeout_s)
