"""Workers killed, stopped, cut off, sent home or added in mid-run: nothing twice, nothing silently lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from perfload.cluster_key import ClusterKey
from tests.integration.clusters import STEADY, Cluster, cluster, lost_of
from tests.integration.namespaces import two_hosts

pytestmark = [pytest.mark.integration, pytest.mark.cluster, pytest.mark.timing]

RATE = 200
RECOVERY_S = 3
STARTING_S = 15
"""A new process may take so long to come up on a busy machine."""
ANYWHERE = "0.0.0.0"  # within the test's own network namespace


def check_rate(made: Cluster, first: int, last: int) -> None:
    """Hold the arrivals of seconds `first` to `last`, both included, against the planned rate."""
    offered = made.offered()
    started = sum(offered[second] for second in range(first, last + 1))
    # The last arrivals of a second may be started in the next one.
    assert started == pytest.approx(RATE * (last + 1 - first), abs=RATE // 20), offered


def check_totals(made: Cluster) -> None:
    """Every arrival was started once or is lost; the target saw what was reported, and no more."""
    started, reported = made.started_by_node(), made.requests_by_node()
    lost = {name: lost_of(node) for name, node in made.nodes.items()}
    assert started.total() + sum(lost.values()) == made.planned
    unheard = 0
    for name, node in made.nodes.items():
        if node.complete:
            errors = [
                window.errors for window in made.record.arrivals if window.node == name and window.errors
            ]
            assert reported[name] == started[name], errors
        else:  # what it had in flight, or did after its last report, the target alone knows
            assert reported[name] <= started[name]
            unheard += started[name] - reported[name] + lost[name]
    received = made.target.truth()["totals"]["received"]
    assert reported.total() <= received <= reported.total() + unheard


def check_story(made: Cluster, *expected: tuple[str, float]) -> None:
    """Hold the record's events against (kind, second); they may have been noticed a little later."""
    events = made.record.manifest.events
    assert [event.kind for event in events] == [kind for kind, _ in expected], events
    for event, (_, second) in zip(events, expected, strict=True):
        patience_s = STARTING_S if event.kind == "joined" else RECOVERY_S
        assert second <= event.at_s <= second + patience_s, event


def test_workers_that_are_killed_stopped_cut_off_and_added(tmp_path: Path) -> None:
    with two_hosts() as hosts, cluster(tmp_path, rate=RATE, seconds=75, bind=ANYWHERE) as made:
        made.across(hosts.cluster.near_address, ClusterKey.generate().text)
        to_master = ("--master-host", hosts.cluster.near_address)
        killed, stopped, _ = (made.add_worker(*to_master) for _ in range(3))
        made.add_worker("--master-host", hosts.cluster.near_address, prefix=hosts.on_far)
        address = f"http://{hosts.load.near_address}:{made.target.url.rpartition(':')[2]}"
        made.start("--allow-host", hosts.load.near_address, host=address)
        made.wait_until(20)
        killed.send(signal.SIGKILL)
        made.wait_until(28)
        stopped.send(signal.SIGSTOP)
        made.wait_until(38)
        stopped.send(signal.SIGCONT)
        made.wait_until(45)
        made.add_worker(*to_master)
        made.wait_until(60)
        hosts.cluster.cut()
        made.wait_until(65)
        hosts.cluster.mend()
        assert made.master.wait() == 4, made.master.output

        check_story(
            made, ("lost", 20), ("lost", 28), ("returned", 38), ("joined", 45), ("lost", 60), ("returned", 65)
        )
        for disturbed, quiet in ((20, 27), (28, 37), (38, 44), (45, 59), (60, 73)):
            check_rate(made, disturbed + RECOVERY_S, quiet)
        check_rate(made, 1, 18)  # what the killed one did in second 19 it had not reported
        check_totals(made)
        incomplete = [node for node in made.nodes.values() if not node.complete]
        assert [node.left_s for node in incomplete] == [pytest.approx(20, abs=1)]
        # Who was cut off went on until its lease had run out, so of its share nothing is missing.
        assert sum(1 for node in made.nodes.values() if node.lost) == 2


