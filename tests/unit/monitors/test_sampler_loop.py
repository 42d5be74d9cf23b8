import threading
from collections.abc import Callable, Sequence

import pytest

from perfload.errors import UsageError
from perfload.model import Reading
from perfload.monitors.base import Measurement, MonitorFactory
from perfload.monitors.host import HostMonitor
from perfload.monitors.sampler import (
    MonitorPlan,
    Sampler,
    check_node,
    parse_plan,
    parse_plans,
    steady_clock,
)


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FunctionMonitor:
    """A monitor whose read is one function of time."""

    def __init__(self, read: Callable[[float], float]) -> None:
        self._read = read
        self.closed = threading.Event()

    def open(self) -> None:
        pass

    def read(self, at_s: float) -> Sequence[Measurement]:
        return [Measurement("value", "1", self._read(at_s))]

    def close(self) -> None:
        self.closed.set()


class Harness:
    """A sampler whose time stands still until a test moves it; the answers come from real threads."""

    def __init__(self, **reads: Callable[[float], float]) -> None:
        self.clock = ManualClock()
        self.written: list[Reading] = []
        self.wrote = threading.Event()
        self.monitors = {name: FunctionMonitor(read) for name, read in reads.items()}
        plans = [MonitorPlan(name, self._factory(name), interval_s=1.0, timeout_s=2.0) for name in reads]
        self.sampler = Sampler(plans, node="n", write=self._write, clock=self.clock, environment={"A": "b"})

    def _write(self, readings: Sequence[Reading]) -> None:
        self.written.extend(readings)
        self.wrote.set()

    def _factory(self, name: str) -> MonitorFactory:
        return lambda environment: self.monitors[name]

    def tick(self, at_s: float, *, answers: int) -> list[tuple[str, float | str]]:
        """Move to `at_s`, wait for so many answers; return what was written: (source, value or reason)."""
        self.clock.now_s = at_s
        self.written.clear()
        self.sampler.turn()
        for _ in range(answers):
            assert self.sampler.take(5.0)
        assert not self.sampler.take(0.0)
        assert {reading.at_s for reading in self.written} <= {at_s}
        return sorted(
            (reading.source, reading.unavailable if reading.value is None else reading.value)
            for reading in self.written
        )


def test_each_tick_reads_each_monitor_once() -> None:
    harness = Harness(double=lambda at_s: 2 * at_s, half=lambda at_s: at_s / 2)
    assert harness.tick(1000.0, answers=2) == [("double", 2000.0), ("half", 500.0)]
    assert harness.tick(1000.9, answers=0) == []
    assert harness.tick(1001.0, answers=2) == [("double", 2002.0), ("half", 500.5)]
    harness.sampler.close()


def test_turn_returns_the_time_to_the_next_tick() -> None:
    harness = Harness(half=lambda at_s: at_s / 2)
    harness.tick(1000.0, answers=1)
    harness.clock.now_s = 1000.75
    assert harness.sampler.turn() == 0.25
    harness.sampler.close()


def test_a_monitor_that_hangs_is_reported_and_leaves_the_others_alone() -> None:
    hanging, release = threading.Event(), threading.Event()
    reads: list[float] = []

    def hang(at_s: float) -> float:
        reads.append(at_s)
        hanging.set()
        assert release.wait(10)
        return at_s

    harness = Harness(good=lambda at_s: at_s, stuck=hang)
    reason = "no answer within 2 s"
    assert harness.tick(1000.0, answers=1) == [("good", 1000.0)]
    assert hanging.wait(5)
    assert harness.tick(1001.0, answers=1) == [("good", 1001.0)]
    assert harness.tick(1002.0, answers=1) == [("good", 1002.0), ("stuck", reason)]
    assert harness.tick(1003.0, answers=1) == [("good", 1003.0), ("stuck", reason)]
    assert reads == [1000.0]
    release.set()
    # The late answer is taken and dropped; from the next tick on the monitor is read again.
    assert harness.tick(1003.5, answers=1) == []
    assert harness.tick(1004.0, answers=2) == [("good", 1004.0), ("stuck", 1004.0)]
    assert reads == [1000.0, 1004.0]
    harness.sampler.close()


