"""Requests of which the system finishes no more however many are in flight: something lets only so many pass.

That alone does not say what it is. How many get on at a time does, in part: the rate times the time that one
takes when nobody waits (Little's law). One or two is a lock or a single worker; many may be a pool, or
whatever the application waits for and nobody watches.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from perfload.analysis.strain import BEHIND, MIN_REQUESTS, Strain
from perfload.analysis.tally import load_end_s, users_by_second
from perfload.model import RunRecord, Window, span_at

STRETCHES = 4
STEADY = 0.3
"""The rates of the stretches differ by no more than this part of their mean."""
GROWN = 1.5
"""So many times more are in flight in the end than in the beginning."""
FEW = 4.0
"""Fewer at a time than this are a lock or a single worker. What is waited for is only part of a request, so
that the time of a whole one makes one at a time look like two or three."""

Key = tuple[str, str]
"""(method, name) of a request."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A request of which the system finished no more however many were in flight."""

    method: str
    name: str
    rate_per_s: float
    offered_per_s: float
    in_flight: tuple[float, float]
    """Mean number in flight in the beginning and in the end."""
    at_a_time: float
    """How many the rate amounts to when nobody waits; NaN if there was no such time in the run."""

    @property
    def is_narrow(self) -> bool:
        """Whether so few get on at a time that it has to be a lock or the like."""
        return self.at_a_time < FEW


def ceilings(record: RunRecord, strain: Strain) -> list[Ceiling]:
    """Return the requests whose rate stood still during `strain` while more were in flight, worst first.

    The number in flight comes from Little's law: rate times time, in each of four equal stretches. The
    beginning of the strain may be left out, up to a half: other things happen there.
    """
    first, end = math.ceil(strain.since_s), math.floor(min(strain.until_s, load_end_s(record)))
    by_name: defaultdict[Key, list[Window]] = defaultdict(list)
    for window in record.windows:
        by_name[window.method, window.name].append(window)
    found: dict[Key, Ceiling] = {}
    for skipped in (0.0, 0.25, 0.5):
        begin = first + round(skipped * (end - first))
        seconds = range(begin, end - (end - begin) % STRETCHES)
        if len(seconds) < STRETCHES:
            break
        more_is_offered = _more_is_offered(record, seconds)
        for key in by_name.keys() - found.keys():
            ceiling = _ceiling(key, by_name[key], seconds, more_is_offered, strain.since_s)
            found |= {key: ceiling} if ceiling else {}
    return sorted(found.values(), key=lambda ceiling: ceiling.rate_per_s / ceiling.offered_per_s)


def _more_is_offered(record: RunRecord, seconds: range) -> bool:
    """Return whether virtual users were added: without a schedule what is due follows what is finished."""
    if span_at(record.manifest.phases, seconds.start).model == "arrivals":
        return False
    users = users_by_second(record.readings, record.manifest.started_at_s)
    inside = [number for second, number in sorted(users.items()) if second in seconds]
    quarter = len(inside) // STRETCHES
    return quarter > 0 and sum(inside[-quarter:]) >= GROWN * sum(inside[:quarter])


def _ceiling(
    key: Key, windows: list[Window], seconds: range, more_is_offered: bool, calm_until_s: float
) -> Ceiling | None:
    width_s = len(seconds) // STRETCHES
    finished, time_us, due = [0] * STRETCHES, [0.0] * STRETCHES, 0
    for window in windows:
        # Some of what was due is finished later.
        due += sum(ok + failed for second, ok, failed in window.due if second in seconds)
        if window.second in seconds:
            place = (window.second - seconds.start) // width_s
            finished[place] += window.count
            time_us[place] += window.latency.sum + window.failed.sum
    rates = [count / width_s for count in finished]
    in_flight = [us / 1e6 / width_s for us in time_us]
    rate, due_per_s = sum(rates) / STRETCHES, due / len(seconds)
    is_behind = rate < BEHIND * due_per_s or more_is_offered
    if min(finished) < MIN_REQUESTS / STRETCHES or not is_behind:
        return None
    if max(rates) - min(rates) > STEADY * rate or not _has_grown(in_flight):
        return None
    at_a_time = rate * _calm_s(windows, calm_until_s)
    return Ceiling(*key, rate, max(rate, due_per_s), (in_flight[0], in_flight[-1]), at_a_time)


def _has_grown(in_flight: list[float]) -> bool:
    """Return whether the number in flight grew all the time, as it does behind what lets too few pass."""
    return in_flight == sorted(in_flight) and in_flight[-1] >= max(1.0, GROWN * in_flight[0])


def _calm_s(windows: Iterable[Window], until_s: float) -> float:
    """Return the mean time of a request before the strain; NaN where there were too few."""
    calm = [window for window in windows if window.second < until_s]
    count = sum(window.latency.count for window in calm)
    return sum(window.latency.sum for window in calm) / 1e6 / count if count >= MIN_REQUESTS else math.nan
