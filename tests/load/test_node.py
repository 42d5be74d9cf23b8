"""One whole load generator on a real runner, over two seconds."""

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event
from locust import User, constant, task

import perfload.load
from perfload.errors import UsageError
from perfload.load import plugin
from perfload.load.clock import RunClock
from perfload.load.node import REPORTS_SPREAD_S, Assignment, Batch, Node
from perfload.load.rows import RowStock
from perfload.model import ArrivalWindow, MetricWindow, Phase, Window
from perfload.plan import Plan
from perfload.shares import evenly

PLAN = Plan(
    [
        Phase(name="First", duration=0.5, arrival_count=20),
        Phase(name="Second", duration=0.6, arrival_count=30),
    ]
)


class Visitor(User):
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        perfload.load.record("tokens", 1.5, "1")
        self.environment.events.request.fire(
            request_type="GET",
            name="/a",
            response_time=1.0,
            response_length=10,
            exception=None,
            context={},
            start_time=time.time(),
        )


def make_node(
    environment: Any, batches: list[Batch], heard: Event, plan: Plan = PLAN, lend: Any = None, **terms: Any
) -> Node:
    def sink(batch: Batch) -> None:
        batches.append(batch)
        if batch.idle:
            heard.set()

    # It began 0.5 s ago, as on a node that hears of it late: what was due by now is started at once.
    started_at_s = time.time() - 0.5
    clock = RunClock(started_at_s)
    terms = {"eras": (evenly([0], 0.0),)} | terms
    assignment = Assignment("run-1", "local", 0, 1, started_at_s=started_at_s, seed=1, **terms)
    return Node(environment, assignment, plan, plan.spans, sink, clock=clock, lend=lend)


def test_a_node_hands_over_every_second_and_the_rest_at_the_end(
    make_environment: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[Batch] = []
    idle = Event()
    environment = make_environment(Visitor)
    node = make_node(environment, batches, idle)
    monkeypatch.setattr(plugin.installed, "node", node)
    node.start()
    idle.wait()
    perfload.load.record("tokens", 4, "1")  # by nobody in particular: in the phase of its time
    node.finish()

    assert [batch.final for batch in batches] == [False] * (len(batches) - 1) + [True]
    windows = [window for batch in batches for window in batch.windows]
    assert len({window.key for window in windows}) == len(windows)
    handed_over_s = [batch.readings[0].at_s - node.clock.started_at_s + 0.5 for batch in batches[:-1]]
    first_s = round(handed_over_s[0])
    assert handed_over_s == pytest.approx([first_s + place for place in range(len(batches) - 1)])
    seen = range(first_s)  # all seconds that had passed when it was asked for the first time
    for batch, end_s in zip(batches[:-1], handed_over_s, strict=True):
        assert {window.second for window in batch.windows} <= set(seen)
        seen = range(round(end_s), round(end_s) + 1)
    started = sum(window.lag.count for window in windows if isinstance(window, ArrivalWindow))
    asked = dict.fromkeys(("First", "Second"), 0)
    noted = dict.fromkeys(("First", "Second"), 0)
    for window in windows:
        if isinstance(window, Window):
            asked[window.phase] += window.count
        elif isinstance(window, MetricWindow):
            noted[window.phase] += window.values.count
    assert started == 50
    assert asked == {"First": 20, "Second": 30}
    assert noted == {"First": 20, "Second": 31}

    readings = [reading for batch in batches[:-1] for reading in batch.readings]
    assert {(reading.node, reading.source, reading.metric, reading.unit) for reading in readings} == {
        ("local", "generator", "users", "users"),
        ("local", "generator", "cpu_percent", "%"),
        ("local", "generator", "loop_lag_ms", "ms"),
    }

    environment.events.request.fire(
        request_type="GET", name="/late", response_time=1.0, response_length=1, exception=None, context={}
    )
    assert node.recorder.take() == []  # a finished node listens no more


def test_after_stop_arrivals_nobody_comes_and_whoever_is_here_may_finish(
    make_environment: Callable[..., Any],
) -> None:
    gate = Event()
    finished: list[bool] = []

    class Slow(User):
        wait_time = constant(0)

        @task
        def work(self) -> None:
            arrived.set()
            gate.wait()
            finished.append(True)

    arrived = Event()
    batches: list[Batch] = []
    environment = make_environment(Slow)
    plan = Plan([Phase(name="Load", duration=60, arrival_rate=50)])
    node = make_node(environment, batches, Event(), plan)
    node.start()
    arrived.wait()
    node.stop_arrivals()
    here = len(environment.runner.user_greenlets)
    gevent.sleep(0.1)  # nothing happens, so there is no event to wait for; five more would have come
    assert len(environment.runner.user_greenlets) == here
    gate.set()
    environment.runner.user_greenlets.join()
    node.finish()
    assert len(finished) == here
    windows = [window for batch in batches for window in batch.windows if isinstance(window, ArrivalWindow)]
    assert sum(window.lag.count for window in windows) == here


def test_a_node_without_a_share_records_but_starts_nobody(make_environment: Callable[..., Any]) -> None:
    batches: list[Batch] = []
    environment = make_environment(Visitor)
    node = make_node(environment, batches, Event(), eras=(evenly([1], 0.0),))
    node.start()
    Visitor(environment).ask()
    node.finish()
    (window,) = [window for batch in batches for window in batch.windows if isinstance(window, Window)]
    assert window.count == 1
    assert not [window for batch in batches for window in batch.windows if isinstance(window, ArrivalWindow)]


def test_outside_a_run_a_metric_is_recorded_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin.installed, "node", None)
    perfload.load.record("tokens", -1)  # not even looked at


