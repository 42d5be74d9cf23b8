"""Who takes part, until when each may go on, and who has which share: by exact values, at exact times."""

import pytest

from perfload.load.cluster.membership import LEASE_S, NOTICE_S, REACH_S, Lease, Membership
from perfload.model import NodeEvent
from perfload.shares import Era

RESERVE_S = 30.0


@pytest.fixture
def members() -> Membership:
    """A run of three workers, all of which know their first share."""
    begun = Membership(RESERVE_S)
    begun.begin({0: "worker-0", 1: "worker-1", 2: "worker-2"})
    hear(begun, 0.5)
    return begun


def hear(members: Membership, now_s: float, *indices: int, users: int = 0) -> None:
    """Have workers beat that know the newest shares: all three of the run unless it is said which."""
    for index in indices or (0, 1, 2):
        members.beat(index, now_s, version=members.version, users=users)


# --- while everybody is there


def test_at_the_beginning_workers_take_turns_and_have_a_lease() -> None:
    begun = Membership(RESERVE_S)
    begun.begin({2: "c", 0: "a"})
    assert begun.eras == [Era(0.0, (0, 2))]
    assert begun.version == 0
    assert [begun.first_lease_s(index) for index in (0, 2)] == [LEASE_S, LEASE_S]
    assert begun.events == []


def test_every_beat_renews_the_lease(members: Membership) -> None:
    assert members.beat(1, 7.25, version=0, users=3) == Lease(7.25 + LEASE_S, 0.0)
    assert members.beat(1, 7.75, version=0, users=3) == Lease(7.75 + LEASE_S, 0.0)


def test_a_beat_before_the_run_begins_does_not_shorten_the_first_lease(members: Membership) -> None:
    begun = Membership(RESERVE_S)
    begun.begin({0: "a"})
    assert begun.beat(0, -0.75, version=0, users=0) == Lease(LEASE_S - 0.75, 0.0)
    assert begun.expire(LEASE_S) == []
    assert begun.expire(LEASE_S + 0.01) == [0]


def test_the_beat_of_somebody_unknown_gets_no_lease(members: Membership) -> None:
    assert members.beat(7, 1.0, version=0, users=3) is None
    assert members.expire(1.0) == []
    assert members.events == []


def test_who_beats_is_not_lost(members: Membership) -> None:
    for beat in range(1, 200):
        hear(members, 0.5 * beat)
        assert members.expire(0.5 * beat + 0.49) == []
    assert members.version == 0


# --- lost


def test_a_silent_worker_is_lost_when_its_lease_has_run_out(members: Membership) -> None:
    hear(members, 2.5, 0, 2)
    assert members.expire(0.5 + LEASE_S) == []
    assert members.expire(2.51) == [1]
    assert members.eras[1:] == [Era(2.5, (0, 0, 2, 0, 2, 2))]  # it can have started nothing that was due then
    assert members.events == [
        NodeEvent(2.51, "worker-1", "lost", "not heard of for 2 s; the others have its share from 2.5 s on")
    ]
    assert members.expire(2.61) == []


def test_room_is_kept_for_the_users_of_a_lost_worker(members: Membership) -> None:
    hear(members, 2.0, users=5)
    hear(members, 4.0, 0, 2, users=9)
    members.expire(4.1)
    assert members.eras[-1].reserved_users == 5


def test_two_may_be_lost_at_once_and_then_the_last(members: Membership) -> None:
    hear(members, 2.5, 1)
    assert members.expire(3.0) == [0, 2]
    assert [era.owners for era in members.eras] == [(0, 1, 2), (1, 1, 2, 2, 1, 2), (1,) * 6]
    assert members.expire(5.0) == [1]
    assert members.eras[-1].owners == ()
    assert members.events[-1].note == "not heard of for 2 s; nobody is left to take its share from 4.5 s on"


