"""A server that sends exactly the bytes that a test gives it, in the pieces that it gives; and a proxy."""

import contextlib
import socket
import ssl
import struct
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer

CLOSE, RESET, PAUSE, HANG = "close", "reset", "pause", "hang"
"""Steps of an answer besides bytes: end the connection, break it, let the client read, stop answering."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Asked:
    """One request as it came."""

    def __init__(self, head: bytes, body: bytes, connection: int) -> None:
        self.head, self.body, self.connection = head, body, connection
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = line.split(" ")
        self.fields = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}


class ScriptedServer:
    """Answers the n-th request with the n-th answer, those after the last one with the last one."""

    def __init__(
        self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None, *, port: int = 0, path: str = ""
    ) -> None:
        self.answers: list[tuple[Any, ...]] = []
        self.asked: list[Asked] = []
        self.connections = 0
        self.resumed: list[bool | None] = []
        """Of each connection with TLS, whether it went on with an earlier session."""
        self.hung_up = Event()
        """Set when a connection has come to its end."""
        family = socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(path or (host, port))
        listener.listen(128)
        self.port = 0 if path else listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http{'s' if context else ''}://{shown}:{self.port}"
        self._group = Pool()
        options = {"ssl_context": context} if context else {}
        self._server = StreamServer(listener, self._serve, spawn=self._group, **options)
        self._server.start()

    def answer(self, *steps: Any) -> None:
        self.answers.append(steps)

    def close(self) -> None:
        self._server.stop(timeout=0)
        self._group.kill()

    def _serve(self, connection: Any, _: Any) -> None:
        self.connections += 1
        number = self.connections
        self.resumed.append(getattr(connection, "session_reused", None))
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            rest = b""
            while True:
                asked, rest = self._read(connection, rest, number)
                if asked is None:
                    return
                self.asked.append(asked)
                steps = self.answers[min(len(self.asked), len(self.answers)) - 1]
                for step in steps:
                    if not perform(connection, step):
                        return
        except OSError:
            return
        finally:
            connection.close()
            self.hung_up.set()

    def _read(self, connection: Any, rest: bytes, number: int) -> tuple[Asked | None, bytes]:
        while b"\r\n\r\n" not in rest:
            data = connection.recv(65536)
            if not data:
                return None, b""
            rest += data
        head, _, rest = rest.partition(b"\r\n\r\n")
        asked = Asked(head, b"", number)
        size = int(asked.fields.get("content-length", 0))
        while len(rest) < size:
            data = connection.recv(65536)
            if not data:
                return None, b""
            rest += data
        asked.body = rest[:size]
        return asked, rest[size:]


def perform(connection: Any, step: Any) -> bool:
    """Do one step of an answer; return whether the connection is still there."""
    if step == CLOSE:
        return False
    if step == RESET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    if step == PAUSE:
        gevent.sleep(0.005)
    elif step == HANG:
        while connection.recv(65536):
            pass
        return False
    elif isinstance(step, Event):
        step.wait()
    else:
        connection.sendall(step)
    return True


class ConnectProxy:
    """A proxy that opens tunnels, to wherever it is asked; what it was asked is in `asked`."""

    def __init__(self, delay_s: float = 0) -> None:
        self.asked: list[Asked] = []
        self._delay_s = delay_s
        self._group = Pool()
        self._server = StreamServer(("127.0.0.1", 0), self._serve, spawn=self._group)
        self._server.start()
        self.port = self._server.server_port

    def close(self) -> None:
        self._server.stop(timeout=0)
        self._group.kill()

    def _serve(self, connection: Any, _: Any) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        asked = Asked(head[:-4], b"", len(self.asked))
        self.asked.append(asked)
        host, _, port = asked.target.rpartition(":")
        with contextlib.closing(socket.create_connection((host.strip("[]"), int(port)))) as target:
            gevent.sleep(self._delay_s)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            back = self._group.spawn(_pump, target, connection)
            _pump(connection, target)
            back.join()


def _pump(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
