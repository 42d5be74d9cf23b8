import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.costs import COSTS, Costs, parse_costs
from perfload.errors import UsageError


def text(**costs: object) -> str:
    return json.dumps({"benchmark": "cost", "costs": costs})


@given(st.builds(Costs, **{field.name: st.floats(0, 1e12) for field in dataclasses.fields(Costs)}))
def test_what_the_benchmark_writes_is_read_back(costs: Costs) -> None:
    assert parse_costs(text(**dataclasses.asdict(costs))) == costs


def test_what_is_not_given_stays() -> None:
    assert parse_costs(text(cpu_us_per_request=99)) == dataclasses.replace(COSTS, cpu_us_per_request=99)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "costs: this is no JSON: "),
        ("[]", 'costs: there is no object "costs"'),
        ('{"costs": 3}', 'costs: there is no object "costs"'),
        (text(cpu_us_per_requests=1), "costs: 'cpu_us_per_requests' is not known"),
        (text(bytes_per_user="15k"), "costs: bytes_per_user is '15k'"),
        (text(bytes_per_user=True), "costs: bytes_per_user is True"),
        (text(bytes_per_user=-1), "costs: bytes_per_user is -1"),
        (text(bytes_per_user=float("inf")), "costs: bytes_per_user is inf"),
        (text(bytes_per_user=float("nan")), "costs: bytes_per_user is nan"),
    ],
)
def test_a_mistake_is_named(content: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_costs(content)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_a_name_that_is_nearly_right() -> None:
    with pytest.raises(UsageError) as caught:
        parse_costs(text(cpu_us_per_requests=1))
    assert caught.value.hint.startswith("did you mean cpu_us_per_request? Known: cpu_us_per_request, ")


def test_every_cost_is_measured_and_above_zero() -> None:
    assert [field.name for field in dataclasses.fields(COSTS) if not getattr(COSTS, field.name) > 0] == []
