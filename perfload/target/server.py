"""Runs the target: uvicorn around the layers, on a socket that faults can close, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from perfload.target.accounts import Accounts
from perfload.target.ai.exchange import CONNECTION
from perfload.target.ai.layer import AiLayer
from perfload.target.ai.selector import precise_loop
from perfload.target.ai.settings import AiSettings
from perfload.target.ai.truth import AiTruth
from perfload.target.app import Api
from perfload.target.asgi import Application
from perfload.target.faults import ActiveFaults, Door, Faults
from perfload.target.latency import DEFAULTS, LatencyModel, LogNormal
from perfload.target.listener import ListeningDoor, Port
from perfload.target.middleware import RECEIVED_NS, ControlLayer, FaultLayer, TruthLayer
from perfload.target.plants import Plants
from perfload.target.stores import Backends, Stores, in_memory, opened, prepared
from perfload.target.truth import Truth

logger = logging.getLogger(__name__)

_KEEP_ALIVE_S = 120
"""Longer than any think time: an idle connection that the server closes would look like a fault."""
_GRACE_S = 1
"""Seconds that requests in progress get to finish when the target stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """How to run the target. `port` 0 takes any free one; `accounts` None means the built-in ones."""

    host: str = "127.0.0.1"
    port: int = 8000
    accounts: Path | None = None
    latencies: Mapping[str, LogNormal] = field(default_factory=lambda: dict(DEFAULTS))
    seed: int = 1
    faults: Faults = field(default_factory=Faults)
    token_lifetime_s: float = 3600.0
    backends: Backends = field(default_factory=Backends)
    ai: AiSettings = field(default_factory=AiSettings)
    stop_with_stdin: bool = False
    """Stop when standard input ends: a target that a script started does not outlive it."""


def serve(options: TargetOptions, on_ready: Callable[[str], None]) -> Truth:
    """Run the target until SIGINT or SIGTERM (or the end of standard input); returns what it saw.

    `on_ready` is called once with the URL, when the target accepts connections. Raises `UsageError` when the
    accounts cannot be read, the port cannot be had, or a store is not as it has to be.
    """
    accounts = Accounts.read(options.accounts)
    port = Port(options.host, options.port)
    if not port.is_loopback:
        logger.warning(
            "the target listens on %s, where other machines can reach it; its passwords are public",
            options.host,
        )
    door = ListeningDoor(port)
    truth = Truth()
    _raise_file_limit()

    async def run() -> None:
        stores = in_memory(accounts, options.token_lifetime_s)
        async with opened(options.backends, stores, database) as stores:
            app = build(options, stores, truth, door)
            server = _Server(app, door, lambda: on_ready(port.url))
            if options.stop_with_stdin:
                threading.Thread(target=_stop_at_end_of_stdin, args=(server,), daemon=True).start()
            await server.serve()

    # The door watches its socket with add_reader, which not every loop of every platform has.
    with (
        prepared(options.backends, accounts) as database,
        asyncio.Runner(loop_factory=precise_loop) as runner,
    ):
        runner.run(run())
    return truth


def build(options: TargetOptions, stores: Stores, truth: Truth, door: Door) -> Application:
    """Return the whole ASGI application."""
    faults = ActiveFaults(options.faults, seed=options.seed, clock=time.monotonic, door=door)
    api = Api(
        accounts=stores.accounts,
        sessions=stores.sessions,
        repository=stores.models,
        clock=time.time,
    )
    plants = Plants(slow_query=stores.slow_query, hold_connection=stores.hold_connection)
    faulty = FaultLayer(api, faults, LatencyModel(options.latencies, options.seed), plants)
    ai_truth = AiTruth(options.ai.raw_streams)
    truth.parts["ai"] = ai_truth
    ai = AiLayer(
        faulty,
        options.ai,
        ai_truth,
        seed=options.seed,
        clock_ns=time.perf_counter_ns,
        wall_clock=time.time,
    )
    return ControlLayer(TruthLayer(ai, truth, time.perf_counter_ns), truth, faults, plants)


class _Server(uvicorn.Server):
    """uvicorn, but for two things: who opens the listening socket, and what a signal does."""

    def __init__(self, app: Application, door: ListeningDoor, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpToolsProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                # Else a client could claim to be on loopback with a header.
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._door = door
        self._on_ready = on_ready
        logging.getLogger("uvicorn.error").addFilter(_is_unexpected)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door; called once by `serve`."""
        self.servers = []
        self._door.open(self._protocol)
        self.started = True
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, then let requests in progress finish; called once by `serve`."""
        self._door.close()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return _StampingProtocol(config=self.config, server_state=self.server_state, app_state={})

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully on SIGINT and SIGTERM.

        uvicorn's own raises the signal again in the end, which kills the process before it tells what it saw.
        """
        previous = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class _StampingProtocol(HttpToolsProtocol):
    """Notes when a request's first bytes came in: from then on its client is waiting for this server.

    It also hands on the connection, to which streams write themselves.
    """

    _received_ns = 0

    def data_received(self, data: bytes) -> None:
        """Read the clock before anything is parsed."""
        self._received_ns = time.perf_counter_ns()
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Hand the time on with the request that begins in these bytes."""
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # ours is not in its TypedDict
        scope[RECEIVED_NS] = self._received_ns
        scope[CONNECTION] = self.transport


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Return whether uvicorn's complaint is news: it reports truncated and cancelled requests as bugs."""
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        return False
    return "returned without completing response" not in record.getMessage()


def _stop_at_end_of_stdin(server: uvicorn.Server) -> None:
    # os.read and not sys.stdin: a thread that waits in the latter aborts the interpreter at its exit.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    server.should_exit = True


def _raise_file_limit() -> None:
    """Allow as many connections as the system does: the usual 1,024 would refuse some during a stall."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
