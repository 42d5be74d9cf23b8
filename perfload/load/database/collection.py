"""Pymongo's collections with names and times: every call is one request of the report.

A cursor of pymongo asks nothing before it is read, so that timing `find()` times nothing. Here what is found
is read to its end, as bytes that are counted before they are decoded, and returned as a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from perfload.load.database.recording import Answer, OperationRecorder

Document = dict[str, Any]
Filter = Mapping[str, Any]
Sort = Sequence[tuple[str, int]]


class TimedCollection:
    """One collection; `label` says which of its queries a call is: `models.find by owner`.

    Labels are fixed texts: one with an identifier in it makes a row of the report for each. Every call raises
    `StepFailed` when it has failed, which ends the task.
    """

    def __init__(self, collection: Any, recorder: OperationRecorder, new_id: Callable[[], str]) -> None:
        self.plain = collection
        """pymongo's own, whose calls nobody times or counts."""
        self._recorder = recorder
        self._new_id = new_id

    def find(
        self,
        label: str,
        query: Filter,
        *,
        projection: Any = None,
        sort: Sort | None = None,
        limit: int = 0,
        batch_size: int = 0,
    ) -> list[Document]:
        """Return all that `query` finds, at most `limit` (0: any number)."""

        def run() -> Answer[list[Document]]:
            batches = self.plain.find_raw_batches(
                query, projection, sort=sort, limit=limit, batch_size=batch_size
            )
            return self._read(batches)

        return self._recorder.run(self._name("find", label), run)

    def find_one(
        self, label: str, query: Filter, *, projection: Any = None, sort: Sort | None = None
    ) -> Document | None:
        """Return the first that `query` finds, or None."""

        def run() -> Answer[Document | None]:
            # A negative limit asks for one batch and leaves no cursor open.
            found = self._read(self.plain.find_raw_batches(query, projection, sort=sort, limit=-1))
            return Answer(found.value[0] if found.value else None, found.documents, found.size_bytes)

        return self._recorder.run(self._name("find", label), run)

    def aggregate(self, label: str, pipeline: Sequence[Filter], **options: Any) -> list[Document]:
        """Return all that `pipeline` comes to."""

        def run() -> Answer[list[Document]]:
            return self._read(self.plain.aggregate_raw_batches(list(pipeline), **options))

        return self._recorder.run(self._name("aggregate", label), run)

    def count(self, label: str, query: Filter) -> int:
        """Return how many documents `query` finds."""
        return self._recorder.run(
            self._name("count", label), lambda: Answer(int(self.plain.count_documents(query)), 0)
        )

    def insert_one(self, label: str, document: Filter) -> str:
        """Insert `document` and return its `_id`, by which it is deleted again when the run is over."""
        marked = {"_id": self._new_id(), **document}

        def run() -> Answer[str]:
            self.plain.insert_one(marked)
            return Answer(marked["_id"], 1)

        return self._recorder.run(self._name("insert", label), run)

    def insert_many(self, label: str, documents: Iterable[Filter], *, ordered: bool = True) -> list[str]:
        """Insert `documents` with one command and return their `_id`s."""
        marked = [{"_id": self._new_id(), **document} for document in documents]

        def run() -> Answer[list[str]]:
            self.plain.insert_many(marked, ordered=ordered)
            return Answer([document["_id"] for document in marked], len(marked))

        return self._recorder.run(self._name("insert", label), run)

    def update_one(self, label: str, query: Filter, update: Any, **options: Any) -> int:
        """Change the first that `query` finds; returns how many were found: 0 or 1."""
        return self._write("update", label, lambda: self.plain.update_one(query, update, **options))

    def update_many(self, label: str, query: Filter, update: Any, **options: Any) -> int:
        """Change all that `query` finds; returns how many were found."""
        return self._write("update", label, lambda: self.plain.update_many(query, update, **options))

    def delete_one(self, label: str, query: Filter) -> int:
        """Delete the first that `query` finds; returns how many were deleted: 0 or 1."""
        return self._write("delete", label, lambda: self.plain.delete_one(query))

    def delete_many(self, label: str, query: Filter) -> int:
        """Delete all that `query` finds; returns how many were deleted."""
        return self._write("delete", label, lambda: self.plain.delete_many(query))

    def _write(self, operation: str, label: str, write: Callable[[], Any]) -> int:
        def run() -> Answer[int]:
            result = write()
            count = result.deleted_count if operation == "delete" else result.matched_count
            return Answer(int(count), int(count))

        return self._recorder.run(self._name(operation, label), run)

    def _read(self, batches: Iterable[bytes]) -> Answer[list[Document]]:
        from bson import decode_all

        documents: list[Document] = []
        size_bytes = 0
        for batch in batches:
            size_bytes += len(batch)
            documents += decode_all(batch, self.plain.codec_options)
        return Answer(documents, len(documents), size_bytes)

    def _name(self, operation: str, label: str) -> str:
        return f"{self.plain.name}.{operation} {label}"
