"""Requests a second and CPU per request of FastHttpUser's session and ours, as Locust users in a closed loop.

    python benchmarks/client.py [users] [seconds]

Runs are interleaved, each in a process of its own, against a small server in another process that answers
every request with 300 bytes. The ratios hold on any machine, the figures only on this one.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from typing import Any

REPETITIONS = 5
BODY = b"x" * 300
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 300\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n" + BODY
)
JSON = {"email": "admin@test.com", "tags": ["load", "test"], "rating": 0.5, "text": "a few words " * 80}


class Answering(asyncio.Protocol):
    """Answers each read with one response: clients here send a request in one piece, and one at a time."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self._transport.write(ANSWER)


def serve(ready: Any) -> None:
    """Run the server in this process, on a core of its own where there are two."""
    pin(0)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def pin(core: int) -> None:
    """Run this process on one core, if there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def measure(kind: str, method: str, users: int, seconds: float, port: int) -> dict[str, float]:
    """Return requests/s and CPU microseconds per request of one run; the body of a child process."""
    from locust import FastHttpUser, User, constant, task
    from locust.env import Environment

    pin(1)
    import gc
    import time

    import gevent

    from perfload.load.http import HttpSession

    def perform(user: Any) -> None:
        if method == "GET":
            user.client.get("/api/items")
        else:
            user.client.post("/api/items", json=JSON)

    class Ours(User):
        wait_time = constant(0)
        host = f"http://127.0.0.1:{port}"
        go = task(perform)

        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            self.client = HttpSession(self.host, environment.events.request, self)

    class Stock(FastHttpUser):
        wait_time = constant(0)
        host = f"http://127.0.0.1:{port}"
        go = task(perform)

    user_class = Ours if kind == "perfload" else Stock
    environment = Environment(user_classes=[user_class])
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    gevent.sleep(1.0)
    gc.collect()
    gc.freeze()
    count = environment.stats.total.num_requests
    began_s, cpu_s = time.perf_counter(), time.process_time()
    gevent.sleep(seconds)
    count = environment.stats.total.num_requests - count
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    failures = environment.stats.total.num_failures
    runner.quit()
    return {"per_s": count / took_s, "cpu_us": cpu_s / count * 1e6, "failures": failures}


def run(kind: str, method: str, users: int, seconds: float, port: int) -> dict[str, float]:
    """Return what `measure` finds in a fresh process."""
    arguments = [kind, method, str(users), str(seconds), str(port)]
    child = subprocess.run([sys.executable, __file__, "--child", *arguments], check=True, capture_output=True)
    found: dict[str, float] = json.loads(child.stdout)
    if found["failures"]:
        raise SystemExit(f"{kind}: {found['failures']} requests failed")
    return found


def main(users: int, seconds: float) -> None:
    """Print medians, ranges and ratios."""
    receive, send = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=serve, args=(send,), daemon=True)
    server.start()
    port = receive.recv()
    for method in ("GET", "POST"):
        found: dict[str, list[dict[str, float]]] = {"FastHttpUser": [], "perfload": []}
        for _ in range(REPETITIONS):
            for kind, results in found.items():
                results.append(run(kind, method, users, seconds, port))
        medians = {}
        print(f"{method}, {users} users, {REPETITIONS} runs of {seconds:g} s: median (range)")
        for kind, results in found.items():
            rates = sorted(item["per_s"] for item in results)
            costs = sorted(item["cpu_us"] for item in results)
            medians[kind] = statistics.median(rates), statistics.median(costs)
            spread = f"({rates[0]:,.0f} .. {rates[-1]:,.0f})"
            print(
                f"  {kind:13} {medians[kind][0]:9,.0f}/s {spread:20} {medians[kind][1]:6.1f} us CPU a request"
            )
        stock, ours = medians["FastHttpUser"], medians["perfload"]
        rate, cost = ours[0] / stock[0], stock[1] / ours[1]
        print(f"  ratio         {rate:.2f} in requests/s, {cost:.2f} in CPU a request")
    server.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        kind, method, users, seconds, port = sys.argv[2:]
        print(json.dumps(measure(kind, method, int(users), float(seconds), int(port))))
    else:
        main(int((sys.argv[1:] or ["32"])[0]), float((sys.argv[2:] or ["3"])[0]))
