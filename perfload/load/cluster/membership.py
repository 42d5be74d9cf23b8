"""Which workers take part in a run, until when each may start virtual users, and who has which share.

A worker starts virtual users only while its lease lasts, and the master renews that with every beat it
answers. So when a lease has run out, its worker is known to have stopped starting, whether it was killed,
stopped or cut off, and its share can go to others without anything being started twice.

A change of shares has a time from which it holds. Who gives up a part of its share must know of the change by
then: a worker that has not said so gets no lease beyond it. Time is an argument, in seconds of the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from perfload.load.licence import KEEP_S
from perfload.model import NodeEvent, NodeEventKind
from perfload.shares import Era, evenly, room, without

BEAT_S = 0.5
"""How often a worker says that it is there."""
LEASE_S = 2.0
"""How long a worker goes on without an answer; four beats."""
NOTICE_S = 0.2
"""Between announcing a change and its beginning: a message's way, and a worker busy with something else."""

REACH_S = KEEP_S - LEASE_S
"""How far back a change may begin: nobody knows of others' arrivals for longer, after all that its lease let
it start."""


@dataclass(slots=True)
class Member:
    """What the master knows of one worker."""

    name: str
    heard_s: float
    lease_until_s: float
    version: int = -1
    """Of the shares that the worker knows."""
    users: int = 0
    """Virtual users that it last had in flight."""
    users_at_s: float = -math.inf
    """When it had them."""
    has_share: bool = True
    void_before_s: float = 0.0
    """What was due before and is not started yet is lost: the worker was away."""
    lost_at_s: float | None = None
    is_leaving: bool = False
    is_settled: bool = False
    """Lost for so long that what it held was given to others."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker is told about the time ahead of it."""

    until_s: float
    void_before_s: float


