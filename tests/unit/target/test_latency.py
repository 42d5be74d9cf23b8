from __future__ import annotations

import math
import statistics

import pytest

from perfload.errors import UsageError
from perfload.target.latency import DEFAULTS, ENDPOINTS, LatencyModel, LogNormal, parse_latencies


def test_the_quantiles_of_the_distribution() -> None:
    latency = LogNormal(median_s=0.080, sigma=0.4)
    assert latency.at(0) == 0.080
    assert latency.at(1.6449) == pytest.approx(0.080 * math.exp(0.4 * 1.6449))
    assert latency.at(1.6449) / 0.080 == pytest.approx(1.93, abs=0.01)
    assert LogNormal(0.05, 0).at(3) == 0.05


def test_draws_follow_the_distribution_and_the_seed() -> None:
    model = LatencyModel({"login": LogNormal(0.080, 0.4)}, seed=7)
    draws = [model.draw_s("login") for _ in range(20_000)]
    assert statistics.median(draws) == pytest.approx(0.080, rel=0.02)
    assert statistics.stdev(map(math.log, draws)) == pytest.approx(0.4, rel=0.02)
    again = LatencyModel({"login": LogNormal(0.080, 0.4)}, seed=7)
    assert [again.draw_s("login") for _ in range(100)] == draws[:100]
    other = LatencyModel({"login": LogNormal(0.080, 0.4)}, seed=8)
    assert other.draw_s("login") != draws[0]


def test_an_endpoint_has_its_own_sequence_whatever_reaches_the_others() -> None:
    alone, mixed = LatencyModel(DEFAULTS, seed=1), LatencyModel(DEFAULTS, seed=1)
    expected = [alone.draw_s("me") for _ in range(5)]
    found = []
    for _ in range(5):
        mixed.draw_s("login")
        found.append(mixed.draw_s("me"))
    assert found == expected


def test_no_latency() -> None:
    assert LatencyModel({}, seed=1).draw_s("login") == 0.0


def test_every_endpoint_has_a_modest_default() -> None:
    assert set(DEFAULTS) == set(ENDPOINTS)
    # One request in a thousand (z = 3.09) of the slowest stays far below goals of seconds.
    assert max(latency.at(3.09) for latency in DEFAULTS.values()) < 0.6


def test_settings_replace_the_defaults() -> None:
    found = parse_latencies(["login=80ms/0.4", " me = 1s ", "create=0.5/0", "login=90ms/1"])
    assert found["login"] == LogNormal(0.090, 1.0)
    assert found["me"] == LogNormal(1.0, DEFAULTS["me"].sigma)
    assert found["create"] == LogNormal(0.5, 0.0)
    assert found["delete"] == DEFAULTS["delete"]


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("login", "'login' is not of the form endpoint=median/sigma", "for example login=80ms/0.4"),
        ("logn=80ms", "no endpoint is called 'logn'", "did you mean login? there are login, me"),
        ("health=80ms", "no endpoint is called 'health'", "there are login"),
        ("login=fast", "median: 'fast' is not a duration", "write seconds"),
        ("login=80ms/wide", "sigma 'wide' is not a number from 0 to 3", "0.4 a usual spread"),
        ("login=80ms/-1", "sigma '-1' is not a number from 0 to 3", "0.4 a usual spread"),
        ("login=80ms/nan", "sigma 'nan' is not a number from 0 to 3", "0.4 a usual spread"),
    ],
)
def test_settings_that_cannot_be_read(setting: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_latencies([setting])
    assert message in caught.value.message
    assert hint in caught.value.hint
