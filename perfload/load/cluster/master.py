"""The master's side of a run over several workers."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from locust.exception import RPCError, RPCSendError

from perfload.load.cluster import messages
from perfload.load.cluster.delivery import Inbox
from perfload.load.cluster.membership import LEASE_S, Membership
from perfload.load.cluster.messages import ACK, BATCH, BEAT, ROWS, SHARES, START, STOP, Data
from perfload.load.cluster.purse import Account, Purse
from perfload.load.cluster.rows import Ledger, Loan
from perfload.load.node import Assignment
from perfload.load.run import Run
from perfload.plan import Plan

logger = logging.getLogger("perfload")

FINAL_DEADLINE_S = 10.0
"""How long the master waits for the last results, beyond the time that users may take to stop."""
LOOK_S = 0.1
"""How often the master looks whether a worker's lease has run out."""
STALL_S = 0.5
"""Looking so late, the master was held up itself, and silence says nothing about the workers."""
AHEAD_S = LEASE_S + 1.0
"""No worker has results of a later second: its clock would be further off than that of one that is heard."""

MAX_REFUSED = 1000
"""Senders of refused messages that are told apart."""


class MasterLink:
    """Speaks with the workers: answers their beats always, and holds one run at a time together."""

    def __init__(self, runner: Any) -> None:
        """Register with Locust's master runner."""
        self._runner = runner
        self._session = secrets.token_hex(8)
        """Tells workers that wait for a master from before that this one knows nothing of their run."""
        self._cluster: ClusterRun | None = None
        self._refused: Counter[tuple[str, str]] = Counter()
        for kind, handler in ((BEAT, self._on_beat), (BATCH, self._on_batch), (ROWS, self._on_rows)):
            runner.register_message(kind, self._checked(kind, handler))

    def _checked(self, kind: str, handler: Callable[[str, Data], None]) -> Callable[..., None]:
        def handle(msg: Any, **_: Any) -> None:
            try:
                if not isinstance(msg.data, dict):
                    raise ValueError("it holds no data")
                handler(msg.node_id, msg.data)
            except (ValueError, KeyError, TypeError) as error:
                self._refuse(msg.node_id, kind, error)

        return handle

    def _refuse(self, client_id: str, kind: str, error: Exception) -> None:
        """Count a message that is not what it should be; say so once for each sender and kind."""
        key = (client_id, kind)
        if key not in self._refused and len(self._refused) < MAX_REFUSED:
            logger.warning("a message %s from %.60r was refused: %.200s", kind, client_id, error)
        if key in self._refused or len(self._refused) < MAX_REFUSED:
            self._refused[key] += 1

    def begin(self, run: Run, terms: Assignment, plan: Plan | None) -> None:
        """Tell every worker that is there its share of `run`."""
        self._cluster = ClusterRun(self._runner, run, terms, plan)
        self._cluster.begin()

    def join(self, client_id: str) -> None:
        """Give a worker that connects in mid-run a share, if a run is under way."""
        if self._cluster is not None:
            self._cluster.join(client_id)

    def drain(self, stop_timeout_s: float) -> None:
        """End the load: have every worker stop and wait for its last results, up to the deadline."""
        if self._cluster is not None:
            self._cluster.drain(stop_timeout_s)

    def end(self) -> None:
        """Note in the run what became of its workers, and take no more results for it."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.end()

    def _on_beat(self, client_id: str, data: Data) -> None:
        answer: Data = {"sent_s": messages.number(data, "sent_s"), "session": self._session}
        if self._cluster is not None:
            answer |= self._cluster.beat(client_id, data)
        answer["master_s"] = time.perf_counter()
        self._runner.send_message(BEAT, answer, client_id=client_id)

    def _on_batch(self, client_id: str, data: Data) -> None:
        number, run_id = messages.whole(data, "number", least=1), messages.text(data, "run")
        if self._cluster is not None and run_id == self._cluster.run_id:
            self._cluster.receive(client_id, number, data)
        else:
            # What a slow worker still sends of an earlier run has no place in the present one.
            self._refuse(client_id, BATCH, ValueError(f"it is of run {run_id:.60}, whose record is closed"))
        self._runner.send_message(ACK, {"number": number, "run": run_id}, client_id=client_id)

    def _on_rows(self, client_id: str, data: Data) -> None:
        if self._cluster is not None and messages.text(data, "run") == self._cluster.run_id:
            self._cluster.rows(client_id, data)


class ClusterRun:
    """One run: its members, what has come from each, and the test data and the money that they share."""

    def __init__(self, runner: Any, run: Run, terms: Assignment, plan: Plan | None) -> None:
        """Prepare to hand out `terms`, to each worker with its own node and index."""
        self._runner = runner
        self._run = run
        self._terms = terms
        self._plan = plan
        self._membership = Membership(run.drain_s, plan_s=None if plan is None else plan.duration_s)
        self._ledger = Ledger()
        self._purse = Purse()
        self._clients: dict[int, str] = {}
        """Identity of a worker's connection, by its index in this run."""
        self._indices: dict[str, int] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._watching: gevent.Greenlet | None = None
        self._generations: Counter[int] = Counter()
        """How often the rows that a worker held were given to others, while it was away."""
        self._told = 0
        """Changes of shares that the workers were told of."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._terms.run_id

    def begin(self) -> None:
        """Tell every worker that is there its share, and watch over them from now on."""
        clients = self._runner.clients
        for client in (*clients.ready, *clients.spawning, *clients.running):
            self._register(client.id)
        self._membership.begin({index: self._node(index) for index in self._clients})
        for index in self._clients:
            self._run.expect(self._node(index), index)
            self._assign(index)
        for client in clients.missing:
            self.join(client.id)  # it may be back, and would make load that nobody records
        self._watching = gevent.spawn(self._watch)

    def _register(self, client_id: str) -> int:
        index = len(self._clients)
        self._clients[index], self._indices[client_id] = client_id, index
        self._inboxes[index] = Inbox()
        return index

    def _node(self, index: int) -> str:
        return f"worker-{self._runner.get_worker_index(self._clients[index])}"

    def join(self, client_id: str) -> None:
        """Take in a worker that connects during the run; one of the run's that connects again is there."""
        if client_id in self._indices or self._run.has_ended:
            return
        index = self._register(client_id)
        self._membership.join(index, self._node(index))
        self._assign(index)

    def _assign(self, index: int) -> None:
        terms = dataclasses.replace(
            self._terms,
            node=self._node(index),
            index=index,
            count=len(self._clients),
            eras=tuple(self._membership.eras),
            version=self._membership.version,
            lease_until_s=self._membership.first_lease_s(index),
        )
        self._send(START, index, messages.encode_assignment(terms))

    def _send(self, kind: str, index: int, data: Data) -> None:
        try:
            self._runner.send_message(kind, data, client_id=self._clients[index])
        except (RPCError, RPCSendError) as error:
            logger.debug("%s could not be sent to %s: %s", kind, self._node(index), error)

    def _watch(self) -> None:
        """Look for workers whose lease has run out."""
        before_s = self._run.clock.now_s()
        while True:
            gevent.sleep(LOOK_S)
            now_s = self._run.clock.now_s()
            if now_s - before_s > STALL_S:
                # What the workers said meanwhile has yet to be read.
                self._membership.excuse(now_s - before_s, now_s)
            before_s = now_s
            for index in self._membership.expire(now_s):
                self._run.lose(self._node(index), now_s, LEASE_S)
            if not self._run.has_ended:
                for index in self._membership.settle(now_s):
                    self._generations[index] += 1
                    self._pass_on(self._ledger.release(index, now_s))
            self._announce()

    def _announce(self) -> None:
        """Tell every worker of a change of shares, the log and the record of what happened."""
        self._run.note(self._membership.events)
        if self._told == self._membership.version:
            return
        self._told = self._membership.version
        for index in self._clients:
            self._send(SHARES, index, self._news())

    def _news(self) -> Data:
        now_s = self._run.clock.now_s()
        eras = messages.encode_eras(self._membership.recent(now_s))
        return {"run": self.run_id, "version": self._membership.version, "eras": eras}

    def beat(self, client_id: str, data: Data) -> Data:
        """Note a sign of life; return what the worker is to know."""
        index = self._indices.get(client_id)
        if index is None or data.get("run") != self.run_id:
            return {}
        if "declined" in data:
            self._decline(index, messages.text(data, "declined"))
            return {}
        version, users = messages.whole(data, "version"), messages.whole(data, "users")
        account = messages.decode_account(data)
        now_s = self._run.clock.now_s()
        if abs(now_s - messages.number(data, "at_s")) > LEASE_S:
            return {}  # it has waited in a connection that was cut, or the worker's clock cannot be right
        if self._run.has_ended:
            self._hear_late(index, now_s, data)
            return {"run": self.run_id}
        self._run.expect(self._node(index), index, joined_s=max(0.0, now_s))
        lease = self._membership.beat(index, now_s, version=version, users=users, is_leaving="left_s" in data)
        if lease is None:
            return {}
        self._find(index, data)
        if "left_s" in data:
            self._membership.leave(index, now_s, min(now_s + LEASE_S, messages.number(data, "left_s")))
        self._announce()
        news = self._news() if version < self._membership.version else {"run": self.run_id}
        news |= {"generation": self._generations[index]}
        news |= {"lease_until_s": lease.until_s, "void_before_s": lease.void_before_s}
        return news | {"excess": self._excess(index, now_s)} | self._grant(index, account)

    def _grant(self, index: int, account: Account) -> Data:
        """Say how much a worker may have spent; end the run when it needs more and there is no more."""
        if not account:
            return {}
        granted = self._purse.hear(index, account, workers=len(self._clients))
        excess = self._purse.excess
        if excess and not self._run.breach:
            self._run.breach = f"the spending cap is reached: {excess}"
        return {"granted": granted, "is_all": bool(excess)}

    def _excess(self, index: int, now_s: float) -> int:
        cap = self._plan.max_users_at(now_s) if self._plan is not None else None
        return 0 if cap is None else self._membership.excess(index, cap)

    def _find(self, index: int, data: Data) -> None:
        if "offset_s" in data:
            clock = messages.number(data, "offset_s"), messages.number(data, "error_s")
            self._run.find(self._node(index), *clock)

    def _hear_late(self, index: int, now_s: float, data: Data) -> None:
        """Note that a worker is there after the end, and stop it: it was away, or has only just begun."""
        self._membership.hear(index, now_s)
        if data.get("delivers") is True:
            return  # it has stopped, and has results on their way
        self._run.expect(self._node(index), index, joined_s=max(0.0, now_s))
        self._find(index, data)
        self._send(STOP, index, {})

    def _decline(self, index: int, why: str) -> None:
        """Have the others do what a worker was to do that takes no part in the run, and has done nothing."""
        now_s, node = self._run.clock.now_s(), self._node(index)
        if not why.isprintable():
            raise ValueError("it declines with something that cannot be shown")
        self._run.expect(node, index, joined_s=max(0.0, now_s))
        if self._run.nodes[node].has_declined:
            return
        logger.error("%s takes no part in the run: %s", node, why)
        self._run.decline(node, why)
        self._membership.leave(index, now_s, 0.0, why)
        self._membership.forget(index)
        self._announce()

    def receive(self, client_id: str, number: int, data: Mapping[str, Any]) -> None:
        """Take a batch into the record; one that is already there changes nothing.

        Raises `ValueError` if it is no batch of a worker of this run.
        """
        index = self._indices.get(client_id)
        if index is None:
            raise ValueError("its sender has no part in this run")
        node, inbox = self._node(index), self._inboxes[index]
        now_s = self._run.clock.now_s()
        batch = messages.decode_batch(data, run_id=self.run_id, node=node, until_s=now_s + AHEAD_S)
        self._run.expect(node, index, joined_s=max(0.0, now_s))
        if inbox.is_new(number, final=batch.final):
            self._run.take(node, dataclasses.replace(batch, final=inbox.complete))
        if inbox.complete:
            if not self._run.has_ended:
                self._membership.leave(index, now_s, now_s)
            self._membership.forget(index)
            self._pass_on(self._ledger.release(index, now_s))

    def rows(self, client_id: str, data: Data) -> None:
        """Lend a worker rows of a data file, or take some back."""
        index, feeder = self._indices[client_id], messages.text(data, "feeder")
        now_s = self._run.clock.now_s()
        if "total" in data:
            total, nodes = messages.whole(data, "total", least=1), len(self._clients)
            self._pass_on(self._ledger.lend(index, feeder, now_s, total=total, nodes=nodes))
        else:
            self._pass_on(self._ledger.give_back(index, feeder, now_s, messages.wholes(data, "rows")))

    def _pass_on(self, loans: list[Loan]) -> None:
        for loan in loans:
            data = {"run": self.run_id, "feeder": loan.feeder, "rows": list(loan.rows)}
            self._send(ROWS, loan.node, data | {"generation": self._generations[loan.node]})

    def drain(self, stop_timeout_s: float) -> None:
        """End the load: have every worker stop and wait for its last results, up to the deadline."""
        self._run.end_load()
        self._membership.end()
        for index in self._clients:
            self._send(STOP, index, {})
        began_s = time.monotonic()
        while not self._run.is_complete:
            # Users may take a while to stop; but nobody knows of a lost worker's.
            patience_s = FINAL_DEADLINE_S + (stop_timeout_s if self._run.waits_for_present else 0.0)
            if time.monotonic() - began_s > patience_s:
                return
            gevent.sleep(LOOK_S)

    def end(self) -> None:
        """Note in the run what every worker was given and what is missing; watch over them no more."""
        if self._watching is not None:
            self._watching.kill()
        self._announce()
        self._run.settle(self._membership.eras)
