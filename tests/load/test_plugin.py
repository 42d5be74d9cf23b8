"""What a Locust process does when its run ends, in whatever way Locust ends it."""

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from perfload.load.plugin import Plugin


class Part:
    """The process's part in a run, which takes a while to close it."""

    def __init__(self) -> None:
        self.is_busy = True
        self.said: list[str] = []
        self.may_close = Event()

    def stopping(self) -> None:
        self.said.append("stopping")

    def stopped(self) -> None:
        self.said.append("closing")
        self.may_close.wait()
        self.said.append("closed")
        self.is_busy = False

    def finish(self) -> int:
        self.said.append(f"finished, busy: {self.is_busy}")
        return 4


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def plugin(part: Part) -> Any:
    made: Any = Plugin()
    made._part = part
    runner = SimpleNamespace(state="stopped")
    made.environment = SimpleNamespace(runner=runner, stop_timeout=0.0, parsed_options=None)
    made.node = SimpleNamespace(finish=lambda: part.said.append("node"))
    return made


def test_who_stops_a_run_may_be_killed_and_the_run_is_closed(plugin: Any, part: Part) -> None:
    stopping = gevent.spawn(plugin._on_test_stop)
    gevent.sleep(0)
    gevent.sleep(0)
    assert part.said == ["node", "closing"]
    stopping.kill()
    again = gevent.spawn(plugin._on_test_stop)  # the stop that Locust has killed it for
    gevent.sleep(0.01)
    assert part.said == ["node", "closing"]
    part.may_close.set()
    again.get()
    assert part.said == ["node", "closing", "closed"]
    assert plugin.node is None


def test_the_end_of_the_process_waits_for_the_run_to_be_closed(plugin: Any, part: Part) -> None:
    gevent.spawn(plugin._on_test_stop)
    gevent.sleep(0.001)
    quitting = gevent.spawn(plugin._on_quitting, plugin.environment)
    gevent.sleep(0.1)
    assert not quitting.ready()
    part.may_close.set()
    quitting.get()
    assert part.said[2:4] == ["closed", "closing"]  # there is nothing left to close
    assert part.said[-1] == "finished, busy: False"
    assert plugin.environment.process_exit_code == 4


def test_a_stop_that_was_killed_before_it_closed_anything_is_made_up_for(
    plugin: Any, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfload.load.plugin.FINAL_DEADLINE_S", 0.01)
    part.may_close.set()
    plugin._on_quitting(plugin.environment)
    assert part.said == ["node", "closing", "closed", "finished, busy: False"]


def test_a_node_that_fails_to_finish_does_not_keep_the_run_open(plugin: Any, part: Part) -> None:
    def fail() -> None:
        raise OSError("no space left")

    plugin.node.finish = fail
    part.may_close.set()
    plugin._on_test_stop()
    assert (part.said, plugin.node) == (["closing", "closed"], None)
