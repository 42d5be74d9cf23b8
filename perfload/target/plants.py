"""Faults planted for an analysis to find: each slows the target down for a reason of its own.

`Faults` says which are in force; `Plants` carries them out, around each API request.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import time
from collections.abc import Awaitable, Callable

from perfload.errors import UsageError
from perfload.target.repository import StoreUnavailable

LOCK, CPU, SLOW_DOWNSTREAM = "lock", "cpu", "slow-downstream"
SLOW_QUERY, MISSING_INDEX, SMALL_POOL = "slow-query", "missing-index", "small-pool"

NAMES = (MISSING_INDEX, SLOW_QUERY, SMALL_POOL, LOCK, CPU, SLOW_DOWNSTREAM)
NEEDS_MONGODB = frozenset({MISSING_INDEX, SLOW_QUERY, SMALL_POOL})
AT_START = frozenset({MISSING_INDEX, SMALL_POOL})
"""Those that cannot be planted, or pulled out, while the target runs."""

LOCKED_ENDPOINT, LOCK_HELD_S = "available", 0.02
SLOW_QUERY_ENDPOINT = "performance-metrics"
DOWNSTREAM_ENDPOINT, DOWNSTREAM_AT_ONCE, DOWNSTREAM_S = "test-connection", 10, 0.2
CPU_S = 0.01
POOL_SIZE, CONNECTION_HELD_S = 2, 0.02

Hook = Callable[[], Awaitable[None]]


def parse(value: object, what: str) -> tuple[str, ...]:
    """Return the names in `value`, a list or a text with commas, in the order of `NAMES`."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{what}: {value!r} is no list of names", hint=f"there are {', '.join(NAMES)}")
    found = {name.strip() for name in value if name.strip()}
    for name in sorted(found - set(NAMES)):
        nearest = difflib.get_close_matches(name, NAMES, n=1)
        meant = f"did you mean {nearest[0]}? " if nearest else ""
        raise UsageError(f"{what}: no fault is called {name!r}", hint=f"{meant}there are {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in found)


class Plants:
    """Carries out what is planted. `slow_query` and `hold_connection` are there where a MongoDB is."""

    def __init__(self, *, slow_query: Hook | None = None, hold_connection: Hook | None = None) -> None:
        self._slow_query = slow_query
        self._hold_connection = hold_connection
        self._lock = asyncio.Lock()
        self._downstream = asyncio.Semaphore(DOWNSTREAM_AT_ONCE)

    def admit(self, wanted: tuple[str, ...], current: tuple[str, ...]) -> tuple[str, ...]:
        """Return what is in force after `wanted` has replaced `current` in a target that runs."""
        if self._slow_query is None:
            check_mongodb(wanted)
        fixed = AT_START & set(current)
        for name in sorted(AT_START & set(wanted) - fixed):
            raise UsageError(f"fault: {name} is planted at the start only", hint=f"pass --fault {name}")
        return tuple(name for name in NAMES if name in {*wanted, *fixed})

    async def around(
        self, endpoint: str, planted: tuple[str, ...], answer: Callable[[], Awaitable[None]]
    ) -> None:
        """Let one request to `endpoint` meet what is planted, and `answer` it."""
        if CPU in planted:
            _burn(CPU_S)
        with contextlib.suppress(StoreUnavailable):  # the answer itself will say so
            if SMALL_POOL in planted and self._hold_connection is not None:
                await self._hold_connection()
            if SLOW_QUERY in planted and endpoint == SLOW_QUERY_ENDPOINT and self._slow_query is not None:
                await self._slow_query()
        if SLOW_DOWNSTREAM in planted and endpoint == DOWNSTREAM_ENDPOINT:
            async with self._downstream:
                await asyncio.sleep(DOWNSTREAM_S)
        if LOCK in planted and endpoint == LOCKED_ENDPOINT:
            async with self._lock:
                await asyncio.sleep(LOCK_HELD_S)
                await answer()
            return
        await answer()


def check_mongodb(planted: tuple[str, ...]) -> None:
    """Raise `UsageError` for a fault that a target without a MongoDB cannot have."""
    for name in planted:
        if name in NEEDS_MONGODB:
            raise UsageError(f"fault: {name} needs a MongoDB", hint="pass --mongodb as well")


def _burn(cpu_s: float) -> None:
    """Use the processor for `cpu_s`; nothing else of this process gets on meanwhile."""
    until_s = time.thread_time() + cpu_s
    while time.thread_time() < until_s:
        sum(range(1_000))
