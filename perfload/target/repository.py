"""The AI models that the target knows, behind the interface that another store can take over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AiModel:
    """One AI model; the scores run from 0 to 100, higher is better."""

    model_id: str
    provider: str
    model_name: str
    display_name: str
    quality_score: float
    speed_score: float
    cost_efficiency: float
    reliability_score: float

    def as_json(self) -> dict[str, str | float]:
        """Return the fields by name; `dataclasses.asdict`, which copies deeply, takes ten times as long."""
        return {name: getattr(self, name) for name in self.__slots__}


class DuplicateModel(Exception):
    """A model with this id is there already."""


class StoreUnavailable(Exception):
    """The store gave no answer; the message is a short reason."""


class ModelRepository(Protocol):
    """Where the models are kept. Called once or twice per request; `owner` is the address of an account."""

    async def available(self, owner: str) -> list[AiModel]:
        """Return the models that `owner` is offered."""

    async def get(self, model_id: str) -> AiModel | None:
        """Return the model with this id, or None."""

    async def add(self, model: AiModel, owner: str) -> None:
        """Keep `model`; raises `DuplicateModel` and changes nothing when its id is taken."""

    async def remove(self, model_id: str) -> bool:
        """Forget the model with this id; returns whether there was one."""

    async def record_test(self, model_id: str, owner: str) -> None:
        """Count one connection test of the model with this id."""

    async def metrics(self, owner: str) -> list[dict[str, object]]:
        """Return a row per model: `model_id`, `connection_tests` and what else is known of it."""


BUILT_IN_MODELS = (
    AiModel("openai-gpt35-turbo", "openai", "gpt-3.5-turbo", "GPT-3.5 Turbo", 76, 92, 90, 95),
    AiModel("openai-gpt4o", "openai", "gpt-4o", "GPT-4o", 91, 84, 68, 96),
    AiModel("openai-gpt4o-mini", "openai", "gpt-4o-mini", "GPT-4o mini", 82, 93, 94, 96),
    AiModel(
        "anthropic-claude-3-haiku", "anthropic", "claude-3-haiku-20240307", "Claude 3 Haiku", 79, 94, 92, 96
    ),
    AiModel(
        "anthropic-claude-35-sonnet",
        "anthropic",
        "claude-3-5-sonnet-20241022",
        "Claude 3.5 Sonnet",
        93,
        82,
        70,
        97,
    ),
    AiModel(
        "anthropic-claude-3-opus", "anthropic", "claude-3-opus-20240229", "Claude 3 Opus", 92, 61, 42, 96
    ),
)


class InMemoryModelRepository:
    """A `ModelRepository` that forgets everything when the process ends; everybody sees every model."""

    def __init__(self, models: Iterable[AiModel] = BUILT_IN_MODELS) -> None:
        self._models: dict[str, AiModel] = {}
        self._tests: dict[str, int] = {}
        for model in models:
            self._add(model)

    async def available(self, owner: str) -> list[AiModel]:
        """See `ModelRepository.available`; the oldest first."""
        return list(self._models.values())

    async def get(self, model_id: str) -> AiModel | None:
        """See `ModelRepository.get`."""
        return self._models.get(model_id)

    async def add(self, model: AiModel, owner: str) -> None:
        """See `ModelRepository.add`."""
        self._add(model)

    def _add(self, model: AiModel) -> None:
        if model.model_id in self._models:
            raise DuplicateModel(model.model_id)
        self._models[model.model_id] = model
        self._tests[model.model_id] = 0

    async def remove(self, model_id: str) -> bool:
        """See `ModelRepository.remove`."""
        self._tests.pop(model_id, None)
        return self._models.pop(model_id, None) is not None

    async def record_test(self, model_id: str, owner: str) -> None:
        """See `ModelRepository.record_test`."""
        self._tests[model_id] += 1

    async def metrics(self, owner: str) -> list[dict[str, object]]:
        """See `ModelRepository.metrics`."""
        return [
            {
                "model_id": model.model_id,
                "connection_tests": self._tests[model.model_id],
                "quality_score": model.quality_score,
                "speed_score": model.speed_score,
                "reliability_score": model.reliability_score,
            }
            for model in self._models.values()
        ]
