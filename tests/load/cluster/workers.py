"""A worker without Locust: what it sends is kept, and what its master says is up to a test."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgpack
from gevent.queue import Queue
from locust.exception import RPCError

from perfload.load.cluster.messages import BEAT, START, encode_assignment
from perfload.load.cluster.worker import WorkerLink
from perfload.load.licence import Licence
from perfload.load.node import Assignment, Batch
from perfload.shares import Shares, evenly
from tests.load.cluster.batches import STARTED_AT_S, batch

ERAS = (evenly([0, 1], 0.0),)
TERMS = Assignment(
    "run-1",
    "worker-0",
    0,
    2,
    started_at_s=STARTED_AT_S,
    seed=3,
    eras=ERAS,
    lease_until_s=2.0,
    zero_s=500.0,
)


class Worker:
    """A link on a runner without a network: what is sent is kept."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.is_cut = False
        self.stops = 0
        self.inbox: Queue[Any] = Queue()
        self._handlers: dict[str, Callable[..., None]] = {}
        self.runner = SimpleNamespace(
            send_message=self._send,
            register_message=lambda kind, handler, **_: self._handlers.update({kind: handler}),
            user_count=4,
            state="ready",
            worker_state="running",
            greenlet=(),
            stop=self._stop,
            client=SimpleNamespace(recv=self._recv),
            handle_message=lambda message: self.hear(message.type, message.data),
        )
        self.link = WorkerLink(SimpleNamespace(runner=self.runner))
        self.node: Any = None
        self.deliver: Callable[[Batch], None]

    def _send(self, kind: str, data: Any) -> None:
        if self.is_cut:
            raise RPCError("the socket is closed")
        self.sent.append((kind, msgpack.unpackb(msgpack.packb(data))))

    def _stop(self) -> None:
        self.stops += 1
        self.end_node()

    def end_node(self) -> None:
        """Hand in the last batch of the run, if there is one, as a node does when it has been stopped."""
        if self.node is not None:
            self.node = None
            self.deliver(batch(99, final=True))

    def _recv(self) -> Any:
        message = self.inbox.get()
        if message is None:
            raise RPCError("the socket is closed")
        return message

    def said(self, kind: str) -> list[Any]:
        """Return the data of the messages of one kind since the last call."""
        said = [data for name, data in self.sent if name == kind]
        self.sent[:] = [message for message in self.sent if message[0] != kind]
        return said

    def hear(self, kind: str, data: Any) -> None:
        """Get a message of the master."""
        self._handlers[kind](environment=None, msg=SimpleNamespace(data=data, node_id="host_0"))

    def answer(self, session: str = "one", **data: Any) -> None:
        """Get the answer to a beat that was sent now, and took no time."""
        now_s = time.perf_counter()
        self.hear(BEAT, {"sent_s": now_s, "master_s": now_s + 100.0, "session": session} | data)

    def begin(self, terms: Assignment = TERMS) -> Callable[[Batch], None]:
        """Take part in a run; return what takes its batches."""
        self.hear(START, encode_assignment(terms) | {"allow": []})
        assert self.link.assignment == terms
        deliver = self.deliver = self.link.open()
        licence = Licence(Shares(terms.index, terms.eras, terms.version), terms.lease_until_s)
        clock = self.link.clock(terms)
        self.node = SimpleNamespace(assignment=terms, licence=licence, clock=clock, left_s=None)
        self.link.attend(self.node)
        return deliver
