"""The HTTP user that shipped scenarios are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from locust import User
from locust.exception import StopTest

from perfload.errors import UsageError
from perfload.hosts import HostRules
from perfload.load import lean
from perfload.load.http import HttpSession, Timeouts
from perfload.load.pacing import dephase


class HttpUser(User):
    """A user with an HTTP client: perfload's own, in the place of Locust's `HttpUser` or `FastHttpUser`.

    TLS certificates are verified and load is kept to the allowed hosts. docs/client.md has the client's
    interface, and what differs from Locust's.
    """

    abstract = True

    lean: ClassVar[bool] = False
    """True runs the tasks in perfload's own loop: cheaper, for tasks that are plain functions."""
    insecure: ClassVar[bool] = False
    """True accepts any TLS certificate."""
    ca_file: ClassVar[str | None] = None
    """Authorities to trust, as PEM, in the place of the system's."""
    client_cert: ClassVar[str | tuple[str, str] | None] = None
    """A PEM file with the users' certificate and its key, or (certificate, key)."""
    resume_tls: ClassVar[bool] = True
    """A user's later connections go on with its own TLS sessions; False: every handshake is a full one."""
    proxy: ClassVar[str | None] = None
    """`http://user:password@host:port`; every connection is tunnelled through it."""
    unix_socket: ClassVar[str | None] = None
    """A path; every connection goes to that socket."""
    timeouts: ClassVar[Timeouts] = Timeouts()
    default_headers: ClassVar[Mapping[str, str]] = {}
    """Sent with every request that does not bring its own."""

    def __init__(self, environment: Any) -> None:
        from perfload.load import plugin

        super().__init__(environment)
        if self.host is None:
            raise StopTest("no host to test: pass --host, or give the user class a host")
        dephase(self)
        try:
            if self.lean:
                lean.check_tasks(self.tasks)
            self.client = HttpSession(
                self.host,
                environment.events.request,
                self,
                insecure=self.insecure,
                ca_file=self.ca_file,
                client_cert=self.client_cert,
                resume_tls=self.resume_tls,
                proxy=self.proxy,
                unix_socket=self.unix_socket,
                host_rules=plugin.installed.config.host_rules if plugin.installed else HostRules(),
                timeouts=self.timeouts,
                default_headers=self.default_headers,
            )
        except (UsageError, ValueError) as error:
            # Any other error of a user that is being made is logged, and the test goes on without it.
            raise StopTest(str(error)) from error

    def run(self) -> None:  # type: ignore[misc]  # final in Locust: there is no other place for another loop
        """Run the tasks until the user is stopped."""
        if self.lean:
            lean.run(self)
        else:
            super().run()  # type: ignore[no-untyped-call]

    def start(self, group: Any) -> Any:
        """Start the user; its connections are closed when it has left, however it leaves.

        Locust's task sets and their users keep each other until the collector comes: too late for a socket.
        """
        greenlet = super().start(group)
        greenlet.rawlink(lambda _greenlet: self.client.close())
        return greenlet
