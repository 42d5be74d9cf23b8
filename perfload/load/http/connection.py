"""One connection to a server: a request out, its response in, again and again.

A watcher of the event loop is armed as long as the connection is open. Its callback runs in the hub: it
takes the bytes, hands them to the C parser, and when the response is complete switches straight to the
greenlet that waits. So a request costs two switches, and bytes are stamped when they come.

The rules that this rests on:
- only the greenlet inside `exchange` or `next_piece` is switched to; when it is killed there it is forgotten;
- a connection that was left in the middle of a response is closed, never used again;
- bytes or an end that come while nothing is asked for close the connection;
- a watcher is stopped and closed before its socket.
"""

from __future__ import annotations

import time
from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from gevent import get_hub, getcurrent
from greenlet import greenlet
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from perfload.load.http.failures import CLOSED, MALFORMED, RESET, TOO_LARGE, ConnectionLost, RequestFailed
from perfload.load.http.headers import Headers
from perfload.load.http.request import Prepared
from perfload.load.http.response import Response
from perfload.load.http.stamps import ANCILLARY_BYTES, DialTimes, ask_for_stamps
from perfload.load.http.timeouts import NEVER_NS, Limits, Reaper
from perfload.load.http.tls import Channel
from perfload.load.http.wire import MAX_HEAD_BYTES, READ_BYTES

_SETTLING_NS = 150_000_000
"""How long a reset is waited for that tells whether a request was taken: a round trip around the world."""
_SOON_NS = 2 * _SETTLING_NS
"""Until then the end of a connection may be that of an idle one, which crossed the request on its way."""

_READABLE, _WRITABLE = 1, 2
_perf_counter_ns = time.perf_counter_ns

_switch = greenlet.switch
"""Without what gevent's own `switch` of the hub looks up for greenlets that have a `switch_out`."""


class _Surplus(Exception):
    """Stops the parser: what follows the response is not part of it."""


