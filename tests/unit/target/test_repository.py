from __future__ import annotations

import pytest

from perfload.target.repository import AiModel, DuplicateModel, InMemoryModelRepository, ModelRepository

MODEL = AiModel("own-1", "own", "one", "One", 1.0, 2.0, 3.0, 4.0)


def test_the_built_in_models() -> None:
    models = InMemoryModelRepository().all()
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
    repository: ModelRepository = InMemoryModelRepository([])
    repository.add(MODEL)
    repository.record_test("own-1")
    repository.record_test("own-1")
    with pytest.raises(DuplicateModel):
        repository.add(MODEL)
    assert repository.all() == [MODEL]
    assert repository.get("own-1") == MODEL
    assert repository.tests_of("own-1") == 2
    assert repository.remove("own-1")
    assert not repository.remove("own-1")
    assert repository.get("own-1") is None
    repository.add(MODEL)
    assert repository.tests_of("own-1") == 0
