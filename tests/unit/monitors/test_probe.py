import threading
from collections.abc import Iterator

import pytest

from perfload.errors import UsageError
from perfload.monitors import probe as probing
from perfload.monitors.base import Found, Measurement, Monitor, MonitorUnavailable
from perfload.monitors.probe import Probe, probe
from perfload.monitors.sampler import steady_clock


class Scripted:
    """Says the same at each read, or does what a test wants instead."""

    def __init__(self, name: str, release: threading.Event) -> None:
        self._name = name
        self._release = release
        self._reads = 0

    def open(self) -> None:
        if self._name == "closed":
            raise MonitorUnavailable("redis client not installed", hint="pip install 'perfload[redis]'")

    def read(self, at_s: float) -> Found:
        self._reads += 1
        if self._name == "stuck":
            self._release.wait(10)
        if self._name == "agent":
            return [Measurement("*", "", None, "cannot reach it")]
        if self._name == "empty":
            return [Measurement("a", "1", None, "not now")]
        rates = [Measurement("rate_per_s", "/s", 1.0)] if self._reads > 1 else []
        return [Measurement("gauge", "1", 2.0), Measurement("swap", "%", None, "no swap"), *rates]

    def close(self) -> None:
        pass


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    event = threading.Event()

    def find(name: str) -> object:
        def make(environment: object) -> Monitor:
            assert environment == {"A": "b"}
            return Scripted(name, event)

        return make

    monkeypatch.setattr(probing, "find_monitor", find)
    yield event
    event.set()


def test_monitors_are_tried_at_the_same_time_and_apart(release: threading.Event) -> None:
    names = ["good", "closed", "agent", "empty", "stuck"]
    found = probe(names, environment={"A": "b"}, clock=steady_clock(), pause_s=0.01, patience_s=0.5)
    assert found == {
        # The second read has the rates.
        "good": Probe(2, {"swap": "no swap"}),
        "closed": Probe(0, {}, "redis client not installed; pip install 'perfload[redis]'"),
        "agent": Probe(0, {}, "cannot reach it"),
        "empty": Probe(0, {"a": "not now"}, "not now"),
        "stuck": Probe(0, {}, "no answer within 0.5 s"),
    }


def test_a_name_that_there_is_not_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="there is no monitor 'hots'"):
        probe(["hots"], environment={}, clock=steady_clock())
