"""No virtual user is started twice, and none is forgotten while somebody is there: whatever happens."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load import arrivals
from perfload.load.cluster.master import LOOK_S
from perfload.load.cluster.membership import BEAT_S, LEASE_S, NOTICE_S, REACH_S
from perfload.plan import Arrival
from perfload.shares import era_at
from tests.load.cluster.simulation import WAY_S, Cluster, simulated

DURATION_S = 16
RATE = 23.0
SETTLED_S = 3.0
"""This long after the last incident everything is started again that is due."""


@dataclass(frozen=True)
class Incident:
    """Something that happens to worker `site` in second `at_s` of the run."""

    at_s: float
    kind: str
    site: int
    length_s: float


LASTING = {"stop": "resume", "cut_off": "reconnect", "deafen": "undeafen", "busy": "", "freeze": "thaw"}
INCIDENTS = st.builds(
    Incident,
    at_s=st.floats(-0.9, 15.5),
    kind=st.sampled_from(["join", "kill", "leave", *LASTING]),
    site=st.integers(0, 5),
    length_s=st.floats(0.1, 6),
)
COPIES = st.dictionaries(
    st.integers(0, 400), st.lists(st.floats(0, 4).map(lambda way_s: round(way_s, 3)), max_size=2), max_size=40
)
CLOCKS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4)


@settings(deadline=None, max_examples=200)
@given(sites=st.integers(1, 4), incidents=st.lists(INCIDENTS, max_size=5), copies=COPIES, ahead_s=CLOCKS)
def test_no_virtual_user_is_started_twice_and_none_is_forgotten(
    sites: int, incidents: list[Incident], copies: dict[int, list[float]], ahead_s: list[float]
) -> None:
    with simulated(sites, duration_s=DURATION_S, rate=RATE, ahead_s=ahead_s) as cluster:
        cluster.copies = copies
        quiet_s, harmed = play(cluster, incidents)
        check(cluster, quiet_s, harmed)


def play(cluster: Cluster, incidents: list[Incident]) -> tuple[float, set[str]]:
    """Carry out the plan; return when the last incident ended, and the workers that may have lost some."""
    harmed: set[str] = set()
    quiet_s = 0.0
    steps: list[tuple[float, Callable[[], None]]] = []
    cluster.begin()
    for incident in incidents:
        site, ends_s = cluster.sites[incident.site % len(cluster.sites)], incident.at_s
        if incident.kind == "join":
            steps.append((incident.at_s, cluster.join))
        elif incident.kind == "busy":
            steps.append((incident.at_s, partial(cluster.busy, site, incident.length_s)))
        else:
            steps.append((incident.at_s, partial(getattr(cluster, incident.kind), site)))
        if incident.kind in LASTING:
            ends_s += incident.length_s
        if incident.kind in LASTING and incident.kind != "busy":
            steps.append((ends_s, partial(getattr(cluster, LASTING[incident.kind]), site)))
        if incident.kind not in ("join", "busy", "deafen", "freeze"):
            harmed.add(site.client_id)
        quiet_s = max(quiet_s, ends_s)
    for at_s, step in sorted(steps, key=lambda step: step[0]):
        cluster.go_on_until(at_s)
        step()
    cluster.go_on_until(max(cluster.plan.duration_s, quiet_s) + LEASE_S + 2.0)
    return max(quiet_s, cluster.quiet_s), harmed | cluster.touched


def check(cluster: Cluster, quiet_s: float, harmed: set[str]) -> None:
    assert cluster.refused == []
    eras = cluster.membership.eras
    assert [era.from_s for era in eras] == sorted(era.from_s for era in eras)
    names = {site.index: site.client_id for site in cluster.sites}
    sites = {site.client_id: site for site in cluster.sites}
    somebody = any(not site.process.is_dead and not site.has_left for site in cluster.sites)
    for step in cluster.plan.schedule():
        if not isinstance(step, Arrival):
            continue
        starts = cluster.started.get(step.number, [])
        assert len(starts) <= 1, f"{step} was started twice: {starts}"
        owner = era_at(eras, step.at_s).owner(step.number)
        is_safe = owner is not None and names.get(owner) not in harmed
        if is_safe or (somebody and step.at_s > quiet_s + SETTLED_S):
            assert len(starts) == 1, f"{step} was not started by worker {owner}"
        for client_id, at_s in starts:
            assert owner is not None
            assert client_id == names[owner]
            assert at_s >= step.at_s - sites[client_id].clock_error_s - 1e-6


# --- one thing at a time


def missed(cluster: Cluster, incidents: list[Incident]) -> list[float]:
    """Let `incidents` happen; return when those arrivals were due that nobody started."""
    check(cluster, *play(cluster, incidents))
    steps = (step for step in cluster.plan.schedule() if isinstance(step, Arrival))
    return [step.at_s for step in steps if step.number not in cluster.started]


def late_s(cluster: Cluster) -> dict[int, float]:
    """Return how late each virtual user was started, by its number."""
    due_s = {step.number: step.at_s for step in cluster.plan.schedule() if isinstance(step, Arrival)}
    return {number: at_s - due_s[number] for number, ((_, at_s),) in cluster.started.items()}


def own(cluster: Cluster, late: dict[int, float]) -> list[float]:
    """Return those of `late` whose owner never changed."""
    first, *_, last = cluster.membership.eras
    return [seconds for number, seconds in late.items() if first.owner(number) == last.owner(number)]


HEARD_OF_S = LOOK_S + arrivals.LOOK_S + 3 * WAY_S
"""Until the master has noticed that a lease has run out, and a worker that it has a larger share."""


@given(killed_s=st.floats(0.5, 10), sites=st.integers(2, 6))
@settings(deadline=None)
def test_the_share_of_a_killed_worker_is_taken_over_when_its_lease_has_run_out(
    killed_s: float, sites: int
) -> None:
    with simulated(sites, duration_s=DURATION_S, rate=200.0) as cluster:
        missing_s = missed(cluster, [Incident(killed_s, "kill", 1, 0.0)])
        _, era = cluster.membership.eras
        assert killed_s + LEASE_S - BEAT_S - 2 * WAY_S < era.from_s < killed_s + LEASE_S + 2 * WAY_S
        assert all(killed_s - 0.1 < due_s < era.from_s for due_s in missing_s)
        assert len(missing_s) == pytest.approx((era.from_s - killed_s) * 200 / sites, abs=2)
        late = late_s(cluster)
        assert max(late.values()) < BEAT_S + HEARD_OF_S
        assert max(own(cluster, late)) < 0.01  # but nobody is late because another was lost


def test_a_worker_that_joins_takes_its_share_without_a_gap() -> None:
    with simulated(2, duration_s=DURATION_S, rate=RATE) as cluster:
        assert missed(cluster, [Incident(4.0, "join", 0, 0.0)]) == []
        assert [era.owners for era in cluster.membership.eras] == [(0, 1), (0, 1, 2)]
        assert 4.0 + NOTICE_S < cluster.membership.eras[1].from_s < 4.0 + LEASE_S + 2 * WAY_S


def test_a_worker_that_leaves_loses_nothing() -> None:
    with simulated(3, duration_s=DURATION_S, rate=200.0) as cluster:
        assert missed(cluster, [Incident(4.0, "leave", 0, 0.0)]) == []
        _, era = cluster.membership.eras
        assert era.from_s == pytest.approx(4.0, abs=2 * WAY_S)
        assert max(late_s(cluster).values()) < HEARD_OF_S


def test_a_worker_that_hears_nothing_is_late_and_loses_nothing() -> None:
    with simulated(3, duration_s=DURATION_S, rate=RATE) as cluster:
        assert missed(cluster, [Incident(4.0, "deafen", 0, 5.0), Incident(5.0, "join", 0, 0.0)]) == []
        assert max(late_s(cluster).values()) == pytest.approx(5.0 - LEASE_S + BEAT_S, abs=BEAT_S)


def test_a_worker_that_is_cut_off_before_the_run_begins_keeps_to_its_first_lease() -> None:
    with simulated(2, duration_s=DURATION_S, rate=RATE) as cluster:
        missing_s = missed(cluster, [Incident(-0.25, "cut_off", 1, 8.0)])
        lost, returned = cluster.membership.eras[1:]
        assert lost.from_s == LEASE_S
        assert missing_s == []
        assert returned.from_s > 7.75


def test_a_worker_that_is_very_late_goes_by_what_was_true_when_its_arrivals_were_due() -> None:
    incidents = [
        Incident(10.0, "busy", 0, 16.0),
        Incident(12.0, "kill", 1, 0.0),
        Incident(20.0, "join", 0, 0.0),  # by now nobody is told any more what was true in second 10
        Incident(25.0, "join", 0, 0.0),
    ]
    with simulated(2, duration_s=30, rate=RATE) as cluster:
        missing_s = missed(cluster, incidents)
        assert min(missing_s) >= 12.0
        assert max(missing_s) < 12.0 + LEASE_S


def test_a_step_that_somebody_waits_for_too_long_may_be_another_s_by_then() -> None:
    incidents = [
        Incident(0.0, "join", 0, 0.0),
        Incident(0.0, "deafen", 0, 3.0),
        Incident(2.0, "busy", 0, 2.0),  # it hears the news while it waits
    ]
    with simulated(1, duration_s=DURATION_S, rate=RATE) as cluster:
        assert missed(cluster, incidents) == []


def test_what_nobody_remembers_when_a_worker_is_found_to_be_lost_is_lost_with_it() -> None:
    # The master is held up itself, and by then the other has forgotten what was due so long ago.
    incidents = [Incident(1.0, "kill", 0, 0.0), Incident(1.0, "freeze", 0, 5.0)]
    with simulated(2, duration_s=DURATION_S, rate=RATE) as cluster:
        missing_s = missed(cluster, incidents)
        _, lost = cluster.membership.eras
        assert lost.from_s == pytest.approx(6.0 + LEASE_S - REACH_S, abs=LOOK_S + 2 * WAY_S)
        assert all(1.0 - 2 / RATE < due_s < lost.from_s for due_s in missing_s)