def test_nothing_is_taken_over_that_the_others_have_forgotten(members: Membership) -> None:
    hear(members, 20.0, 0, 2)
    members.expire(20.1)
    assert members.eras[-1].from_s == 20.1 - REACH_S


def test_a_change_never_begins_before_one_that_was_announced(members: Membership) -> None:
    hear(members, 2.0)
    members.join(3, "worker-3")
    members.beat(3, 2.4, version=0, users=0)
    members.leave(0, 3.0, 2.9)
    assert members.eras[1:] == [
        Era(2.0 + LEASE_S, (0, 1, 2, 3)),
        Era(2.0 + LEASE_S, (1, 1, 2, 3, 2, 1, 2, 3, 3, 1, 2, 3)),
    ]


def test_a_change_that_was_announced_stays_though_nobody_is_left_who_made_it_wait(
    members: Membership,
) -> None:
    members.beat(1, 2.0, version=0, users=0)
    members.join(3, "worker-3")
    members.beat(3, 2.1, version=0, users=0)
    assert members.eras[-1].from_s == 2.0 + LEASE_S
    for index in (1, 3):
        members.leave(index, 2.2, 2.2)
    members.join(4, "worker-4")
    members.beat(4, 2.3, version=3, users=0)
    assert members.eras[-1] == Era(2.0 + LEASE_S, (0, 2, 4))


def test_when_the_plan_is_about_to_end_nobody_goes_back_for_what_is_past() -> None:
    for now_s, from_s in ((9.7, 9.5), (9.9, 11.0), (10.5, 11.0)):
        begun = Membership(RESERVE_S, plan_s=10.0)
        begun.begin({0: "a", 1: "b"})
        begun.leave(1, now_s, 9.5)
        assert begun.eras[-1] == Era(from_s, (0, 0))


def test_without_a_plan_an_event_tells_of_no_shares() -> None:
    begun = Membership(RESERVE_S, plan_s=None)
    begun.begin({0: "a", 1: "b"})
    begun.expire(3.0)
    begun.beat(1, 4.0, version=0, users=0)
    begun.leave(1, 5.0, 5.0)
    assert [(event.kind, event.note) for event in begun.events] == [
        ("lost", "not heard of for 2 s"),
        ("lost", "not heard of for 2 s"),
        ("returned", ""),
        ("left", "said goodbye"),
    ]


# --- while a change is announced


def test_who_has_not_said_that_it_knows_of_a_change_gets_no_lease_beyond_it(members: Membership) -> None:
    members.join(3, "worker-3")
    members.beat(3, 1.0, version=0, users=0)
    first_s = members.eras[1].from_s
    assert members.beat(0, 1.1, version=0, users=0) == Lease(first_s, 0.0)
    assert members.beat(2, 1.1, version=1, users=0) == Lease(1.1 + LEASE_S, 0.0)
    members.join(4, "worker-4")
    members.beat(4, 1.2, version=1, users=0)
    second_s = members.eras[2].from_s
    assert (first_s, second_s) == (0.5 + LEASE_S, 1.1 + LEASE_S)
    assert members.beat(0, 1.3, version=0, users=0) == Lease(first_s, 0.0)  # the first that it does not know
    assert members.beat(0, 1.4, version=1, users=0) == Lease(second_s, 0.0)
    assert members.beat(0, 1.5, version=2, users=0) == Lease(1.5 + LEASE_S, 0.0)
    assert members.beat(0, 1.6, version=1, users=0) == Lease(1.6 + LEASE_S, 0.0)  # said before, come later


def test_a_lease_that_was_granted_is_remembered_though_a_shorter_one_was_since(members: Membership) -> None:
    hear(members, 2.0)
    members.join(3, "worker-3")
    members.beat(3, 2.1, version=0, users=0)
    assert members.eras[-1].from_s == 2.0 + LEASE_S
    members.beat(0, 2.2, version=1, users=0)  # until 4.2
    members.join(4, "worker-4")
    members.beat(4, 2.3, version=1, users=0)
    assert members.eras[-1].from_s == 2.2 + LEASE_S
    members.leave(1, 2.4, 2.4)
    assert members.beat(0, 2.5, version=1, users=0) == Lease(2.2 + LEASE_S, 0.0)
    members.join(5, "worker-5")
    members.beat(5, 2.6, version=3, users=0)
    assert members.eras[-1].from_s == 2.2 + LEASE_S


