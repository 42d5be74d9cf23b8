"""Locust's cluster sockets: with keys, and with every message checked before Locust sees it.

`install` puts this module into the place of the one that Locust's runners take `Server` and `Client` from.
Locust's own bind and connect while they are made, too early for keys: these have constructors of their own.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import gevent
import zmq
from gevent.event import Event
from locust import runners
from locust.env import Environment
from locust.exception import RPCError, StopTest
from locust.rpc import Message, zmqrpc

from perfload.cluster_key import ClusterKey
from perfload.config import load_cluster_key
from perfload.errors import UsageError
from perfload.load.cluster import handshake
from perfload.load.cluster.exposure import check_exposure, is_loopback
from perfload.load.cluster.gate import CHECKS, Gate
from perfload.load.cluster.messages import BEAT, START, STOP

logger = logging.getLogger("perfload")

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of one frame; whoever sends a longer one is disconnected."""

PING_MS = 2_000
SILENCE_MS = 6_000
MASTER_SILENCE_MS = 4_000
"""After so long without an answer to a ping the connection is given up. By the master first, so that a worker
that comes back finds its name free."""
RECONNECT_MS, RECONNECT_MAX_MS = 100, 1_000

gate = Gate()
"""Of this process: it outlives its sockets, which Locust replaces when a connection breaks."""


class Orders:
    """Keeps Locust's orders to spawn users from a worker that has no part in a run.

    Locust's master goes on with its ramp-up while perfload's waits for the last results, and starts whoever
    joins in that time: users whose requests nobody would record.
    """

    def __init__(self) -> None:
        self._has_part = False
        """Whether the last that was heard of a run is that it begins."""

    def admit(self, kind: str) -> bool:
        """Take note of a message from the master; say whether Locust is to see it."""
        if kind in (START, STOP):
            self._has_part = kind == START
        return kind != "spawn" or self._has_part

    def forget(self) -> None:
        """Begin again: the master that had a part for this worker is gone."""
        self._has_part = False


orders = Orders()
"""Of this process, like `gate`."""
ready = Event()
"""Set once this process knows what to do with its orders, and what time it is."""
EARLY = ("ack", BEAT)
"""What a worker hears before that: it is welcome, and what the master's clock says."""


class Server(zmqrpc.Server):
    """The master's socket: lets in who has the key, and hands on what `gate` admits."""

    def __init__(self, host: str, port: int) -> None:
        key = _key()
        _make(self, zmq.ROUTER, host, port, MASTER_SILENCE_MS)
        self._hands_out_files = key is not None or is_loopback(host)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        if key is not None:
            # A worker whose connection broke takes its name over; without a key, anybody could.
            self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
            handshake.lock(self.socket, key, gate.refuse)
        try:
            self.port = self._bind(host, port)
        except zmq.ZMQError as error:
            self.close()
            # Locust knows a busy port by this text, to which pyzmq adds the address.
            raise RPCError(f"Socket bind failure: {zmq.strerror(error.errno or 0)}") from error

    def _bind(self, host: str, port: int) -> int:
        if port == 0:
            return int(self.socket.bind_to_random_port(f"tcp://{host}"))
        self.socket.bind(f"tcp://{host}:{port}")
        return port

    def recv_from_client(self) -> tuple[str, Message]:
        """Return the next valid message and who sent it; raises `RPCError` when the socket is broken."""
        while True:
            try:
                frames = self.socket.recv_multipart()
            except zmq.ZMQError as error:
                raise RPCError("ZMQ network broken") from error
            message = gate.admit(frames, hands_out_files=self._hands_out_files)
            if message is not None:
                return message.node_id, message
            # Receiving lets others run only when there is nothing to receive: a flood would stop the master.
            gevent.sleep(0)

    def close(self, linger: int | None = None) -> None:
        """Close the socket, and with its context the authentication that belongs to it."""
        _close(self.socket, linger)


