from __future__ import annotations

import asyncio

import pytest

from perfload.target.repository import AiModel, DuplicateModel, InMemoryModelRepository, ModelRepository

MODEL = AiModel("own-1", "own", "one", "One", 1.0, 2.0, 3.0, 4.0)


def test_the_built_in_models() -> None:
    models = asyncio.run(InMemoryModelRepository().available("anybody"))
    assert models[0].model_id == "openai-gpt35-turbo"
    assert {model.provider for model in models} == {"openai", "anthropic"}
    assert MODEL.as_json() == {
        "model_id": "own-1",
        "provider": "own",
        "model_name": "one",
        "display_name": "One",
        "quality_score": 1.0,
        "speed_score": 2.0,
        "cost_efficiency": 3.0,
        "reliability_score": 4.0,
    }


def test_models_come_and_go() -> None:
    async def come_and_go(repository: ModelRepository) -> None:
        await repository.add(MODEL, "owner")
        await repository.record_test("own-1", "owner")
        await repository.record_test("own-1", "owner")
        with pytest.raises(DuplicateModel):
            await repository.add(MODEL, "owner")
        assert await repository.available("owner") == [MODEL]
        assert await repository.get("own-1") == MODEL
        assert (await repository.metrics("owner"))[0]["connection_tests"] == 2
        assert await repository.remove("own-1")
        assert not await repository.remove("own-1")
        assert await repository.get("own-1") is None
        await repository.add(MODEL, "owner")
        assert (await repository.metrics("owner"))[0]["connection_tests"] == 0

    asyncio.run(come_and_go(InMemoryModelRepository([])))
