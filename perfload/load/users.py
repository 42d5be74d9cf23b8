"""The HTTP user that shipped scenarios are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from locust import User
from locust.event import EventHook
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

    perfload_visit: Any = None
    """The arrival that this user is, in the open model; set by the dispatcher."""
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
        super().__init__(environment)
        if self.host is None:
            raise StopTest("no host to test: pass --host, or give the user class a host")
        try:
            self.client = self._open_session(self.host, environment.events.request, self)
        except (UsageError, ValueError) as error:
            # Any other error of a user that is being made is logged, and the test goes on without it.
            raise StopTest(str(error)) from error

    @classmethod
    def _open_session(cls, host: str | None, event: EventHook, user: User | None) -> HttpSession:
        from perfload.load import plugin

        if cls.lean:
            lean.check_tasks(cls.tasks)
        return HttpSession(
            host,
            event,
            user,
            insecure=cls.insecure,
            ca_file=cls.ca_file,
            client_cert=cls.client_cert,
            resume_tls=cls.resume_tls,
            proxy=cls.proxy,
            unix_socket=cls.unix_socket,
            host_rules=plugin.installed.config.host_rules if plugin.installed else HostRules(),
            timeouts=cls.timeouts,
            default_headers=cls.default_headers,
        )

    def wait(self) -> None:
        """Wait as between two tasks."""
        if self.lean:
            lean.wait(self)
        else:
            super().wait()  # type: ignore[no-untyped-call]

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
        if self.perfload_visit is None:
            dephase(self)
        greenlet = super().start(group)
        greenlet.rawlink(lambda _greenlet: self.client.close())
        return greenlet


def check_users(user_classes: Iterable[type[User]]) -> None:
    """Raise `UsageError` if no user of one of these classes could be made; called before the load."""
    for user_class in user_classes:
        if hasattr(user_class, "perfload_check"):
            user_class.perfload_check()
        if not issubclass(user_class, HttpUser):
            continue
        try:
            user_class._open_session(user_class.host, EventHook(), None)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise UsageError(f"{user_class.__name__}: {error}") from error
