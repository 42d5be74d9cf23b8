"""What the record says of each load generator: what it was given, and what is missing of it."""

from pathlib import Path
from typing import Any

import pytest

from perfload.config import load_config
from perfload.histogram import Histogram
from perfload.load.node import Batch
from perfload.load.run import ArrivalCounts, Run
from perfload.model import ArrivalWindow, NodeEvent, NodeRecord
from perfload.shares import Era, evenly
from perfload.store import load
from tests.load.cluster.masters import MANIFEST, PLAN, Clock


class Kept:
    """A run of ten seconds, with four arrivals in each, and a clock that is told the time."""

    def __init__(self, folder: Path, **flags: Any) -> None:
        flags = {"monitors.host": False, "run.reports_dir": "reports"} | flags
        self.run = Run(MANIFEST, load_config(directory=folder, environ={}, flags=flags), PLAN)
        self.clock = Clock()
        self.run.clock = self.clock  # type: ignore[assignment]

    def deliver(self, node: str, seconds: dict[int, int], *, dropped: int = 0, **more: bool) -> None:
        """Take one batch with the arrivals that `node` started, by second."""
        windows = [
            ArrivalWindow("run-1", node, second, "Load", Histogram([100] * count), dropped)
            for second, count in seconds.items()
        ]
        self.run.take(
            node, Batch(list(windows), [], idle=more.get("idle", False), final=more.get("final", False))
        )

    def nodes(self, *eras: Era) -> dict[str, NodeRecord]:
        """Return the record's nodes after the run, whose shares moved as `eras` say."""
        if eras:
            self.run.settle(eras)
        self.run.close("finished")
        return {node.node: node for node in load(self.run.folder).manifest.nodes}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    made = Kept(tmp_path)
    made.run.expect("a", 0)
    made.run.expect("b", 1, joined_s=4.25)
    return made


ALL = {0: 3, **dict.fromkeys(range(1, 10), 4), 10: 1}
"""What is due by second: the last arrival of each is due at its very end."""


def test_a_node_that_was_never_away_has_lost_nothing(kept: Kept) -> None:
    kept.clock.at_s = 10.5
    kept.run.end_load()
    kept.deliver("a", dict.fromkeys(range(5), 2), final=True)
    kept.deliver("b", {}, final=True)
    nodes = kept.nodes(evenly([0, 1], 0.0))
    assert [(node.complete, node.given, node.lost) for node in nodes.values()] == [(True, 20, ())] * 2
    assert (nodes["b"].index, nodes["b"].joined_s, nodes["b"].left_s) == (1, 4.25, None)


def test_what_a_lost_node_was_given_and_did_not_start_is_lost(kept: Kept) -> None:
    kept.deliver("a", {0: 3, 1: 4, 2: 1}, dropped=1)
    kept.clock.at_s = 6.1
    kept.run.lose("a", 6.1, 2.0)
    assert kept.run.nodes["a"].is_lost
    nodes = kept.nodes(evenly([0], 0.0), Era(5.0, (1,)))
    # In each of three seconds one more was dropped: that is dealt with too.
    assert nodes["a"].lost == ((3, "Load", 4), (4, "Load", 4))
    assert (nodes["a"].complete, nodes["a"].left_s, nodes["a"].given) == (False, 4.1, 19)
    assert nodes["a"].note == (
        "it was last heard of at 4.1 s and did not return: everything after second 2 is missing"
    )
    assert nodes["b"].given == 21


def test_what_was_missing_before_a_node_was_away_is_another_matter(kept: Kept) -> None:
    kept.deliver("a", {0: 3, 1: 0, 2: 4, 3: 4})
    kept.run.lose("a", 6.0, 1.0)
    nodes = kept.nodes(evenly([0], 0.0), Era(5.5, ()))
    assert nodes["a"].lost == ((4, "Load", 4), (5, "Load", 2))


def test_a_node_that_returns_is_not_lost_but_what_it_missed_is(kept: Kept) -> None:
    kept.deliver("a", {0: 3, 1: 4})
    kept.run.lose("a", 4.0, 2.0)
    kept.run.find("a", -0.5, 0.001)
    kept.run.end_load()
    kept.deliver("a", dict.fromkeys(range(4, 10), 4) | {10: 1}, final=True)
    node = kept.nodes(evenly([0], 0.0))["a"]
    assert (node.complete, node.left_s, node.note) == (True, None, "")
    assert node.lost == ((2, "Load", 4), (3, "Load", 4))
    assert (node.clock_offset_ms, node.clock_error_ms) == (-500.0, 1.0)


def test_a_lost_node_that_delivers_everything_after_all_is_complete(kept: Kept) -> None:
    kept.run.lose("a", 4.0, 2.0)
    kept.run.end_load()
    kept.deliver("a", ALL, final=True)
    node = kept.nodes(evenly([0], 0.0))["a"]
    assert (node.complete, node.lost, node.note) == (True, (), "")


def test_a_node_that_leaves_is_away_from_then_on(kept: Kept) -> None:
    kept.clock.at_s = 3.5
    kept.deliver("a", {0: 3, 1: 4, 2: 4}, final=True)
    node = kept.nodes(evenly([0], 0.0), Era(3.6, ()))["a"]
    assert (node.complete, node.left_s) == (True, 3.5)
    assert node.lost == ((3, "Load", 3),)


