"""Two hosts on one machine: network namespaces, linked by virtual cables that can be cut."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CLONE_NEWNET = 0x40000000


class Cable:
    """A link between the two hosts, in a network of its own."""

    def __init__(self, near: str, far: str, number: int) -> None:
        """Lay the cable; `near` and `far` are namespaces."""
        self._near = near
        self._device = f"cable{number}"
        self.near_address = f"10.213.{number}.1"
        self.far_address = f"10.213.{number}.2"
        ip("link", "add", self._device, "netns", near, "type", "veth", "peer", self._device, "netns", far)
        for namespace, address in ((near, self.near_address), (far, self.far_address)):
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", self._device)
            ip("-n", namespace, "link", "set", self._device, "up")

    def cut(self) -> None:
        """Let nothing through."""
        ip("-n", self._near, "link", "set", self._device, "down")

    def mend(self) -> None:
        """Let everything through again."""
        ip("-n", self._near, "link", "set", self._device, "up")


class TwoHosts:
    """The host that this process is on meanwhile, and another one."""

    def __init__(self, near: str, far: str) -> None:
        self.cluster = Cable(near, far, 1)
        """Between master and worker."""
        self.load = Cable(near, far, 2)
        """Between worker and target."""
        self.on_far = ("ip", "netns", "exec", far)
        """What a command begins with that is to run on the other host."""


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Be on a host of one's own, with another beside it; skips the test where namespaces may not be made."""
    near, far = (f"perfload-{os.getpid()}-{side}" for side in ("near", "far"))
    try:
        for name in (near, far):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        with inside(near):
            yield TwoHosts(near, far)
    finally:
        for name in (near, far):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)


def ip(*arguments: str) -> None:
    """Run `ip`; skips the test where namespaces may not be made."""
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("network namespaces need iproute2 (Debian: apt-get install iproute2)")
    except subprocess.CalledProcessError as error:
        if arguments[:2] == ("netns", "add"):
            pytest.skip(f"network namespaces may not be made here: {error.stderr.strip()}")
        raise AssertionError(f"ip {' '.join(arguments)}: {error.stderr}") from error


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Move this thread, and what it starts, into `namespace`."""
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")
