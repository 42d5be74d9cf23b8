"""One agent as a monitor: its entries are handed on, with times of our clock and the name it has here."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

from perfload.errors import UsageError
from perfload.model import Observation, Reading
from perfload.monitoring import AGENT_TOKEN
from perfload.monitors.agent.link import AgentLink, AgentUnreachable, AgentUrl
from perfload.monitors.agent.offset import OffsetEstimate
from perfload.monitors.agent.page import Page, decode_entry
from perfload.monitors.base import Finding, Found, Measurement, Monitor, MonitorFactory, MonitorUnavailable

PREFIX = "agent."
"""Before the name of an agent in the name of its monitor."""

VARIABLE = "PERFLOAD_AGENTS"

AHEAD_S = 5.0
"""An entry further in the future than this has no time that could be right."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[!-~]{1,512}")
_EVERY_METRIC = "*"
_OURS = re.compile(r"generator|agent\..*")
"""Sources that no agent may speak for."""


@dataclass(slots=True)
class _Taken:
    """What became of a page's entries."""

    found: list[Measurement | Finding] = field(default_factory=list)
    refused: int = 0
    reason: str = ""


class AgentMonitor:
    """Asks its agent once per read for what is new there; begins with what is measured from then on.

    An agent that does not answer leaves a gap. What it still holds of that time is fetched when it answers
    again: real values at their real times. `clock` is any steady clock of this process.
    """

    def __init__(
        self, name: str, url: str, token: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._clock = clock
        self._url = AgentUrl.parse(url, name)
        if token and not _TOKEN.fullmatch(token):
            raise UsageError(f"{AGENT_TOKEN}: a token that no agent can have", hint="no spaces, only ASCII")
        self._link = AgentLink(self._url, token, clock=clock)
        self._offset = OffsetEstimate()
        self._session = ""
        self._next = 0
        self._began_at_s: float | None = None
        self._epoch_s = -math.inf

    @classmethod
    def from_environment(cls, name: str, environment: Mapping[str, str]) -> Self:
        """Return the monitor of the agent called `name` in `PERFLOAD_AGENTS`; raises `UsageError`."""
        urls = _urls(environment.get(VARIABLE, ""))
        if name not in urls:
            raise UsageError(
                f"there is no agent {name!r}", hint="add it to perfload.toml: [[agents]] with name and url"
            )
        return cls(name, urls[name], environment.get(AGENT_TOKEN, ""))

    def open(self) -> None:
        """Do nothing: an agent that is not there yet is asked at every read."""

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def finish(self, at_s: float) -> Found:
        """Return what has been measured since the last read."""
        return self.read(at_s)

    def read(self, at_s: float) -> Found:
        """Return the agent's new entries; a reason when it cannot be reached."""
        began_s = self._clock()
        # The tick is stamped before this thread wakes, never after: the smallest delay is nearest the truth.
        self._epoch_s = max(at_s - began_s, self._epoch_s)
        if self._began_at_s is None:
            self._began_at_s = at_s
        try:
            exchange = self._link.fetch(self._query())
        except AgentUnreachable as error:
            reason = f"cannot reach the agent at {self._url}: {error}; is perfload agent running there?"
            return [Measurement(_EVERY_METRIC, "", None, reason, node=self._name)]
        page = exchange.page
        is_new = page.session != self._session
        if is_new:
            # Its clock was set anew when it started.
            self._offset = OffsetEstimate()
        offset = self._offset.add(
            exchange.sent_s + self._epoch_s, page.received_s, page.now_s, exchange.arrived_s + self._epoch_s
        )
        if not is_new and page.next < self._next:
            raise MonitorUnavailable(f"the agent at {self._url} counts backwards")
        self._session, self._next = page.session, page.next
        taken = self._take(page, offset.seconds, at_s)
        return [
            Measurement("clock_offset_ms", "ms", 1000 * offset.seconds, node=self._name),
            Measurement("clock_error_ms", "ms", 1000 * offset.error_s, node=self._name),
            self._count(page, taken),
            *taken.found,
        ]

    def _query(self) -> str:
        # Without a session the agent begins with the present.
        return urlencode({"after": self._next, "session": self._session}) if self._session else ""

    def _take(self, page: Page, offset_s: float, at_s: float) -> _Taken:
        taken = _Taken()
        for line in page.entries:
            try:
                entry = decode_entry(line)
                if _OURS.fullmatch(entry.source):
                    raise ValueError(f"it speaks for {entry.source[:40]!r}")
                entry_at_s = entry.at_s - offset_s
                if entry_at_s > at_s + AHEAD_S:
                    raise ValueError("its time is in the future")
            except ValueError as error:
                taken.refused += 1
                taken.reason = taken.reason or str(error)[:120]
                continue
            # An agent that was started anew may have run for a while before this run did.
            if self._began_at_s is not None and entry_at_s >= self._began_at_s:
                node = self._name if entry.node == page.node else entry.node
                taken.found.append(_handed_on(entry, node, max(0.0, entry_at_s)))
        return taken

    def _count(self, page: Page, taken: _Taken) -> Measurement:
        reasons = []
        if page.lost:
            reasons.append(f"{page.lost} entries had left the agent's memory before they were fetched")
        if taken.refused:
            reasons.append(f"{taken.refused} entries were refused: {taken.reason}")
        value = None if reasons else float(len(taken.found))
        return Measurement("agent_entries", "entries", value, "; ".join(reasons), node=self._name)


def agent_factory(monitor: str) -> MonitorFactory:
    """Return the factory of the monitor `agent.NAME`; raises `UsageError` for a name that cannot be."""
    name = monitor.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"an agent is named {name[:80]!r}",
            hint="give it a name of letters, digits and . _ - such as db-1",
        )

    def make(environment: Mapping[str, str]) -> Monitor:
        return AgentMonitor.from_environment(name, environment)

    return make


def _handed_on(entry: Reading | Observation, node: str, at_s: float) -> Measurement | Finding:
    if isinstance(entry, Reading):
        return Measurement(
            entry.metric,
            entry.unit,
            entry.value,
            entry.unavailable,
            node=node,
            at_s=at_s,
            source=entry.source,
        )
    return Finding(entry.kind, entry.data, node=node, at_s=at_s, source=entry.source)


def _urls(text: str) -> dict[str, str]:
    try:
        agents: Any = json.loads(text or "[]")
        return {str(agent["name"]): str(agent["url"]) for agent in agents}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"{VARIABLE} is no list of agents", hint='write [{"name": …, "url": …}]') from None
