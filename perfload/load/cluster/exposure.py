"""Where a master may listen: without a key, on loopback only."""

from __future__ import annotations

import ipaddress
import logging
import socket

from perfload.cluster_key import VARIABLE
from perfload.errors import UsageError

logger = logging.getLogger("perfload")


def is_loopback(host: str) -> bool:
    """Say whether everything that `host`, an address or a name, resolves to is this machine only."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return False  # `*`, or the name of a network interface
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def check_exposure(host: str, *, is_keyed: bool, is_insecure: bool) -> None:
    """Raise `UsageError` if a master may not listen on `host`; warn if it may because that was asked for."""
    if is_keyed or is_loopback(host):
        return
    if not is_insecure:
        raise UsageError(
            f"a master without a key may not listen on {host}: whoever reaches it could join, read the "
            "options of the run and send results",
            hint=f"set {VARIABLE} on master and workers (perfload cluster keygen makes one), or pass "
            "--insecure-cluster if nobody else reaches that address",
        )
    logger.warning(
        "the master listens on %s without a key: whoever reaches it can join, read the options of the "
        "run and send results",
        host,
    )
