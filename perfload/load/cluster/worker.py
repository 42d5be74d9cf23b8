"""The worker's side: what its master says, and its results on their way there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import gevent
from gevent.event import Event
from locust import __version__
from locust.exception import RPCError, RPCSendError
from locust.runners import STATE_CLEANUP, STATE_INIT, STATE_STOPPED, STATE_STOPPING

from perfload.load.clock import RunClock
from perfload.load.cluster import messages
from perfload.load.cluster.delivery import Outbox
from perfload.load.cluster.membership import BEAT_S, LEASE_S
from perfload.load.cluster.messages import ACK, BEAT, ROWS, SHARES, START, STOP, Data
from perfload.load.cluster.offset import ClockOffset
from perfload.load.cluster.purse import Account
from perfload.load.cluster.rpc import orders
from perfload.load.node import Assignment, Batch, Node
from perfload.load.rows import RowStock

logger = logging.getLogger("perfload")

ENDING = (STATE_CLEANUP, STATE_STOPPING, STATE_STOPPED)
"""States of a runner that must not be told to stop: it has been, and two stops at once clash."""

FIRST_BEATS = 25
FIRST_BEAT_S = 0.02
"""The clocks are compared quickly at first: a run may begin as soon as a worker has connected."""

FIRST_SAMPLES = 5
CLOCKS_S = 2.0
"""How long a worker waits for that before it takes orders."""

FLUSH_S = 10.0
LINGER_S = 60.0
"""How long a worker that is about to end keeps results for a master that it does not hear."""


class Spender(Protocol):
    """What spends in this process, of what the master grants it."""

    ask: Callable[[], None]
    """Set by the link: whoever needs more calls it."""

    def account(self) -> Account:
        """Return what is capped, and what has been spent of it; called for every beat."""

    def grant(self, granted: Mapping[str, float], *, is_all: bool) -> None:
        """Take note of what may be spent in all; called with answers to beats, which may be late."""


class WorkerLink:
    """Beats, and keeps the assignment of the next run and the outbox of the one under way."""

    def __init__(self, environment: Any) -> None:
        """Register with Locust's worker runner and begin to beat."""
        self._runner = environment.runner
        self._outbox: Outbox | None = None
        self._node: Node | None = None
        self._spender: Spender | None = None
        self._hurry = Event()
        """Set when the next beat must not wait."""
        self._offset = ClockOffset()
        self._stocks: dict[str, RowStock] = {}
        self._session = ""
        self._heard_s = 0.0
        self._refused: set[str] = set()
        self._generation = 0
        """How often the master gave the rows of this node to others."""
        self._declined: Data = {}
        """What a worker says that takes no part in the run."""
        self._done: tuple[RunClock, Data] | None = None
        """The clock of the last run, and since when this worker starts nobody any more."""
        self._is_ending = False
        self.assignment: Assignment | None = None
        handlers = ((BEAT, self._on_beat), (START, self._on_start), (SHARES, self._on_shares))
        for kind, handler in (*handlers, (ACK, self._on_ack), (ROWS, self._on_rows)):
            self._runner.register_message(kind, self._checked(kind, handler))
        self._runner.register_message(STOP, self._on_stop, concurrent=True)
        gevent.spawn(self._beat)

    def _checked(self, kind: str, handler: Callable[[Data], None]) -> Callable[..., None]:
        def handle(msg: Any, **_: Any) -> None:
            try:
                if not isinstance(msg.data, dict):
                    raise ValueError("it holds no data")
                handler(msg.data)
            except (ValueError, KeyError, TypeError) as error:
                if kind not in self._refused:
                    logger.warning("a message %s of the master was refused: %.200s", kind, error)
                self._refused.add(kind)

        return handle

    def compare_clocks(self) -> None:
        """Wait until the clocks have been compared a few times, or the master is found not to answer."""
        with gevent.Timeout(CLOCKS_S, exception=False):
            while self._offset.samples < FIRST_SAMPLES:
                gevent.sleep(FIRST_BEAT_S)
        if not self._offset.is_known:
            logger.warning(
                "the master does not answer: until it does, this worker goes by its own time of day"
            )

    # --- what the worker says

    def _beat(self) -> None:
        count = 0
        while True:
            self._hurry.clear()
            self._send(BEAT, self._sign_of_life())
            count += 1
            gevent.sleep(FIRST_BEAT_S)  # however great the hurry is
            if count >= FIRST_BEATS:
                self._hurry.wait(max(0.0, BEAT_S - FIRST_BEAT_S))

    def _sign_of_life(self) -> Data:
        said: Data = {"sent_s": time.perf_counter(), "run": "", "version": 0, "users": 0}
        if self._node is None:
            return said | self._declined | self._delivering()
        said |= {"run": self._node.assignment.run_id, "version": self._node.licence.shares.version}
        said |= {"users": self._runner.user_count, "at_s": self._node.clock.now_s()}
        if self._node.left_s is not None:
            said["left_s"] = self._node.left_s  # with every beat: one alone may be lost
        if self._spender is not None and (account := self._spender.account()):
            said["account"] = {kind: list(held) for kind, held in account.items()}
        if self._offset.is_known:
            said |= {"offset_s": self._offset.offset_s, "error_s": self._clock_error_s(self._node)}
        return said

    def _delivering(self) -> Data:
        """Say that this worker is still there, with results that the master has not confirmed."""
        if self._outbox is None or self._outbox.is_empty or self._done is None:
            return {}
        clock, left = self._done
        return left | {"run": self._outbox.run_id, "at_s": clock.now_s(), "delivers": True}

    def decline(self, why: str) -> None:
        """Take no part in the run that was assigned, and tell the master why until there is another."""
        assert self.assignment is not None
        self._declined = {"run": self.assignment.run_id, "declined": why}
        self.assignment = None
        self._send(BEAT, self._sign_of_life())

    def _clock_error_s(self, node: Node) -> float:
        """Return how far the clock that the node runs by may be from the master's, as is known by now."""
        zero_s = node.assignment.zero_s
        moved_s = 0.0 if zero_s is None else abs(node.clock.zero_s - (zero_s - self._offset.offset_s))
        return self._offset.error_s + moved_s

    def _send(self, kind: str, data: Data) -> None:
        try:
            self._runner.send_message(kind, data)
        except (RPCError, RPCSendError) as error:
            logger.debug("%s could not be sent to the master: %s", kind, error)

    def _hears_master(self) -> bool:
        return time.monotonic() - self._heard_s < LEASE_S

    # --- what the master says

    def _on_beat(self, data: Data) -> None:
        session = messages.text(data, "session")
        if session != self._session:
            self._meet(session)
        self._heard_s = time.monotonic()
        sent_s, master_s = messages.number(data, "sent_s"), messages.number(data, "master_s")
        self._offset.add(sent_s, time.perf_counter(), master_s)
        if "lease_until_s" in data and self._is_of_this_run(data):
            assert self._node is not None
            licence = self._node.licence
            # What was granted before stays granted: the master remembers it.
            licence.until_s = max(licence.until_s, messages.number(data, "lease_until_s"))
            licence.void_before_s = messages.number(data, "void_before_s")
            licence.excess = messages.whole(data, "excess")
            self._void_rows(data)
            if self._spender is not None and "granted" in data:
                self._spender.grant(messages.decode_grants(data), is_all=data.get("is_all") is True)
        self._on_shares(data)

    def _is_of_this_run(self, data: Data) -> bool:
        return self._node is not None and data.get("run") == self._node.assignment.run_id

    def _meet(self, session: str) -> None:
        """Report to a master that has been started anew: it knows nothing of this worker, or of its run."""
        is_another, self._session = bool(self._session), session
        if not is_another:
            return
        logger.warning("the master was started anew: this worker gives up what it did for the one before")
        self._offset.forget()
        if self._outbox is not None and self._is_ending:
            self._outbox.discard()
        elif not self._is_ending:
            gevent.spawn(self._begin_again)

    def _begin_again(self) -> None:
        if self._runner.state not in (STATE_INIT, *ENDING):
            self._runner.stop()
        while self._node is not None:
            gevent.sleep(BEAT_S)  # it is being stopped already: a new run must not begin before it has ended
        if self._outbox is not None:
            self._outbox.discard()
        self.assignment = None
        orders.forget()
        self._send("client_ready", __version__)  # type: ignore[arg-type]  # Locust's own message holds a text
        self._runner.worker_state = STATE_INIT

    def _on_start(self, data: Data) -> None:
        self.assignment = messages.decode_assignment(data)
        self._declined = {}

    def _on_shares(self, data: Data) -> None:
        if "eras" in data and self._is_of_this_run(data):
            assert self._node is not None
            shares = self._node.licence.shares
            shares.update(messages.whole(data, "version"), messages.decode_eras(data))

    def _on_ack(self, data: Data) -> None:
        if self._outbox is not None:
            self._outbox.acknowledge(messages.text(data, "run"), messages.whole(data, "number"))

    def _on_rows(self, data: Data) -> None:
        if not self._is_of_this_run(data):
            return
        self._void_rows(data)
        feeder, rows = messages.text(data, "feeder"), messages.wholes(data, "rows")
        if rows:
            self._stocks[feeder].add(rows)
        else:
            spare = self._stocks[feeder].give_up()
            self._send(ROWS, {"run": data["run"], "feeder": feeder, "rows": spare})

    def _void_rows(self, data: Data) -> None:
        """Forget the rows that were given to others while this worker was away; said until it is heard."""
        generation = messages.whole(data, "generation")
        if generation > self._generation:
            self._generation = generation
            for stock in self._stocks.values():
                stock.void()

    def _on_stop(self, **_: Any) -> None:
        if self._runner.state not in ENDING:
            self._runner.stop()

    # --- one run

    def clock(self, terms: Assignment) -> RunClock:
        """Return the clock of the run: its start on the master's monotonic clock, turned into this one's."""
        if terms.zero_s is None or not self._offset.is_known:
            return RunClock(terms.started_at_s)
        return RunClock(terms.started_at_s, terms.zero_s - self._offset.offset_s)

    def open(self) -> Callable[[Batch], None]:
        """Return the sink for the run that has been assigned."""
        if self.assignment is None:
            raise ValueError("no run has been assigned")
        outbox = self._outbox = Outbox(self.assignment.run_id, self._runner.send_message, self._hears_master)
        self.assignment = None  # the next run brings its own

        def deliver(batch: Batch) -> None:
            outbox.put(batch)
            if batch.final and self._node is not None:
                left = {} if self._node.left_s is None else {"left_s": self._node.left_s}
                self._done = (self._node.clock, left)
            if batch.final:  # there is no next batch to notice that this one, or one before it, was lost
                self._node = None
                gevent.spawn(outbox.flush, FLUSH_S)

        return deliver

    def attend(self, node: Node, spender: Spender | None = None) -> None:
        """Keep the licence of `node` up to date from now on, and what `spender` may spend."""
        self._node = node
        self._spender = spender
        if spender is not None:
            spender.ask = self._hurry.set
        self._stocks = {}
        self._generation = 0
        self._send(BEAT, self._sign_of_life())  # before its first batch, so that the master knows of it

    def lend(self, feeder: str, total: int) -> RowStock:
        """Return the stock of unique rows of `feeder`, which the master fills."""
        if feeder in self._stocks:
            return self._stocks[feeder]
        node = self._node
        run_id = node.assignment.run_id if node is not None else ""

        def ask() -> None:
            self._send(ROWS, {"run": run_id, "feeder": feeder, "total": total})

        stock = self._stocks[feeder] = RowStock((), ask)
        stock.top_up()  # the answer needs the entry
        return stock

    def say_goodbye(self) -> None:
        """Have the others take over from now on, whether or not the users in flight have left."""
        if self._node is not None:
            self._send(BEAT, self._sign_of_life())

    def flush(self) -> None:
        """Wait until the master has everything, before this process ends."""
        self._is_ending = True
        if self._outbox is None or self._outbox.is_empty:
            return
        if not self._hears_master():
            logger.warning("waiting up to %.0f s for the master to take the last results", LINGER_S)
        receiving = gevent.spawn(self._receive)
        if not self._outbox.flush(FLUSH_S if self._hears_master() else LINGER_S):
            logger.error("the master did not take the last results of this worker; they are lost")
        receiving.kill()

    def _receive(self) -> None:
        """Do what Locust's runner has stopped doing by now; of what comes, only answers matter."""
        while len(self._runner.greenlet):
            gevent.sleep(BEAT_S / 10)  # only one may wait at a socket
        while True:
            try:
                message = self._runner.client.recv()
            except RPCError:
                gevent.sleep(BEAT_S)
                continue
            if message.type in (BEAT, ACK):
                self._runner.handle_message(message)
