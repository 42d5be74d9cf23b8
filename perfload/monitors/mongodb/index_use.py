"""The indexes of a collection, how often each was used, and how large the documents are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perfload.monitors.mongodb.connection import reason_in
from perfload.monitors.mongodb.shapes import MAX_NAME_CHARS, cut

if TYPE_CHECKING:
    from pymongo.database import Database

MAX_INDEXES = 64
"""MongoDB allows as many on a collection."""

MAX_COLLECTIONS = 50
"""Of one database, in the order of names."""

MAX_KEYS = 32

PREFIXES_OF_OWN = ("system.",)


def collections_of(database: Database[dict[str, Any]]) -> list[str]:
    """Return the collections whose indexes are watched. Raises pymongo's errors."""
    names = database.list_collection_names(filter={"type": "collection"})
    return sorted(name for name in names if not name.startswith(PREFIXES_OF_OWN))[:MAX_COLLECTIONS]


def collection_state(database: Database[dict[str, Any]], name: str, *, when: str) -> dict[str, Any]:
    """Return the data of an `indexes` finding; what the server refuses is named in it, under `refused`."""
    from pymongo.errors import OperationFailure

    collection = database[name]
    refused: list[str] = []
    uses: dict[str, Mapping[str, Any]] = {}
    definitions: list[Mapping[str, Any]] = []
    try:
        definitions = list(collection.list_indexes())
    except OperationFailure as error:
        refused.append(f"listing the indexes needs read on {database.name}: {reason_in(error)}")
    try:
        for use in collection.aggregate([{"$indexStats": {}}]):
            uses[str(use.get("name"))] = use.get("accesses") or {}
    except OperationFailure as error:
        refused.append(
            f"the use of indexes needs clusterMonitor (action indexStats on {database.name}): "
            f"{reason_in(error)}"
        )
    data: dict[str, Any] = {"ns": cut(f"{database.name}.{name}", 255), "when": when}
    data["indexes"] = [
        _index(definition, uses.get(str(definition.get("name")))) for definition in definitions[:MAX_INDEXES]
    ]
    try:
        storage = next(iter(collection.aggregate([{"$collStats": {"storageStats": {}}}])), {})
        data |= _sizes(storage.get("storageStats") or {})
    except OperationFailure as error:
        refused.append(f"sizes need read on {database.name} (action collStats): {reason_in(error)}")
    return data | {"refused": refused}


def _index(definition: Mapping[str, Any], use: Mapping[str, Any] | None) -> dict[str, Any]:
    keys = definition.get("key") or {}
    since = use.get("since") if use else None
    return {
        "name": cut(str(definition.get("name", "")), 130),
        "keys": [
            [cut(str(field), MAX_NAME_CHARS), _direction(direction)]
            for field, direction in list(keys.items())[:MAX_KEYS]
        ],
        "unique": bool(definition.get("unique")),
        "ttl": "expireAfterSeconds" in definition,
        "sparse": bool(definition.get("sparse")),
        "partial": "partialFilterExpression" in definition,
        "hidden": bool(definition.get("hidden")),
        "collation": "collation" in definition,
        "uses": int(use["ops"]) if use and isinstance(use.get("ops"), int) else None,
        "since": since.isoformat() if since is not None and hasattr(since, "isoformat") else "",
    }


def _direction(direction: object) -> int | str:
    """Return 1 or -1, or the kind of index: `text`, `2dsphere`, `hashed`."""
    if isinstance(direction, (int, float)) and not isinstance(direction, bool):
        return 1 if direction > 0 else -1
    return cut(str(direction), 20)


def _sizes(storage: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {
        "documents": "count",
        "size_bytes": "size",
        "average_document_bytes": "avgObjSize",
        "index_bytes": "totalIndexSize",
    }
    found = {name: storage.get(source) for name, source in wanted.items()}
    return {name: value for name, value in found.items() if isinstance(value, (int, float))}
