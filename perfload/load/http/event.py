"""Locust's request event, and the short way past it while nobody but the recorder listens."""

from __future__ import annotations

from typing import Any, Protocol, cast

from locust.event import EventHook

from perfload.load.http.response import Response


class Sink(Protocol):
    """What finished requests are handed to, without a dictionary in between."""

    def passed(self, response: Response) -> None:
        """Count a request that has succeeded; called once for each, on the hot path."""
        ...


class RequestEvent(EventHook):
    """Locust's `request` event, which knows when its only listener is one that has a shorter way.

    Firing the event for a request costs as much as sending one: a dictionary of what is known of it, a call
    for each listener, Locust's statistics. Whoever else listens gets every event as ever.
    """

    sole: Sink | None = None
    """Where to put requests instead of firing; None while there are listeners to fire for."""
    _sink: Sink | None = None
    _listener: Any = None

    @classmethod
    def adopt(cls, hook: EventHook) -> RequestEvent:
        """Turn `hook`, which others hold references to, into one of these; harmless when it is one."""
        hook.__class__ = cls
        return cast(RequestEvent, hook)

    def record_with(self, sink: Sink, listener: Any) -> None:
        """Add `listener`, for which `sink` may stand in when it is alone."""
        self._sink, self._listener = sink, listener
        # First: Locust's `fire` ends with a listener that raises `StopUser`.
        self._handlers.insert(0, listener)
        self._look()

    def stop_recording(self) -> None:
        """Take the recorder's listener away again."""
        if self._listener is not None:
            listener, self._sink, self._listener = self._listener, None, None
            self.remove_listener(listener)

    def add_listener(self, handler: Any) -> Any:
        """Add a listener, as Locust does."""
        super().add_listener(handler)  # type: ignore[no-untyped-call]
        self._look()
        return handler

    def remove_listener(self, handler: Any) -> None:
        """Remove a listener, as Locust does."""
        super().remove_listener(handler)  # type: ignore[no-untyped-call]
        self._look()

    def _look(self) -> None:
        self.sole = self._sink if self._handlers == [self._listener] else None