class Client(zmqrpc.Client):
    """A worker's socket: shows the key, comes back soon after a break, and says why it is not let in."""

    def __init__(self, host: str, port: int, identity: str) -> None:
        self._held: deque[Message] = deque()
        key = _key()
        _make(self, zmq.DEALER, host, port, SILENCE_MS)
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        if key is not None:
            handshake.present(self.socket, key)
        endpoint = f"tcp://{host}:{port}"
        handshake.watch_master(self.socket, endpoint)
        self.socket.connect(endpoint)

    def recv(self) -> Message:
        """Return the next message; raises `RPCError` when the socket is broken.

        A master sends a worker that joins in mid-run its orders at once. They wait until Locust's `init`
        event is over: before that, nobody here would know what to do with them. What leads up to it does not
        wait.
        """
        while True:
            if ready.is_set() and self._held:
                return self._held.popleft()
            message: Message = super().recv()  # type: ignore[no-untyped-call]
            if not orders.admit(message.type):
                continue
            if message.type in EARLY or (ready.is_set() and not self._held):
                return message
            self._held.append(message)

    def close(self, linger: int | None = None) -> None:
        """Close the socket and what watches it. What it has not sent is lost: Locust closes broken ones."""
        _close(self.socket, linger)


def _make(held: Any, kind: int, host: str, port: int, silence_ms: int) -> None:
    """Make the socket of `held` as Locust does, with pings."""
    zmqrpc.BaseSocket.__init__(held, kind, held.ipv4_only(host, port))  # type: ignore[no-untyped-call]
    held.socket.setsockopt(zmq.HEARTBEAT_IVL, PING_MS)
    held.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, silence_ms)


def _close(socket: Any, linger: int | None) -> None:
    socket.close(linger=linger or 0)
    socket.context.destroy(linger=0)


def _key() -> ClusterKey | None:
    try:
        return load_cluster_key(directory=Path.cwd(), environ=os.environ)
    except UsageError as error:
        _end(error)


def _end(error: UsageError) -> NoReturn:
    """End the process: Locust makes its sockets before there is an event in which to do so."""
    logger.error("%s", error)
    sys.exit(int(error.exit_code))


def install() -> None:
    """Have Locust's runners use these sockets, and its master survive every message; once is enough."""
    module, locust = sys.modules[__name__], cast(Any, runners)
    if locust.rpc is not module:
        locust.rpc = module
        locust.MasterRunner.handle_message = _survives(locust.MasterRunner.handle_message)
        environment = cast(Any, Environment)
        environment.create_master_runner = _checks_address(environment.create_master_runner)


def _checks_address(create: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(create)
    def create_master_runner(
        environment: Any, master_bind_host: str = "*", master_bind_port: int = 5557
    ) -> Any:
        is_insecure = bool(getattr(environment.parsed_options, "insecure_cluster", False))
        try:
            check_exposure(master_bind_host, is_keyed=_key() is not None, is_insecure=is_insecure)
        except UsageError as error:
            _end(error)
        return create(environment, master_bind_host, master_bind_port)

    return create_master_runner


def _survives(handle: Callable[..., None]) -> Callable[..., None]:
    """Wrap `MasterRunner.handle_message`.

    The gate knows what Locust's messages look like, not everything that may happen when one is handled; and
    Locust calls this in the one greenlet that listens to all workers, which an exception would end.
    `StopTest` is no accident: a listener of an event has asked for it.
    """

    @functools.wraps(handle)
    def handle_message(runner: Any, client_id: str, msg: Message) -> None:
        if msg.type not in CHECKS and msg.type not in runner.custom_messages:
            gate.refuse(client_id, "nobody here has registered its type")
            return
        try:
            handle(runner, client_id, msg)
        except StopTest:
            raise
        except Exception as error:
            logger.debug("a message %s failed", msg.type, exc_info=True)
            gate.refuse(client_id, f"its {msg.type} could not be handled", repr(error))

    return handle_message
