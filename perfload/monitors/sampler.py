"""Read monitors at a fixed rate and append what they say to a file, one JSON line per reading.

Runs in a process of its own, so that a slow source never delays a request. Each monitor has its own
interval, time limit and pauses after failures; one that hangs or fails is reported as unavailable and leaves
the others alone. Ends on SIGTERM and when its standard input ends, thus also when the process that started it
is killed: within a second, or within the 5 s that monitors have to finish. Ignores SIGINT: Ctrl-C belongs to
the load test, which stops the sampler last.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perfload.errors import PerfloadError, UsageError
from perfload.model import Reading
from perfload.monitors import MonitorFactory, find_monitor
from perfload.monitors.lane import Lane
from perfload.monitors.log import LineLog
from perfload.monitors.reader import Answer, Entry, MonitorReader, unavailable_reading
from perfload.observations import encode_observation
from perfload.readings import check_reading, encode_reading
from perfload.units import parse_duration_s

MIN_INTERVAL_S = 0.1
"""Reading a host more often costs more than it shows."""

CLOSE_WAIT_S = 0.5
"""How long monitors may take to disconnect at the end: the process is gone within a second."""

FINISH_WAIT_S = 5.0
"""How long those may take that have something to finish."""


@dataclass(frozen=True, slots=True)
class MonitorPlan:
    """One monitor and how often it is read; `name` is the `source` of its readings."""

    name: str
    factory: MonitorFactory
    interval_s: float
    timeout_s: float


def steady_clock(
    wall_s: Callable[[], float] = time.time, monotonic_s: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Return a clock of seconds since the epoch that is set once.

    A step of the wall clock during the run then neither stalls the ticks nor bends the rates.
    """
    offset_s = wall_s() - monotonic_s()
    return lambda: monotonic_s() + offset_s


class Sampler:
    """Reads each monitor in a thread of its own; everything else happens in the thread that calls `run`.

    `write` takes what one monitor brought at one tick. Called from that thread only and must not raise.
    """

    def __init__(
        self,
        plans: Sequence[MonitorPlan],
        *,
        node: str,
        write: Callable[[Sequence[Entry]], None],
        clock: Callable[[], float],
        environment: Mapping[str, str],
    ) -> None:
        self._node = node
        self._write = write
        self._clock = clock
        self._inbox: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._stopped = False
        start_s = clock()
        self._lanes = {
            plan.name: Lane(start_s=start_s, interval_s=plan.interval_s, timeout_s=plan.timeout_s)
            for plan in plans
        }
        self._readers = {
            plan.name: MonitorReader(
                plan.name, plan.factory, node=node, environment=environment, answer=self._inbox.put
            )
            for plan in plans
        }

    def run(self) -> None:
        """Sample until `stop` is called, then close the monitors that can still be closed."""
        while not self._stopped:
            self.take(self.turn())
        self.close()

    def stop(self) -> None:
        """Make `run` return. Safe in a signal handler and from any thread: `SimpleQueue.put` is reentrant."""
        self._inbox.put(None)

    def turn(self) -> float:
        """Start the reads that are due, report the overdue ones; return the seconds until the next turn."""
        for name, lane in self._lanes.items():
            now_s = self._clock()
            turn = lane.turn(now_s)
            if turn.read:
                self._readers[name].ask(now_s)
            elif turn.unavailable:
                self._write([unavailable_reading(now_s, self._node, name, turn.unavailable)])
        return max(0.0, min(lane.wake_at_s for lane in self._lanes.values()) - self._clock())

    def take(self, timeout_s: float) -> bool:
        """Wait for one answer or `stop`, and write it; False when neither came within `timeout_s`."""
        try:
            answer = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return False
        if answer is None:
            self._stopped = True
            return True
        lane = self._lanes[answer.name]
        now_s = self._clock()
        in_time = lane.failed(answer.failure, now_s) if answer.failure else lane.answered(now_s)
        if in_time:
            self._write(answer.entries)
        else:
            # Values of a moment that is over; what was found was found.
            self._write(_found(answer.entries))
        return True

    def close(self) -> None:
        """Finish and close the monitors, all at once; one that takes too long is left behind."""
        began_s = time.monotonic()
        for reader in self._readers.values():
            reader.close(self._clock())
        for reader in self._readers.values():
            patience_s = FINISH_WAIT_S if reader.has_to_finish else CLOSE_WAIT_S
            reader.join(max(0.0, began_s + patience_s - time.monotonic()))
        while not self._inbox.empty():
            answer = self._inbox.get()
            if answer is not None:
                self._write(answer.entries if answer.is_last else _found(answer.entries))


