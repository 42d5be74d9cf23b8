"""What a monitor is: a source that is opened, read once per tick and closed.

    sampler ──► factory(environment) ──► open() ──► read(at_s) … read(at_s) ──► [finish(at_s)] ──► close()
                      ▲                                  │ raised
                      └────────── after a pause ◄────────┘

The sampler owns everything else: the clock, the interval, the time limit, the retries and the file. A monitor
only turns one source into numbers, so it can be tested by handing it a recorded source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from perfload.errors import PerfloadError


class MonitorUnavailable(PerfloadError):
    """A source, or a part of one, that cannot be read; the message becomes the reason in the run record."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value as a monitor hands it to the sampler, which adds the time, the node and the monitor's name.

    `value` None says that this one could not be read and `unavailable` why; other measurements of the same
    read stay good. A value that is not finite is treated likewise by the sampler.
    """

    metric: str
    unit: str
    value: float | None
    unavailable: str = ""
    node: str = ""
    """The machine that the value belongs to, where that is not the sampler's own: `"redis-1:6379"`."""
    at_s: float | None = None
    """When it was measured (seconds since the epoch), if that was not at this read."""
    source: str = ""
    """The monitor that measured it, where that was another one: on the machine of an agent."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a monitor found that is no number; the sampler makes an `Observation` of it.

    `data` holds JSON values. Whatever comes from the system under test is cut to length by the monitor, and
    values of its users' data are left out. `node`, `at_s` and `source` are those of `Measurement`.
    """

    kind: str
    data: Mapping[str, Any]
    node: str = ""
    at_s: float | None = None
    source: str = ""


Found = Sequence[Measurement | Finding]
"""What one read brings, in any order."""


class Monitor(Protocol):
    """One source of values. Its name is the one that it is registered under.

    The sampler calls all three methods from one thread that belongs to this monitor alone, never two at a
    time: no locks are needed, and a call may block. It must not start threads that outlive `close`, write to
    stdout or stderr, install signal handlers or change the process otherwise.
    """

    def open(self) -> None:
        """Connect. Called once, before the first `read`; a client library is imported here, not at the top.

        Any exception counts as a failure: its text becomes the reason in the run record and the monitor is
        made anew after a pause. `MonitorUnavailable` is for the ones that say what to do next.
        """

    def read(self, at_s: float) -> Found:
        """Return the values of now, and what else was found.

        Called once per tick; `at_s` (seconds since the epoch) only ever rises.

        Rates are per second of `at_s`, from the difference to the read before: the first read has none. What
        cannot be read is a `Measurement` without a value; an exception says that nothing could be, and leads
        to `close` and a new monitor. Must not read a clock, sleep, retry or invent a 0. A call that outlasts
        the sampler's time limit is reported as missing and its answer dropped.
        """

    def close(self) -> None:
        """Disconnect. Called once, also after a failed `open` or `read`; exceptions are ignored."""


@runtime_checkable
class FinishingMonitor(Protocol):
    """A monitor that has more to say once the run is over, or has to undo what it changed at its source."""

    def finish(self, at_s: float) -> Found:
        """Return what is only known at the end. Called once, between the last `read` and `close`.

        Not called after a failure, nor when the sampler is killed: what must be undone also has to be noted
        where the next start finds it. Has `FINISH_WAIT_S` of `perfload.monitors.sampler`.
        """


MonitorFactory = Callable[[Mapping[str, str]], Monitor]
"""Makes a monitor from the environment, where addresses and secrets are. Must not connect: `open` does."""