def test_who_has_not_heard_of_a_change_is_still_there(members: Membership) -> None:
    hear(members, 2.5, 0, 2)
    members.expire(2.6)
    for beat in range(10):
        members.beat(0, 3.0 + beat, version=0, users=0)
        members.beat(2, 3.0 + beat, version=1, users=0)
        assert members.expire(3.5 + beat) == []


# --- joined


def test_who_joins_gets_a_share_with_its_first_beat_when_every_lease_on_the_old_ones_has_run_out(
    members: Membership,
) -> None:
    members.beat(1, 3.0, version=0, users=4)
    members.join(3, "worker-9")
    assert members.version == 0
    assert members.first_lease_s(3) == 0.0
    assert members.beat(3, 3.1, version=0, users=0) == Lease(3.0 + LEASE_S, 3.0 + LEASE_S)
    assert members.eras[1:] == [Era(5.0, (0, 1, 2, 3))]
    assert members.events == [NodeEvent(3.1, "worker-9", "joined", "has a share from 5.0 s on")]
    assert members.beat(3, 3.2, version=1, users=0) == Lease(3.2 + LEASE_S, 5.0)
    assert len(members.events) == 1


def test_who_joins_where_nobody_is_left_begins_at_once() -> None:
    begun = Membership(RESERVE_S)
    begun.begin({})
    begun.join(0, "a")
    assert begun.beat(0, 3.0, version=0, users=0) == Lease(3.0 + NOTICE_S, 3.0 + NOTICE_S)
    assert begun.eras == [Era(0.0, ()), Era(3.0 + NOTICE_S, (0,))]


def test_who_joins_and_never_says_anything_changes_nothing(members: Membership) -> None:
    members.join(3, "worker-3")
    hear(members, 9.0)
    assert members.expire(9.1) == []
    assert members.settle(99.0) == []
    assert members.version == 0


def test_users_of_a_lost_worker_keep_their_room_when_another_joins(members: Membership) -> None:
    hear(members, 2.0, users=6)
    hear(members, 4.0, 0, 2, users=6)
    members.expire(4.1)
    members.join(3, "worker-3")
    members.beat(3, 4.2, version=1, users=0)
    assert members.eras[-1] == Era(6.0, (0, 2, 3), reserved_users=6)


# --- returned


def test_who_returns_gets_a_share_and_loses_what_was_due_meanwhile(members: Membership) -> None:
    hear(members, 2.5, 0, 2)
    members.expire(2.6)
    hear(members, 4.0, 0, 2)
    lease = members.beat(1, 4.5, version=0, users=8)
    assert lease == Lease(2.5, 6.0)  # it has yet to hear of what changed without it
    assert members.eras[-1] == Era(6.0, (0, 1, 2), 0)
    assert members.events[-1] == NodeEvent(4.5, "worker-1", "returned", "has a share from 6.0 s on")
    assert members.beat(1, 5.0, version=2, users=8) == Lease(5.0 + LEASE_S, 6.0)
    assert len(members.events) == 2


def test_who_returns_with_users_in_flight_needs_no_room_kept_for_them(members: Membership) -> None:
    hear(members, 2.0, 1, users=8)
    hear(members, 4.0, 0, 2)
    members.expire(4.1)
    assert members.eras[-1].reserved_users == 8
    members.beat(1, 4.5, version=0, users=7)
    assert members.eras[-1].reserved_users == 0
    assert members.settle(99.0) == []


# --- left