def _found(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if not isinstance(entry, Reading)]


def parse_plan(text: str, *, interval_s: float, timeout_s: float) -> MonitorPlan:
    """Return the plan that `text` names: `"host"`, or `"host@5s"` for an interval of its own.

    Raises `UsageError` for a monitor that is not installed, and a time that no sampler could keep.
    """
    name, own_interval, interval = text.partition("@")
    if own_interval:
        interval_s = parse_duration_s(interval, f"interval of monitor {name!r}")
    if not MIN_INTERVAL_S <= interval_s < math.inf:
        raise UsageError(
            f"monitor {name!r}: an interval of {interval_s:g} s",
            hint=f"the shortest is {MIN_INTERVAL_S:g} s; 1 s suits most runs",
        )
    if not 0 < timeout_s < math.inf:
        raise UsageError(f"monitor {name!r}: a time limit of {timeout_s:g} s", hint="2 s suits most monitors")
    return MonitorPlan(name=name, factory=find_monitor(name), interval_s=interval_s, timeout_s=timeout_s)


def parse_plans(texts: Sequence[str], *, interval_s: float, timeout_s: float) -> list[MonitorPlan]:
    """Return a plan per text, as `parse_plan`; raises `UsageError` also for none, or a name given twice."""
    plans = [parse_plan(text, interval_s=interval_s, timeout_s=timeout_s) for text in texts]
    names = [plan.name for plan in plans]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"monitors: {', '.join(texts) or 'none'}", hint="name at least one, and each once")
    return plans


def check_node(node: str) -> str:
    """Return `node`; raises `UsageError` unless it can stand in a reading."""
    try:
        check_reading(unavailable_reading(0.0, node, "host", "a probe"))
    except ValueError as error:
        raise UsageError(f"--node: {error}", hint="give this machine a short name, such as db-1") from error
    return node


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sampler until its standard input ends or SIGTERM comes; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        interval_s = parse_duration_s(options.interval, "--interval")
        timeout_s = parse_duration_s(options.timeout, "--timeout")
        plans = parse_plans(options.monitor or ["host"], interval_s=interval_s, timeout_s=timeout_s)
        node = check_node(options.node)
    except PerfloadError as error:
        _tell(str(error))
        return int(error.exit_code)
    write = _writer(options.out, options.observations)
    sampler = Sampler(plans, node=node, write=write, clock=steady_clock(), environment=os.environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sampler.stop())
    threading.Thread(target=_stop_at_end_of_input, args=(sampler.stop,), daemon=True).start()
    sampler.run()
    return 0


def _writer(readings_path: Path, observations_path: Path | None) -> Callable[[Sequence[Entry]], None]:
    """Return what appends readings to one file and observations to the other, or to none."""
    readings = LineLog(readings_path, tell=_tell)
    observations = LineLog(observations_path, tell=_tell) if observations_path else None

    def write(entries: Sequence[Entry]) -> None:
        readings.append([encode_reading(entry) for entry in entries if isinstance(entry, Reading)])
        found = [encode_observation(entry) for entry in entries if not isinstance(entry, Reading)]
        if found and observations is not None:
            observations.append(found)

    return write


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m perfload.monitors.sampler",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="append readings here; other processes may append whole lines to the same file",
    )
    parser.add_argument(
        "--observations",
        type=Path,
        metavar="FILE",
        help="append what monitors find that is no number here (default: leave it out)",
    )
    parser.add_argument(
        "--interval", default="1s", metavar="TIME", help="time between two reads (default: 1s)"
    )
    parser.add_argument(
        "--timeout",
        default="2s",
        metavar="TIME",
        help="report a monitor as unavailable when it takes longer than this (default: 2s)",
    )
    parser.add_argument(
        "--node",
        default=socket.gethostname(),
        metavar="NAME",
        help="this machine's name in the readings (default: its host name)",
    )
    parser.add_argument(
        "--monitor",
        action="append",
        metavar="NAME[@TIME]",
        help="what to read, host@5s for an interval of its own; may be given again (default: host)",
    )
    return parser


def _stop_at_end_of_input(stop: Callable[[], None]) -> None:
    # os.read and not sys.stdin: a thread that waits inside a buffered reader holds a lock that ends the
    # interpreter with a fatal error when it shuts down.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop()


def _tell(message: str) -> None:
    # What stderr goes to may be on the same full disk as the readings.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"perfload sampler: {message}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    # Not sys.exit: a client library that hangs in threads of its own must not keep this process alive.
    os._exit(main())