def test_the_second_in_which_a_run_is_stopped_is_left_out(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.run.lose("a", 4.0, 2.0)
    monkeypatch.setattr("perfload.load.run.time.time", lambda: Clock.started_at_s + 4.5)
    kept.run.end_load()
    node = kept.nodes(evenly([0], 0.0))["a"]
    assert node.lost == ((0, "Load", 3), (1, "Load", 4), (2, "Load", 4), (3, "Load", 4))
    assert node.given == 18  # what was due until then


def test_without_eras_nobody_was_given_anything(kept: Kept) -> None:
    kept.run.lose("a", 4.0, 2.0)
    assert [(node.given, node.lost) for node in kept.nodes().values()] == [(None, ())] * 2


def test_a_node_without_final_results_is_named(kept: Kept) -> None:
    kept.deliver("a", {3: 1})
    nodes = kept.nodes()
    assert nodes["a"].note == "its final results did not arrive in time: everything after second 3 is missing"
    assert nodes["b"].note == "its final results did not arrive in time: everything is missing"


def test_a_node_that_is_expected_again_keeps_what_is_known_of_it(kept: Kept) -> None:
    kept.deliver("a", {3: 1})
    kept.run.expect("a", 0, joined_s=7.0)
    assert (kept.run.nodes["a"].last_second, kept.run.nodes["a"].joined_s) == (3, 0.0)


# --- when it is over


def test_a_run_is_over_when_its_plan_is_done_and_everybody_has_left(kept: Kept) -> None:
    for node in ("a", "b"):
        kept.deliver(node, {}, idle=True)
    kept.clock.at_s = 9.99
    assert not kept.run.is_over()
    kept.clock.at_s = 10.0
    assert kept.run.is_over()
    assert kept.run.finished


def test_nobody_waits_for_a_lost_node(kept: Kept) -> None:
    kept.clock.at_s = 10.0
    kept.deliver("a", {}, idle=True)
    assert not kept.run.is_over()
    assert kept.run.waits_for_present
    kept.run.lose("b", 10.0, 2.0)
    assert kept.run.is_over()
    kept.run.find("b", 0.0, 0.0)
    assert not kept.run.is_over()
    kept.deliver("a", {}, final=True)
    assert kept.run.waits_for_present
    kept.run.lose("b", 10.0, 2.0)
    assert not kept.run.waits_for_present
    assert not kept.run.is_complete


def test_users_who_stay_are_waited_for_as_long_as_the_run_may_drain(tmp_path: Path) -> None:
    kept = Kept(tmp_path, **{"run.drain": "5s"})
    kept.run.expect("a", 0)
    kept.clock.at_s = 14.9
    assert not kept.run.is_over()
    kept.clock.at_s = 15.0
    assert kept.run.is_over()
    kept.run.close("finished")


# --- what happens on the way

LOST = NodeEvent(4.0, "a", "lost", "not heard of for 2 s")
RETURNED = NodeEvent(6.5, "a", "returned")


def test_what_happens_to_nodes_is_noted_and_said_once(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    kept.run.note([])
    for _ in range(2):
        kept.run.note([LOST])
    kept.run.note([LOST, RETURNED])
    assert load(kept.run.folder).manifest.events == (LOST, RETURNED)
    assert caplog.messages == ["a lost at 4.0 s: not heard of for 2 s", "a returned at 6.5 s: "]
    kept.run.close("finished")


def test_arrivals_are_counted_in_whatever_order_their_seconds_come() -> None:
    counts = ArrivalCounts()
    assert list(counts.items()) == []
    for second, arrivals in ((1_000_000, 3), (1_000_003, 4), (999_998, 5), (1_000_003, 1), (1_000_001, 0)):
        counts.add(second, arrivals)
    assert list(counts.items()) == [(999_998, 5), (1_000_000, 3), (1_000_003, 5)]
    assert len(counts._counts) == 6  # no room for what was before


def test_nothing_given_is_told_from_nothing_known(kept: Kept) -> None:
    kept.deliver("a", {}, final=True)
    kept.deliver("b", {}, final=True)
    assert [node.given for node in kept.nodes(Era(0.0, ())).values()] == [0, 0]


def test_what_came_after_the_last_report_is_lost_though_nobody_was_missed(kept: Kept) -> None:
    kept.clock.at_s = 10.5
    kept.run.end_load()
    kept.deliver("a", {0: 3, 1: 4, 2: 3})
    node = kept.nodes(evenly([0], 0.0))["a"]
    assert node.lost == tuple((second, "Load", count) for second, count in ALL.items() if second > 2)
    assert node.note == "its final results did not arrive in time: everything after second 2 is missing"


def test_who_takes_no_part_is_not_waited_for_and_makes_the_run_incomplete(kept: Kept) -> None:
    kept.run.decline("a", "it has another shape")
    assert (kept.run.is_complete, kept.run.waits_for_present) == (False, True)
    kept.deliver("b", ALL, final=True)
    assert (kept.run.is_complete, kept.run.waits_for_present) == (True, False)
    kept.clock.at_s = 10.1
    assert kept.run.is_over()
    nodes = kept.nodes(Era(0.0, (1,)))
    assert (nodes["a"].complete, nodes["a"].note, nodes["a"].lost) == (False, "it has another shape", ())