def test_who_says_goodbye_leaves_its_share_and_keeps_its_users_for_a_while(members: Membership) -> None:
    hear(members, 2.0, users=6)
    members.leave(2, 2.25, 2.24)
    assert members.eras[1:] == [Era(2.24, (0, 1, 0, 0, 1, 1), reserved_users=6)]
    assert members.events == [
        NodeEvent(2.25, "worker-2", "left", "said goodbye; the others have its share from 2.2 s on")
    ]
    members.leave(2, 2.3, 2.3)
    assert members.beat(2, 2.4, version=1, users=5) is not None
    assert members.version == 1  # it does not come back
    hear(members, 8.0, 0, 1)
    assert members.expire(8.1) == []
    assert members.settle(8.1) == []


def test_who_has_left_and_has_nobody_in_flight_is_forgotten(members: Membership) -> None:
    hear(members, 2.0, users=6)
    members.leave(2, 2.25, 2.24)
    members.forget(2)
    members.forget(2)
    assert members.beat(2, 2.3, version=1, users=1) is None
    assert members.settle(2.5) == []
    assert members.eras[-1] == Era(2.5, members.eras[1].owners, reserved_users=0)
    assert members.settle(99.0) == []


def test_who_says_goodbye_and_then_nothing_is_settled_like_a_lost_one(members: Membership) -> None:
    hear(members, 2.0, users=6)
    members.leave(2, 2.25, 2.24)
    hear(members, 30.0, 0, 1)
    assert members.settle(2.0 + RESERVE_S) == []
    assert members.settle(2.1 + RESERVE_S) == [2]
    assert members.eras[-1].reserved_users == 0


def test_a_lost_worker_that_says_goodbye_leaves_no_share(members: Membership) -> None:
    hear(members, 2.0, 2, users=6)
    hear(members, 4.0, 0, 1)
    members.expire(4.1)
    members.leave(2, 4.5, 4.4)
    assert [event.kind for event in members.events] == ["lost"]
    assert members.eras[-1].reserved_users == 6


# --- settled


def test_after_a_while_the_users_of_a_lost_worker_are_gone(members: Membership) -> None:
    hear(members, 2.0, users=6)
    hear(members, 4.0, 0, 2, users=6)
    members.expire(4.1)
    assert members.settle(2.0 + RESERVE_S) == []
    assert members.settle(2.1 + RESERVE_S) == [1]
    assert members.eras[-1] == Era(2.1 + RESERVE_S, (0, 0, 2, 0, 2, 2), reserved_users=0)
    assert members.version == 2
    assert members.settle(2.2 + RESERVE_S) == []
    assert members.version == 2
    assert [event.kind for event in members.events] == ["lost"]


def test_the_users_of_two_lost_workers_go_one_after_the_other(members: Membership) -> None:
    hear(members, 1.0, 1, users=4)
    hear(members, 2.0, 2, users=3)
    hear(members, 3.0, 0)
    members.expire(3.1)
    members.expire(4.1)
    assert members.eras[-1].reserved_users == 7
    assert members.settle(1.5 + RESERVE_S) == [1]
    assert members.eras[-1].reserved_users == 3
    assert members.settle(2.5 + RESERVE_S) == [2]
    assert members.eras[-1].reserved_users == 0


def test_who_returns_after_that_may_be_lost_again(members: Membership) -> None:
    hear(members, 2.5, 0, 2)
    members.expire(2.6)
    assert members.settle(2.7 + RESERVE_S) == [1]
    assert members.beat(1, 40.0, version=0, users=0) is not None
    assert members.settle(40.1 + RESERVE_S) == []
    hear(members, 41.0, 0, 2)
    members.expire(42.6)
    assert members.settle(42.7 + RESERVE_S) == [1]  # once for each time that it is lost


# --- after the end


