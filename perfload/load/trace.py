"""The load shape that replays a recorded trace, and the users who ask what was asked."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import ClassVar

from locust import User

from perfload.errors import UsageError
from perfload.load.shape import PhasedShape
from perfload.model import Phase
from perfload.plan import Plan
from perfload.trace import Trace, TraceRequest, read_trace
from perfload.units import format_duration, parse_duration_s


class TraceShape(PhasedShape):
    """Base of load shapes whose arrivals come at the times of a trace.

        class LastNight(TraceShape):
            trace = "traces/BurstGPT_1.csv"
            start, duration, speed = "3h", "10m", 2.0

    Each arrival knows the request of the trace that it stands for: `traced(user)`. docs/trace-replay.md has
    the formats, and users that ask what the trace asked.
    """

    abstract = True

    trace: ClassVar[str | Path] = ""
    """The file; relative to the folder in which Locust is started."""
    start: ClassVar[str | float] = "0s"
    """From the first request of the trace to the part that is replayed."""
    duration: ClassVar[str | float | None] = None
    """Of that part, in the trace's own time; None: to the end."""
    speed: ClassVar[str | float] = 1.0
    """2.0 replays it in half the time, at twice the rate."""
    max_users: ClassVar[int | None] = None
    """Most users in flight, all workers together; an arrival above it is dropped and counted."""

    def __init__(self) -> None:
        """Read the file now: once a run is announced, a worker has a second until it begins."""
        super().__init__()  # type: ignore[no-untyped-call]
        with contextlib.suppress(UsageError):  # comes again when there is somebody to tell
            self.read()

    def read(self) -> Trace:
        """Return the part of the trace that is replayed; raises `UsageError` if there is none."""
        what = type(self).__name__
        if not str(self.trace):
            raise UsageError(f"{what} names no trace", hint='trace = "traces/last_night.csv" in the class')
        duration_s = None
        if self.duration is not None:
            duration_s = parse_duration_s(self.duration, f"{what}, duration")
        return _read(Path(self.trace), parse_duration_s(self.start, f"{what}, start"), duration_s)

    def plan(self, time_scale: float) -> Plan:
        """Return the plan: one phase, named after the file; raises `UsageError` for what makes none."""
        trace, speed = self.read(), self._speed()
        phase = Phase(
            name=self._name(speed),
            duration=trace.duration_s / speed,
            arrival_times=[request.at_s / speed for request in trace.requests],
            max_users=self.max_users,
        )
        return Plan([phase], time_scale=time_scale, trace=trace)

    def _speed(self) -> float:
        try:
            speed = float(self.speed)
        except (TypeError, ValueError):
            speed = 0.0
        if not 1e-6 <= speed <= 1e6:
            raise UsageError(
                f"{type(self).__name__}, speed: {self.speed!r} is not a speed",
                hint="1 replays the trace at its own times, 2 twice as fast",
            )
        return speed

    def _name(self, speed: float) -> str:
        """Return what tells this part of this trace from others, as results are kept per phase."""
        start_s = parse_duration_s(self.start)
        begin = f" from {format_duration(start_s)}" if start_s else ""
        return f"{Path(self.trace).name}{begin}" + (f" x {speed:g}" if speed != 1 else "")


@functools.lru_cache(maxsize=2)
def _read(path: Path, start_s: float, duration_s: float | None) -> Trace:
    """Read a window of a file once for all the plans of a process."""
    return read_trace(path, start_s=start_s, duration_s=duration_s)


def traced(user: object) -> TraceRequest:
    """Return the request of the trace that `user` is to make; raises `UsageError` if it is of no trace."""
    visit = getattr(user, "perfload_visit", None)
    if visit is None or visit.request is None:
        raise _no_trace(type(user).__name__)
    request: TraceRequest = visit.request
    return request


class TraceUser(User):
    """Goes before the base of users that call `traced`: `class Replay(TraceUser, OpenAIUser)`.

    A load without a trace is then refused before it begins.
    """

    abstract = True

    @classmethod
    def perfload_check(cls) -> None:
        """Raise `UsageError` if there is no trace to replay; called before the load."""
        from perfload.load import plugin

        environment = plugin.installed.environment if plugin.installed else None
        shapes = (getattr(environment, "available_shape_classes", None) or {}).values()
        traces = [shape for shape in shapes if isinstance(shape, TraceShape)]
        if not traces:
            raise _no_trace(cls.__name__)
        for shape in traces:
            shape.read()
        check = getattr(super(), "perfload_check", None)
        if check is not None:
            check()


def _no_trace(scenario: str) -> UsageError:
    return UsageError(
        f"{scenario} asks what a trace asked, and the load replays none",
        hint="name a shape that replays one: -f locustfiles/ai_trace.py,shapes/trace_replay.py",
    )
