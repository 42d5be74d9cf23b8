from __future__ import annotations

import asyncio
import time

import pytest

from perfload.errors import UsageError
from perfload.target import plants
from perfload.target.plants import Plants
from perfload.target.repository import StoreUnavailable


def test_names_are_read_from_a_list_or_a_text() -> None:
    assert plants.parse(["cpu", "missing-index", "cpu"], "fault") == ("missing-index", "cpu")
    assert plants.parse("cpu, lock", "fault") == ("lock", "cpu")
    with pytest.raises(UsageError, match="no fault is called 'index'"):
        plants.parse(["index"], "fault")
    with pytest.raises(UsageError, match="is no list of names"):
        plants.parse(5, "fault")


def test_what_is_planted_at_the_start_stays() -> None:
    async def nothing() -> None: ...

    with_mongodb = Plants(slow_query=nothing)
    assert with_mongodb.admit(("cpu",), ("missing-index", "lock")) == ("missing-index", "cpu")
    with pytest.raises(UsageError, match="small-pool is planted at the start only"):
        with_mongodb.admit(("small-pool",), ("missing-index",))
    with pytest.raises(UsageError, match="slow-query needs a MongoDB"):
        Plants().admit(("slow-query",), ())


def test_who_wants_the_lock_waits_for_the_one_before() -> None:
    inside: list[int] = []

    async def answer() -> None:
        inside.append(1)
        assert len(inside) == 1
        await asyncio.sleep(0)
        inside.pop()

    async def many() -> float:
        planted = Plants()
        began_s = time.monotonic()
        await asyncio.gather(*(planted.around("available", ("lock",), answer) for _ in range(5)))
        return time.monotonic() - began_s

    assert asyncio.run(many()) >= 5 * plants.LOCK_HELD_S


def test_processor_time_is_burnt() -> None:
    async def answer() -> None: ...

    began_s = time.thread_time()
    asyncio.run(Plants().around("me", ("cpu",), answer))
    assert time.thread_time() - began_s >= plants.CPU_S


def test_only_the_endpoint_that_is_meant_reads_slowly() -> None:
    asked: list[str] = []

    async def slow_query() -> None:
        asked.append("query")
        raise StoreUnavailable("MongoDB: AutoReconnect")

    async def answer() -> None:
        asked.append("answer")

    planted = Plants(slow_query=slow_query)
    asyncio.run(planted.around("me", ("slow-query",), answer))
    asyncio.run(planted.around("performance-metrics", ("slow-query",), answer))
    assert asked == ["answer", "query", "answer"]
