"""The users of every Locust row of the tables: one request after another, by the client that is asked for.

BENCH_CLIENT   HttpUser, FastHttpUser, perfload, perfload-lean, or perfload-bare: only perfload's client
BENCH_METHOD   GET or POST
BENCH_PATH     what is requested
BENCH_JSON     the body of a POST
BENCH_PACE     requests per second of each user; empty: as fast as it can
BENCH_WAIT     seconds between two requests; empty: none
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

from locust import FastHttpUser, HttpUser, User, constant, constant_throughput, task

CLIENT = os.environ["BENCH_CLIENT"]
METHOD = os.environ.get("BENCH_METHOD", "GET")
PATH = os.environ.get("BENCH_PATH", "/get")
BODY = json.loads(os.environ.get("BENCH_JSON") or "null")
PACE = float(os.environ.get("BENCH_PACE") or 0)
WAIT_S = float(os.environ.get("BENCH_WAIT") or 0)


def bare_user() -> type[User]:
    """Return a user with perfload's client, in a process in which perfload does not take part."""
    found = importlib.util.find_spec("perfload")
    assert found is not None
    assert found.origin is not None
    # Importing perfload.load hooks perfload up to Locust; an empty package in its place does not.
    package = types.ModuleType("perfload.load")
    package.__path__ = [str(Path(found.origin).parent / "load")]
    sys.modules["perfload.load"] = package
    from perfload.load.http import HttpSession

    class Bare(User):
        abstract = True

        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            self.client = HttpSession(self.host, environment.events.request, self, insecure=True)

    return Bare


def base_class() -> type[Any]:
    """Return the class that the users are made of."""
    if CLIENT == "perfload-bare":
        return bare_user()
    if CLIENT.startswith("perfload"):
        from perfload.load import HttpUser as PerfloadUser

        return PerfloadUser
    return {"HttpUser": HttpUser, "FastHttpUser": FastHttpUser}[CLIENT]


class Visitor(base_class()):  # type: ignore[misc]  # chosen when it runs
    """Sends its request again and again."""

    wait_time = constant_throughput(PACE) if PACE else constant(WAIT_S)
    insecure = True
    lean = CLIENT == "perfload-lean"

    def on_start(self) -> None:
        """Accept the target's own certificate, which `requests` is told per session."""
        if CLIENT == "HttpUser":
            self.client.verify = False

    @task
    def visit(self) -> None:
        """Send one request."""
        if METHOD == "POST":
            self.client.post(PATH, json=BODY)
        else:
            self.client.get(PATH)
