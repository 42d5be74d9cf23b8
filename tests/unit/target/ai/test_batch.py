from __future__ import annotations

import asyncio

import pytest

from perfload.target.ai.batch import Batch
from perfload.target.ai.refusal import Refusal

pytestmark = pytest.mark.ai


def test_places_are_given_in_the_order_of_arrival() -> None:
    async def run() -> tuple[list[str], list[bool]]:
        batch, entered = Batch(1, 5, 0.0), []

        async def enter(name: str) -> bool:
            has_waited = await batch.enter()
            entered.append(name)
            return has_waited

        tasks = [asyncio.create_task(enter(name)) for name in "abc"]
        await asyncio.sleep(0)
        assert (entered, batch.active, batch.waiting) == (["a"], 1, 2)
        batch.leave()
        batch.leave()
        waited = list(await asyncio.gather(*tasks))
        assert (batch.active, batch.waiting) == (1, 0)
        batch.leave()
        assert batch.active == 0
        return entered, waited

    assert asyncio.run(run()) == (["a", "b", "c"], [False, True, True])


def test_who_finds_the_queue_full_is_refused() -> None:
    async def run() -> None:
        batch = Batch(1, 1, 0.0)
        await batch.enter()
        waiting = asyncio.create_task(batch.enter())
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="overloaded"):
            await batch.enter()
        batch.leave()
        assert await waiting is True

    asyncio.run(run())


@pytest.mark.parametrize("is_handed_over", [False, True])
def test_who_gives_up_waiting_blocks_nobody(is_handed_over: bool) -> None:
    async def run() -> None:
        batch = Batch(1, 2, 0.0)
        await batch.enter()
        gone, stays = asyncio.create_task(batch.enter()), asyncio.create_task(batch.enter())
        await asyncio.sleep(0)
        if is_handed_over:
            batch.leave()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        if not is_handed_over:
            batch.leave()
        assert await asyncio.wait_for(stays, 1) is True
        assert (batch.active, batch.waiting) == (1, 0)

    asyncio.run(run())


def test_who_gives_up_while_a_place_is_given_back_is_passed_over() -> None:
    async def run() -> None:
        batch = Batch(1, 2, 0.0)
        await batch.enter()
        gone, stays = asyncio.create_task(batch.enter()), asyncio.create_task(batch.enter())
        await asyncio.sleep(0)
        gone.cancel()
        batch.leave()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await asyncio.wait_for(stays, 1) is True
        assert (batch.active, batch.waiting) == (1, 0)

    asyncio.run(run())


def test_gaps_grow_with_the_batch() -> None:
    async def run() -> list[float]:
        batch, stretches = Batch(8, 0, 0.01), []
        for _ in range(3):
            await batch.enter()
            stretches.append(batch.stretch())
        return stretches

    assert asyncio.run(run()) == pytest.approx([1.0, 1.01, 1.02])
