"""The connection to Redis: a few commands in one round trip, each with its own answer or refusal."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

from perfload.monitors.base import MonitorUnavailable

CLIENT_NAME = "perfload"
"""What the connection is called on the server, for whoever looks at CLIENT LIST."""

TIMEOUT_S = 1.0
"""Shorter than a read may take, so that a server that hangs is named as such."""

Command = tuple[str, ...]


class Source(Protocol):
    """Where a `RedisMonitor` gets its answers from: a `RedisClient`, or recorded answers in tests."""

    def open(self) -> None:
        """Connect; raises `MonitorUnavailable` with what to do about it."""

    @property
    def node(self) -> str:
        """What the server is called in the readings."""

    @property
    def name(self) -> str:
        """What the connection is called on the server; empty if it may not have a name."""

    def ask(self, *commands: Command) -> Sequence[Any]:
        """Return an answer per command, as RESP2 has it, or the `MonitorUnavailable` that says why none.

        Raises `MonitorUnavailable` or the client library's error when the server does not answer at all.
        """

    def close(self) -> None:
        """Disconnect."""


class RedisClient:
    """One connection through the client library `redis`."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._redis: Any = None
        self._node = ""
        self._name = ""

    @property
    def node(self) -> str:
        """`host:port`; empty for a socket of this machine."""
        return self._node

    @property
    def name(self) -> str:
        """`CLIENT_NAME`, unless the server refused it."""
        return self._name

    def open(self) -> None:
        """Connect and log in."""
        if not self._url:
            raise MonitorUnavailable("no address of Redis", hint="set REDIS_URL=redis://host:6379")
        try:
            import redis
        except ImportError as error:
            raise MonitorUnavailable(
                "the client library of Redis is not installed", hint="pip install 'perfload[redis]'"
            ) from error
        pool = self._pool(redis)
        where = pool.connection_kwargs
        self._node = "" if "path" in where else f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        self._redis = redis.Redis(connection_pool=pool)
        # The library would turn the text into a dictionary of numbers, strings and lists, as it sees fit.
        self._redis.set_response_callback("INFO", lambda answer, **_: answer)
        try:
            (answer,) = self.ask(("CLIENT", "SETNAME", CLIENT_NAME))
        except redis.AuthenticationError as error:
            raise MonitorUnavailable(
                f"Redis refuses the login: {error}", hint="REDIS_URL=redis://user:password@host:6379"
            ) from error
        # A name is a courtesy: a user without the right to give one may still read everything else.
        self._name = "" if isinstance(answer, MonitorUnavailable) else CLIENT_NAME

    def _pool(self, redis: Any) -> Any:
        try:
            pool = redis.ConnectionPool.from_url(_without_protocol(self._url), protocol=2)
        except ValueError as error:
            # The library's own message may quote the address, password and all.
            raise MonitorUnavailable(
                "REDIS_URL is no address of Redis", hint="redis://host:6379, rediss://… or unix:///path"
            ) from error
        # After the URL, whose query would win: what is read is the same for every database, `SELECT` would
        # need a right of its own, and so would a name that the library gives.
        pool.connection_kwargs.update(
            db=0,
            decode_responses=False,
            client_name=None,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            health_check_interval=0,
            retry_on_timeout=False,
            retry_on_error=[],
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )
        return pool

    def ask(self, *commands: Command) -> Sequence[Any]:
        """Send all commands at once."""
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers = pipeline.execute(raise_on_error=False)
        return [
            refusal(command, answer) if isinstance(answer, Exception) else answer
            for command, answer in zip(commands, answers, strict=True)
        ]

    def close(self) -> None:
        """Close the connection."""
        if self._redis is not None:
            with contextlib.suppress(Exception):
                self._redis.connection_pool.disconnect()


def _without_protocol(url: str) -> str:
    # Answers have another form in RESP3. The other options of an address, certificates above all, are kept.
    address, _, query = url.partition("?")
    options = urlencode([(name, value) for name, value in parse_qsl(query) if name != "protocol"])
    return f"{address}?{options}" if options else address


def refusal(command: Command, error: Exception) -> MonitorUnavailable:
    """Return why the server did not answer `command`, with the right that would let it."""
    said = str(error)
    if type(error).__name__ == "NoPermissionError" or said.startswith("NOPERM"):
        return MonitorUnavailable(f"the user lacks the right {right(command)}")
    if "unknown command" in said.lower() or "unknown subcommand" in said.lower():
        return MonitorUnavailable(f"this server has no {command[0]}: hosted ones often leave it out")
    return MonitorUnavailable(f"{command[0]}: {said}")


def right(command: Command) -> str:
    """Return the rule of an ACL that allows `command`: `+info`, `+slowlog|get`."""
    words = command[:1] if command[0] == "INFO" else command[:2]
    return "+" + "|".join(word.lower() for word in words)
