"""The master's side of a run: what it tells workers, and how it notes that they come and go."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from perfload.load.cluster import master as module
from perfload.load.cluster.membership import LEASE_S
from perfload.load.cluster.messages import ROWS, SHARES, START, STOP, decode_assignment
from perfload.model import NodeEvent
from perfload.shares import evenly
from tests.load.cluster.masters import TERMS, Master
from tests.load.conftest import wait_for

MakeMaster = Callable[..., Master]


# --- assignments


def test_each_worker_is_told_its_share(make_master: MakeMaster) -> None:
    master = make_master(3)
    started = master.told(START)
    assert [client for client, _ in started] == ["host_0", "host_1", "host_2"]
    terms = [decode_assignment(data) for _, data in started]
    assert [(each.node, each.index, each.count) for each in terms] == [
        ("worker-0", 0, 3),
        ("worker-1", 1, 3),
        ("worker-2", 2, 3),
    ]
    for each in terms:
        assert (each.eras, each.version, each.lease_until_s) == ((evenly(range(3), 0.0),), 0, LEASE_S)
        own = {name: getattr(TERMS, name) for name in ("node", "index", "count", "eras", "lease_until_s")}
        assert dataclasses.replace(each, **own) == TERMS
    assert list(master.run.nodes) == ["worker-0", "worker-1", "worker-2"]


def test_who_connects_during_the_run_has_a_share_as_soon_as_it_takes_part(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 4.0
    for client in ("host_0", "host_1"):
        master.beat(client)
    master.taken()
    master.link.join("host_7")
    ((client, data),) = master.told(START)
    terms = decode_assignment(data)
    assert (client, terms.node, terms.index, terms.count) == ("host_7", "worker-7", 2, 3)
    assert (terms.eras, terms.version) == ((evenly([0, 1], 0.0),), 0)
    assert "worker-7" not in master.run.nodes  # it may never begin
    master.clock.at_s = 4.5
    assert master.beat("host_7")["lease_until_s"] == 4.0 + LEASE_S
    news = {"run": "run-1", "version": 1, "eras": [[0.0, [0, 1], 0], [4.0 + LEASE_S, [0, 1, 2], 0]]}
    assert master.told(SHARES) == [("host_0", news), ("host_1", news), ("host_7", news)]
    (node,) = [node for node in master.closed().manifest.nodes if node.node == "worker-7"]
    assert (node.index, node.joined_s) == (2, 4.5)


def test_who_connects_when_shares_have_moved_is_told_all_of_it(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.lose_first()
    master.taken()
    master.link.join("host_7")
    ((_, data),) = master.told(START)
    terms = decode_assignment(data)
    assert terms.version == 1
    assert [(era.from_s, era.owners) for era in terms.eras] == [(0.0, (0, 1)), (3.0, (1, 1))]


def test_a_worker_of_the_run_that_connects_again_keeps_its_part(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.taken()
    master.link.join("host_0")
    assert master.taken() == []


def test_without_a_run_nobody_is_told_anything(tmp_path: Path) -> None:
    master = Master(tmp_path, 1)
    master.link.join("host_1")
    master.link.drain(1.0)
    master.link.end()
    assert master.taken() == []
    assert set(master.beat()) == {"sent_s", "master_s", "session"}
    master.run.close("stopped")


# --- beats


def test_a_beat_is_answered_with_the_time_and_a_lease(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 5.0
    answer = master.beat(sent_s=77.25)
    assert answer.pop("master_s") > 0
    assert len(answer.pop("session")) == 16
    assert answer == {
        "sent_s": 77.25,
        "run": "run-1",
        "lease_until_s": 5.0 + LEASE_S,
        "void_before_s": 0.0,
        "excess": 0,
        "generation": 0,
    }


def test_every_master_has_a_session_of_its_own(tmp_path: Path) -> None:
    masters = [Master(tmp_path / str(number), 1) for number in range(2)]
    sessions = [master.beat()["session"] for master in (*masters, *masters)]
    assert sessions[:2] == sessions[2:]
    assert sessions[0] != sessions[1]
    for master in masters:
        master.run.close("stopped")


@pytest.mark.parametrize(
    ("client", "said"), [("host_0", {"run": "run-0"}), ("host_0", {"run": ""}), ("host_9", {})]
)
def test_who_has_no_part_in_this_run_is_told_the_time_only(
    make_master: MakeMaster, client: str, said: dict[str, Any]
) -> None:
    master = make_master(1)
    assert set(master.beat(client, **said)) == {"sent_s", "session", "master_s"}


def test_a_beat_that_was_long_on_its_way_says_nothing_of_now(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.clock.at_s = 2.0
    assert "lease_until_s" in master.beat(at_s=2.0 - LEASE_S)
    assert "lease_until_s" not in master.beat(at_s=1.9 - LEASE_S)


def test_a_beat_of_a_clock_that_is_far_ahead_says_nothing_of_now_either(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 2.0
    assert "lease_until_s" not in master.beat(at_s=2.1 + LEASE_S, left_s=2.1 + LEASE_S)
    assert master.events() == []  # or every later change would have to wait for its time


def test_what_a_worker_knows_of_its_clock_is_in_the_record(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.beat("host_1", offset_s=-0.0123456, error_s=0.00025)
    nodes = {node.node: node for node in master.closed().manifest.nodes}
    assert (nodes["worker-1"].clock_offset_ms, nodes["worker-1"].clock_error_ms) == (-12.346, 0.25)
    assert nodes["worker-0"].clock_offset_ms is None


def test_news_is_repeated_to_whoever_does_not_know_it(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 1.0
    for client in ("host_0", "host_1"):
        assert "eras" not in master.beat(client)
    master.hand_in("host_1")
    assert master.beat("host_0")["eras"] == [[0.0, [0, 1], 0], [1.0, [0, 0], 0]]
    assert "eras" not in master.beat("host_0", version=1)


# --- lost and found


def test_a_silent_worker_is_lost_and_everybody_is_told(
    make_master: MakeMaster, caplog: pytest.LogCaptureFixture
) -> None:
    master = make_master(2)
    master.lose_first()
    news = {"run": "run-1", "version": 1, "eras": [[0.0, [0, 1], 0], [3.0, [1, 1], 3]]}
    assert master.told(SHARES) == [("host_0", news), ("host_1", news)]
    gevent.sleep(0.01)
    assert master.taken() == []  # once is enough
    why = "not heard of for 2 s; the others have its share from 3.0 s on"
    assert master.events() == [NodeEvent(3.1, "worker-0", "lost", why)]
    assert caplog.messages == [f"worker-0 lost at 3.1 s: {why}"]
    nodes = {node.node: node for node in master.closed().manifest.nodes}
    assert (nodes["worker-0"].complete, nodes["worker-0"].left_s) == (False, 1.1)
    assert nodes["worker-0"].note.endswith("did not return: everything is missing")
    assert nodes["worker-1"].left_s is None
    assert nodes["worker-0"].given == 6  # every other of four in a second, until second 3
    assert nodes["worker-0"].lost == ((0, "Load", 2), (1, "Load", 2), (2, "Load", 2))


def test_who_cannot_be_told_does_not_keep_the_master_from_watching(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 1.0
    master.beat("host_0")
    gevent.sleep(0.01)
    master.is_cut = True
    master.clock.at_s = 2.5
    wait_for(lambda: master.run.nodes["worker-1"].is_lost)
    master.is_cut = False
    gevent.sleep(0.01)
    master.clock.at_s = 3.5
    wait_for(lambda: master.run.nodes["worker-0"].is_lost)


def test_a_lost_worker_that_beats_again_is_back(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.lose_first()
    master.clock.at_s = 4.0
    answer = master.beat("host_0", offset_s=0.0, error_s=0.001)
    assert (answer["lease_until_s"], answer["void_before_s"]) == (3.0, 5.0)
    assert answer["eras"][-1] == [5.0, [0, 1], 0]
    assert [event.kind for event in master.events()] == ["lost", "returned"]
    assert not master.run.nodes["worker-0"].is_lost
    master.run.end_load()
    master.hand_in("host_0")
    nodes = {node.node: node for node in master.closed().manifest.nodes}
    assert (nodes["worker-0"].complete, nodes["worker-0"].left_s) == (True, None)
    # One of the two in second 0 came with its batch; what was due in seconds 3 and 4 was the other's.
    assert nodes["worker-0"].lost[:4] == ((0, "Load", 1), (1, "Load", 2), (2, "Load", 2), (5, "Load", 2))


def test_a_lost_worker_whose_results_all_come_in_the_end_is_complete(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.lose_first()
    master.hand_in("host_0")
    nodes = {node.node: node for node in master.closed().manifest.nodes}
    assert (nodes["worker-0"].complete, nodes["worker-0"].note) == (True, "")


def test_who_was_away_for_so_long_that_its_rows_were_given_to_others_is_told_so(
    make_master: MakeMaster,
) -> None:
    master = make_master(2, **{"run.drain": "5s"})
    ask = {"run": "run-1", "feeder": "accounts.csv", "total": 8}
    master.hear("host_0", ROWS, ask)
    master.lose_first()
    master.clock.at_s = 1.0 + 5.1
    master.beat("host_1", version=1)
    wait_for(lambda: master.link._cluster._membership.version == 2)  # type: ignore[union-attr]  # room is free again
    master.taken()
    assert master.beat("host_0")["generation"] == 1  # in every answer from now on
    assert master.beat("host_1")["generation"] == 0
    master.taken()
    for _ in range(8):
        master.hear("host_1", ROWS, ask)
    told = master.told(ROWS)
    assert sorted(row for _, data in told for row in data["rows"]) == list(range(8))
    master.hear("host_0", ROWS, ask)
    master.hear("host_1", ROWS, {"run": "run-1", "feeder": "accounts.csv", "rows": [5]})
    assert [
        (data["rows"], data["generation"]) for client, data in master.told(ROWS) if client == "host_0"
    ] == [([5], 1)]


def test_a_master_that_was_held_up_loses_nobody_for_it(
    make_master: MakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.5)
    master = make_master(1)
    master.clock.at_s = 0.4
    master.beat()
    gevent.sleep(0.01)
    master.clock.at_s = 30.0
    gevent.sleep(0.01)
    master.beat()
    assert master.events() == []


def test_who_was_heard_before_the_master_noticed_that_it_was_held_up_is_missed_in_time(
    make_master: MakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.5)
    master = make_master(1)
    gevent.sleep(0.01)
    master.clock.at_s = 30.0
    master.beat()
    gevent.sleep(0.01)
    for at_s in range(300, 330):
        master.clock.at_s = at_s / 10
        gevent.sleep(0.002)
    assert [event.kind for event in master.events()] == ["lost"]


def test_who_says_goodbye_has_left_from_then_on(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 2.0
    master.beat("host_1")
    master.beat("host_0", at_s=1.75, left_s=1.75, users=2)
    master.beat("host_0", at_s=2.0, left_s=1.75, users=2)
    why = "said goodbye; the others have its share from 1.8 s on"
    assert master.events() == [NodeEvent(2.0, "worker-0", "left", why)]
    assert [data["eras"][-1] for _, data in master.told(SHARES)] == [[1.75, [1, 1], 2]] * 2


def test_who_has_left_since_a_time_to_come_has_left_soon(make_master: MakeMaster) -> None:
    master = make_master(2)
    master.clock.at_s = 2.0
    master.beat("host_1")
    master.beat("host_0", left_s=1e12)
    assert [data["eras"][-1] for _, data in master.told(SHARES)] == [[2.0 + LEASE_S, [1, 1], 0]] * 2


# --- workers that take no part


def test_the_others_do_what_a_worker_declines_to_do(
    make_master: MakeMaster, caplog: pytest.LogCaptureFixture
) -> None:
    master = make_master(2)
    master.clock.at_s = -0.5
    for _ in range(2):
        assert "lease_until_s" not in master.beat("host_0", declined="it has another shape")
    assert [data["eras"][-1] for _, data in master.told(SHARES)] == [[0.0, [1, 1], 0]] * 2
    assert caplog.messages[0] == "worker-0 takes no part in the run: it has another shape"
    assert [event.kind for event in master.events()] == ["left"]
    master.run.end_load()
    master.hand_in("host_1")
    assert master.run.is_complete  # nobody waits for it
    declined, other = master.closed().manifest.nodes
    assert (declined.complete, declined.given, declined.note) == (False, 0, "it has another shape")
    assert (other.complete, other.given) == (True, 40)


# --- after the end of the load


def test_when_the_load_has_ended_nobody_leaves(make_master: MakeMaster) -> None:
    master = make_master(2)
    draining = gevent.spawn(master.link.drain, 60.0)
    gevent.sleep(0)
    master.beat("host_0", left_s=0.0)
    master.hand_in("host_1")
    assert master.events() == []
    draining.kill()


def test_who_comes_after_the_end_has_no_part(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.run.end_load()
    master.taken()
    master.link.join("host_7")
    assert master.taken() == []


def test_who_was_away_at_the_end_or_has_only_just_begun_is_stopped(make_master: MakeMaster) -> None:
    master = make_master(1)
    master.link.join("host_7")
    master.run.end_load()
    master.taken()
    assert "lease_until_s" not in master.beat("host_7")
    assert master.told(STOP) == [("host_7", {})]
    master.hand_in("host_0")
    assert not master.run.is_complete  # it may have made load
    master.beat("host_7", delivers=True)
    assert master.told(STOP) == []


def test_who_falls_silent_after_the_end_is_lost(make_master: MakeMaster) -> None:
    master = make_master(3)
    master.clock.at_s = 4.0
    for client in ("host_0", "host_1", "host_2"):
        master.beat(client)
    draining = gevent.spawn(master.link.drain, 60.0)
    gevent.sleep(0)
    master.clock.at_s = 6.0
    master.beat("host_1")
    master.beat("host_2", delivers=True)
    master.clock.at_s = 6.1
    wait_for(lambda: master.run.nodes["worker-0"].is_lost)
    assert [(event.node, event.kind, event.note) for event in master.events()] == [
        ("worker-0", "lost", "not heard of for 2 s")
    ]
    master.beat("host_0", offset_s=0.0, error_s=0.0)
    assert not master.run.nodes["worker-0"].is_lost
    draining.kill()


def test_who_was_missing_at_the_start_has_a_part_when_it_is_back(make_master: MakeMaster) -> None:
    master = make_master(1, missing=1)
    assert [client for client, _ in master.told(START)] == ["host_0", "host_1"]
    assert list(master.run.nodes) == ["worker-0"]
    master.beat("host_1")
    assert [event.kind for event in master.events()] == ["joined"]
