"""Every batch of a worker in the master's record exactly once, over a connection that loses and repeats."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from gevent.event import Event
from locust.exception import RPCError, RPCSendError

from perfload.load.cluster.messages import BATCH, encode_batches
from perfload.load.node import Batch

logger = logging.getLogger("perfload")

RESEND_AFTER_S = 3.0


class Outbox:
    """The worker's batches on their way to the master; kept until acknowledged."""

    def __init__(
        self, run_id: str, send: Callable[[str, dict[str, Any]], None], is_heard: Callable[[], bool]
    ) -> None:
        """Send with `send`; again only while `is_heard` says that the master is there."""
        self.run_id = run_id
        self._send = send
        self._is_heard = is_heard
        self._number = 0
        self._waiting: dict[int, dict[str, Any]] = {}
        self._sent_s: dict[int, float] = {}
        """When each of those that wait was last sent."""
        self._empty = Event()
        self._empty.set()

    def put(self, batch: Batch) -> None:
        """Send `batch`, and again whatever has waited too long for its acknowledgement."""
        self._empty.clear()
        for data in encode_batches(self._number + 1, self.run_id, batch):
            self._number = data["number"]
            self._waiting[self._number] = data
        self._send_those_due()

    def _send_those_due(self) -> None:
        """Send what was not sent yet, and again what waits; nothing twice into a connection that is cut."""
        long_ago_s = time.monotonic() - RESEND_AFTER_S if self._is_heard() else -math.inf
        for number in list(self._waiting):
            # Sending may switch to the greenlet that handles acknowledgements.
            sent_s = self._sent_s.get(number)
            if number in self._waiting and (sent_s is None or sent_s < long_ago_s):
                self._try(number)

    def _try(self, number: int) -> None:
        self._sent_s[number] = time.monotonic()
        try:
            self._send(BATCH, self._waiting[number])
        except (RPCError, RPCSendError) as error:
            logger.warning("results could not be sent to the master and will be sent again: %s", error)

    def acknowledge(self, run_id: str, number: int) -> None:
        """Forget batch `number`, which the master has."""
        if run_id == self.run_id:
            self._waiting.pop(number, None)
            self._sent_s.pop(number, None)
        if not self._waiting:
            self._empty.set()

    def discard(self) -> None:
        """Give up what waits: the master that asked for it is gone."""
        self._waiting.clear()
        self._sent_s.clear()
        self._empty.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged, sending again meanwhile; False when time ran out."""
        deadline_s = time.monotonic() + timeout_s
        while not self._empty.wait(min(RESEND_AFTER_S, timeout_s)):
            if time.monotonic() >= deadline_s:
                return False
            self._send_those_due()
        return True

    @property
    def is_empty(self) -> bool:
        """Whether the master has everything."""
        return not self._waiting


class Inbox:
    """The numbers of the batches that came from one worker."""

    def __init__(self) -> None:
        self._through = 0
        """All batches up to this number are here."""
        self._beyond: set[int] = set()
        self._final = 0

    def is_new(self, number: int, *, final: bool) -> bool:
        """Note batch `number`; False if it has come before."""
        if number <= self._through or number in self._beyond:
            return False
        self._beyond.add(number)
        self._final = number if final else self._final
        while self._through + 1 in self._beyond:
            self._through += 1
            self._beyond.remove(self._through)
        return True

    @property
    def complete(self) -> bool:
        """True once the final batch and all before it are here."""
        return bool(self._final) and self._through == self._final
