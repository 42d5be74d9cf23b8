import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.errors import UsageError
from perfload.histogram import Histogram
from perfload.model import ArrivalWindow, MetricWindow, Window
from perfload.recorder import MAX_REASONS, OTHER_REASONS, Recorder, merge


def request(
    recorder: Recorder, second: int, latency_us: int, reason: str | None = None, name: str = "/a"
) -> None:
    recorder.request(
        second,
        "Load",
        "GET",
        name,
        latency_us=latency_us,
        service_us=latency_us // 2,
        due_second=second - 1,
        received_bytes=10,
        reason=reason,
    )


def test_successes_and_failures_are_counted_apart() -> None:
    recorder = Recorder("run", "node")
    for latency_us in (1000, 3000):
        request(recorder, 4, latency_us)
    for _ in range(3):
        request(recorder, 4, 10, reason="status 500, expected 200")
    (window,) = recorder.take()
    assert isinstance(window, Window)
    assert window.key == ("run", "node", 4, "Load", "GET", "/a")
    assert window.latency == Histogram([1000, 3000])
    assert window.service == Histogram([500, 1500])
    assert window.failed == Histogram([10, 10, 10])
    assert window.reasons == (("status 500, expected 200", 3),)
    assert window.due == ((3, 2, 3),)
    assert (window.count, window.received_bytes) == (5, 50)


def test_only_seconds_that_are_over_are_handed_out_and_only_once() -> None:
    recorder = Recorder("run", "node")
    for second in (1, 2, 3):
        request(recorder, second, 5)
        recorder.arrival(second, "Load", 100)
        recorder.metric(second, "Load", "tokens", "1", 2)
    assert sorted(window.second for window in recorder.take(before=3)) == [1, 1, 1, 2, 2, 2]
    assert [window.second for window in recorder.take()] == [3, 3, 3]
    assert recorder.take() == []


def test_arrivals_keep_their_lag_and_drops_are_counted() -> None:
    recorder = Recorder("run", "node")
    recorder.arrival(0, "Load", 120)
    recorder.arrival(0, "Load", 9_000)
    recorder.drop(0, "Load")
    assert recorder.take() == [ArrivalWindow("run", "node", 0, "Load", Histogram([120, 9_000]), dropped=1)]


def test_metrics_keep_three_decimals() -> None:
    recorder = Recorder("run", "node")
    recorder.metric(0, "Load", "score", "points", 0.125)
    (window,) = recorder.take()
    assert isinstance(window, MetricWindow)
    assert (window.unit, window.values.max) == ("points", 125)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_a_metric_that_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="'score' was given"):
        Recorder("run", "node").metric(0, "Load", "score", "", value)


def test_reasons_are_bounded_and_none_is_lost() -> None:
    recorder = Recorder("run", "node")
    for number in range(MAX_REASONS + 7):
        request(recorder, 0, 1, reason=f"reason {number}")
    (window,) = recorder.take()
    assert isinstance(window, Window)
    assert len(window.reasons) == MAX_REASONS + 1
    assert dict(window.reasons)[OTHER_REASONS] == 7
    assert sum(count for _, count in window.reasons) == MAX_REASONS + 7


SAMPLES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 10**6), st.sampled_from(["/a", "/b"])), max_size=60
)


@given(SAMPLES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_windows_of_many_nodes_merge_to_the_same_total_however_they_come(
    samples: list[tuple[int, int, str]], nodes: int, order: random.Random
) -> None:
    recorders = [Recorder("run", f"node {index}") for index in range(nodes)]
    for number, (second, latency_us, name) in enumerate(samples):
        request(recorders[number % nodes], second, latency_us, name=name)
    windows = [window for recorder in recorders for window in recorder.take()]
    sent = windows + order.sample(windows, len(windows) // 2)
    order.shuffle(sent)
    merged = merge(sent)
    assert merged == merge(windows)
    total = Histogram()
    for window in merged:
        assert isinstance(window, Window)
        total.add(window.latency)
    assert total == Histogram(latency_us for _, latency_us, _ in samples)


def test_a_metric_has_one_unit_and_a_bound() -> None:
    recorder = Recorder("run", "node")
    recorder.metric(0, "Load", "size", "kB", 1)
    with pytest.raises(UsageError, match="'size' was given in 'MB' and before in 'kB'"):
        recorder.metric(0, "Load", "size", "MB", 1)
    with pytest.raises(UsageError, match="takes numbers from 0 to 1e"):
        recorder.metric(0, "Load", "size", "kB", 1e16)
    (window,) = recorder.take()
    assert isinstance(window, MetricWindow)
    assert window.values.count == 1