def test_a_metric_that_is_no_amount_is_an_error_in_a_run(
    make_environment: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node(make_environment(Visitor), [], Event())
    monkeypatch.setattr(plugin.installed, "node", node)
    node.start()
    with pytest.raises(UsageError, match="metric 'tokens' was given -1"):
        perfload.load.record("tokens", -1)
    node.finish()


def test_a_node_goes_by_its_assignment(make_environment: Callable[..., Any]) -> None:
    eras = (evenly([0], 0.0), evenly([0, 1], 5.0))
    node = make_node(make_environment(Visitor), [], Event(), eras=eras, version=7, lease_until_s=2.5)
    shares = node.licence.shares
    assert (shares.node, shares.version, node.licence.until_s) == (0, 7, 2.5)
    assert [shares.owns(1, at_s) for at_s in (4.9, 5.0)] == [True, False]
    node.start()
    node.finish()


def test_unique_rows_are_all_the_node_s_own_unless_somebody_lends_them(
    make_environment: Callable[..., Any],
) -> None:
    asked: list[tuple[str, int]] = []

    def lend(feeder: str, total: int) -> RowStock:
        asked.append((feeder, total))
        return RowStock([7])

    for lender, rows in ((None, [0, 1, None]), (lend, [7, None, None])):
        node = make_node(make_environment(Visitor), [], Event(), lend=lender)
        node.start()
        stock = node.lend("accounts.csv", 2)
        assert [stock.take() for _ in range(3)] == rows
        node.finish()
    assert asked == [("accounts.csv", 2)]


def test_the_nodes_of_a_cluster_do_not_report_all_at_once(make_environment: Callable[..., Any]) -> None:
    assert REPORTS_SPREAD_S == 0.8
    plan = Plan([Phase(name="Load", duration=60, arrival_rate=1)])
    handed_over_s: list[float] = []
    clock = RunClock(time.time() - 0.9)
    terms = Assignment("run-1", "w", 3, 4, started_at_s=clock.started_at_s, seed=1, eras=(evenly([0], 0.0),))
    node = Node(
        make_environment(Visitor),
        terms,
        plan,
        plan.spans,
        lambda batch: handed_over_s.append(clock.now_s()),
        clock=clock,
    )
    node.start()
    while not handed_over_s:
        gevent.sleep(0.01)
    node.finish()
    assert handed_over_s[0] == pytest.approx(1.6, abs=0.15)


def test_a_node_that_is_stopped_says_since_when_others_may_go_on(
    make_environment: Callable[..., Any],
) -> None:
    batches: list[Batch] = []
    for plan in (Plan([Phase(name="Load", duration=60, arrival_rate=1)]), None):
        node = make_node(make_environment(Visitor), batches, Event(), plan or PLAN)
        node._dispatcher = node._dispatcher if plan else None
        node.start()
        assert node.left_s is None
        node.stop_arrivals()
        left_s = node.left_s
        assert left_s == pytest.approx(node.clock.now_s(), abs=0.1)
        node.stop_arrivals()
        assert node.left_s == left_s
        node.finish()


def test_a_node_that_is_late_starts_nobody_without_a_host(make_environment: Callable[..., Any]) -> None:
    hosts: list[str | None] = []

    class Asking(User):
        wait_time = constant(0)

        @task
        def ask(self) -> None:
            hosts.append(self.host)

    environment = make_environment(Asking)
    environment.host = "http://localhost:8000"
    idle = Event()
    node = make_node(environment, [], idle)
    node.start()
    idle.wait()
    node.finish()
    assert hosts == ["http://localhost:8000"] * 50
