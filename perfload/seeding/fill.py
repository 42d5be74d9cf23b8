"""Puts documents into a database, collection by collection, and makes the indexes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

from perfload.seeding.claim import Database
from perfload.seeding.documents import INDEXES, UNIQUE, Document

BATCH = 2_000

Progress = Callable[[str, int], None]
"""Told the collection and the number of its documents so far, once per batch."""


def fill(
    database: Database,
    documents: Mapping[str, Iterator[Document]],
    progress: Progress,
    *,
    without_index: frozenset[str] = frozenset(),
) -> None:
    """Insert `documents` (collection -> its documents), then make the `INDEXES` of these collections.

    `without_index` names those that are left out. An index made over what is there is cheaper than one that
    every insert keeps up.
    """
    for collection, source in documents.items():
        count = 0
        while batch := list(itertools.islice(source, BATCH)):
            database[collection].insert_many(batch, ordered=False)
            count += len(batch)
            progress(collection, count)
        for name, keys in INDEXES[collection].items():
            if name not in without_index:
                database[collection].create_index(list(keys), name=name, unique=name in UNIQUE)
