"""Where the CPU of one request goes: each part of its path by itself, in microseconds.

    python benchmarks/request_path.py

The best of many rounds, in one process, so it is what the code costs with warm caches; a load of many users
pays more for the same. What is left to `benchmarks.generator saturation` is the event loop, and the kernel's
work on TCP when the bytes come from another core.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
from gevent import monkey
from locust import User, constant, task
from locust.env import Environment
from locust.event import EventHook
from locust.user.users import DefaultTaskSet

from perfload.load.bridge import RequestBridge
from perfload.load.clock import RunClock
from perfload.load.http import HttpSession, connection
from perfload.load.http.connection import Connection
from perfload.load.http.event import RequestEvent
from perfload.load.http.origin import Place
from perfload.load.http.request import prepare
from perfload.load.http.response import Response
from perfload.load.http.stamps import ANCILLARY_BYTES, ask_for_stamps
from perfload.load.http.timeouts import NEVER_NS, Limits, Timeouts
from perfload.load.statistics import StatisticsFeed
from perfload.model import PhaseSpan
from perfload.recorder import Recorder

ROUNDS, CALLS = 25, 5_000
BODY = b"x" * 300
HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 300\r\nConnection: keep-alive\r\nCache-Control: no-store"
)
ANSWER = HEAD + b"\r\n\r\n" + BODY
MESSAGE = prepare("GET", Place("http://127.0.0.1:1/api/items"), {}).bare


def cost_us(body: Callable[[], object]) -> float:
    """Return what one call of `body` takes, in microseconds."""
    return min(timeit.repeat(body, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def recorded_session() -> tuple[HttpSession, RequestBridge, RequestEvent]:
    """Return a session whose requests are recorded, and that gets its responses from nowhere."""
    clock = RunClock(time.time())
    feed = StatisticsFeed(SimpleNamespace(stats=None), clock)
    span = PhaseSpan("Load", 0.0, 0.0, "users", 1.0, 1.0, 0)
    bridge = RequestBridge(Recorder("run", "local"), clock, (span,), feed)
    event = RequestEvent.adopt(EventHook())
    event.record_with(bridge, bridge.on_request)
    session = HttpSession("http://127.0.0.1:1", event)
    session._pool = SimpleNamespace(take=lambda _: _Answering(), give=lambda *_: None, close=lambda: None)
    return session, bridge, event


class _Answering:
    """A connection that has the response before it is asked."""

    def exchange(self, _message: Any, _prepared: Any, _limits: Any, began_ns: int, *_: Any) -> Response:
        response = Response(200, HEAD, BODY, time.perf_counter_ns())
        response.began_ns = began_ns
        response.sent_ns = response.first_byte_ns = response.received_ns
        return response


def exchange_us() -> float:
    """Return the cost of a connection's own work: its state, the parser, the response; no system call."""
    ours, theirs = monkey.get_original("socket", "socketpair")()
    ours.setblocking(False)
    wire = Connection(ours)
    wire._send = len
    wire._recvmsg = lambda *_: (ANSWER, [], 0, None)
    prepared = prepare("GET", Place("http://127.0.0.1:1/"), {})
    limits = Limits(Timeouts(), 1 << 20)

    def answer(_hub: Any) -> None:
        wire._waiter = None
        wire._on_readable()

    switch, connection._switch = connection._switch, answer
    try:
        return cost_us(lambda: wire.exchange(MESSAGE, prepared, limits, 1, NEVER_NS, False))
    finally:
        connection._switch = switch
        wire.close()
        theirs.close()


def system_us() -> dict[str, float]:
    """Return the cost of sending a request and of receiving a response over TCP, on one core."""
    plain_socket = monkey.get_original("socket", "socket")
    listener, near = plain_socket(), plain_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    near.connect(listener.getsockname())
    far, _ = listener.accept()
    ask_for_stamps(near)

    def there_and_back() -> None:
        near.send(MESSAGE)
        far.recv(65536)
        far.send(ANSWER)
        near.recvmsg(65536, ANCILLARY_BYTES)

    both = cost_us(there_and_back)
    for item in (near, far, listener):
        item.close()
    return {"two sends and two receives over TCP (one of each is ours)": both}


def locust_us() -> dict[str, float]:
    """Return what Locust's loop, event and statistics cost for one task with one request."""

    class Idle(User):
        host = "http://127.0.0.1:1"
        wait_time = constant(0)

        @task
        def work(self) -> None: ...

    environment = Environment(user_classes=[Idle])
    environment.create_local_runner()
    user = Idle(environment)
    tasks = DefaultTaskSet(user)

    def perform() -> None:
        tasks.schedule_task(tasks.get_next_task())
        tasks.execute_next_task()
        tasks.wait_time()

    event = {
        "request_type": "GET",
        "name": "/api/items",
        "response_time": 12.5,
        "response_length": 300,
        "exception": None,
        "context": {},
    }
    return {
        "Locust: drawing and calling a task": cost_us(perform),
        "Locust: yielding to the loop between tasks (sleep 0)": cost_us(lambda: gevent.sleep(0)),
        "(spared) Locust's event and its statistics": cost_us(
            lambda: environment.events.request.fire(response=None, **event)
        ),
    }


def main() -> None:
    """Print one table."""
    session, bridge, event = recorded_session()
    response = session.get("/api/items")
    recording = cost_us(lambda: bridge.passed(response))
    event.sole = SimpleNamespace(passed=lambda _: None)
    rows = {
        "session: from `get` to the connection and back": cost_us(lambda: session.get("/api/items")),
        "connection: state, parser, response": exchange_us(),
        "recorder: histograms of response time, service time and stages": recording,
        **locust_us(),
        **system_us(),
    }
    for name, cost in rows.items():
        print(f"{name:64} {cost:6.2f} us")


if __name__ == "__main__":
    main()