@pytest.mark.slow
def test_a_worker_that_is_cut_off_for_90_s_hands_over_what_it_has(tmp_path: Path) -> None:
    with two_hosts() as hosts, cluster(tmp_path, rate=RATE, seconds=120, bind=ANYWHERE) as made:
        made.across(hosts.cluster.near_address, ClusterKey.generate().text)
        made.add_worker("--master-host", hosts.cluster.near_address)
        cut = made.add_worker("--master-host", hosts.cluster.near_address, prefix=hosts.on_far)
        address = f"http://{hosts.load.near_address}:{made.target.url.rpartition(':')[2]}"
        made.start("--allow-host", hosts.load.near_address, host=address)
        made.wait_until(10)
        hosts.cluster.cut()
        made.wait_until(100)
        hosts.cluster.mend()
        code = made.master.wait()

        check_rate(made, 1, 118)
        check_totals(made)
        check_story(made, ("lost", 10))  # it gives up after 60 s, but delivers
        assert all(node.complete and not node.lost for node in made.nodes.values())
        assert code in (0, 3), made.master.output
        assert cut.wait() == 0, cut.output


def test_a_worker_that_is_sent_home_says_goodbye(tmp_path: Path) -> None:
    with cluster(tmp_path, rate=RATE, seconds=20) as made:
        leaving, _ = made.add_worker(), made.add_worker()
        made.start()
        made.wait_until(8)
        leaving.send(signal.SIGTERM)
        made.master.wait()

        check_story(made, ("left", 8))
        check_rate(made, 1, 7)
        check_rate(made, 9, 18)
        check_totals(made)
        assert all(node.complete for node in made.nodes.values())


def test_the_load_goes_on_when_all_but_one_are_killed(tmp_path: Path) -> None:
    with cluster(tmp_path, rate=RATE, seconds=20) as made:
        workers = [made.add_worker() for _ in range(3)]
        made.start()
        for worker, second in zip(workers, (5, 12), strict=False):
            made.wait_until(second)
            worker.send(signal.SIGKILL)
        assert made.master.wait() == 4, made.master.output

        check_story(made, ("lost", 5), ("lost", 12))
        check_rate(made, 5 + RECOVERY_S, 10)
        check_rate(made, 12 + RECOVERY_S, 18)
        check_totals(made)


def test_a_worker_with_another_shape_file_takes_no_part(tmp_path: Path) -> None:
    with cluster(tmp_path, rate=50, seconds=5) as made:
        made.add_worker()
        made.start("--expect-workers", 2)
        made.master.wait_for("reported as ready")
        (tmp_path / "steady.py").write_text(STEADY.format(seconds=5, rate=500, max_users=None))
        other = made.add_worker()
        assert made.master.wait() == 4, made.master.output

        other.wait_for("the shape Steady here is not the master's: install the same file on every worker")
        assert "takes no part in the run: the shape Steady there is not the master's" in made.master.output
        idle, busy = sorted(made.nodes.values(), key=lambda node: node.complete)
        assert (idle.complete, idle.given, idle.last_second) == (False, 0, -1)
        assert idle.note == "the shape Steady there is not the master's"
        assert (busy.complete, busy.given, busy.lost) == (True, made.planned, ())
        assert made.target.truth()["totals"]["received"] == made.planned


class Waiting(BaseHTTPRequestHandler):
    """Answers after a while, and counts how many are waiting at most."""

    waiting = most = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        kind = type(self)
        with kind.lock:
            kind.waiting += 1
            kind.most = max(kind.most, kind.waiting)
        time.sleep(4)
        with kind.lock:
            # Before the answer: whoever hears it may send the next one at once.
            kind.waiting -= 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def waiting_server() -> Iterator[str]:
    Waiting.waiting = Waiting.most = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Waiting) as server:
        server.socket.listen(200)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_max_users_holds_while_workers_join(tmp_path: Path) -> None:
    """All of them are in flight when two more workers come, and stay for longer than a change takes."""
    with waiting_server() as host, cluster(tmp_path, rate=60, seconds=22, max_users=100) as made:
        made.add_worker()
        made.add_worker()
        made.start(host=host)
        made.wait_until(3)
        made.add_worker()
        made.add_worker()
        made.master.wait()
        assert [event.kind for event in made.record.manifest.events] == ["joined", "joined"]
        assert len(made.started_by_node()) == 4
        assert 95 <= Waiting.most <= 100
