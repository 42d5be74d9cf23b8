"""Measures tools in turn: all of them are started once, and whoever is not measured is stopped.

A repetition lets each tool go on for a moment and takes a window of it. What disturbs the machine then
disturbs neighbouring windows of all tools alike, and starting up is paid for once. A window in which other
processes had more than a twentieth of one of the cores is taken again, as long as the patience lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.generator.child import Child, Failed
from benchmarks.generator.core import Watches
from benchmarks.generator.nginx import Nginx

DISTURBED = 0.05
"""Share of a core that went to others, above which a window does not count for much."""


@dataclass
class Patience:
    """How many disturbed windows a benchmark may take again."""

    windows: int = 20

    def lasts(self) -> bool:
        """Take one from what is left; return whether there was one."""
        self.windows -= 1
        return self.windows >= 0


@dataclass(frozen=True)
class Window:
    """What one tool did in one repetition, by the target's count and the kernel's clocks."""

    requests: int
    seconds: float
    cpu_s: float
    target_cpu_s: float
    others: float = 0.0
    """Share of the tool's or the target's core that somebody else had."""

    @property
    def is_disturbed(self) -> bool:
        """Whether others had so much of the core that it shows."""
        return self.others > DISTURBED

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of the tool per request."""
        return self.cpu_s / self.requests * 1e6

    @property
    def cpu_percent(self) -> float:
        """CPU of the tool, of one core."""
        return 100 * self.cpu_s / self.seconds

    @property
    def target_percent(self) -> float:
        """CPU of the target, of one core: near 100 it is the target that was measured."""
        return 100 * self.target_cpu_s / self.seconds


@dataclass(frozen=True)
class _Instant:
    requests: int
    at_s: float
    cpu_s: float
    target_cpu_s: float


def measure(child: Child, target: Nginx, seconds: float) -> Window:
    """Return a window of a running tool; raises `Failed` if it made no request, or one that was refused."""
    known = len(target.refusals())
    watch = Watches(child, target.child)
    before = _now(child, target)
    time.sleep(seconds)
    after = _now(child, target)
    others = watch.others()
    count = after.requests - before.requests
    if not child.is_running() or count <= 0:
        raise child.failed("made no requests" if child.is_running() else "ended too early")
    if refusals := target.refusals()[known:]:
        raise child.failed(f"was not answered with 200: {refusals[-1]}")
    took_s, cpu_s = after.at_s - before.at_s, after.cpu_s - before.cpu_s
    return Window(
        requests=count,
        seconds=took_s,
        cpu_s=cpu_s,
        target_cpu_s=after.target_cpu_s - before.target_cpu_s,
        others=others,
    )


def _now(child: Child, target: Nginx) -> _Instant:
    cpu_s = child.cpu_s(), target.child.cpu_s()
    return _Instant(target.requests(), time.perf_counter(), *cpu_s)


def interleave(
    children: Sequence[Child],
    target: Nginx,
    *,
    rounds: int,
    seconds: float,
    settle_s: float = 0.2,
    patience: Patience | None = None,
    problems: dict[str, str] | None = None,
    on_round: Callable[[int], None] = lambda _: None,
) -> dict[str, list[Window]]:
    """Return `rounds` windows of each of these stopped tools, by its name; the one who begins changes.

    A tool that fails is left out, with its reason in `problems`; without `problems` it raises `Failed`.
    """
    found: dict[str, list[Window]] = {child.name: [] for child in children}
    for number in range(rounds):
        on_round(number)
        first = number % len(children)
        for child in (*children[first:], *children[:first]):
            if child.name not in found:
                continue
            try:
                found[child.name].append(_one(child, target, seconds, settle_s, patience))
            except Failed as error:
                if problems is None:
                    raise
                child.kill()
                problems[child.name] = str(error).removeprefix(f"{child.name} ")
                del found[child.name]
    return found


def _one(child: Child, target: Nginx, seconds: float, settle_s: float, patience: Patience | None) -> Window:
    """Let a tool go on for as long as a window takes, or several if the first ones are disturbed."""
    child.resume()
    time.sleep(settle_s)
    window = measure(child, target, seconds)
    while window.is_disturbed and patience is not None and patience.lasts():
        window = measure(child, target, seconds)
    child.pause()
    return window


def disturbed_note(windows: dict[str, list[Window]]) -> str:
    """Return how many windows were disturbed, as a part of a title; "" if none was."""
    count = sum(window.is_disturbed for seen in windows.values() for window in seen)
    total = sum(map(len, windows.values()))
    return f"; in {count} of {total} windows other processes took over 5 % of a core" if count else ""
