from __future__ import annotations

import random
import statistics

import pytest

from perfload.errors import UsageError
from perfload.target.ai.spread import Spread, counts, durations, share

pytestmark = pytest.mark.ai


def test_the_three_forms() -> None:
    assert durations("20ms", "gap") == Spread(0.02)
    assert durations("20ms/0.4", "gap") == Spread(0.02, sigma=0.4)
    assert durations("20ms+-4ms", "gap") == Spread(0.02, deviation=0.004)
    assert counts("100/0.4", "tokens") == Spread(100, sigma=0.4)
    assert counts("0", "tokens").is_constant


@pytest.mark.parametrize("text", ["", "x", "20ms/", "20ms/4", "20ms/-1", "20ms+-", "-1ms", "nan", "1e9s"])
def test_what_is_no_spread_of_durations(text: str) -> None:
    with pytest.raises(UsageError, match="--ai-gap"):
        durations(text, "--ai-gap")


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e9", "a/0.4"])
def test_what_is_no_spread_of_counts(text: str) -> None:
    with pytest.raises(UsageError, match="--ai-tokens"):
        counts(text, "--ai-tokens")


def test_shares() -> None:
    assert (share("5%", "x"), share("0.05", "x"), share("100%", "x"), share("0", "x")) == (
        0.05,
        0.05,
        1.0,
        0.0,
    )
    for text in ("101%", "2", "", "%", "-1%", "nan"):
        with pytest.raises(UsageError):
            share(text, "x")


def test_draws_have_the_distribution() -> None:
    source = random.Random(1)
    assert Spread(3).draw(source) == 3
    logs = sorted(Spread(2.0, sigma=0.5).draw(source) for _ in range(20_001))
    assert logs[10_000] == pytest.approx(2.0, rel=0.03)
    assert logs[19_000] == pytest.approx(2.0 * 2.718281828 ** (1.645 * 0.5), rel=0.05)
    normal = [Spread(10.0, deviation=2.0).draw(source) for _ in range(20_000)]
    assert statistics.fmean(normal) == pytest.approx(10, abs=0.1)
    assert statistics.stdev(normal) == pytest.approx(2, abs=0.1)
    assert min(Spread(0.0, deviation=1.0).draw(source) for _ in range(100)) == 0.0


def test_counts_are_whole_and_have_a_least() -> None:
    source = random.Random(1)
    assert Spread(2.6).draw_count(source) == 3
    assert Spread(0).draw_count(source) == 1
    assert Spread(0).draw_count(source, 0) == 0


def test_the_same_seed_the_same_draws() -> None:
    def draws(seed: int) -> list[float]:
        source = random.Random(seed)
        return [Spread(1.0, sigma=1.0).draw(source) for _ in range(5)]

    assert draws(1) == draws(1) != draws(2)