def test_who_falls_silent_after_the_end_is_lost_and_nobody_takes_over(members: Membership) -> None:
    hear(members, 4.0)
    members.end()
    members.hear(0, 5.5)
    members.hear(9, 5.5)  # somebody unknown
    assert members.expire(6.1) == [1, 2]
    assert members.expire(6.2) == []
    assert members.version == 0
    assert members.events[0] == NodeEvent(6.1, "worker-1", "lost", "not heard of for 2 s")


# --- when the master itself was held up


def test_silence_while_the_master_was_held_up_says_nothing(members: Membership) -> None:
    members.excuse(8.0, 8.6)
    assert members.expire(8.6) == []
    hear(members, 8.7, 0, 1)
    assert members.expire(8.5 + LEASE_S) == []
    assert members.expire(8.6 + LEASE_S) == [2]


def test_who_was_heard_since_then_is_not_excused_for_what_comes(members: Membership) -> None:
    hear(members, 30.0)  # read before anybody noticed that the master had been held up
    members.excuse(29.0, 30.1)
    hear(members, 31.0, 0, 1)
    assert members.expire(32.2) == [2]


# --- what is told


def test_what_is_told_goes_back_far_enough_for_arrivals_that_are_late(members: Membership) -> None:
    for index, now_s in ((2, 20.0), (1, 26.0)):
        hear(members, now_s, 0, 1)
        members.leave(index, now_s, now_s)
        members.forget(index)
    hear(members, 26.5, 0)
    first, second, third = members.eras
    assert members.recent(29.9) == [first, second, third]
    assert members.recent(30.0) == [second, third]
    assert members.recent(35.9) == [second, third]
    assert members.recent(36.0) == [third]
    assert members.recent(36.0, back_s=20.0) == [first, second, third]


def test_what_is_told_is_all_that_somebody_does_not_know_yet(members: Membership) -> None:
    hear(members, 20.0)
    members.leave(2, 20.0, 20.0)
    members.beat(0, 40.0, version=1, users=0)
    assert len(members.recent(40.0)) == 2  # worker-1 knows the first only
    members.beat(1, 40.0, version=1, users=0)
    assert len(members.recent(40.0)) == 1


# --- max_users


def test_while_nothing_changes_nobody_has_too_many(members: Membership) -> None:
    hear(members, 1.0, users=33)
    assert members.excess(0, 99) == 0


def test_a_new_worker_leaves_free_what_the_others_have_above_their_new_parts(members: Membership) -> None:
    hear(members, 1.0, users=40)
    members.join(3, "worker-3")
    members.beat(3, 1.5, version=0, users=0)
    from_s = members.eras[-1].from_s
    # Until then each may fill its old part, and only then its new one is 30.
    assert members.excess(3, 120) == 3 * (40 - 30)
    assert members.excess(3, 240) == 3 * (80 - 60)
    hear(members, from_s + 0.1, users=35)
    assert members.excess(3, 120) == 3 * 5
    assert members.excess(3, 240) == 0
    hear(members, from_s + 0.6, 0, 1, users=30)
    assert members.excess(3, 120) == 5


def test_two_new_workers_count_with_what_was_allowed_before_the_first(members: Membership) -> None:
    hear(members, 1.0, users=0)
    for index in (3, 4):
        members.join(index, f"worker-{index}")
        members.beat(index, 1.5, version=0, users=0)
    assert members.excess(4, 60) == 3 * (20 - 12) + (15 - 12)


def test_a_worker_without_a_share_has_its_users_reserved_instead(members: Membership) -> None:
    hear(members, 1.0, users=40)
    members.leave(2, 2.0, 2.0)
    assert members.eras[-1].reserved_users == 40
    assert members.excess(0, 120) == 0


def test_who_left_while_nobody_heard_of_it_is_not_back(members: Membership) -> None:
    hear(members, 1.0)
    hear(members, 4.0, 0, 1)
    assert members.expire(4.0) == [2]
    members.beat(2, 90.0, version=0, users=0, is_leaving=True)
    members.leave(2, 90.0, 60.0)
    assert [event.kind for event in members.events] == ["lost"]
    assert members.version == 1
