"""The HTTP user that shipped scenarios are made of."""

from __future__ import annotations

from typing import Any

from geventhttpclient.useragent import ConnectionError as ClientConnectionError
from locust import FastHttpUser
from locust.contrib.fasthttp import LocustUserAgent

from perfload.errors import UsageError
from perfload.hosts import HostRules


class HostNotAllowed(ClientConnectionError):
    """A request or redirect to a host that load may not go to; counted as a failure of that request."""

    def __repr__(self) -> str:
        return str(self.text)


class _GuardedAgent(LocustUserAgent):
    """Looks at the host of every request it is about to send, redirects included."""

    host_rules: HostRules
    _checked: set[tuple[str, str, int]]

    def _urlopen(self, request: Any) -> Any:
        url = request.url_split
        place = (url.scheme, url.host, url.port)
        if place not in self._checked:
            try:
                self.host_rules.check(request.url)
            except UsageError as error:
                raise HostNotAllowed(request.url, error.message) from error
            self._checked.add(place)
        return super()._urlopen(request)  # type: ignore[no-untyped-call]  # Locust's is not typed


class HttpUser(FastHttpUser):
    """Locust's `FastHttpUser`, with TLS certificates verified and load kept to the allowed hosts."""

    abstract = True
    insecure = False

    def __init__(self, environment: Any) -> None:
        from perfload.load import plugin

        super().__init__(environment)
        agent: Any = self.client.client
        # Its class is chosen deep inside Locust's session; only the look at the host is added.
        agent.__class__ = _GuardedAgent
        agent.host_rules = plugin.installed.config.host_rules if plugin.installed else HostRules()
        agent._checked = set()
