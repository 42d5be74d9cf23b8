"""What held the system back: named only where the evidence is in the record.

The first resource at its limit when the strain began is the suspect, the cause before its effects
(`perfload.analysis.limits`). Database operations come before it where they took most of the requests' time,
and the load generator before everything. Without any of these the answer is that it is not identified.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perfload.analysis.ceilings import Ceiling, ceilings
from perfload.analysis.connections import Pool, used_up_pool
from perfload.analysis.limits import Use, spoken, uses
from perfload.analysis.operations import busiest_operation, request_time_us
from perfload.analysis.schema import Bottleneck, BottleneckKind, PhaseStrain, ResourceUse
from perfload.analysis.strain import HELD_S, Strain, strains
from perfload.analysis.tally import load_end_s
from perfload.model import Reading, RunRecord

EARLY_S = 2.0
"""Readings come once a second and stand for the second before: a resource may be seen full so much later."""

MOST_OF_THE_TIME = 0.5
"""The share of the requests' time from which on a database operation is what they wait for."""

FULL_FOR_MOST = 0.5
"""The share of the strain's readings at their limit: what was full for a moment only did not hold it back."""

MACHINE, BUSIEST = "cpu_percent", "process_cpu_percent_busiest"
PROCESS = "process_cpu_percent["
WORTH_NAMING_PERCENT = 30
"""Of a core: a process with less is not what fills a machine."""

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
    strained = _heaviest_first(record, [strain for strain in found if strain.words])
    if not strained:
        return Cause("none", "Nothing: the system took the load without strain.", _nearest(record))
    signs = [f"In {strain.phase!r}, {strain.words}." for strain in found if strain.words]
    for strain in strained:
        cause = (
            _operations(record, strain, signs)
            or _resource(record, strain, signs)
            or _one_at_a_time(record, strain, signs)
        )
        if cause:
            return cause
    return _unidentified(record, strained, signs)


def _heaviest_first(record: RunRecord, found: Sequence[Strain]) -> list[Strain]:
    """Return the strains that cost requests most time first: a hiccup in the beginning explains no peak.

    Those that follow each other without a break are one, and its beginning comes first.
    """
    chains: list[list[Strain]] = []
    for strain in found:
        if chains and strain.since_s - chains[-1][-1].until_s < HELD_S:
            chains[-1].append(strain)
        else:
            chains.append([strain])

    def cost(chain: Sequence[Strain]) -> float:
        return request_time_us(record, chain[0].since_s, chain[-1].until_s)

    return [strain for chain in sorted(chains, key=cost, reverse=True) for strain in chain]


def _nearest(record: RunRecord) -> list[str]:
    return [f"Nearest to its limit: {_use_words(use)}." for use in _uses(record)[:1]]


def _operations(record: RunRecord, strain: Strain, signs: list[str]) -> Cause | None:
    until_s = min(strain.until_s, load_end_s(record))
    operation = busiest_operation(record, strain.since_s, until_s)
    if operation is None:
        return None
    evidence = [*signs, *operation.evidence]
    if operation.share < MOST_OF_THE_TIME:
        # Requests may also wait for a connection that others of these operations keep busy.
        pool = _pool(record, strain)
        busy = operation.total_us / 1e6 / (until_s - strain.since_s)
        if pool is None or busy < MOST_OF_THE_TIME * pool.at_work:
            return None
        evidence += [f"On average it kept {busy:,.1f} connections busy.", pool.words]
    return Cause("operations", f"The database operation {operation.words}.", evidence)


def _full(record: RunRecord, strain: Strain) -> list[Use]:
    return [
        use
        for use in _uses(record, strain.since_s, strain.until_s + 1)
        if use.full_since_s is not None and use.full_share >= FULL_FOR_MOST
    ]


def _resource(record: RunRecord, strain: Strain, signs: list[str]) -> Cause | None:
    full = _full(record, strain)
    # What fills up only once requests pile up is an effect of that.
    latest_s = record.manifest.started_at_s + strain.seen_s + EARLY_S
    before = [use for use in _uses(record, strain.since_s, strain.until_s + 1) if _is_full_by(use, latest_s)]
    crowded = {use.node for use in before if use.limit.metric == MACHINE}
    early = [
        use
        for use in full
        # A process gets no core of its own as long as others fill the machine.
        if use in before or (use.limit.metric == BUSIEST and use.node in crowded)
    ]
    if not early:
        return None
    first = min(early, key=lambda use: (use.limit.rank, use.full_since_s))
    evidence = [
        f"{_capital(_use_words(use))}." for use in (first, *(use for use in full if use is not first))
    ]
    conclusion = _capital(first.words)
    if first.limit.metric == MACHINE:
        conclusion += _busiest_process(record, first.node, strain)
        evidence = [*evidence[:5], *_busiest_operation(record, strain)]
    return Cause("resource", f"{conclusion}.", [*signs, *evidence[:6]])


