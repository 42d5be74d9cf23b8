"""What lies around the API: the truth outermost, then the faults; beside them, what controls both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from perfload.errors import UsageError
from perfload.target.asgi import (
    Application,
    ClientGone,
    HttpError,
    Message,
    Receive,
    Response,
    Scope,
    Send,
    client_is_gone,
    is_loopback,
    json_response,
    read_body,
    send_response,
)
from perfload.target.faults import ActiveFaults, Faults, Outcome, pieces
from perfload.target.latency import LatencyModel
from perfload.target.plants import Plants
from perfload.target.routes import API_PREFIX, UNMATCHED, find
from perfload.target.truth import Truth

CONTROL_PREFIX = "/_"

RECEIVED_NS = "perfload.received_ns"
"""Key of the scope under which a server says when the request's first bytes came in."""


class TruthLayer:
    """Counts and times every request, whatever becomes of it. `clock_ns` is `time.perf_counter_ns`.

    Time begins with the request's first bytes if the server noted that, else when the request gets here.
    """

    def __init__(self, app: Application, truth: Truth, clock_ns: Callable[[], int]) -> None:
        self._app = app
        self._truth = truth
        self._clock_ns = clock_ns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and count it; its time ends when its last byte is handed over."""
        start_ns = scope.get(RECEIVED_NS) or self._clock_ns()
        found = find(scope["method"], scope["path"])
        row = self._truth.begin(found[0].name if found else UNMATCHED)
        status = 0
        is_over = False

        async def watch(message: Message) -> None:
            nonlocal status, is_over
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                # Counted before it is sent: a client that has its answer finds it in the truth.
                end_ns = self._clock_ns()
                is_over = True
                if client_is_gone(receive):
                    row.aborted += 1
                else:
                    row.answered(status, (end_ns - start_ns) // 1000)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except BaseException:
            row.aborted += not is_over
            raise
        if not is_over:
            if status == 0 or client_is_gone(receive):
                row.aborted += 1
            else:
                row.cut_off(status, (self._clock_ns() - start_ns) // 1000)


class FaultLayer:
    """Gives every request to `/api/` its latency, and its share of the faults in force."""

    def __init__(
        self, app: Application, faults: ActiveFaults, latencies: LatencyModel, plants: Plants
    ) -> None:
        self._app = app
        self._faults = faults
        self._latencies = latencies
        self._plants = plants
        self._stall_over: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it with the fault that it drew."""
        if not scope["path"].startswith(API_PREFIX):
            await self._app(scope, receive, send)
            return
        outcome = self._faults.arrive()
        # One request meets one set of faults, even when it is replaced meanwhile.
        faults = self._faults.faults
        paced_send = self._paced(send, faults, is_truncated=outcome is Outcome.TRUNCATED)
        await self._outlast_stall()
        if outcome is Outcome.THROTTLED:
            await send_response(paced_send, _throttled(faults.retry_after_s))
            return
        await self._take_time(scope, faults)
        if outcome is Outcome.ERROR:
            await send_response(paced_send, _INJECTED_ERROR)
        elif faults.planted and (found := find(scope["method"], scope["path"])):
            await self._plants.around(
                found[0].endpoint, faults.planted, lambda: self._app(scope, receive, paced_send)
            )
        else:
            await self._app(scope, receive, paced_send)

    async def _take_time(self, scope: Scope, faults: Faults) -> None:
        delay_s = faults.delay_s
        if delay_s is None:
            found = find(scope["method"], scope["path"])
            delay_s = self._latencies.draw_s(found[0].endpoint) if found else 0.0
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    async def _outlast_stall(self) -> None:
        """Wait while there is a stall; whoever came first gets on first when it ends."""
        while (left_s := self._faults.stall_left_s()) > 0:
            if self._stall_over is None:
                self._stall_over = asyncio.Event()
                asyncio.get_running_loop().call_later(left_s, self._end_stall)
            await self._stall_over.wait()

    def _end_stall(self) -> None:
        if self._stall_over is not None:
            self._stall_over.set()
        self._stall_over = None

    def _paced(self, send: Send, faults: Faults, *, is_truncated: bool) -> Send:
        async def paced(message: Message) -> None:
            await self._outlast_stall()
            if message["type"] == "http.response.start":
                await send(message)
            else:
                await self._send_body(message["body"], send, faults.slow_body_s, is_truncated=is_truncated)

        return paced

    async def _send_body(self, body: bytes, send: Send, duration_s: float, *, is_truncated: bool) -> None:
        """Send `body` over `duration_s`; a truncated one stops half-way: the server closes the connection."""
        shown = body[: len(body) // 2] if is_truncated else body
        parts = pieces(shown, duration_s)
        sent_s = 0.0
        for index, (at_s, part) in enumerate(parts):
            if at_s > sent_s:
                await asyncio.sleep(at_s - sent_s)
                await self._outlast_stall()
                sent_s = at_s
            is_last = index == len(parts) - 1 and not is_truncated
            await send({"type": "http.response.body", "body": part, "more_body": not is_last})


class ControlLayer:
    """`/_truth` and `/_faults`, for clients on this machine only; every other path goes to `app`."""

    def __init__(self, app: Application, truth: Truth, faults: ActiveFaults, plants: Plants) -> None:
        self._app = app
        self._truth = truth
        self._faults = faults
        self._plants = plants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a control request, or pass the request on."""
        if not scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        try:
            response = await self._respond(scope, receive)
        except HttpError as error:
            response = error.response()
        except ClientGone:
            return
        await send_response(send, response)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        if not is_loopback(scope):
            raise HttpError(HTTPStatus.FORBIDDEN, "only for clients on the target's own machine")
        match scope["method"], scope["path"]:
            case "GET", "/_truth":
                return json_response(self._truth.as_json())
            case "DELETE", "/_truth":
                self._truth.reset()
                return json_response(self._truth.as_json())
            case "GET", path if (part := self._truth.parts.get(path.removeprefix("/_truth/"))) is not None:
                return json_response(part.detail())
            case "GET", "/_faults":
                return json_response(self._faults.faults.describe())
            case "POST", "/_faults":
                self._faults.replace(self._faults_from(await read_body(receive)))
                return json_response(self._faults.faults.describe())
        raise HttpError(HTTPStatus.NOT_FOUND, "there are GET and DELETE /_truth, GET and POST /_faults")

    def _faults_from(self, body: bytes) -> Faults:
        try:
            options = json.loads(body)
        except ValueError as error:
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, f"not JSON: {error}") from error
        if not isinstance(options, dict):
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, "not a JSON object; {} clears all faults")
        try:
            faults = Faults.parse(options)
            planted = self._plants.admit(faults.planted, self._faults.faults.planted)
        except UsageError as error:
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        return replace(faults, planted=planted)


def _throttled(retry_after_s: int) -> Response:
    headers = ((b"retry-after", b"%d" % retry_after_s),)
    return json_response({"detail": "too many requests"}, HTTPStatus.TOO_MANY_REQUESTS, headers)


_INJECTED_ERROR = json_response({"detail": "injected error"}, HTTPStatus.INTERNAL_SERVER_ERROR)
