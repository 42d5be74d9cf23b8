"""Addresses of hosts: asked for once per process and run, and all of them used."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.socket import getaddrinfo

from perfload.load.http.failures import NOT_FOUND, RequestFailed

Address = tuple[int, Any]
"""Address family, and what `socket.connect` takes."""


class Addresses:
    """The addresses of one host: connections take turns among them, those that failed come last."""

    def __init__(self, found: list[Address]) -> None:
        self._good = found
        self._failed: list[Address] = []

    def __len__(self) -> int:
        return len(self._good) + len(self._failed)

    def in_turn(self) -> Iterator[Address]:
        """Yield every address, beginning with another one each time."""
        order = [*self._good, *self._failed]
        self._good = [*self._good[1:], *self._good[:1]]
        yield from order

    def failed(self, address: Address) -> None:
        """Put `address` last, for as long as others work."""
        if address in self._good and len(self._good) > 1:
            self._good.remove(address)
            self._failed.append(address)


class Resolver:
    """Name look-ups by `ask`, a `socket.getaddrinfo`; shared by all sessions of the process."""

    def __init__(self, ask: Callable[..., Any] = getaddrinfo) -> None:
        self._ask = ask
        self._lookups: dict[tuple[str, int], Any] = {}

    def known(self, host: str, port: int) -> Addresses | None:
        """Return the addresses of `host` if nobody need be asked for them."""
        if numeric := _numeric(host, port):
            return numeric
        lookup = self._lookups.get((host, port))
        return None if lookup is None else lookup.value

    def find(self, host: str, port: int) -> Addresses:
        """Return the addresses of `host`; raise `RequestFailed` when it has none.

        Many users that ask for the same host at the same time wait for one look-up, which goes on when the
        first of them is stopped.
        """
        if known := self.known(host, port):
            return known
        key = (host, port)
        if key not in self._lookups:
            self._lookups[key] = gevent.spawn(self._look_up, host, port)
        addresses: Addresses | None = self._lookups[key].get()
        if addresses is None:
            # The next connection asks again: a name server that has recovered must be noticed.
            self._lookups.pop(key, None)
            raise RequestFailed(NOT_FOUND)
        return addresses

    def forget(self) -> None:
        """Ask again for every host; call it when a run begins."""
        self._lookups.clear()

    def _look_up(self, host: str, port: int) -> Addresses | None:
        try:
            answers = self._ask(host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return None
        return Addresses(list(dict.fromkeys((int(answer[0]), answer[4]) for answer in answers)))


def _numeric(host: str, port: int) -> Addresses | None:
    """Return the address that `host` already is; None for a name, which takes a thread to look up."""
    for family, rest in ((socket.AF_INET, ()), (socket.AF_INET6, (0, 0))):
        try:
            socket.inet_pton(family, host)
        except (OSError, UnicodeError, ValueError):
            continue
        return Addresses([(int(family), (host, port, *rest))])
    return None


resolver = Resolver()
"""The one of this process."""