class Connection:
    """An open connection; not for two greenlets at once."""

    __slots__ = (
        "_ancillary_bytes",
        "_began_ns",
        "_channel",
        "_failure",
        "_first_byte_ns",
        "_has_head",
        "_hub",
        "_is_active",
        "_is_complete",
        "_is_head_request",
        "_is_kept",
        "_is_settling",
        "_is_spent",
        "_is_stream",
        "_is_writing",
        "_kernel_clock",
        "_limits",
        "_parser",
        "_pieces",
        "_prepared",
        "_raw",
        "_reaper",
        "_received_bytes",
        "_recvmsg",
        "_send",
        "_send_failed",
        "_sent_ns",
        "_socket",
        "_status",
        "_total_deadline_ns",
        "_unsent",
        "_wait_deadline_ns",
        "_wait_reason",
        "_waiter",
        "_watcher",
        "_writer",
        "deadline_ns",
        "dialled",
        "is_open",
        "read_ns",
        "received_ns",
        "was_used",
    )

    def __init__(
        self, connected: Any, channel: Channel | None = None, dialled: DialTimes | None = None
    ) -> None:
        self._socket = connected
        """Non-blocking, and not one of gevent's."""
        self._recvmsg, self._send = connected.recvmsg, connected.send
        self._ancillary_bytes = ANCILLARY_BYTES if ask_for_stamps(connected) else 0
        self._channel = channel
        self._hub = get_hub()
        self._parser: Any = HttpResponseParser(self)
        self._writer: Any = None
        self._waiter: Any = None
        self._is_active = self._is_writing = self._send_failed = self._is_spent = self._is_settling = False
        self._received_bytes = 0
        self._unsent = memoryview(b"")
        self.is_open = True
        self.was_used = False
        """Whether a response has come over it: if so, the server may close it at any time."""
        self.dialled = dialled
        """What it took to make it; None once a response has been told."""
        self.received_ns = 0
        """When bytes came last, on `time.perf_counter_ns`."""
        self.read_ns = 0
        """When this process got round to reading them."""
        self.deadline_ns = NEVER_NS
        self._watcher = self._hub.loop.io(connected.fileno(), _READABLE)
        self._watcher.start(self._on_readable)
        self._reaper = Reaper.current()
        self._reaper.watch(self)
        self._kernel_clock = self._reaper.kernel_clock
        self._began_ns = 0

    def exchange(  # noqa: PLR0917  # called once per request: keywords would cost more than they say
        self,
        message: bytes,
        prepared: Prepared,
        limits: Limits,
        began_ns: int,
        total_deadline_ns: int,
        is_stream: bool,
    ) -> Response:
        """Send `message`, wait for its response and return it; when `is_stream`, return it after its head.

        `message` is made of `prepared`, and `began_ns` is what its sending counts from. Raises
        `RequestFailed`; the connection is closed then, and when the greenlet is killed here.
        """
        self._is_active = True
        self._raw = b""
        self._pieces: list[bytes] = []
        self._received_bytes = self._status = self._first_byte_ns = 0
        self._has_head = self._is_complete = self._is_writing = self._send_failed = self._is_settling = False
        self._is_spent = False
        self._failure: RequestFailed | None = None
        self._began_ns, self._limits = began_ns, limits
        self._total_deadline_ns = self._wait_deadline_ns = total_deadline_ns
        self._prepared, self._is_stream = prepared, is_stream
        self._is_head_request = prepared.is_head_request
        self._waiter = getcurrent()
        try:
            self._transmit(message if self._channel is None else self._channel.encrypt(message))
            self._note_sent()
            # The hub is switched back from only when there is something; other switches are not for us.
            while self._is_active and not (is_stream and self._has_head):
                _switch(self._hub)
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None
        if self._failure is not None:
            raise self._failure
        return self._take_response()

    def next_piece(self) -> bytes:
        """Return the bytes of a stream's body that have come since the last call; b"" at its end.

        Waits for the first of them. Raises `RequestFailed` as `exchange` does.
        """
        self._waiter = getcurrent()
        try:
            while self._is_active and not self._pieces:
                _switch(self._hub)
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None
        pieces, self._pieces = self._pieces, []
        if not pieces and self._failure is not None:
            raise self._failure
        return b"".join(pieces)

    def wait_until(self, deadline_ns: int, reason: str) -> None:
        """Give the rest of a stream up at `deadline_ns`, for `reason`, unless this is called again before.

        A reader moves the deadline as it finds what it waits for. The limit of the whole request stays.
        """
        if self._is_active:
            self._wait_reason = reason
            total_ns = self._total_deadline_ns
            self.deadline_ns = self._wait_deadline_ns = deadline_ns if deadline_ns < total_ns else total_ns

    @property
    def is_idle(self) -> bool:
        """Whether it can take the next request."""
        return self.is_open and not self._is_active

    def close(self) -> None:
        """Close it; whoever waits is not woken. Harmless when closed."""
        if not self.is_open:
            return
        self.is_open = self._is_active = False
        self.deadline_ns = NEVER_NS
        self._reaper.forget(self)
        for watcher in (self._watcher, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._watcher = self._writer = None
        # The parser holds methods of this connection: without this only the collector could free the two.
        self._parser = None
        self._socket.close()

    # --- sending

    def _transmit(self, data: bytes) -> None:
        """Send what the socket takes; the rest goes out from the hub while the response is waited for."""
        if self._is_writing:
            self._unsent = memoryview(bytes(self._unsent) + data)
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # What the server said before it hung up, or that it did, comes on the reading side.
            self._send_failed = True
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._is_writing = True
            if self._writer is None:
                self._writer = self._hub.loop.io(self._socket.fileno(), _WRITABLE)
            self._writer.start(self._on_writable)

    def _on_writable(self) -> None:
        try:
            self._unsent = self._unsent[self._send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._send_failed = True
            if self._is_settling:
                self._lose(RESET)
                return
        if not self._received_bytes and not self._is_settling:
            self._note_sent()
        if self._send_failed or not self._unsent:
            self._is_writing = False
            self._writer.stop()

    def _note_sent(self) -> None:
        """Stamp what has been sent so far, and give the server from now on to answer."""
        self._sent_ns = now_ns = _perf_counter_ns()
        deadline_ns = now_ns + self._limits.first_byte_ns
        total_ns = self._total_deadline_ns
        self.deadline_ns = deadline_ns if deadline_ns < total_ns else total_ns

    # --- receiving, in the hub

    def _on_readable(self) -> None:
        try:
            data, ancillary, _, _ = self._recvmsg(READ_BYTES, self._ancillary_bytes)
        except BlockingIOError:
            return
        except OSError:
            self._lose(RESET)
            return
        self.read_ns = now_ns = _perf_counter_ns()
        self.received_ns = self._kernel_clock.stamp(ancillary, self._began_ns, now_ns)
        is_end = not data
        if self._channel is not None and data:
            try:
                data, is_end = self._channel.decrypt(data)
            except RequestFailed as failure:
                self._fail(failure)
                return
            if reply := self._channel.outgoing():
                self._transmit(reply)
        if is_end:
            self._is_spent = True
        if data:
            self._feed(data)
        if is_end and self.is_open:
            self._on_end()

    def _feed(self, data: bytes) -> None:
        if not self._is_active:
            self.close()
            return
        if not self._received_bytes:
            self._first_byte_ns = self.received_ns
        self._received_bytes += len(data)
        if not self._has_head:
            self._raw = self._raw + data if self._raw else data
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self._is_complete:
                self._fail(RequestFailed(MALFORMED))
                return
            self._is_spent = True  # with more on it than was asked for
        if self._is_complete:
            self._finish()
        elif self._is_too_large():
            self._fail(RequestFailed(TOO_LARGE))
        else:
            self.deadline_ns = self._wait_deadline_ns
            if self._is_stream and self._has_head and self._waiter is not None:
                self._waiter.switch()

    def _is_too_large(self) -> bool:
        if not self._has_head:
            return self._received_bytes > MAX_HEAD_BYTES
        return self._received_bytes > self._limits.max_bytes + MAX_HEAD_BYTES

    def _on_end(self) -> None:
        """Take it that the server has closed its side: that ends a body without a length, or everything."""
        if not self._is_active:
            self.close()
        elif self._has_head and self._ends_with_connection():
            self._finish()
        elif self._received_bytes or self._prepared.is_idempotent or self._send_failed or not self.was_used:
            self._lose(RESET if self._send_failed else CLOSED)
        else:
            # It may have closed before the request came, or after having done what it asks for. In the first
            # case it answers with a reset, within a round trip: until then nobody knows.
            self._is_settling = True
            self._watcher.stop()
            self.deadline_ns = _perf_counter_ns() + _SETTLING_NS

    def _ends_with_connection(self) -> bool:
        headers = self._head()
        codings = headers.get("transfer-encoding")
        if codings is not None:
            return codings.rpartition(",")[2].strip().lower() != "chunked"
        return "content-length" not in headers

    def _head(self) -> Headers:
        raw = self._raw.lstrip(b"\r\n")
        return Headers(raw[: raw.find(b"\r\n\r\n")])

    def _finish(self) -> None:
        """Keep the connection if nothing but the response is on it, and wake the greenlet."""
        if self._is_head_request and self._has_surplus():
            self._pieces, self._is_spent = [], True
        if self._received_bytes > self._limits.max_bytes and self._is_too_large():
            self._fail(RequestFailed(TOO_LARGE))
            return
        self.was_used = True
        self._is_active = False
        self.deadline_ns = NEVER_NS
        if self._is_spent or self._send_failed or self._is_writing or not self._is_kept:
            self.close()
        elif self._is_head_request:
            # The parser waits for the body that a response to HEAD announces and does not have.
            self._parser = HttpResponseParser(self)
        waiter = self._waiter
        if waiter is not None:
            waiter.switch()

    def _has_surplus(self) -> bool:
        """Return whether more came than a head, which is all that a response to HEAD has."""
        raw = self._raw.lstrip(b"\r\n")
        return len(raw) > raw.find(b"\r\n\r\n") + 4

    def _fail(self, failure: RequestFailed) -> None:
        is_asked_for = self._is_active
        self.close()
        if is_asked_for:
            self._failure = failure
            if self._waiter is not None:
                self._waiter.switch()

    def _lose(self, reason: str) -> None:
        """Fail because the server has ended the connection, for `reason`."""
        if not self._is_active:
            self.close()
            return
        is_harmless = reason == RESET or self._prepared.is_idempotent
        # What ends the connection much later has nothing to do with the connection's having been idle.
        is_soon = _perf_counter_ns() - self._sent_ns <= _SOON_NS
        may_repeat = is_harmless and is_soon and not self._received_bytes
        self._fail(ConnectionLost(reason, may_repeat=may_repeat))

    def expire(self) -> None:
        """Give up what is waited for; called by the reaper when its deadline has passed."""
        if self._is_settling:
            was_reset = self._socket.getsockopt(SOL_SOCKET, SO_ERROR) != 0
            self._lose(RESET if was_reset else CLOSED)
            return
        if self._wait_deadline_ns < self._total_deadline_ns:
            self._fail(RequestFailed(self._wait_reason))
            return
        stage = "total" if self._received_bytes else "first byte"
        self._fail(RequestFailed(f"timed out: {stage}"))

    def _take_response(self) -> Response:
        raw = self._raw
        if raw[:1] != b"H":
            raw = raw.lstrip(b"\r\n")
        pieces = self._pieces
        if self._is_stream or not pieces:
            body = b""  # that of a stream is for `next_piece`, be it complete by now
        else:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._pieces = []
        head = raw[: raw.find(b"\r\n\r\n")]
        response = Response(self._status, head, body, self.received_ns)
        response.began_ns, response.sent_ns = self._began_ns, self._sent_ns
        response.first_byte_ns = self._first_byte_ns
        if self.dialled is not None:
            response.dialled, self.dialled = self.dialled, None
        return response

    # --- called by the parser

    def on_message_begin(self) -> None:
        """Note that a status line begins: after the end of the response it is one that nobody asked for."""
        if self._is_complete:
            raise _Surplus

    def on_headers_complete(self) -> None:
        """Note the status; to HEAD this is the whole response."""
        self._status = status = self._parser.get_status_code()
        if status >= 200:
            self._has_head = True
            if self._is_head_request:
                self._is_complete = True
                # The parser's answer would count the body that is not there.
                options = self._head().get("connection", "").lower()
                self._is_kept = "close" not in options and self._parser.get_http_version() == "1.1"

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, without the framing of chunks."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Note the end; that of an interim response is only the beginning of the next."""
        if self._status >= 200:
            self._is_complete = True
            if not self._is_head_request:
                self._is_kept = self._parser.should_keep_alive()
            return
        raw = self._raw.lstrip(b"\r\n")
        self._raw = raw[raw.find(b"\r\n\r\n") + 4 :]
