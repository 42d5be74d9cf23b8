"""A server that answers each request a fixed time after the kernel received it, and knows when it answered.

    python exact_server.py DELAY_MS

The delay is the same for all requests, so one queue in the order of their arrival will do. What the kernel
stamped (SO_TIMESTAMPNS) is when a request arrived, however late this process reads it; the clock is read
again right before each answer is sent. The difference is the truth that clients are held against. There are
no threads. The loop spins while an answer is due within two milliseconds: it needs a core of its own.

It prints its ports, for requests and for control. A line to the control port gets one back:

    begin         forget what was answered so far
    end           keep what was answered since
    count         how many answers there were since
    report        the latencies between the two, as JSON
    stall S       do nothing at all for S seconds
"""

from __future__ import annotations

import gc
import json
import select
import socket
import struct
import sys
import time
from array import array
from collections import deque
from typing import Any

SO_TIMESTAMPNS = 35
SPACE = socket.CMSG_SPACE(16)
BATCH = 16
"""Connections that are read before the clock is looked at again."""
SPIN_NS = 2_000_000
BODY = b"x" * 300
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: exact\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 300\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n" + BODY
)
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}

_timespec = struct.Struct("qq").unpack
_now_ns = time.time_ns


class Server:
    """The loop, its connections and what is due."""

    def __init__(self, delay_ns: int) -> None:
        self._delay_ns = delay_ns
        self._due: deque[tuple[int, socket.socket]] = deque()
        """When each request arrived, and who waits for its answer."""
        self._latencies_ns = array("q")
        self._kept_ns = array("q")
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._listener = self._listen()
        self._control = self._listen()
        self._control_fds: set[int] = set()

    @property
    def ports(self) -> tuple[int, int]:
        """The port for requests and the one for control."""
        return self._listener.getsockname()[1], self._control.getsockname()[1]

    def _listen(self) -> socket.socket:
        server = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._epoll.register(server, select.EPOLLIN)
        return server

    def serve(self) -> None:
        """Serve until the process is ended."""
        doors = {self._listener.fileno(): self._listener, self._control.fileno(): self._control}
        poll, sockets, read, control_fds = self._epoll.poll, self._sockets, self._read, self._control_fds
        while True:
            for fd, _ in poll(self._patience_s(), BATCH):
                connection = sockets.get(fd)
                if connection is None:
                    self._accept(doors[fd])
                elif fd in control_fds:
                    self._obey(connection)
                else:
                    read(connection, fd)
            self._answer()

    def _patience_s(self) -> float:
        if not self._due:
            return 1.0
        rest_ns = self._due[0][0] + self._delay_ns - _now_ns()
        # The kernel counts this timeout in whole milliseconds.
        return 0.0 if rest_ns < SPIN_NS else (rest_ns // 1_000_000 - 1) / 1000

    def _answer(self) -> None:
        due, delay_ns, record = self._due, self._delay_ns, self._latencies_ns.append
        while due and due[0][0] + delay_ns <= _now_ns():
            arrived_ns, connection = due.popleft()
            sent_ns = _now_ns()
            try:
                connection.send(ANSWER)
            except OSError:
                continue  # it has gone
            record(sent_ns - arrived_ns)

    def _read(self, connection: socket.socket, fd: int) -> None:
        try:
            data, stamps, _, _ = connection.recvmsg(65536, SPACE)
        except OSError:
            data = b""
        if not data:
            self._close(connection, fd)
            return
        if not data.endswith(b"\r\n\r\n") or fd in self._partial:
            data = self._partial[fd] = self._partial.get(fd, b"") + data
            if not data.endswith(b"\r\n\r\n"):
                return
            del self._partial[fd]
        if stamps:
            seconds, nanoseconds = _timespec(stamps[0][2])
            self._due.append((seconds * 1_000_000_000 + nanoseconds, connection))
        else:
            self._due.append((_now_ns(), connection))

    def _accept(self, door: socket.socket) -> None:
        connection, _ = door.accept()
        connection.setblocking(False)
        fd = connection.fileno()
        self._sockets[fd] = connection
        if door is self._control:
            self._control_fds.add(fd)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._epoll.register(connection, select.EPOLLIN)

    def _close(self, connection: socket.socket, fd: int) -> None:
        self._epoll.unregister(fd)
        self._control_fds.discard(fd)
        self._partial.pop(fd, None)
        del self._sockets[fd]
        connection.close()

    def _obey(self, connection: socket.socket) -> None:
        words = connection.recv(4096).decode().split()
        if not words:
            self._close(connection, connection.fileno())
            return
        answer: dict[str, Any] = {}
        if words[0] == "begin":
            self._latencies_ns = array("q")
        elif words[0] == "end":
            self._kept_ns, self._latencies_ns = self._latencies_ns, array("q")
        elif words[0] == "count":
            answer = {"count": len(self._latencies_ns)}
        elif words[0] == "report":
            answer = summary(self._kept_ns)
        elif words[0] == "stall":
            time.sleep(float(words[1]))
        connection.setblocking(True)
        connection.sendall(json.dumps(answer).encode() + b"\n")
        connection.setblocking(False)


def summary(latencies_ns: array[int]) -> dict[str, float]:
    """Return count, percentiles and maximum in milliseconds; only the count if there are none."""
    ordered = sorted(latencies_ns)
    if not ordered:
        return {"count": 0}
    found: dict[str, float] = {"count": len(ordered)}
    for name, percent in PERCENTILES.items():
        rank = -int(-percent * len(ordered) // 100)
        found[name] = ordered[rank - 1] / 1e6
    found["max"] = ordered[-1] / 1e6
    return found


def main(delay_ms: float) -> None:
    """Serve with this delay."""
    server = Server(round(delay_ms * 1_000_000))
    print(*server.ports, flush=True)
    gc.collect()
    gc.freeze()
    gc.disable()
    server.serve()


if __name__ == "__main__":
    main(float(sys.argv[1]))
