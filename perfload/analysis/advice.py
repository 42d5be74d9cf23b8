"""Advice on the database: what a run showed, how bad it was, and the command to try.

Each kind has its threshold, so that a healthy schema gets none: it is better to miss a small gain than to
send somebody after a fault that is not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from perfload.analysis import mongosh
from perfload.analysis.database_schema import Advice, AdviceKind, Severity
from perfload.analysis.index_advice import MIN_OPERATIONS, Want, lacks_index, missing
from perfload.analysis.pool_advice import pool_exhaustion
from perfload.analysis.profiled import OTHER, ProfiledOperation, operations, states
from perfload.analysis.schema_advice import collection_of, growing_documents, superfluous_indexes
from perfload.analysis.tally import load_end_s, ran_s
from perfload.model import RunRecord

HIGH_PERCENT = 20.0
MEDIUM_PERCENT = 5.0
"""Of the time of all recorded operations: a fifth is felt by users, a twentieth is seen in the charts."""

MANY_RETURNED = 1_000
"""Documents of one answer: ten times what MongoDB sends at first (101), thus several round trips, and more
than anybody looks at."""

MAX_SHAPES = 5
"""Named in one piece of advice."""

_RANKS: tuple[Severity, ...] = ("high", "medium", "low")


def advice(record: RunRecord) -> list[Advice]:
    """Return all advice that `record` has evidence for, the most severe first."""
    return _Adviser(record).advice()


class _Adviser:
    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._operations = [operation for operation in operations(record) if operation.ns != OTHER]
        self._total_us = sum(operation.total.total_us for operation in self._operations)
        self._before = states(record, "before")
        self._after = states(record, "after") or self._before

    def advice(self) -> list[Advice]:
        found = [
            *self._missing_indexes(),
            *self._collection_scans(),
            *self._unbounded_results(),
            *superfluous_indexes(self._before, self._after, self._seen()),
            *growing_documents(self._before, self._after),
            *pool_exhaustion(self._record),
        ]
        return sorted(found, key=lambda item: _RANKS.index(item["severity"]))

    def _seen(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for operation in self._operations:
            counts[operation.ns] += operation.total.count
        return counts

    def _missing_indexes(self) -> Iterator[Advice]:
        for want in missing(self._operations, self._after):
            name = collection_of(want.ns)
            shown = " and ".join(mongosh.keys(keys) for keys in want.keys)
            yield self._of_operations(
                "missing_index",
                f"{name} lacks {'an index on ' if len(want.keys) == 1 else 'indexes on '}{shown}",
                want.operations,
                ns=want.ns,
                evidence=[*self._evidence(want.operations), *self._existing(want)],
                command="; ".join(mongosh.create_index(name, keys) for keys in want.keys),
            )

    def _collection_scans(self) -> Iterator[Advice]:
        """Yield operations that read a whole collection and have nothing that an index could narrow down."""
        for operation in self._operations:
            usable = operation.equality or operation.range or operation.sort or _all_usable(operation)
            reads_all = 2 * operation.total.collection_scans > operation.total.count
            if usable or not reads_all or not lacks_index(operation):
                continue
            why = "Its conditions are none that an index can narrow down."
            yield self._of_operations(
                "collection_scan",
                f"{collection_of(operation.ns)} is read as a whole by each {operation.op}",
                [operation],
                ns=operation.ns,
                evidence=[
                    *self._evidence([operation]),
                    why if operation.filtered else "It has no condition at all.",
                ],
                command="",
            )

    def _unbounded_results(self) -> Iterator[Advice]:
        # What a cursor fetches later belongs to the query that opened it.
        more: defaultdict[tuple[str, str], int] = defaultdict(int)
        for operation in self._operations:
            if operation.op == "getMore":
                more[operation.ns, operation.shape.removeprefix("getMore of ")] += operation.total.returned
        for operation in self._operations:
            sums = operation.total
            if operation.op not in ("find", "aggregate") or sums.limit_missing < MIN_OPERATIONS:
                continue
            each = (sums.returned + more[operation.ns, operation.shape]) / sums.count
            if each < MANY_RETURNED:
                continue
            name = collection_of(operation.ns)
            command = f"{mongosh.collection(name)}.find({_example(operation)}).limit(100)"
            yield self._of_operations(
                "unbounded_result",
                f"{operation.op} on {name} returns {each:,.0f} documents at a time",
                [operation],
                ns=operation.ns,
                evidence=[f"{sums.limit_missing:,} operations had no limit. {self._time_words([operation])}"],
                command=command if operation.op == "find" else "",
            )

    def _evidence(self, found: Sequence[ProfiledOperation]) -> list[str]:
        count = sum(operation.total.count for operation in found)
        examined = sum(operation.total.examined for operation in found)
        scans = sum(operation.total.collection_scans for operation in found)
        sorts = sum(operation.total.in_memory_sorts for operation in found)
        read = f"{count:,} operations read {examined:,} documents or keys, {examined / count:,.0f} each"
        if all(operation.counts_matches for operation in found):
            matched = sum(operation.total.returned for operation in found)
            read += f", for {matched:,} that matched"
        lines = [f"{read}. {self._time_words(found)}"]
        if not all(operation.counts_matches for operation in found):
            lines.append(
                "How many documents matched is not known: an index helps where that is a small part."
            )
        if scans:
            lines.append(f"{scans:,} of them read the whole collection (COLLSCAN).")
        if sorts:
            lines.append(f"{sorts:,} of them sorted in memory.")
        return lines

    def _existing(self, want: Want) -> list[str]:
        state = self._after.get(want.ns)
        if state is None or not state.has_indexes:
            return ["Which indexes it has could not be read: look before you make another."]
        names = [index.name for index in state.indexes if index.name != "_id_"]
        return [] if not names else [f"None of its indexes serves them: {', '.join(names[:10])}."]

    def _time_words(self, found: Sequence[ProfiledOperation]) -> str:
        total_us = sum(operation.total.total_us for operation in found)
        mean_ms = total_us / sum(operation.total.count for operation in found) / 1000
        share = f"{self._share(found):.0f} % of the time of all recorded operations"
        return f"They took {mean_ms:,.1f} ms each, {share}."

    def _share(self, found: Sequence[ProfiledOperation]) -> float:
        part_us = sum(operation.total.total_us for operation in found)
        return 100 * part_us / self._total_us if self._total_us else 0.0

    def _phase(self, found: Sequence[ProfiledOperation]) -> str:
        """Return the phase that spent most time per second with these operations."""
        ended_s = load_end_s(self._record)
        costs = {}
        for span in self._record.manifest.phases:
            seconds = ran_s(span, ended_s)
            spent_us = sum(
                operation.phases[span.name].total_us for operation in found if span.name in operation.phases
            )
            if seconds and spent_us:
                costs[span.name] = spent_us / seconds
        return max(costs, key=costs.__getitem__, default="")

    def _of_operations(
        self,
        kind: AdviceKind,
        title: str,
        found: Sequence[ProfiledOperation],
        *,
        ns: str,
        evidence: list[str],
        command: str,
    ) -> Advice:
        share = self._share(found)
        severity: Severity = (
            "high" if share >= HIGH_PERCENT else "medium" if share >= MEDIUM_PERCENT else "low"
        )
        if severity == "high" and not any(operation.counts_matches for operation in found):
            # How much there is to win is not known.
            severity = "medium"
        ranked = sorted(found, key=lambda operation: operation.total.total_us, reverse=True)
        return Advice(
            kind=kind,
            severity=severity,
            ns=ns,
            title=title,
            evidence=evidence,
            phase=self._phase(found),
            command=command,
            operations=[operation.shape for operation in ranked[:MAX_SHAPES]],
        )


def _all_usable(operation: ProfiledOperation) -> bool:
    """Say whether there is an `$or` each part of which could use an index."""
    return bool(operation.branches) and all(equality or ranges for equality, ranges in operation.branches)


def _example(operation: ProfiledOperation) -> str:
    """Return a filter like that of `operation`, with the names of the fields for values."""
    fields = dict.fromkeys((*operation.equality, *operation.range))
    return mongosh.document((name, mongosh.text(f"<{name}>")) for name in fields)
