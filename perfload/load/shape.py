"""The load shape that carries out a plan."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from locust import LoadTestShape
from locust.dispatch import UsersDispatcher

from perfload.model import Phase
from perfload.plan import Plan


class PhasedShape(LoadTestShape):
    """Base of load shapes that are a list of phases.

        class LoadTest(PhasedShape):
            phases = [Phase(name="Normal load", duration="30m", arrival_rate=50)]

    The phases are carried out by perfload's own dispatcher (`perfload.load.arrivals`), to the millisecond.
    Locust's tick, which comes about once a second and late under load, only asks whether the run is over.
    """

    abstract = True
    phases: ClassVar[Sequence[Phase]] = ()

    is_over: Callable[[], bool] = staticmethod(lambda: False)
    """Set for each run by `perfload.load.keeper`."""

    def plan(self, time_scale: float) -> Plan:
        """Return the plan of this shape; raises `UsageError` if the phases make none."""
        return Plan(list(self.phases), time_scale=time_scale)

    def tick(self) -> tuple[int, float] | None:
        """Tell Locust to go on, always with the same words so that it never re-balances; None when over."""
        return None if self.is_over() else (0, 1.0)


def digest(plan: Plan | None) -> str:
    """Return what tells the phases of one plan, and its trace, from those of another; "" without a plan."""
    if plan is None:
        return ""
    hashed = hashlib.sha256(repr(plan.phases).encode())
    for phase in plan.phases:
        times = phase.arrival_times or ()  # as numbers: as text a million of them would take a second
        hashed.update(struct.pack(f"<{len(times)}d", *times))
    hashed.update((plan.trace.digest if plan.trace else "").encode())
    return hashed.hexdigest()[:16]


class NoUsersDispatcher(UsersDispatcher):
    """Gives every worker a start signal and not one user: those are the plan's business.

    Locust's dispatcher names a count for each user class and stops users above it: arrivals in flight.
    """

    def __init__(self, worker_nodes: list[Any], user_classes: list[Any]) -> None:
        super().__init__(worker_nodes, user_classes)
        self._rounds: Iterator[dict[str, dict[str, int]]] = iter(())

    def new_dispatch(self, *_args: Any, **_kwargs: Any) -> None:
        """Prepare one round that says "no users" to everybody."""
        self._rounds = iter([{worker.id: {} for worker in self._worker_nodes}])

    def __next__(self) -> dict[str, dict[str, int]]:
        return next(self._rounds)

    def _prepare_rebalance(self) -> None:
        """Do nothing when a worker comes or goes: there are no users to move."""
