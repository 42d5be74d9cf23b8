"""`RedisMonitor`: asks once per read, and leaves out what the server refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Self

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.redis.client import RedisClient, Source
from perfload.monitors.redis.commands import BusiestCommands
from perfload.monitors.redis.info import MAX_LABEL_CHARS, Fields, Interval, gauges, parse_info, rates
from perfload.monitors.redis.latency import THRESHOLD, LatencyEvents
from perfload.monitors.redis.slow_log import SlowLog

INFO = ("INFO", "all")
SLOW_LOG = ("SLOWLOG", "GET", "1")
LATENCY = ("LATENCY", "LATEST")
SETTINGS = (
    ("CONFIG", "GET", "slowlog-log-slower-than"),
    ("CONFIG", "GET", "slowlog-max-len"),
    ("CONFIG", "GET", THRESHOLD),
    ("CONFIG", "GET", "maxclients"),
)

_IDENTITY = ("redis_version", "redis_mode", "role", "maxmemory_policy", "os")


class RedisMonitor:
    """One Redis server. Metrics, units and rights are listed in `docs/monitors/redis.md`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._before: tuple[float, Fields] | None = None
        self._server: dict[str, str] = {}
        self._commands = BusiestCommands()
        self._slow_log = SlowLog()
        self._latency = LatencyEvents()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return a monitor of the server at `REDIS_URL`."""
        return cls(RedisClient(environment.get("REDIS_URL", "")))

    def open(self) -> None:
        """Connect."""
        self._source.open()

    def close(self) -> None:
        """Disconnect."""
        self._source.close()

    def finish(self, at_s: float) -> Found:
        """Return what the busiest commands took over the whole run."""
        del at_s
        return [dataclasses.replace(item, node=self._source.node) for item in self._commands.findings()]

    def read(self, at_s: float) -> Found:
        """Return gauges, rates since the read before, and what is new in the server's logs."""
        info, slow, latency, *settings = self._source.ask(INFO, SLOW_LOG, LATENCY, *SETTINGS)
        known = _settings(settings)
        found = [
            *self._info(at_s, info, {} if isinstance(known, MonitorUnavailable) else known),
            *self._slow_log.look(
                at_s,
                slow,
                {} if isinstance(known, MonitorUnavailable) else known,
                own_name=self._source.name,
                fetch=lambda count: self._source.ask(("SLOWLOG", "GET", str(count)))[0],
            ),
            *self._latency.look(latency, known),
        ]
        return [dataclasses.replace(item, node=self._source.node) for item in found]

    def _info(self, at_s: float, answer: Any, settings: Fields) -> Iterator[Measurement | Finding]:
        try:
            if isinstance(answer, MonitorUnavailable):
                raise answer
            fields = parse_info(answer)
        except MonitorUnavailable as error:
            self._before = None
            yield Measurement("info", "", None, error.message)
            return
        before, self._before = self._before, (at_s, fields)
        yield from self._identity(fields)
        yield from gauges(fields, settings)
        if before is not None:
            interval = Interval.between(*before, at_s, fields)
            yield from rates(interval)
            yield from self._commands.measure(interval)

    def _identity(self, fields: Fields) -> Iterator[Finding]:
        """Yield what kind of server it is, at first and when that changes: after a failover, say."""
        server = {name: fields[name][:MAX_LABEL_CHARS] for name in _IDENTITY if name in fields}
        if server != self._server:
            self._server = server
            yield Finding("server", server)


def _settings(answers: list[Any]) -> Fields | MonitorUnavailable:
    """Return what CONFIG GET says, or why it says nothing."""
    settings: dict[str, str] = {}
    for answer in answers:
        if isinstance(answer, MonitorUnavailable):
            return answer
        if not isinstance(answer, list) or not all(isinstance(word, bytes) for word in answer):
            return MonitorUnavailable("CONFIG GET is answered in an unknown form")
        words = [word[:MAX_LABEL_CHARS].decode("utf-8", "replace") for word in answer]
        settings.update(zip(words[::2], words[1::2], strict=False))
    return settings
