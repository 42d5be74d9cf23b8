import random

import pytest

from perfload.monitors.agent.offset import Offset, OffsetEstimate


def test_a_symmetric_way_gives_the_offset_exactly() -> None:
    # The other clock is 5 s ahead; 10 ms there, 2 ms to answer, 10 ms back.
    found = OffsetEstimate().add(100.0, 105.010, 105.012, 100.022)
    assert found.seconds == pytest.approx(5.0)
    assert found.error_s == pytest.approx(0.010)


def test_the_quickest_way_is_believed() -> None:
    estimate = OffsetEstimate()
    estimate.add(100.0, 105.4, 105.4, 100.5)
    quick = estimate.add(101.0, 106.001, 106.001, 101.002)
    slow = estimate.add(102.0, 107.9, 107.9, 103.0)
    assert quick.seconds == pytest.approx(5.0)
    assert slow.seconds == quick.seconds
    # It has had two seconds in which the clocks may have drifted.
    assert slow.error_s == pytest.approx(0.001 + 2 * 50e-6, abs=1e-6)


def test_the_truth_is_within_the_error() -> None:
    chance, estimate = random.Random(7), OffsetEstimate()
    for second in range(200):
        there_s, back_s = chance.expovariate(100), chance.expovariate(100)
        sent_s = 1000.0 + second
        found = estimate.add(
            sent_s, sent_s + there_s - 42.0, sent_s + there_s - 41.9, sent_s + there_s + 0.1 + back_s
        )
        assert abs(found.seconds + 42.0) <= found.error_s + 1e-9


def test_clocks_that_drift_are_followed() -> None:
    estimate, found = OffsetEstimate(), Offset(0.0, 0.0)
    for second in range(300):
        offset_s = second * 40e-6
        sent_s = 1000.0 + second
        found = estimate.add(sent_s, sent_s + 0.002 + offset_s, sent_s + 0.002 + offset_s, sent_s + 0.004)
        assert abs(found.seconds - offset_s) <= found.error_s
    assert found.error_s < 0.006