def test_a_monitor_that_throws_is_reported_and_leaves_the_others_alone() -> None:
    refuse = True

    def read(at_s: float) -> float:
        if refuse:
            raise ConnectionError("refused")
        return at_s

    harness = Harness(bad=read, good=lambda at_s: at_s)
    reason = "ConnectionError: refused"
    assert harness.tick(1000.0, answers=2) == [("bad", reason), ("good", 1000.0)]
    assert harness.monitors["bad"].closed.is_set()
    assert harness.tick(1001.0, answers=2) == [("bad", reason), ("good", 1001.0)]
    refuse = False
    # The second failure in a row makes it rest for two seconds, which the record says at each tick.
    assert harness.tick(1002.0, answers=1) == [("bad", reason), ("good", 1002.0)]
    assert harness.tick(1003.0, answers=2) == [("bad", 1003.0), ("good", 1003.0)]
    harness.sampler.close()


def test_run_ends_on_stop_and_closes_the_monitors() -> None:
    harness = Harness(half=lambda at_s: at_s / 2)
    runner = threading.Thread(target=harness.sampler.run)
    runner.start()
    assert harness.wrote.wait(5)
    harness.sampler.stop()
    runner.join(5)
    assert not runner.is_alive()
    assert harness.monitors["half"].closed.is_set()


def test_the_clock_keeps_to_what_it_was_when_the_run_began() -> None:
    wall_s, monotonic_s = 1_700_000_000.0, 50.0
    clock = steady_clock(lambda: wall_s, lambda: monotonic_s)
    wall_s -= 3600
    monotonic_s += 2.5
    assert clock() == 1_700_000_002.5


def test_a_plan_has_the_common_interval_or_its_own() -> None:
    plans = parse_plans(["host"], interval_s=1.0, timeout_s=2.0)
    assert plans == [MonitorPlan("host", HostMonitor.from_environment, 1.0, 2.0)]
    assert parse_plan("host@1m30s", interval_s=1.0, timeout_s=2.0).interval_s == 90.0


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["hots"], "there is no monitor 'hots'\n  the monitors installed here: .*host"),
        (["host@soon"], "interval of monitor 'host': 'soon' is not a duration"),
        (["host@10ms"], "an interval of 0.01 s"),
        (["host", "host@5s"], "host, host@5s\n  name at least one, and each once"),
        ([], "monitors: none"),
    ],
)
def test_a_bad_monitor_is_a_usage_error(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_plans(texts, interval_s=1.0, timeout_s=2.0)


@pytest.mark.parametrize(("interval_s", "timeout_s"), [(1.0, 0.0), (1.0, float("nan")), (float("inf"), 2.0)])
def test_a_time_that_cannot_be_kept_is_a_usage_error(interval_s: float, timeout_s: float) -> None:
    with pytest.raises(UsageError, match="monitor 'host': a"):
        parse_plan("host", interval_s=interval_s, timeout_s=timeout_s)


def test_a_node_is_a_name_that_a_reading_can_carry() -> None:
    assert check_node("db-1") == "db-1"
    for bad in ("", "n" * 300, "\udcff"):
        with pytest.raises(UsageError, match="--node: node"):
            check_node(bad)


# --- monitors that finish


class FinishingMonitorDouble(FunctionMonitor):
    """Has something to say at the end, once `release` is set."""

    def __init__(self, release: threading.Event) -> None:
        super().__init__(lambda at_s: at_s)
        self._release = release
        self.finished = threading.Event()

    def finish(self, at_s: float) -> Sequence[Measurement]:
        self.finished.set()
        assert self._release.wait(10)
        return [Measurement("at_the_end", "1", at_s)]


def finishing_sampler(release: threading.Event) -> tuple[Sampler, FinishingMonitorDouble, list[Reading]]:
    monitor, written, clock = FinishingMonitorDouble(release), [], ManualClock()
    plan = MonitorPlan("end", lambda environment: monitor, interval_s=1.0, timeout_s=2.0)
    sampler = Sampler([plan], node="n", write=written.extend, clock=clock, environment={})
    sampler.turn()
    assert sampler.take(5.0)
    assert [reading.metric for reading in written] == ["value"]
    written.clear()
    clock.now_s = 1007.0
    return sampler, monitor, written


def test_what_a_monitor_says_at_the_end_is_written() -> None:
    release = threading.Event()
    release.set()
    sampler, monitor, written = finishing_sampler(release)
    sampler.close()
    assert written == [Reading(1007.0, "n", "end", "at_the_end", "1", 1007.0)]
    assert monitor.closed.is_set()


def test_a_monitor_that_does_not_finish_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfload.monitors.sampler.FINISH_WAIT_S", 0.2)
    release = threading.Event()
    sampler, monitor, written = finishing_sampler(release)
    sampler.close()
    assert monitor.finished.is_set()
    assert not monitor.closed.is_set()
    assert written == []
    release.set()
    assert monitor.closed.wait(5)
