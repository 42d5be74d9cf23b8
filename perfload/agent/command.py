"""The agent's command line, and its life from the start to Ctrl-C."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from perfload.agent.last_values import LastValues
from perfload.agent.ring import Ring
from perfload.agent.server import AgentServer, Shown, is_loopback
from perfload.config import Config, load_config
from perfload.errors import ExitCode, UsageError
from perfload.monitoring import AGENT_TOKEN
from perfload.monitors.agent import PREFIX as AGENT_PREFIX
from perfload.monitors.agent.link import DEFAULT_PORT
from perfload.monitors.agent.page import encode_entry
from perfload.monitors.reader import EVERY_METRIC, Entry
from perfload.monitors.sampler import MonitorPlan, Sampler, check_node, parse_plans, steady_clock
from perfload.monitors.selection import sampled
from perfload.units import format_duration, parse_duration_s

KEEP_S = 600.0
"""How long entries are kept for a master that cannot be reached for a while."""

TIMEOUT_S = 2.0

READY_PREFIX = "perfload agent: listening on "
"""The line that says where it answers, once it does."""

_TOKEN = re.compile(r"[!-~]{1,512}")
_NOT_OF_THIS_MACHINE = ("prometheus",)
"""What a master asks by itself."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the agent's options to `parser`."""
    add = parser.add_argument
    add(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1",
        help=f"address to listen on (default: 127.0.0.1, this machine only); any other needs {AGENT_TOKEN}",
    )
    add("--port", type=int, default=DEFAULT_PORT, help=f"port, 0 for any free one (default: {DEFAULT_PORT})")
    add(
        "--monitor",
        action="append",
        metavar="NAME[@TIME]",
        help="what to read, host@5s for an interval of its own; may be given again (default: host, and what "
        "the configuration in this folder has an address for)",
    )
    add("--interval", metavar="TIME", help="time between two reads (default: monitors.interval, 1s)")
    add(
        "--node",
        metavar="NAME",
        default=socket.gethostname(),
        help="this machine's name in the readings (default: its host name); a master calls it what its own "
        "configuration says",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """What an agent is made from, checked."""

    bind: str
    port: int
    node: str
    token: str
    plans: Sequence[MonitorPlan]
    environment: dict[str, str]


def run(arguments: argparse.Namespace, *, out: TextIO, err: TextIO) -> int:
    """Serve this machine's readings until Ctrl-C or SIGTERM; returns the exit code.

    Writes one line to `out` when it accepts connections, and what a person should know to `err`. Raises
    `UsageError` for options, configuration or an address that cannot be used.
    """

    def say(stream: TextIO, line: str) -> None:
        # A terminal that was closed is no reason to stop.
        with suppress(OSError):
            stream.write(f"{line}\n")
            stream.flush()

    options = read_options(arguments, directory=Path(), environ=os.environ)
    agent = Agent(options, clock=steady_clock(), tell=lambda line: say(err, f"perfload agent: {line}"))
    plans = ", ".join(f"{plan.name} every {format_duration(plan.interval_s)}" for plan in options.plans)
    with _stopped_by_signals(agent.stop):
        say(out, f"{READY_PREFIX}{agent.url} ({options.node}: {plans})")
        agent.run()
    return ExitCode.PASSED


def read_options(
    arguments: argparse.Namespace, *, directory: Path, environ: Mapping[str, str]
) -> AgentOptions:
    """Return the options from the command line and the configuration; raises `UsageError`."""
    config = load_config(directory=directory, environ=environ, flags={})
    token = config.settings.get(AGENT_TOKEN, "")
    if token and not _TOKEN.fullmatch(token):
        raise UsageError(f"{AGENT_TOKEN} cannot be sent in a header", hint="no spaces, only ASCII")
    if not token and not is_loopback(arguments.bind):
        raise UsageError(
            f"--bind {arguments.bind}: other machines could read along",
            hint=f"set {AGENT_TOKEN}, here and where the load test runs: openssl rand -hex 16",
        )
    interval_s = (
        parse_duration_s(arguments.interval, "--interval")
        if arguments.interval
        else config.monitoring.interval_s
    )
    plans = parse_plans(_names(arguments.monitor, config), interval_s=interval_s, timeout_s=TIMEOUT_S)
    return AgentOptions(
        bind=arguments.bind,
        port=arguments.port,
        node=check_node(arguments.node),
        token=token,
        plans=plans,
        environment={**environ, **config.monitoring.environment(config.settings)},
    )


def _names(given: Sequence[str] | None, config: Config) -> list[str]:
    if given:
        if chained := [name for name in given if name.startswith(AGENT_PREFIX)]:
            raise UsageError(f"--monitor {chained[0]}: an agent of an agent", hint="name it on the master")
        return list(given)
    names = sampled(config.monitoring, config.settings)
    own = [name for name in names if not name.startswith((AGENT_PREFIX, *_NOT_OF_THIS_MACHINE))]
    return own or ["host"]


class Agent:
    """A sampler and a server with what they share. Listens once it is made."""

    def __init__(
        self, options: AgentOptions, *, clock: Callable[[], float], tell: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._failing: dict[str, str] = {}
        self._ring = Ring(keep_s=KEEP_S)
        self._last_values = LastValues({plan.name: plan.interval_s for plan in options.plans})
        shown = Shown(
            node=options.node,
            session=secrets.token_hex(8),
            token=options.token,
            ring=self._ring,
            last_values=self._last_values,
            clock=clock,
            tell=tell,
        )
        self._server = AgentServer(options.bind, options.port, shown)
        self._sampler = Sampler(
            options.plans,
            node=options.node,
            write=self.write,
            clock=clock,
            environment=options.environment,
        )

    @property
    def url(self) -> str:
        """Where it answers."""
        return self._server.url

    def run(self) -> None:
        """Sample and serve until `stop` is called."""
        serving = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        serving.start()
        try:
            self._sampler.run()
        finally:
            self._server.shutdown()
            self._server.server_close()

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler."""
        self._sampler.stop()

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep what one monitor brought at one tick."""
        self._ring.append([encode_entry(entry) for entry in entries], self._clock())
        self._last_values.update(entries)
        for entry in entries:
            self._tell_change(entry)

    def _tell_change(self, entry: Entry) -> None:
        is_failure = _is_failure(entry)
        reason = getattr(entry, "unavailable", "")
        if is_failure and self._failing.get(entry.source) != reason:
            self._failing[entry.source] = reason
            self._tell(f"{entry.source}: {reason}")
        elif not is_failure and self._failing.pop(entry.source, None) is not None:
            self._tell(f"{entry.source}: works again")


def _is_failure(entry: Entry) -> bool:
    """Say whether `entry` is why a whole monitor has no values."""
    return getattr(entry, "metric", "") == EVERY_METRIC


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
