"""One arrival: a login and a GET on a connection of its own, or only the GET.

BENCH_CLIENT    perfload: a user comes, runs the task once and leaves, as `arrival_plan.py` plans it.
                FastHttpUser: Locust has no arrivals, so a pool of users begins BENCH_PACE times a second
                each, and closes its connections at the end of the task
BENCH_STEPS     login: with the login
BENCH_PACE      how often each user of the pool begins, per second
"""

from __future__ import annotations

import os
from typing import Any

from locust import FastHttpUser, constant, constant_throughput, task

CLIENT = os.environ["BENCH_CLIENT"]
HAS_LOGIN = os.environ.get("BENCH_STEPS") == "login"
PACE = float(os.environ.get("BENCH_PACE") or 0)
ACCOUNT = {"email": "admin@test.com", "password": "testpass123"}


def base_class() -> type[Any]:
    """Return the class that the users are made of."""
    if CLIENT == "perfload":
        from perfload.load import HttpUser

        return HttpUser
    return FastHttpUser


class Visitor(base_class()):  # type: ignore[misc]  # chosen when it runs
    """Logs in, looks at a page, and is gone."""

    wait_time = constant_throughput(PACE) if PACE else constant(0)
    insecure = True

    @task
    def visit(self) -> None:
        """Make one visit."""
        if HAS_LOGIN:
            self.client.post("/login", json=ACCOUNT)
        self.client.get("/get")
        if CLIENT == "FastHttpUser" and HAS_LOGIN:
            self.client.client.clientpool.close()
