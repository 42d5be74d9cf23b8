"""Server-sent events: what a `text/event-stream` says, however its bytes are cut (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfload.load.http.failures import TOO_LARGE, RequestFailed

MAX_EVENT_BYTES = 16 << 20

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Event:
    """One event of a stream."""

    event: str
    """Its type; `message` when the server gives none."""
    data: str
    """Its lines of data, with a line feed between them."""
    id: str
    """The last identifier that the stream has given, be it with an earlier event; "" before the first."""
    retry_ms: int | None
    """The last time before a reconnection that the stream has given."""
    received_ns: int
    """When the bytes that completed it arrived, on `time.perf_counter_ns`."""


class EventParser:
    """Takes the bytes of a stream and gives the events in them; what the stream ends within is no event.

    What it keeps of an event that is not complete is `max_event_bytes` at most, whatever the server sends.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._parts: list[bytes] = []
        """The line that has begun."""
        self._data: list[str] = []
        self._line_bytes = self._data_bytes = 0
        self._type = self._id = ""
        self._retry_ms: int | None = None
        self._is_first_line = True
        self._may_end_line = False
        """Whether the last byte was a carriage return: a line feed right after it ends no other line."""

    def feed(self, data: bytes, received_ns: int = 0) -> list[Event]:
        """Return the events that end in `data`; raises `RequestFailed` for one that is too large."""
        if self._is_one_event(data):
            self._is_first_line = self._may_end_line = False
            text = data[6:-2].decode("utf-8", "replace")
            return [Event("message", text, self._id, self._retry_ms, received_ns)]
        if self._may_end_line and data:
            data = data.removeprefix(b"\n")
            self._may_end_line = False
        if not data:
            return []
        self._may_end_line = data.endswith(b"\r")
        *lines, rest = _LINE_END.split(data)
        events: list[Event] = []
        for line in lines:
            self._keep(line)
            whole = b"".join(self._parts)
            self._parts, self._line_bytes = [], 0
            if whole:
                self._take_line(whole)
            elif (event := self._dispatch(received_ns)) is not None:
                events.append(event)
        if rest:
            self._keep(rest)
        return events

    def _is_one_event(self, data: bytes) -> bool:
        """Return whether `data` is a line of data and the empty line behind it: what models send, mostly."""
        return (
            data.startswith(b"data: ")
            and data.find(b"\n") == len(data) - 2
            and data.endswith(b"\n\n")
            and b"\r" not in data
            and not (self._parts or self._data or self._type)
            and len(data) <= self._max_event_bytes
        )

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._line_bytes += len(part)
        if self._line_bytes + self._data_bytes > self._max_event_bytes:
            raise RequestFailed(TOO_LARGE)

    def _take_line(self, line: bytes) -> None:
        if self._is_first_line:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._is_first_line = False
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(text)
            self._data_bytes += len(line)
        elif name == b"event":
            self._type = text
        elif name == b"id":
            if "\0" not in text:
                self._id = text
        elif name == b"retry" and text.isascii() and text.isdecimal() and len(text) < 16:
            self._retry_ms = int(text)

    def _dispatch(self, received_ns: int) -> Event | None:
        """Return the event that an empty line ends; without data there is none."""
        self._is_first_line = False
        kind, self._type = self._type, ""
        lines, self._data = self._data, []
        self._data_bytes = 0
        if not lines:
            return None
        return Event(kind or "message", "\n".join(lines), self._id, self._retry_ms, received_ns)
