from __future__ import annotations

import pytest

from perfload.target.ai.limits import Level, RateLimits, Standing
from perfload.target.ai.refusal import Refusal

pytestmark = pytest.mark.ai


def test_without_limits_everything_goes() -> None:
    limits = RateLimits()
    for _ in range(100):
        limits.take("a", 10**9, 0.0)
    assert limits.standing("a", 0.0) == Standing()


def test_requests_come_back_steadily() -> None:
    limits = RateLimits(requests_per_minute=2)
    limits.take("a", 1, 0.0)
    assert limits.standing("a", 0.0) == Standing(requests=Level(2, 1, 30.0))
    limits.take("a", 1, 0.0)
    with pytest.raises(Refusal) as caught:
        limits.take("a", 1, 10.0)
    assert caught.value.retry_after_s == pytest.approx(20.0)
    assert (caught.value.kind.name, caught.value.limited) == ("rate_limit", "requests")
    limits.take("a", 1, 30.0)
    assert limits.standing("a", 90.0).requests == Level(2, 2, 0.0)


def test_what_is_refused_takes_nothing() -> None:
    limits = RateLimits(requests_per_minute=60, tokens_per_minute=600)
    limits.take("a", 600, 0.0)
    with pytest.raises(Refusal) as caught:
        limits.take("a", 100, 0.0)
    assert caught.value.limited == "tokens"
    assert caught.value.retry_after_s == pytest.approx(10.0)
    assert limits.standing("a", 0.0).requests == Level(60, 59, 1.0)


def test_more_than_the_limit_at_once_takes_a_full_bucket() -> None:
    limits = RateLimits(tokens_per_minute=60)
    limits.take("a", 120, 0.0)
    standing = limits.standing("a", 0.0).tokens
    assert standing == Level(60, 0, 120.0)
    with pytest.raises(Refusal) as caught:
        limits.take("a", 1, 60.0)
    assert caught.value.retry_after_s == pytest.approx(1.0)


def test_each_key_has_its_own_and_made_up_ones_do_not_pile_up() -> None:
    limits = RateLimits(requests_per_minute=1)
    limits.take("a", 1, 0.0)
    for number in range(5000):
        limits.take(f"made-up-{number}", 1, 0.0)
    assert len(limits._keys) == 1024
    assert all(b"made-up" not in key for key in limits._keys)
