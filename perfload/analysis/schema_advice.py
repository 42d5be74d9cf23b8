"""Indexes that cost more than they bring, and documents that grow: collections before and after the load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from perfload.analysis import mongosh
from perfload.analysis.database_schema import Advice, AdviceKind
from perfload.analysis.index_advice import reversed_order
from perfload.analysis.profiled import CollectionState, Index

MIN_OPERATIONS = 100
"""On a collection in a run: below, that an index was not used says nothing about it."""

SEEN_AT_START_S = 10.0
"""A collection first looked at later than this in the run may have used its indexes before."""

GROWTH = 1.2
MIN_GROWTH_BYTES = 256
MIN_DOCUMENTS = 100
"""The average of fewer moves by chance; a fifth in one run doubles them within a few."""

States = Mapping[str, CollectionState]
"""By collection."""


def collection_of(ns: str) -> str:
    """Return the collection in `database.collection`; its own name may hold dots."""
    return ns.partition(".")[2] or ns


def superfluous_indexes(before: States, after: States, seen: Mapping[str, int]) -> Iterator[Advice]:
    """Yield indexes that others stand for, and those that nobody used; `seen`: operations by collection."""
    for ns, state in after.items():
        longer_ones = {index.name: _longer(index, state.indexes) for index in state.indexes}
        # Not both of two that can stand for each other.
        standing_in = {longer.name for longer in longer_ones.values() if longer is not None}
        for index in state.indexes:
            longer = longer_ones[index.name]
            if longer is None:
                if index.name not in standing_in:
                    yield from _unused(ns, before.get(ns), state, index, seen=seen.get(ns, 0))
                continue
            keys, longer_keys = mongosh.keys(index.keys), mongosh.keys(longer.keys)
            yield _of_index(
                "redundant_index",
                ns,
                index,
                f"{index.name} on {collection_of(ns)} is the beginning of {longer.name}",
                f"{keys} is the beginning of {longer_keys}: what the one finds, the other finds as well, and "
                "each write has to keep up both.",
            )


def _longer(index: Index, indexes: Iterable[Index]) -> Index | None:
    """Return an index that begins with the keys of `index`, if that does nothing else."""
    if index.name == "_id_" or index.constrains or not index.is_plain:
        return None
    for other in indexes:
        begins_so = other.keys[: len(index.keys)] in (index.keys, reversed_order(index.keys))
        if other.is_plain and len(other.keys) > len(index.keys) and begins_so:
            return other
    return None


def _unused(
    ns: str, before: CollectionState | None, state: CollectionState, index: Index, *, seen: int
) -> Iterator[Advice]:
    if before is None or before is state or before.at_s > SEEN_AT_START_S:
        return
    if index.name == "_id_" or index.constrains or not index.is_plain:
        return
    uses = _uses(before, state)
    # The profiler may record slow ones only, and a scan uses no index.
    operations = max(seen, sum(uses.values()))
    if uses.get(index.name) != 0 or operations < MIN_OPERATIONS:
        return
    yield _of_index(
        "unused_index",
        ns,
        index,
        f"{index.name} on {collection_of(ns)} was not used in this run",
        f"In the run, there were {operations:,} operations or more on this collection, and none of them used "
        "this index. Something that did not run may need it: a report, a job at night.",
    )


def _uses(before: CollectionState, after: CollectionState) -> dict[str, int]:
    """Return how often each index was used in between, where that is known."""
    earlier = {index.name: index for index in before.indexes}
    found = {}
    for index in after.indexes:
        known = earlier.get(index.name)
        if known is None or known.uses is None or index.uses is None:
            continue
        # Counted anew since the server was started, or since the index was made.
        if known.since == index.since and known.keys == index.keys:
            found[index.name] = index.uses - known.uses
    return found


def _of_index(kind: AdviceKind, ns: str, index: Index, title: str, evidence: str) -> Advice:
    return Advice(
        kind=kind,
        severity="low",
        ns=ns,
        title=title,
        evidence=[evidence, "A hidden index is kept up but not used: unhideIndex brings it back at once."],
        phase="",
        command=f"{mongosh.collection(collection_of(ns))}.hideIndex({mongosh.text(index.name)})",
        operations=[],
    )


def growing_documents(before: States, after: States) -> Iterator[Advice]:
    """Yield collections whose average document became larger."""
    for ns, state in after.items():
        earlier = before.get(ns)
        if earlier is None or not earlier.documents or not state.documents:
            continue
        small, large = earlier.average_document_bytes, state.average_document_bytes
        if small is None or large is None or earlier.documents < MIN_DOCUMENTS:
            continue
        if large < GROWTH * small or large - small < MIN_GROWTH_BYTES:
            continue
        name = collection_of(ns)
        yield Advice(
            kind="growing_documents",
            severity="low",
            ns=ns,
            title=f"the documents of {name} grew in this run",
            evidence=[
                f"The average document had {small:,.0f} bytes before and {large:,.0f} after; there were "
                f"{earlier.documents:,} of them before and {state.documents:,} after. Lists that only grow "
                "make every read and write of their document slower."
            ],
            phase="",
            command=(
                f'{mongosh.collection(name)}.aggregate([{{$project: {{bytes: {{$bsonSize: "$$ROOT"}}}}}}, '
                "{$sort: {bytes: -1}}, {$limit: 10}])"
            ),
            operations=[],
        )
