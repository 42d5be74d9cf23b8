"""Whose data a database holds. perfload writes a claim before anything else, and deletes only what it claims.

The claim is one document in a collection of its own, so what a killed process left behind can be told from
what belongs to somebody else. `database` is a pymongo `Database`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perfload.errors import UsageError

CLAIM_COLLECTION = "perfload_claim"
_ID = "claim"
_MAX_SHOWN = 5
_MAX_NAME_CHARS = 60

Database = Any
"""`pymongo.database.Database`, which is an optional package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What perfload has made in a database."""

    made_by: str
    """`seed` or `target`."""
    collections: tuple[str, ...]
    documents: int
    seed: int
    host: str
    """Name of the machine that made it, and there `pid`."""
    pid: int
    token: str
    """Drawn anew for each claim."""
    complete: bool = False
    """Whether everything was put in."""

    def as_document(self) -> dict[str, Any]:
        """Return the claim as it is stored."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {"_id": _ID, **fields, "collections": list(self.collections)}


def read_claim(database: Database) -> Claim | None:
    """Return the claim on `database`, or None; raises `UsageError` for one that cannot be read."""
    found = database[CLAIM_COLLECTION].find_one({"_id": _ID})
    if found is None:
        return None
    try:
        return Claim(
            made_by=str(found["made_by"]),
            collections=tuple(str(name) for name in found["collections"]),
            documents=int(found["documents"]),
            seed=int(found["seed"]),
            host=str(found["host"]),
            pid=int(found["pid"]),
            token=str(found["token"]),
            complete=found["complete"] is True,
        )
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{CLAIM_COLLECTION} in {database.name} is not as perfload writes it",
            hint="nothing there is touched; name another database in MONGODB_URL",
        ) from None


def refuse_strangers(database: Database, claim: Claim | None) -> None:
    """Raise `UsageError` when `database` holds a collection that `claim` does not name."""
    own = {CLAIM_COLLECTION, *(claim.collections if claim else ())}
    names = (name for name in database.list_collection_names() if not name.startswith("system."))
    foreign = sorted(name for name in names if name not in own)
    if foreign:
        raise UsageError(
            f"the database {database.name} holds collections that perfload did not make: {_listed(foreign)}",
            hint="name a database of its own, such as mongodb://localhost:27017/perfload_load",
        )


def stake(database: Database, claim: Claim) -> None:
    """Write `claim`; raises `UsageError` when somebody else did so at the same moment."""
    from pymongo.errors import DuplicateKeyError

    try:
        database[CLAIM_COLLECTION].insert_one(claim.as_document())
    except DuplicateKeyError:
        raise UsageError(
            f"another perfload is filling the database {database.name}", hint="wait, or name another one"
        ) from None


def complete(database: Database) -> None:
    """Note that everything the claim names has been put in."""
    database[CLAIM_COLLECTION].update_one({"_id": _ID}, {"$set": {"complete": True}})


def clear(database: Database, claim: Claim) -> bool:
    """Delete what `claim` names, if it is still the claim on `database`; returns whether it was.

    The claim goes last: whatever interrupts this, the rest can be deleted later.
    """
    found = read_claim(database)
    if found is None or found.token != claim.token:
        return False
    for name in claim.collections:
        database.drop_collection(name)
    database.drop_collection(CLAIM_COLLECTION)
    return True


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:_MAX_NAME_CHARS] for name in names[:_MAX_SHOWN])
    more = len(names) - _MAX_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
