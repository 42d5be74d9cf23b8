"""Documents made from a seed: the same ones for the same seed and number, on any machine.

Who knows the number of documents also knows their keys: load needs no list of what is in the database.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from perfload.errors import UsageError

Document = dict[str, Any]

MIN_DOCUMENTS = 100

USERS, MODELS, METRICS = "users", "models", "metrics"

INDEXES: Mapping[str, Mapping[str, tuple[tuple[str, int], ...]]] = {
    USERS: {"email": (("email", 1),)},
    MODELS: {
        "model_id": (("model_id", 1),),
        "owner_created_status": (("owner", 1), ("created_at", -1), ("status", 1)),
    },
    METRICS: {"owner_created": (("owner", 1), ("created_at", -1))},
}
"""Per collection, name -> keys: one for every query that load makes, and none besides."""

UNIQUE = frozenset({"email", "model_id"})
"""Names of the indexes that let each key in once."""

RETIRED, TRIAL, LIVE = 0, 1, 2
"""The values of a model's `status`: what is offered has at least `TRIAL`."""

FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 180
"""Creation times are spread evenly over so many days from `FIRST_DAY` on."""

_PROVIDERS = {
    "openai": ("gpt-3.5-turbo", "gpt-4o", "gpt-4o-mini"),
    "anthropic": ("claude-3-haiku-20240307", "claude-3-5-sonnet-20241022", "claude-3-opus-20240229"),
    "own": ("base-7b", "base-70b"),
}
_REMARKS = ("평가 요청", "모델 비교", "연결 시험", "evaluation", "comparison", "connection test")


def email_of(user: int) -> str:
    """Return the address of user number `user`; models and metrics name their owner by it."""
    return f"user-{user:07d}@perfload.test"


def model_id_of(model: int) -> str:
    """Return the `model_id` of model number `model`."""
    return f"model-{model:07d}"


@dataclass(frozen=True, slots=True)
class DataSet:
    """`documents` in all: one in twenty a user, one in five a model, the rest metrics."""

    documents: int
    seed: int = 1

    def __post_init__(self) -> None:
        if self.documents < MIN_DOCUMENTS:
            raise UsageError(
                f"{self.documents} documents are too few for a data set",
                hint=f"{MIN_DOCUMENTS} is the least; 100000 is a good start",
            )

    @property
    def users(self) -> int:
        """Number of users; model number m belongs to user m modulo this."""
        return self.documents // 20

    @property
    def models(self) -> int:
        """Number of models."""
        return self.documents // 5

    @property
    def metrics(self) -> int:
        """Number of metrics."""
        return self.documents - self.users - self.models

    def owner_of(self, model: int) -> str:
        """Return the address of the user to whom model number `model` belongs."""
        return email_of(model % self.users)

    def collections(self) -> dict[str, Iterator[Document]]:
        """Return what belongs into each collection, made while it is read."""
        return {USERS: self._users(), MODELS: self._models(), METRICS: self._metrics()}

    def _users(self) -> Iterator[Document]:
        draw = random.Random(f"{self.seed}:{USERS}")
        for number in range(self.users):
            yield {
                "_id": f"user-{number:07d}",
                "email": email_of(number),
                "name": f"사용자 {number}",
                "role": "admin" if draw.random() < 0.05 else "user",
                "created_at": _spread(number, self.users),
            }

    def _models(self) -> Iterator[Document]:
        draw = random.Random(f"{self.seed}:{MODELS}")
        for number in range(self.models):
            provider = draw.choice(tuple(_PROVIDERS))
            name = draw.choice(_PROVIDERS[provider])
            yield {
                "_id": model_id_of(number),
                "model_id": model_id_of(number),
                "owner": self.owner_of(number),
                "provider": provider,
                "model_name": name,
                "display_name": f"{name} #{number}",
                "status": draw.choice((RETIRED, TRIAL, LIVE, LIVE)),
                "created_at": _spread(number, self.models),
                **scores(draw),
            }

    def _metrics(self) -> Iterator[Document]:
        draw = random.Random(f"{self.seed}:{METRICS}")
        for number in range(self.metrics):
            model = draw.randrange(self.models)
            yield {
                "_id": f"metric-{number:08d}",
                "owner": self.owner_of(model),
                "model_id": model_id_of(model),
                "created_at": _spread(number, self.metrics),
                **measurement(draw),
            }


def scores(draw: random.Random) -> dict[str, float]:
    """Return the four scores of a model, from 0 to 100."""
    names = ("quality_score", "speed_score", "cost_efficiency", "reliability_score")
    return {name: float(draw.randint(40, 100)) for name in names}


def measurement(draw: random.Random) -> Document:
    """Return what one call of a model came to."""
    return {
        "kind": "call",
        "latency_ms": round(draw.lognormvariate(6.0, 0.6), 1),
        "tokens": draw.randint(20, 4000),
        "ok": draw.random() > 0.02,
        "remark": draw.choice(_REMARKS),
    }


def _spread(number: int, total: int) -> datetime:
    # Whole milliseconds: BSON keeps no more.
    return FIRST_DAY + timedelta(milliseconds=DAYS * 86_400_000 * number // total)
