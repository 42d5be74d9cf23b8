"""The client of a virtual user: Locust's keyword arguments in, one request event out."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

import gevent
from gevent import GreenletExit, getcurrent
from locust import User

from perfload.errors import UsageError
from perfload.hosts import HostRules
from perfload.load.http import redirects
from perfload.load.http.body import encode_body, with_params
from perfload.load.http.call import Call
from perfload.load.http.connection import Connection
from perfload.load.http.cookies import CookieJar
from perfload.load.http.dialer import Dialer
from perfload.load.http.event import RequestEvent
from perfload.load.http.failures import (
    CUT_OFF,
    REQUEST_TOO_LARGE,
    TIMED_OUT_OUTSIDE,
    TOO_MANY_REDIRECTS,
    ConnectionLost,
    RequestFailed,
)
from perfload.load.http.origin import Origin
from perfload.load.http.pool import Pool
from perfload.load.http.request import Prepared, basic, preparer_for
from perfload.load.http.resolver import resolver
from perfload.load.http.response import DEFAULT_MAX_BYTES, Response
from perfload.load.http.stream import BodyStream
from perfload.load.http.timeouts import Limits, Timeouts
from perfload.load.http.tls import context_of

MAX_REDIRECTS = 30

_SOON_NS = 100_000_000
"""Whoever has not got a connection by then is kept waiting by the system."""

_perf_counter_ns = time.perf_counter_ns


class _CutOff(GreenletExit):  # type: ignore[misc]  # gevent is not typed
    """The end of the run, to a request that the system had already kept waiting."""


class HttpSession:
    """Sends requests, keeps cookies and a connection per host, and fires `request_event` once per request.

    Takes the place of Locust's `FastHttpSession` and `HttpSession`; docs/client.md has the differences. It
    belongs to one virtual user. Call `close` when the user leaves; a session that is dropped closes itself.
    """

    def __init__(
        self,
        base_url: str | None,
        request_event: Any,
        user: Any = None,
        *,
        insecure: bool = False,
        ssl_context: SSLContext | None = None,
        ca_file: str | None = None,
        client_cert: str | tuple[str, str] | None = None,
        resume_tls: bool = True,
        proxy: str | None = None,
        unix_socket: str | None = None,
        host_rules: HostRules | None = None,
        timeouts: Timeouts | None = None,
        default_headers: Mapping[str, str] | None = None,
        max_redirects: int = MAX_REDIRECTS,
        max_response_bytes: int = DEFAULT_MAX_BYTES,
        max_request_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self.base_url = base_url or ""
        self.request_event = request_event
        self.user = user
        self.request_name: str | None = None
        """The name of all requests that do not bring one; see `rename_request`."""
        self.cookies = CookieJar()
        self._may_go_past = isinstance(request_event, RequestEvent)
        self._tells_context = user is not None and type(user).context is not User.context
        self._preparer = preparer_for(self.base_url, tuple((default_headers or {}).items()))
        own_context = context_of(ssl_context, insecure=insecure, ca_file=ca_file, client_cert=client_cert)
        self._pool = Pool(
            Dialer(resolver, own_context, proxy=proxy, unix_socket=unix_socket, resume_tls=resume_tls)
        )
        self._host_rules = HostRules() if host_rules is None else host_rules
        self._allowed = _allowed_by(self._host_rules)
        self._limits = _limits(timeouts or Timeouts(), max_response_bytes)
        self._max_redirects = max_redirects
        self._max_request_bytes = max_request_bytes

    def get(self, url: str, **options: Any) -> Response:
        """Send a GET request; see `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Any) -> Response:
        """Send a HEAD request; see `request`."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Any) -> Response:
        """Send an OPTIONS request; see `request`."""
        return self.request("OPTIONS", url, **options)

    def delete(self, url: str, **options: Any) -> Response:
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", url, **options)

    def post(self, url: str, data: Any = None, json: Any = None, **options: Any) -> Response:
        """Send a POST request; see `request`."""
        return self.request("POST", url, data=data, json=json, **options)

    def put(self, url: str, data: Any = None, **options: Any) -> Response:
        """Send a PUT request; see `request`."""
        return self.request("PUT", url, data=data, **options)

    def patch(self, url: str, data: Any = None, **options: Any) -> Response:
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", url, data=data, **options)

    def request(  # noqa: PLR0917  # Locust's own order
        self,
        method: str,
        url: str,
        name: str | None = None,
        data: Any = None,
        catch_response: bool = False,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str | bytes, str | bytes] | None = None,
        json: Any = None,
        allow_redirects: bool = True,
        context: Mapping[str, Any] | None = None,
        params: Any = None,
        files: Any = None,
        timeout: Timeouts | float | tuple[float | None, float | None] | None = None,
    ) -> Response:
        """Send one request and return its response, one with `status_code` 0 and `error` when there is none.

        `url` is a path behind the base URL, or absolute. The event is fired before this returns; with
        `catch_response`, at the end of the with-block that marks the response. With `stream` the response is
        returned after its head, for `iter_chunks` or `iter_lines`. `timeout` in seconds limits the whole
        request. Raises ValueError for a URL or header that cannot be sent: that is the scenario's mistake.
        """
        if params:
            url = with_params(url, params)
        if auth:
            headers = {**(headers or {}), "Authorization": basic(*auth)}
        if stream:
            headers = {"Accept-Encoding": "identity", **(headers or {})}
        body, content_type = None, ""
        if data or files or json is not None:
            body, content_type = encode_body(data, json, files)
        prepared = self._preparer.prepare(method, url, headers, content_type)
        if context or self._tells_context:
            context = {**self.user.context(), **(context or {})} if self._tells_context else context
        limits = self._limits
        if timeout is not None:
            limits = Limits(Timeouts.of(timeout), limits.max_bytes)
        # Who belongs to nobody belongs to the greenlet.
        visit = getattr(getcurrent() if self.user is None else self.user, "perfload_visit", None)
        call = Call(prepared, name or self.request_name or url, context, body, stream, limits, visit)
        response = self._perform(call, allow_redirects)
        if catch_response:
            response.report_on_exit(self._report)
        else:
            self._report(response, response.error)
        return response

    @contextmanager
    def rename_request(self, name: str) -> Iterator[None]:
        """Give all requests in the with-block the name `name`."""
        self.request_name = name
        try:
            yield
        finally:
            self.request_name = None

    def close(self) -> None:
        """Close the connections that are idle."""
        self._pool.close()

    def __del__(self) -> None:
        # Missing when the constructor has failed.
        if pool := getattr(self, "_pool", None):
            pool.close()

    def _report(self, response: Response, failure: Exception | None) -> None:
        """Count a request that has ended: the short way if nobody else wants to hear of it."""
        event = self.request_event
        if failure is None and self._may_go_past and event.sole and not response.is_described:
            event.sole.passed(response)
            return
        meta = response.request_meta
        meta["exception"] = failure
        event.fire(response=response, **meta)

    def _perform(self, call: Call, allow_redirects: bool) -> Response:
        """Return the response, or one without a status that tells the failure."""
        try:
            response = self._send(call, allow_redirects)
        except RequestFailed as failure:
            # With the traceback, whose frames know the response, only the collector could free the two.
            return _no_response(call, failure.with_traceback(None))
        except BaseException as end:
            # A gevent.Timeout raises whatever it was given.
            if not (call.is_sent or isinstance(end, _CutOff | gevent.Timeout)):
                raise
            reason = CUT_OFF if isinstance(end, _CutOff) else TIMED_OUT_OUTSIDE
            meta = _no_response(call, RequestFailed(reason)).request_meta
            self.request_event.fire(response=None, **meta)
            raise
        response.call = call
        if response.status_code >= 400:
            response.error = RequestFailed(f"status {response.status_code}")
        return response

    def _send(self, call: Call, allow_redirects: bool) -> Response:
        """Send a request and those that its redirects ask for; return the last response."""
        if call.body is not None and len(call.body) > self._max_request_bytes:
            raise RequestFailed(REQUEST_TOO_LARGE)
        response = self._exchange(call, call.began_ns)
        if response.status_code < 300 or not allow_redirects:
            return response
        history: list[Response] = []
        while (location := redirects.location_of(response)) is not None:
            response.close()
            response.call = call
            history.append(response)
            if len(history) > self._max_redirects:
                raise RequestFailed(TOO_MANY_REDIRECTS)
            call.prepared, keeps_body = redirects.follow(call.prepared, response.status_code, location)
            if not keeps_body:
                call.body = None
            response = self._exchange(call, _perf_counter_ns())
        response.history = history
        return response

    def _exchange(self, call: Call, began_ns: int) -> Response:
        """Send one request over the idle connection, or a new one when there is none or it is stale."""
        prepared = call.prepared
        origin = prepared.origin
        if origin not in self._allowed:
            self._check(prepared)
        cookies = ""
        if self.cookies.is_used and not prepared.has_cookies:
            cookies = self.cookies.header_for(origin, prepared.target)
        message = prepared.message(call.body, cookies) if cookies or call.body is not None else prepared.bare
        connection = self._pool.take(origin)
        if connection is not None:
            try:
                return self._exchange_over(connection, call, message, began_ns)
            except ConnectionLost as lost:
                # The server may close an idle connection at any time, just then for example.
                if not lost.may_repeat:
                    raise
        return self._exchange_over(self._dial(call), call, message, _perf_counter_ns())

    def _dial(self, call: Call) -> Connection:
        limits, now_ns = call.limits, _perf_counter_ns()
        try:
            deadline_ns = min(now_ns + limits.connect_ns, call.began_ns + limits.total_ns)
            return self._pool.dial(call.prepared.origin, deadline_ns)
        except GreenletExit as end:
            # A user that is stopped as it wakes up gets no further than here: nothing has been sent.
            if call.is_sent or _perf_counter_ns() - call.began_ns >= _SOON_NS:
                raise _CutOff from end
            raise

    def _exchange_over(self, connection: Connection, call: Call, message: bytes, began_ns: int) -> Response:
        call.is_sent = True
        prepared, limits = call.prepared, call.limits
        try:
            response = connection.exchange(
                message,
                prepared,
                limits,
                began_ns,
                call.began_ns + limits.total_ns,
                call.is_stream,
            )
        except GreenletExit as end:
            raise _CutOff from end
        response.url = prepared.url
        response.max_bytes = limits.max_bytes
        if call.is_stream:
            give_back = functools.partial(self._pool.give, prepared.origin, connection)
            response.stream = BodyStream(connection, give_back)
        else:
            self._pool.give(prepared.origin, connection)
        if response.sets_cookies:
            fields = response.headers.get_all("set-cookie")
            response.cookies = self.cookies.store(fields, prepared.origin, prepared.target)
        return response

    def _check(self, prepared: Prepared) -> None:
        try:
            self._host_rules.check(str(prepared.origin))
        except UsageError as error:
            raise RequestFailed(error.message) from error
        self._allowed.add(prepared.origin)


@functools.lru_cache(64)
def _allowed_by(_host_rules: HostRules) -> set[Origin]:
    """Return the origins that were checked already; sessions with the same rules share it."""
    return set()


@functools.lru_cache(64)
def _limits(timeouts: Timeouts, max_response_bytes: int) -> Limits:
    return Limits(timeouts, max_response_bytes)


def _no_response(call: Call, failure: RequestFailed) -> Response:
    response = Response(0, b"", b"", _perf_counter_ns())
    response.url, response.call, response.error = call.url, call, failure
    return response