def _is_full_by(use: Use, at_s: float) -> bool:
    return use.full_since_s is not None and use.full_since_s <= at_s


def _busiest_process(record: RunRecord, node: str, strain: Strain) -> str:
    """Return who used most of the processors of `node`, as far as anybody looked."""
    used: defaultdict[str, list[float]] = defaultdict(list)
    for reading in _watching(record):
        second = reading.at_s - record.manifest.started_at_s
        is_process = reading.node == node and reading.metric.startswith(PROCESS)
        if is_process and reading.value is not None and strain.since_s < second <= strain.until_s + 1:
            used[reading.metric.removeprefix(PROCESS).rstrip("]")].append(reading.value)
    means = {label: statistics.fmean(values) for label, values in used.items()}
    busiest = max(means, key=means.__getitem__, default="")
    if not busiest or means[busiest] < WORTH_NAMING_PERCENT:
        return ""
    return f"; of what was watched, {spoken(busiest)} used most, {means[busiest]:.0f} % of a core"


def _busiest_operation(record: RunRecord, strain: Strain) -> list[str]:
    operation = busiest_operation(record, strain.since_s, min(strain.until_s, load_end_s(record)))
    if operation is None:
        return []
    return [f"The database operation with most time was {operation.words}. {operation.evidence[0]}"]


def _one_at_a_time(record: RunRecord, strain: Strain, signs: list[str]) -> Cause | None:
    found = ceilings(record, strain)
    # What is full lets only so many pass, too.
    if not found or _full(record, strain):
        return None
    pool = _pool(record, strain)
    narrow = [ceiling for ceiling in found if ceiling.is_narrow]
    if not pool and not narrow:
        return None
    shown = found if pool else narrow
    if pool:
        waits = f"A limit inside the application: {_request(shown[0])} waits for one of few connections to "
        conclusion = f"{waits}MongoDB on {pool.node}: a small pool."
    else:
        conclusion = (
            f"{_request(shown[0])} waits for something that only one or a few requests get at a time, such "
            "as a lock, a single worker or a small pool; or for a service that takes no more."
        )
    evidence = [*signs, *([pool.words] if pool else []), *map(_ceiling_words, shown[:3])]
    return Cause("one_at_a_time", conclusion, [*evidence, *_idle(record, strain)])


def _pool(record: RunRecord, strain: Strain) -> Pool | None:
    started_at_s = record.manifest.started_at_s
    until_s = min(strain.until_s, load_end_s(record))
    return used_up_pool(record.readings, started_at_s + strain.since_s + 1, started_at_s + until_s)


def _request(ceiling: Ceiling) -> str:
    return f"{ceiling.method} {ceiling.name}".strip()


def _ceiling_words(ceiling: Ceiling) -> str:
    least, most = ceiling.in_flight
    return (
        f"{_request(ceiling)} was finished at a steady {ceiling.rate_per_s:,.1f}/s, with {least:,.0f} in "
        f"flight as with {most:,.0f}."
    )


def _idle(record: RunRecord, strain: Strain) -> list[str]:
    nearest = _uses(record, strain.since_s, strain.until_s)[:1]
    return [f"Nothing that was watched was at its limit; nearest: {_use_words(use)}." for use in nearest]


def _unidentified(record: RunRecord, strained: Sequence[Strain], signs: list[str]) -> Cause:
    watched = _watched(record)
    seen = f"what {_listed(watched)} read does not explain it" if watched else "nothing was watched"
    conclusion = f"Not identified: {seen}. It may be something that no monitor looks at."
    wide = [ceiling for strain in strained for ceiling in ceilings(record, strain)]
    return Cause("unidentified", conclusion, [*signs, *map(_wide_words, wide[:3]), *_nearest(record)])


def _wide_words(ceiling: Ceiling) -> str:
    about = (
        ""
        if math.isnan(ceiling.at_a_time)
        else f" About {ceiling.at_a_time:,.0f} of them got on at a time: behind a pool, or whatever it calls."
    )
    return f"{_ceiling_words(ceiling)}{about}"


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
