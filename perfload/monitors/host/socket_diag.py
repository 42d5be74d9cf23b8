"""TCP sockets by state, from the kernel's socket diagnosis (netlink).

The same as /proc/net/tcp, several times cheaper: that goes through a table of hundreds of thousands of places
one by one, however empty it is. Needs no rights.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_NLMSG_ERROR = 2
_NLMSG_DONE = 3

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
"""Family, protocol, extensions, padding, states as bits, and a socket's identity that no dump needs."""

_PIECE_BYTES = 1 << 18
_PATIENCE_S = 1.0


def count_by_state(states: int) -> Counter[int]:
    """Return how many TCP sockets of this network namespace are in each of `states`, a set of bits.

    Raises `OSError` where the kernel does not tell.
    """
    found: Counter[int] = Counter()
    for family in (socket.AF_INET, socket.AF_INET6):
        found.update(_states(family, states))
    return found


def _states(family: int, states: int) -> Iterator[int]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE_S)
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, states)
        size = _HEADER.size + len(request)
        kernel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
        while True:
            piece = kernel.recv(_PIECE_BYTES)
            for kind, start in _messages(piece):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (number,) = struct.unpack_from("=i", piece, start)
                    raise OSError(-number, os.strerror(-number))
                # An inet_diag_msg: family, then state.
                yield piece[start + 1]


def _messages(piece: bytes) -> Iterator[tuple[int, int]]:
    """Yield the kind of each message in `piece`, and where its content begins."""
    at = 0
    while at + _HEADER.size <= len(piece):
        size, kind, *_ = _HEADER.unpack_from(piece, at)
        if size < _HEADER.size:
            raise OSError(0, "an answer that cannot be read")
        yield kind, at + _HEADER.size
        at += (size + 3) & ~3
