"""The HTTP user that shipped scenarios are made of."""

from __future__ import annotations

import time
from typing import Any

import gevent
from geventhttpclient.useragent import ConnectionError as ClientConnectionError
from locust import FastHttpUser
from locust.contrib.fasthttp import FastHttpSession, LocustUserAgent
from locust.exception import CatchResponseError

from perfload.errors import UsageError
from perfload.hosts import HostRules

_SOON_MS = 100.0
"""Whoever has not got a connection by then is kept waiting by the system."""


class HttpUser(FastHttpUser):
    """Locust's `FastHttpUser` with TLS verified, load kept to the allowed hosts, and truer times.

    A request takes from when it is handed to the connection (opening one included) to its last byte. Locust's
    own clock also counts preparing the request and taking the response apart: most of a millisecond of Python
    on a slow machine. Its statistics and perfload's both get the truer times.
    """

    abstract = True
    insecure = False

    def __init__(self, environment: Any) -> None:
        from perfload.load import plugin

        super().__init__(environment)
        # Locust chooses both classes deep inside; ours add to them and change nothing.
        session: Any = self.client
        session.__class__ = _Session
        session.request_event = _TrueTimes(environment.events.request)
        agent = session.client
        agent.__class__ = _Agent
        agent.host_rules = plugin.installed.config.host_rules if plugin.installed else HostRules()
        agent.checked = set()


class HostNotAllowed(ClientConnectionError):
    """A request or redirect to a host that load may not go to; counted as a failure of that request."""

    def __repr__(self) -> str:
        return str(self.text)


class _Session(FastHttpSession):
    """Counts a request that is cut off by the end of the run as failed: a system that hangs must not pass."""

    def request(self, method: str, url: str, name: str | None = None, *args: Any, **options: Any) -> Any:
        """Send one request; see `FastHttpSession.request`."""
        start_time, began_s = time.time(), time.perf_counter()
        try:
            return super().request(method, url, name, *args, **options)
        except gevent.GreenletExit:
            took_ms = (time.perf_counter() - began_s) * 1000
            # A user that is stopped as it wakes up gets no further than here: nothing has been sent.
            agent: Any = self.client
            if not agent.is_connected and took_ms < _SOON_MS:
                raise
            self.request_event.fire(
                request_type=method,
                name=name or self.request_name or url,
                response_time=took_ms,
                response_length=0,
                exception=CatchResponseError("no response when the run ended"),
                start_time=start_time,
                response=None,
                context=options.get("context", {}),
                url=url,
            )
            raise


class _Agent(LocustUserAgent):
    """Looks at the host of every request it is about to send, redirects included, and at the clock."""

    host_rules: HostRules
    checked: set[tuple[str, str, int]]
    sent_at_s = 0.0
    """Wall clock when the request, the first of a chain of redirects, was handed over; 0 before."""
    sent_s = 0.0
    """The same on the monotonic clock."""
    is_connected = False
    """Whether the request had a connection to be sent on."""

    def urlopen(self, *arguments: Any, **options: Any) -> Any:
        """Send one request and follow its redirects."""
        self.sent_at_s = 0.0
        self.is_connected = False
        return super().urlopen(*arguments, **options)

    def _urlopen(self, request: Any) -> Any:
        self._check(request)
        self._watch(self.clientpool.get_client(request.url_split)._connection_pool)
        if not self.sent_at_s:
            self.sent_at_s, self.sent_s = time.time(), time.perf_counter()
        response: Any = super()._urlopen(request)  # type: ignore[no-untyped-call]  # Locust's is not typed
        took_ms = (time.perf_counter() - self.sent_s) * 1000
        response.sent_at_s = self.sent_at_s
        # When nothing is left to be read, what follows is not the system's time.
        response.took_ms = took_ms if response._response.message_complete else None
        return response

    def _watch(self, pool: Any) -> None:
        """Note when `pool` has given a connection out: what follows there is the sending."""
        if "get_socket" in vars(pool):
            return
        get_socket = pool.get_socket

        def note() -> Any:
            connection = get_socket()
            self.is_connected = True
            return connection

        pool.get_socket = note

    def _check(self, request: Any) -> None:
        url = request.url_split
        place = (url.scheme, url.host, url.port)
        if place in self.checked:
            return
        try:
            self.host_rules.check(request.url)
        except UsageError as error:
            raise HostNotAllowed(request.url, error.message) from error
        self.checked.add(place)


class _TrueTimes:
    """Locust's request event, with the start and the duration that the agent measured."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def fire(self, *, response_time: float, start_time: float, response: Any, **meta: Any) -> None:
        """Pass one finished request on."""
        sent_at_s = getattr(response, "sent_at_s", None)
        if sent_at_s is not None:
            took_ms = response.took_ms
            response_time = took_ms or response_time - (sent_at_s - start_time) * 1000
            start_time = sent_at_s
        self._event.fire(response_time=response_time, start_time=start_time, response=response, **meta)
