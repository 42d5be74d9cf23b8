"""Indexes that are missing: what would serve the queries that were seen, in the order equality, sort, range.

Equality first, since it narrows down to one stretch of the index; then the sort, whose order holds within
that stretch; the range last, since behind it no order holds any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from perfload.analysis.mongosh import Keys
from perfload.analysis.profiled import CollectionState, Index, ProfiledOperation, Sums

MIN_EXAMINED = 200
"""Documents that an operation reads on average. MongoDB reads so many in about the time that the rest of a
small query takes: with fewer, no index is felt, and each one makes every write dearer."""

MIN_EXAMINED_PER_RETURNED = 10
"""With an index that fits it is about 1. At ten, nine tenths of the work are in vain; between the two lie
conditions that no index can narrow down, and those that are cheaper to check than to index."""

MIN_OPERATIONS = 5
"""Fewer are somebody who looked something up, not the load."""

MAX_KEYS = 6
"""Of an index that is recommended: further ones hardly narrow anything down, and make it larger."""


@dataclass(frozen=True, slots=True)
class Query:
    """What an index has to serve."""

    equality: tuple[str, ...]
    sort: Keys = ()
    range: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether any index narrows it down, or gives it its order."""
        return bool(self.equality or self.sort or self.range)


@dataclass(slots=True)
class Want:
    """An index that is missing, and the operations that lack it."""

    ns: str
    keys: list[Keys]
    """One index; several for the branches of an `$or`."""
    operations: list[ProfiledOperation] = field(default_factory=list)


def serves(index: Index, query: Query) -> bool:
    """Say whether `index` narrows `query` down as far as a new one would, and gives it its order."""
    if not index.is_plain:
        return False
    wanted = set(query.equality)
    keys = list(index.keys)
    while keys and keys[0][0] in wanted:
        wanted.remove(keys.pop(0)[0])
    if wanted:
        return False
    # Fields that equal a value are in order whatever the sort says of them.
    sort = tuple((name, way) for name, way in query.sort if name not in query.equality)
    if sort:
        given = tuple(keys[: len(sort)])
        return given in (sort, reversed_order(sort))
    return not query.range or (bool(keys) and keys[0][0] in query.range)


def reversed_order(keys: Keys) -> Keys:
    """Return `keys` as an index is read from its other end."""
    return tuple((name, -way) for name, way in keys)


def index_for(query: Query, popularity: Mapping[str, int]) -> Keys:
    """Return the keys of the index that serves `query`.

    Of several fields that must equal a value, those come first that most other queries ask for too: the same
    index then serves them by its prefix.
    """
    equality = sorted(query.equality, key=lambda name: (-popularity.get(name, 0), name))
    keys = [(name, 1) for name in equality]
    keys += [(name, way) for name, way in query.sort if name not in equality]
    taken = {name for name, _ in keys}
    # A second range would only filter.
    keys += [(name, 1) for name in query.range if name not in taken][:1]
    return tuple(keys[:MAX_KEYS])


def missing(operations: Sequence[ProfiledOperation], states: Mapping[str, CollectionState]) -> Iterator[Want]:
    """Yield the indexes that are missing, those of the most expensive operations first."""
    lacking = [
        (operation, queries)
        for operation in operations
        if lacks_index(operation) and (queries := _queries(operation))
    ]
    popularity = _popularity(operations)
    wants: list[Want] = []
    # The longest first: it may serve the shorter ones by its prefix.
    for operation, queries in sorted(lacking, key=_length, reverse=True):
        unserved = _unserved(queries, states.get(operation.ns))
        made = []
        for query in unserved:
            want = _planned(wants, operation.ns, query)
            if want is None:
                made.append(index_for(query, popularity[operation.ns]))
            elif operation not in want.operations:
                want.operations.append(operation)
        if made:
            wants.append(Want(operation.ns, list(dict.fromkeys(made)), [operation]))
    wants += _missing_for_lookups(operations, states)
    yield from sorted(wants, key=_time_us, reverse=True)


def lacks_index(operation: ProfiledOperation) -> bool:
    """Say whether an operation reads much in vain, or sorts much that an index would give in order."""
    sums = operation.total
    if operation.op in ("getMore", "insert") or sums.count < MIN_OPERATIONS:
        return False
    if sums.examined < MIN_EXAMINED * sums.count:
        return False
    if operation.sort and 2 * sums.in_memory_sorts > sums.count:
        return True
    if operation.counts_matches:
        return sums.examined > MIN_EXAMINED_PER_RETURNED * sums.returned
    # What it returns says nothing of what it matched: a count, a group.
    return 2 * sums.collection_scans > sums.count


def _queries(operation: ProfiledOperation) -> list[Query]:
    """Return what indexes can do for an operation; nothing where one part of an `$or` could not use any."""
    whole = Query(operation.equality, operation.sort, operation.range)
    if whole.equality or whole.range or not operation.branches:
        return [whole] if whole.is_usable else []
    branches = [Query(equality, operation.sort, ranges) for equality, ranges in operation.branches]
    if all(branch.equality or branch.range for branch in branches):
        return branches
    return [whole] if whole.is_usable else []


def _unserved(queries: Iterable[Query], state: CollectionState | None) -> list[Query]:
    indexes = state.indexes if state is not None else ()
    return [query for query in queries if not any(serves(index, query) for index in indexes)]


def _planned(wants: Iterable[Want], ns: str, query: Query) -> Want | None:
    """Return what is wanted already and serves `query` as well."""
    for want in wants:
        planned = [
            Index("", keys, is_plain=True, constrains=False, uses=None, since="") for keys in want.keys
        ]
        if want.ns == ns and any(serves(index, query) for index in planned):
            return want
    return None


def _popularity(operations: Iterable[ProfiledOperation]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for operation in operations:
        found.setdefault(operation.ns, Counter()).update(operation.equality)
    return found


def _length(item: tuple[ProfiledOperation, list[Query]]) -> tuple[int, int]:
    operation, queries = item
    longest = max(len(query.equality) + len(query.sort) + len(query.range) for query in queries)
    return longest, operation.total.total_us


def _time_us(want: Want) -> int:
    return sum(operation.total.total_us for operation in want.operations)


def _missing_for_lookups(
    operations: Iterable[ProfiledOperation], states: Mapping[str, CollectionState]
) -> Iterator[Want]:
    """Yield indexes on the field by which a `$lookup` searches: without one it scans for every document."""
    found: dict[tuple[str, str], Want] = {}
    for operation in operations:
        if not operation.lookups or not _reads_much(operation.total):
            continue
        database = operation.ns.partition(".")[0]
        for collection, name in operation.lookups:
            ns = f"{database}.{collection}"
            state = states.get(ns)
            # Without a look at its indexes it may well have one, and be read much all the same.
            if state is None or not state.has_indexes or name == "_id":
                continue
            if state.documents is not None and state.documents < MIN_EXAMINED:
                continue
            if any(serves(index, Query((name,))) for index in state.indexes):
                continue
            want = found.setdefault((ns, name), Want(ns, [((name, 1),)]))
            want.operations.append(operation)
    yield from found.values()


def _reads_much(sums: Sums) -> bool:
    return sums.count >= MIN_OPERATIONS and sums.examined >= MIN_EXAMINED * sums.count