class Membership:
    """The workers of one run and the eras of their shares, by the index of each worker."""

    def __init__(self, reserve_s: float, *, plan_s: float | None = math.inf) -> None:
        """Keep room for the users of a lost worker for `reserve_s`: as long as they may go on.

        `plan_s` is how long the plan is. Without one (None) there are no shares: Locust deals out the users
        of its own closed load.
        """
        self._reserve_s = reserve_s
        self._plan_s = plan_s
        self._members: dict[int, Member] = {}
        self._has_ended = False
        self.eras: list[Era] = []
        self.events: list[NodeEvent] = []

    @property
    def version(self) -> int:
        """Number of the last change of shares."""
        return len(self.eras) - 1

    def begin(self, names: dict[int, str]) -> None:
        """Give every worker of `names` (index -> name) its share of the run."""
        self._members = {index: Member(name, 0.0, LEASE_S) for index, name in names.items()}
        self.eras = [evenly(sorted(names), 0.0)]

    def first_lease_s(self, index: int) -> float:
        """Return until when the lease lasts that goes with an assignment."""
        return self._members[index].lease_until_s

    def beat(
        self, index: int, now_s: float, *, version: int, users: int, is_leaving: bool = False
    ) -> Lease | None:
        """Note a sign of life and renew the lease; None for a worker that is no member.

        One that `is_leaving` gets no share again, however long it was away.
        """
        member = self._members.get(index)
        if member is None:
            return None
        # Before the run begins, its first lease lasts longer than what this beat renews.
        member.heard_s = max(member.heard_s, now_s)
        member.version, member.users = max(member.version, version), users
        member.users_at_s, member.is_leaving = (
            now_s,
            member.is_leaving or (is_leaving and not member.has_share),
        )
        if not member.has_share and not member.is_leaving:
            self._admit(index, now_s, "joined" if member.lost_at_s is None else "returned")
        until_s = now_s + LEASE_S
        if member.version < self.version:
            until_s = min(until_s, self.eras[member.version + 1].from_s)
        member.lease_until_s = max(member.lease_until_s, until_s)
        return Lease(until_s, member.void_before_s)

    def end(self) -> None:
        """Note that the load is over: who falls silent now is lost, but nobody takes over from it."""
        self._has_ended = True

    def hear(self, index: int, now_s: float) -> None:
        """Note a sign of life of a worker that starts nothing any more."""
        if index in self._members:
            self._members[index].heard_s = max(self._members[index].heard_s, now_s)

    def join(self, index: int, name: str) -> None:
        """Expect a worker that connects in mid-run; it gets a share with its first beat of this run."""
        self._members[index] = Member(name, 0.0, 0.0, has_share=False)

    def _admit(self, index: int, now_s: float, kind: NodeEventKind) -> None:
        member = self._members[index]
        # Everybody's share changes, so nobody may hold a lease on the old one any more.
        leases = (other.lease_until_s for other in self._members.values() if other.has_share)
        from_s = max(now_s + NOTICE_S, self.eras[-1].from_s, *leases, 0.0)
        member.has_share, member.lost_at_s, member.void_before_s = True, None, from_s
        member.is_settled = False
        self.eras.append(evenly(self._with_share(), from_s, self._reserved()))
        self._tell(now_s, member, kind, f"has a share from {from_s:.1f} s on")

    def expire(self, now_s: float) -> list[int]:
        """Take the share from every worker whose lease must have run out; return their indices."""
        members = self._members.items()
        late = [index for index, member in members if member.has_share and now_s > member.heard_s + LEASE_S]
        for index in late:
            self._members[index].lost_at_s = now_s
            # It can have started nothing that is due later: that is the others', if a little late.
            until_s = self._members[index].lease_until_s
            self._remove(index, now_s, until_s, "lost", f"not heard of for {LEASE_S:g} s")
        return late

    def excuse(self, stalled_s: float, now_s: float) -> None:
        """Expect nothing of the time for which the master itself was held up, until `now_s`."""
        for member in self._members.values():
            # Whoever has been heard since then has no need of it.
            member.heard_s = max(member.heard_s, min(now_s, member.heard_s + stalled_s))

    def leave(self, index: int, now_s: float, until_s: float, why: str = "said goodbye") -> None:
        """Take the share from a worker that says goodbye, and has started nothing due after `until_s`."""
        member = self._members.get(index)
        if member is not None and member.has_share:
            member.is_leaving = True
            self._remove(index, now_s, until_s, "left", why)

    def forget(self, index: int) -> None:
        """Strike off a worker that has left, and has nobody in flight any more."""
        self._members.pop(index, None)

    def _remove(self, index: int, now_s: float, until_s: float, kind: NodeEventKind, why: str) -> None:
        member = self._members[index]
        member.has_share = False
        if self._has_ended:
            self._tell(now_s, member, kind, "", why)
            return
        from_s = max(until_s, now_s - REACH_S, self.eras[-1].from_s)
        if self._plan_s is not None and now_s + NOTICE_S > self._plan_s:
            from_s = max(
                from_s, self._plan_s + 1
            )  # the others may be done: what is left stays with who is lost
        self.eras.append(replace(without(self.eras[-1], index, from_s), reserved_users=self._reserved()))
        heirs = "the others have" if self.eras[-1].owners else "nobody is left to take"
        self._tell(now_s, member, kind, f"{heirs} its share from {from_s:.1f} s on", why)

    def _tell(self, now_s: float, member: Member, kind: NodeEventKind, share: str, why: str = "") -> None:
        note = "; ".join(filter(None, (why, share if self._plan_s is not None else "")))
        self.events.append(NodeEvent(round(now_s, 3), member.name, kind, note))

    def settle(self, now_s: float) -> list[int]:
        """Return the workers that were lost so long ago that their users must have left; each of them once.

        The room that was kept for those users is free again.
        """
        gone = [
            index
            for index, member in self._members.items()
            if (member.lost_at_s is not None or member.is_leaving) and not member.is_settled
            if now_s > member.heard_s + self._reserve_s
        ]
        for index in gone:
            self._members[index].is_settled, self._members[index].users = True, 0
        if self._reserved() < self.eras[-1].reserved_users:
            from_s = max(now_s, self.eras[-1].from_s)
            self.eras.append(replace(self.eras[-1], from_s=from_s, reserved_users=self._reserved()))
        return gone

    def _reserved(self) -> int:
        return sum(member.users for member in self._members.values() if not member.has_share)

    def excess(self, index: int, max_users: int) -> int:
        """Return how many of `max_users` in flight the others may have above their parts, after a change.

        They start nobody until they are below, so a worker that has just been given a part of its own leaves
        so much of it alone.
        """
        others = (other for other in self._with_share() if other != index)
        return sum(
            max(0, self._most_users(other, max_users) - room(self.eras[-1], other, max_users))
            for other in others
        )

    def _most_users(self, index: int, max_users: int) -> int:
        """Return how many users a worker may have in flight: those it spoke of, or its part since then."""
        member = self._members[index]
        found = member.users
        for era, following in zip(reversed(self.eras[:-1]), reversed(self.eras[1:]), strict=True):
            if following.from_s <= member.users_at_s:
                break
            found = max(found, room(era, index, max_users))
        return found

    def _with_share(self) -> list[int]:
        return sorted(index for index, member in self._members.items() if member.has_share)

    def recent(self, now_s: float, back_s: float = 10.0) -> list[Era]:
        """Return the eras that still matter to what is due from `back_s` ago on, and all that are news."""
        first = max((i for i, era in enumerate(self.eras) if era.from_s <= now_s - back_s), default=0)
        known = min((member.version for member in self._members.values() if member.has_share), default=first)
        return self.eras[min(first, max(0, known)) :]
