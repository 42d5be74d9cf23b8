"""The HTTP user that shipped scenarios are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from locust import User
from locust.exception import StopTest

from perfload.hosts import HostRules
from perfload.load.http import HttpSession, Timeouts


class HttpUser(User):
    """A user with an HTTP client: perfload's own, in the place of Locust's `HttpUser` or `FastHttpUser`.

    TLS certificates are verified and load is kept to the allowed hosts. docs/client.md has the client's
    interface, and what differs from Locust's.
    """

    abstract = True

    insecure: ClassVar[bool] = False
    """True accepts any TLS certificate."""
    timeouts: ClassVar[Timeouts] = Timeouts()
    default_headers: ClassVar[Mapping[str, str]] = {}
    """Sent with every request that does not bring its own."""

    def __init__(self, environment: Any) -> None:
        from perfload.load import plugin

        super().__init__(environment)
        if self.host is None:
            raise StopTest("no host to test: pass --host, or give the user class a host")
        self.client = HttpSession(
            self.host,
            environment.events.request,
            self,
            insecure=self.insecure,
            host_rules=plugin.installed.config.host_rules if plugin.installed else HostRules(),
            timeouts=self.timeouts,
            default_headers=self.default_headers,
        )

    def start(self, group: Any) -> Any:
        """Start the user; its connections are closed when it has left, however it leaves.

        Locust's task sets and their users keep each other until the collector comes: too late for a socket.
        """
        greenlet = super().start(group)
        greenlet.rawlink(lambda _greenlet: self.client.close())
        return greenlet
