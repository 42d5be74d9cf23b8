from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from perfload.errors import UsageError
from perfload.seeding.documents import METRICS, MODELS, USERS, DataSet, email_of, model_id_of


def documents_of(data: DataSet) -> dict[str, list[dict[str, object]]]:
    return {name: list(documents) for name, documents in data.collections().items()}


@pytest.mark.parametrize("number", [100, 101, 12_345])
def test_there_are_exactly_as_many_documents_as_asked_for(number: int) -> None:
    made = documents_of(DataSet(number))
    assert sum(len(documents) for documents in made.values()) == number
    assert len(made[USERS]) == number // 20
    assert len(made[MODELS]) == number // 5


def test_the_same_seed_makes_the_same_documents() -> None:
    assert documents_of(DataSet(500, seed=7)) == documents_of(DataSet(500, seed=7))
    assert documents_of(DataSet(500, seed=7)) != documents_of(DataSet(500, seed=8))


def test_keys_follow_from_the_number() -> None:
    data = DataSet(1_000)
    made = documents_of(data)
    assert [user["email"] for user in made[USERS]] == [email_of(number) for number in range(50)]
    assert [model["model_id"] for model in made[MODELS]] == [model_id_of(number) for number in range(200)]
    owners = Counter(model["owner"] for model in made[MODELS])
    assert set(owners.values()) == {4}
    assert made[MODELS][53]["owner"] == data.owner_of(53) == email_of(3)
    owner_of = {model["model_id"]: model["owner"] for model in made[MODELS]}
    assert all(metric["owner"] == owner_of[metric["model_id"]] for metric in made[METRICS])


def test_times_are_spread_and_whole_milliseconds() -> None:
    times = [metric["created_at"] for metric in documents_of(DataSet(1_000))[METRICS]]
    assert times[0] == datetime(2025, 1, 1, tzinfo=UTC)
    assert all(isinstance(time, datetime) and time.microsecond % 1000 == 0 for time in times)
    assert all(timedelta(0) < later - earlier for earlier, later in pairwise(times))  # type: ignore[operator]


def test_too_few_documents() -> None:
    with pytest.raises(UsageError, match="99 documents are too few"):
        DataSet(99)
