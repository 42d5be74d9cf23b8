"""Windows of many nodes added up: the totals of the single windows, in whatever order they come."""

import copy
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from perfload.histogram import Histogram
from perfload.joining import ALL_NODES, join
from perfload.model import AnyWindow, ArrivalWindow, MetricWindow, StageWindow, Window
from perfload.recorder import merge

HISTOGRAMS = st.lists(st.integers(0, 5_000_000), max_size=4).map(Histogram)
COUNTS = st.integers(0, 9)
RUNS, NODES, SECONDS = st.sampled_from(["run", "other"]), st.sampled_from(["a", "b", "c"]), st.integers(0, 2)
PHASES, NAMES = st.sampled_from(["Ramp", "Peak"]), st.sampled_from(["/x", "/y", ""])
METHODS = st.sampled_from(["GET", "arrivals", "stages of GET", "metric"])
HEAD = (RUNS, NODES, SECONDS, PHASES)

WINDOWS = st.lists(
    st.one_of(
        st.builds(
            Window,
            *HEAD,
            METHODS,
            NAMES,
            HISTOGRAMS,
            HISTOGRAMS,
            HISTOGRAMS,
            COUNTS,
            st.dictionaries(SECONDS, st.tuples(COUNTS, COUNTS)).map(
                lambda due: tuple((second, *counts) for second, counts in sorted(due.items()))
            ),
            st.dictionaries(st.sampled_from(["503", "refused"]), COUNTS).map(
                lambda held: tuple(held.items())
            ),
        ),
        st.builds(ArrivalWindow, *HEAD, HISTOGRAMS, COUNTS),
        st.builds(MetricWindow, *HEAD, NAMES, st.sampled_from(["ms", "kB"]), HISTOGRAMS),
        st.builds(
            StageWindow,
            *HEAD,
            METHODS,
            NAMES,
            st.dictionaries(st.sampled_from(["dns", "wait"]), HISTOGRAMS).map(
                lambda held: tuple(sorted(held.items()))
            ),
        ),
    ),
    max_size=20,
    unique_by=lambda window: (type(window), window.key),
)
"""Windows of a few nodes with many keys in common; each comes once."""


def test_of_several_nodes_the_sum_is_returned_and_of_one_what_it_measured() -> None:
    here = Window(
        "run", "a", 3, "Peak", "GET", "/x", Histogram([10, 20]), Histogram([5, 6]), Histogram([7]),
        received_bytes=100, due=((2, 1, 1), (3, 1, 0)), reasons=(("503", 1),),
    )  # fmt: skip
    there = Window(
        "run", "b", 3, "Peak", "GET", "/x", Histogram([30]), Histogram([8]), Histogram([9, 9]),
        received_bytes=10, due=((1, 0, 1), (3, 1, 1)), reasons=(("refused", 1), ("503", 1)),
    )  # fmt: skip
    alone = Window("run", "b", 4, "Peak", "GET", "/x", Histogram([1]), Histogram([1]), Histogram())
    found = join([there, alone, here, there, alone])
    both = Window(
        "run", ALL_NODES, 3, "Peak", "GET", "/x",
        Histogram([10, 20, 30]), Histogram([5, 6, 8]), Histogram([7, 9, 9]),
        received_bytes=110, due=((1, 0, 1), (2, 1, 1), (3, 2, 1)), reasons=(("503", 2), ("refused", 1)),
    )  # fmt: skip
    assert found == [alone, both]
    assert found[0] is alone


def test_stages_that_one_node_alone_had_are_in_the_sum_in_the_order_of_a_request() -> None:
    kept = StageWindow("run", "a", 0, "Peak", "GET", "/x", (("wait", Histogram([5])),))
    made = StageWindow(
        "run", "b", 0, "Peak", "GET", "/x", (("connect", Histogram([3])), ("wait", Histogram([6])))
    )
    both = (("connect", Histogram([3])), ("wait", Histogram([5, 6])))
    assert join([kept, made]) == [StageWindow("run", ALL_NODES, 0, "Peak", "GET", "/x", both)]


def totals(windows: list[AnyWindow]) -> dict[tuple[object, ...], tuple[Counter[object], Counter[object]]]:
    """Return what was counted by kind, run, second, phase and name, in all; arrivals by node too."""
    found: dict[tuple[object, ...], tuple[Counter[object], Counter[object]]] = {}
    for window in windows:
        run_id, node, *rest = window.key
        key = (type(window), run_id, node if isinstance(window, ArrivalWindow) else "", *rest)
        values, counts = found.setdefault(key, (Counter(), Counter()))
        for name, histogram in histograms(window):
            for slot, count in histogram.slots.items():
                values[name, slot] += count
            counts[name, "sum"] += histogram.sum
            counts[name, "count"] += histogram.count
        if isinstance(window, Window):
            counts["bytes"] += window.received_bytes
            counts.update(dict(window.reasons))
            for second, succeeded, failed in window.due:
                counts.update({("due", second): succeeded, ("due, failed", second): failed})
        elif isinstance(window, ArrivalWindow):
            counts["dropped"] += window.dropped
    return found


def histograms(window: AnyWindow) -> list[tuple[str, Histogram]]:
    if isinstance(window, Window):
        return [("latency", window.latency), ("service", window.service), ("failed", window.failed)]
    if isinstance(window, ArrivalWindow):
        return [("lag", window.lag)]
    return list(window.stages) if isinstance(window, StageWindow) else [("values", window.values)]


def kept_apart(windows: list[AnyWindow]) -> list[AnyWindow]:
    """Return what `merge` leaves of each kind of windows."""
    kinds = (Window, ArrivalWindow, MetricWindow, StageWindow)
    return [one for kind in kinds for one in merge(w for w in windows if isinstance(w, kind))]


@given(WINDOWS, st.randoms(use_true_random=False))
def test_sums_have_the_totals_of_all_windows_however_often_and_in_whatever_order_they_came(
    windows: list[AnyWindow], order: random.Random
) -> None:
    sent = windows + [copy.deepcopy(window) for window in order.sample(windows * 2, len(windows))]
    order.shuffle(sent)
    before = copy.deepcopy(sent)
    joined = join(sent)
    assert totals(joined) == totals(kept_apart(sent)) == totals(windows)
    assert len(joined) == len(totals(windows))  # one of each
    assert sent == before  # none of them has changed
    assert kept_apart(joined) == kept_apart(join(windows))  # the order does not show
