"""What came back, as Locust's users know it: also the context manager that marks a request."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

from locust.exception import CatchResponseError, LocustError, ResponseError

from perfload.load.http.call import Call
from perfload.load.http.content import charset_of, decode, to_text
from perfload.load.http.failures import BadContent, RequestFailed
from perfload.load.http.headers import Headers
from perfload.load.http.sse import MAX_EVENT_BYTES, Event, EventParser
from perfload.load.http.stamps import DialTimes
from perfload.load.http.stream import BodyStream

DEFAULT_MAX_BYTES = 1 << 30

_Outcome = Exception | Literal[True] | None
Report = Callable[["Response", Exception | None], None]


class Response:
    """A response; or, with `status_code` 0 and `error`, the lack of one.

    Headers, content, text and cookies are taken apart when they are first looked at.
    """

    # Defaults of the class, so that a response costs only what is true of it.
    _headers: Headers | None = None
    _content: bytes | None = None
    _meta: dict[str, Any] | None = None
    is_described = False
    """Whether somebody has looked at `request_meta`, and may have changed it."""
    is_redirected = False
    """Whether there is a `history`."""
    _cookies: dict[str, str] | None = None
    _history: list[Response] | None = None
    _report: Report | None = None
    _is_entered = False
    _outcome: _Outcome = None
    stream: BodyStream | None = None
    """The body as it arrives, for a request with `stream=True`."""
    encoding = ""
    """The character set of the text; set it before `text` where the server does not say it."""
    error: RequestFailed | None = None
    """Why there is no response, or `status ...` for 400 and above."""
    url = ""
    """The last one of a chain of redirects."""
    max_bytes = DEFAULT_MAX_BYTES
    """The largest content."""
    dialled: DialTimes | None = None
    """What the connection cost, if it was made for this request."""
    call: Call
    began_ns = 0
    """When sending began, behind the connection's making; on `time.perf_counter_ns`, as are the others."""
    sent_ns = 0
    """When the last byte was handed to the system."""
    first_byte_ns = 0

    def __init__(self, status: int, head: bytes, body: bytes, received_ns: int) -> None:
        self.status_code = status
        self._head, self._body = head, body
        self.received_ns = received_ns
        """When the last byte came."""

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"

    @property
    def ok(self) -> bool:
        """Whether there is a response, with a status below 400."""
        return 0 < self.status_code < 400

    @property
    def headers(self) -> Headers:
        """The header fields; none if there is no response."""
        if self._headers is None:
            self._headers = Headers(self._head)
        return self._headers

    @property
    def reason(self) -> str:
        """The words behind the status code."""
        parts = self._head.partition(b"\r\n")[0].split(b" ", 2)
        return parts[2].decode("latin-1") if len(parts) == 3 else ""

    @property
    def request_meta(self) -> dict[str, Any]:
        """What the event is fired with, but the response; `name` may be changed in a with-block."""
        if self._meta is None:
            self.is_described = True
            received_ns, body_bytes = self.received_ns, self.body_bytes
            self._meta = self.call.meta(received_ns=received_ns, body_bytes=body_bytes, error=self.error)
        return self._meta

    @property
    def history(self) -> list[Response]:
        """The redirects that led here."""
        if self._history is None:
            self._history = []
        return self._history

    @history.setter
    def history(self, responses: list[Response]) -> None:
        self._history = responses
        self.is_redirected = True

    @property
    def cookies(self) -> dict[str, str]:
        """Those that this response has set."""
        if self._cookies is None:
            self._cookies = {}
        return self._cookies

    @cookies.setter
    def cookies(self, found: dict[str, str]) -> None:
        self._cookies = found

    @property
    def elapsed(self) -> datetime.timedelta:
        """From handing the request to the connection to the last byte."""
        return datetime.timedelta(milliseconds=self.request_meta["response_time"])

    @property
    def sets_cookies(self) -> bool:
        """Whether it has a `Set-Cookie` field; cheaper than looking into the headers."""
        return b"\nset-cookie" in self._head.lower()

    @property
    def body_bytes(self) -> int:
        """The size of the body as it came, compressed or not."""
        return len(self._body) if self.stream is None else self.stream.read_bytes

    @property
    def content(self) -> bytes:
        """The body without its content codings; raises `BadContent` (a ValueError) when it is damaged."""
        if self._content is None:
            body = self._body if self.stream is None else b"".join(self.stream)
            codings = self.headers.get("content-encoding", "")
            self._content = decode(body, codings, self.max_bytes) if codings else body
        return self._content

    @property
    def text(self) -> str:
        """The content as text."""
        charset = self.encoding or charset_of(self.headers.get("content-type", ""))
        return to_text(self.content, charset)

    def json(self, **options: Any) -> Any:
        """Return the content as JSON says it; raises ValueError when it is none."""
        return json.loads(self.content if not self.encoding else self.text, **options)

    def iter_chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the body as they arrive, with `stream=True`; else all at once. Not decoded."""
        if self.stream is not None:
            yield from self.stream
        elif self._body:
            yield self._body

    def iter_lines(self) -> Iterator[str]:
        r"""Yield the lines of the body as they arrive, as UTF-8 and without their ends (`\n` or `\r\n`)."""
        rest = b""
        for chunk in self.iter_chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")

    def iter_sse(self) -> Iterator[Event]:
        """Yield the server-sent events of the body as they arrive, with `stream=True`; else all at once.

        Raises `RequestFailed` when an event is larger than 16 MiB, or than the largest response, and
        `BadContent` for a stream that is compressed though that was not asked for.
        """
        parser = EventParser(min(self.max_bytes, MAX_EVENT_BYTES))
        if self.stream is None:
            yield from parser.feed(self.content, self.received_ns)
            return
        try:
            if self.headers.get("content-encoding", "identity").lower() != "identity":
                raise BadContent("the stream is compressed")
            for chunk in self.stream:
                yield from parser.feed(chunk, self.stream.received_ns)
        except RequestFailed:
            self.close()
            raise

    def close(self) -> None:
        """Read no more of a stream: its connection is closed unless the body has ended."""
        if self.stream is not None:
            self.stream.close()

    def raise_for_status(self) -> None:
        """Raise what the request has failed with, if it has."""
        error = self._outcome if isinstance(self._outcome, Exception) else self.error
        if error is not None and self._outcome is not True:
            raise error

    # --- marking the request

    def report_on_exit(self, report: Report) -> None:
        """Hand the response to `report` at the end of a with-block, with what it has failed with there."""
        self._report = report

    def __enter__(self) -> Response:
        if self._report is None:
            raise LocustError("a with-block marks the request only with catch_response=True")
        self._is_entered = True
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        assert self._report is not None  # __enter__ has looked
        told = error if isinstance(error, ResponseError | RequestFailed) else None
        if self.stream is not None:
            self._end_stream(self.stream)
            if self.stream.cut_off:
                self.error = RequestFailed(self.stream.cut_off)
        if self._outcome is not None:
            failure = None if self._outcome is True else self._outcome
        else:
            failure = told or self.error
            if failure is None and self._meta is not None:
                failure = self._meta["exception"]
        self._report(self, failure)
        return error is None or (told is not None and self._outcome is None)

    def _end_stream(self, stream: BodyStream) -> None:
        stream.close()
        self.received_ns = max(self.received_ns, stream.received_ns)
        if self._meta is not None:
            self._meta["response_length"] = stream.read_bytes
            self._meta["response_time"] = (self.received_ns - self.call.began_ns) / 1e6

    def success(self) -> None:
        """Count the request as passed, whatever its status."""
        self._mark(True)

    def failure(self, reason: Exception | str) -> None:
        """Count the request as failed; the failures of a report are grouped by `reason`."""
        self._mark(reason if isinstance(reason, Exception) else CatchResponseError(reason))

    def _mark(self, outcome: Exception | Literal[True]) -> None:
        if not self._is_entered:
            raise LocustError("a request is marked inside `with ...(..., catch_response=True) as response:`")
        self._outcome = outcome
