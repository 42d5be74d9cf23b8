import contextlib
import os
import time
from pathlib import Path

import gevent
import pytest

from perfload.load.clock import RunClock, SleepTimer, TimerFd, best_timer
from tests.load.conftest import wait_for

TIMERS = [TimerFd, SleepTimer]


def test_the_run_starts_where_the_wall_clock_says() -> None:
    clock = RunClock(time.time() + 5.0)
    assert clock.now_s() == pytest.approx(-5.0, abs=0.05)
    assert RunClock(time.time() - 3600.0).now_s() == pytest.approx(3600.0, abs=0.05)


def test_the_clock_does_not_jump_when_the_wall_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RunClock(time.time())
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now_s() == pytest.approx(0.0, abs=0.05)
    assert clock.wall_now_s() == 0.0


def test_seconds_of_the_run_have_a_wall_clock_time() -> None:
    clock = RunClock(1_000.0)
    assert (clock.epoch_s(0.0), clock.epoch_s(2.5)) == (1_000.0, 1_002.5)
    assert clock.epoch_s(clock.now_s()) == pytest.approx(clock.wall_now_s(), abs=0.05)


@pytest.mark.parametrize("make", TIMERS)
def test_a_timer_never_wakes_early(make: type[TimerFd] | type[SleepTimer]) -> None:
    timer = make()
    late_s = []
    for step in range(60):
        due_s = time.perf_counter() + 0.0001 * step
        timer.wait_until(due_s)
        late_s.append(time.perf_counter() - due_s)
    timer.close()
    assert min(late_s) >= 0
    assert sorted(late_s)[30] < 0.01


@pytest.mark.parametrize("make", TIMERS)
def test_a_time_that_has_passed_is_not_waited_for(make: type[TimerFd] | type[SleepTimer]) -> None:
    timer = make()
    ran = []
    gevent.spawn(ran.append, True)
    timer.wait_until(time.perf_counter() - 1.0)
    assert ran == []  # nobody else had a turn
    timer.close()


@pytest.mark.parametrize("make", TIMERS)
def test_others_run_while_one_waits(make: type[TimerFd] | type[SleepTimer]) -> None:
    timer = make()
    ran = []
    gevent.spawn(ran.append, True)
    timer.wait_until(time.perf_counter() + 0.005)
    assert ran == [True]
    timer.close()


def timer_descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this listing
            if "timerfd" in os.readlink(path):
                found.append(path.name)
    return found


def test_the_timer_of_linux_opens_one_descriptor_and_closes_it() -> None:
    wait_for(lambda: timer_descriptors() == [])
    timer = TimerFd()
    timer.wait_until(time.perf_counter() + 0.001)
    assert len(timer_descriptors()) == 1
    timer.close()
    wait_for(lambda: timer_descriptors() == [])  # the event loop closes what it has watched in its next round


def test_a_wait_that_is_killed_leaves_the_timer_usable() -> None:
    timer = TimerFd()
    waiting = gevent.spawn(timer.wait_until, time.perf_counter() + 60.0)
    gevent.sleep(0)
    waiting.kill()
    due_s = time.perf_counter() + 0.002
    timer.wait_until(due_s)
    assert 0 <= time.perf_counter() - due_s < 1.0
    timer.close()


def test_the_best_timer_of_this_system_is_that_of_linux() -> None:
    timer = best_timer()
    assert isinstance(timer, TimerFd)
    timer.close()


def test_without_it_the_event_loop_s_own_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_timer: TimerFd) -> None:
        raise OSError("this system has no timerfd")

    monkeypatch.setattr(TimerFd, "__init__", refuse)
    assert isinstance(best_timer(), SleepTimer)
