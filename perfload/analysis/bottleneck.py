"""What held the system back: named only where the evidence is in the record.

The first resource at its limit when the strain began is the suspect, the cause before its effects
(`perfload.analysis.limits`). Database operations come before it where they took most of the requests' time,
and the load generator before everything. Without any of these the answer is that it is not identified.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perfload.analysis.limits import Use, uses
from perfload.analysis.operations import busiest_operation
from perfload.analysis.schema import Bottleneck, BottleneckKind, PhaseStrain, ResourceUse
from perfload.analysis.strain import Ceiling, Strain, ceilings, strains
from perfload.analysis.tally import load_end_s
from perfload.model import Reading, RunRecord

EARLY_S = 2.0
"""Readings come once a second and stand for the second before: a resource may be seen full so much later."""

MOST_OF_THE_TIME = 0.5
"""The share of the requests' time from which on a database operation is what they wait for."""

OWN_SOURCES = ("generator",)
"""Readings of the load generator itself: `perfload.analysis.validity` judges by them."""


def bottleneck(record: RunRecord, *, saturated: Sequence[str], missed: Mapping[str, str]) -> Bottleneck:
    """Return what held the system back in the run of `record`.

    `saturated`: why the load generator was the limit, in words. `missed`: by phase (or `all`), a goal that
    was missed, in words.
    """
    found = strains(record, missed)
    cause = _cause(record, saturated, found)
    return Bottleneck(
        kind=cause.kind,
        conclusion=cause.conclusion,
        evidence=cause.evidence,
        phases=[_phase(record, strain) for strain in found],
        watched=_watched(record),
    )


@dataclass(frozen=True, slots=True)
class Cause:
    """An answer, and what speaks for it."""

    kind: BottleneckKind
    conclusion: str
    evidence: list[str]


def _cause(record: RunRecord, saturated: Sequence[str], found: Sequence[Strain]) -> Cause:
    if saturated:
        return Cause("generator", "The load generator was the limit, not the system.", list(saturated))
    first = min(found, key=lambda strain: strain.since_s, default=None)
    if first is None or math.isinf(first.since_s):
        return Cause("none", "Nothing: the system took the load without strain.", _nearest(record))
    signs = [f"In {strain.phase!r}, {strain.words}." for strain in found if strain.words]
    until_s = load_end_s(record)
    return (
        _operations(record, first.since_s, until_s, signs)
        or _resource(record, first.since_s, signs)
        or _one_at_a_time(record, first.since_s, until_s, signs)
        or _unidentified(record, signs)
    )


def _nearest(record: RunRecord) -> list[str]:
    return [f"Nearest to its limit: {_use_words(use)}." for use in _uses(record)[:1]]


def _operations(record: RunRecord, since_s: float, until_s: float, signs: list[str]) -> Cause | None:
    operation = busiest_operation(record, since_s, until_s)
    if operation is None or operation.share < MOST_OF_THE_TIME:
        return None
    conclusion = f"The database operation {operation.words}."
    return Cause("operations", conclusion, [*signs, *operation.evidence])


def _resource(record: RunRecord, since_s: float, signs: list[str]) -> Cause | None:
    full = [use for use in _uses(record) if use.full_since_s is not None]
    strained_at_s = record.manifest.started_at_s + since_s
    # What fills up only once requests pile up is an effect of that.
    early = [use for use in full if (use.full_since_s or 0.0) <= strained_at_s + EARLY_S + _part_s(record)]
    if not early:
        return None
    first = min(early, key=lambda use: (use.limit.rank, use.full_since_s))
    evidence = [
        f"{_capital(_use_words(use))}." for use in (first, *(use for use in full if use is not first))
    ]
    return Cause("resource", f"{_capital(first.words)}.", [*signs, *evidence[:5]])


def _part_s(record: RunRecord) -> float:
    """Return how finely the beginning of the strain is known."""
    return max(1.0, load_end_s(record) / 60)


def _one_at_a_time(record: RunRecord, since_s: float, until_s: float, signs: list[str]) -> Cause | None:
    found = ceilings(record, since_s, until_s)
    if not found:
        return None
    conclusion = (
        f"A limit inside the application: {_request(found[0])} waits for something that only so many "
        "requests get at a time, such as a lock, a single worker or a small pool."
    )
    return Cause("one_at_a_time", conclusion, [*signs, *map(_ceiling_words, found[:3]), *_idle(record)])


def _request(ceiling: Ceiling) -> str:
    return f"{ceiling.method} {ceiling.name}".strip()


def _ceiling_words(ceiling: Ceiling) -> str:
    least, most = ceiling.in_flight
    return (
        f"{_request(ceiling)} was finished at a steady {ceiling.rate_per_s:,.1f}/s, with {least:,.0f} in "
        f"flight as with {most:,.0f}."
    )


def _idle(record: RunRecord) -> list[str]:
    nearest = _uses(record)[:1]
    return [f"Nothing that was watched was at its limit; nearest: {_use_words(use)}." for use in nearest]


def _unidentified(record: RunRecord, signs: list[str]) -> Cause:
    watched = _watched(record)
    seen = f"what {_listed(watched)} read was below its limits" if watched else "nothing was watched"
    conclusion = f"Not identified: {seen}. It may be something that no monitor looks at."
    return Cause("unidentified", conclusion, [*signs, *_nearest(record)])


def _phase(record: RunRecord, strain: Strain) -> PhaseStrain:
    span = next(span for span in record.manifest.phases if span.name == strain.phase)
    end_s = span.end_s if span.duration_s else math.inf
    fullest = next(iter(_uses(record, span.start_s, end_s)), None)
    return PhaseStrain(
        phase=strain.phase,
        strain=strain.words,
        since_s=None if math.isinf(strain.since_s) else strain.since_s,
        fullest=None if fullest is None else _resource_use(fullest, record.manifest.started_at_s),
    )


def _resource_use(use: Use, started_at_s: float) -> ResourceUse:
    return ResourceUse(
        resource=use.words,
        node=use.node,
        source=use.limit.source,
        metric=use.metric,
        aspect=use.limit.aspect,
        highest=use.highest,
        limit=use.limit.limit,
        unit=use.unit,
        full_since_s=None if use.full_since_s is None else round(use.full_since_s - started_at_s, 3),
    )


def _uses(record: RunRecord, from_s: float = 0.0, until_s: float = math.inf) -> list[Use]:
    started_at_s = record.manifest.started_at_s
    until_s = min(until_s, load_end_s(record))
    return uses([r for r in _watching(record) if from_s <= r.at_s - started_at_s <= until_s])


def _watching(record: RunRecord) -> Iterable[Reading]:
    return (reading for reading in record.readings if reading.source not in OWN_SOURCES)


def _watched(record: RunRecord) -> list[str]:
    return sorted(
        {f"{reading.source} on {reading.node}" for reading in _watching(record) if reading.value is not None}
    )


def _use_words(use: Use) -> str:
    return f"{use.words}, {use.metric} {use.highest:,.4g} {use.unit} (limit {use.limit.limit:g})"


def _listed(words: Sequence[str]) -> str:
    shown = [*words[:5], f"{len(words) - 5} more"] if len(words) > 6 else list(words)
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
