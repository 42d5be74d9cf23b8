"""Users, models and metrics in a MongoDB, read the way a back end would; see docs/target.md.

What is read often is served by an index and limited: `perfload.seeding.documents.INDEXES`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psutil

from perfload.errors import UsageError
from perfload.seeding import claim
from perfload.seeding.connection import MongoAddress, failures_explained, make_client, open_client
from perfload.seeding.documents import (
    FIRST_DAY,
    LIVE,
    METRICS,
    MODELS,
    TRIAL,
    USERS,
    DataSet,
    Document,
    email_of,
)
from perfload.seeding.fill import fill
from perfload.target.accounts import Account, Accounts, Role
from perfload.target.plants import CONNECTION_HELD_S
from perfload.target.repository import BUILT_IN_MODELS, AiModel, DuplicateModel, StoreUnavailable

DEFAULT_DATABASE = "perfload_target"
APP_NAME = "perfload target"
DEFAULT_DOCUMENTS = 50_000
LISTED_MODELS = 20
RECENT_METRICS = 500

_OWNED_BY_ACCOUNTS = 10
"""Of so many owners in the data set one is an account, so that an account's lists are full."""
_SLOW_ROUNDS = 40
_FIELDS = {"_id": False, **dict.fromkeys(AiModel.__slots__, True)}


@dataclass(frozen=True, slots=True)
class MongoOptions:
    """Which MongoDB the target uses, and how."""

    url: str
    pool: int | None
    """The most connections at a time; None: what `url` says, else 100."""
    documents: int
    seed: int
    without_index: frozenset[str] = frozenset()


@contextlib.contextmanager
def prepared(options: MongoOptions, accounts: Accounts) -> Iterator[str]:
    """Fill the database of `options.url` and yield its name; what was made is deleted at the end.

    Raises `UsageError` when it holds anything that perfload did not make, or another target uses it.
    """
    address = MongoAddress(options.url)
    with failures_explained(address), open_client(options.url, address, app_name=APP_NAME) as client:
        database = client[address.database or DEFAULT_DATABASE]
        own = _take(database, options)
        try:
            data = _documents(DataSet(options.documents, options.seed), accounts)
            fill(database, data, lambda _name, _count: None, without_index=options.without_index)
            claim.complete(database)
            yield database.name
        finally:
            claim.clear(database, own)


def _take(database: Any, options: MongoOptions) -> claim.Claim:
    found = claim.read_claim(database)
    claim.refuse_strangers(database, found)
    if found is not None:
        _refuse_used(database.name, found)
        claim.clear(database, found)
    own = claim.Claim(
        made_by="target",
        collections=(USERS, MODELS, METRICS),
        documents=options.documents,
        seed=options.seed,
        host=socket.gethostname(),
        pid=os.getpid(),
        token=secrets.token_hex(8),
    )
    claim.stake(database, own)
    return own


def _refuse_used(name: str, found: claim.Claim) -> None:
    """Raise `UsageError` unless `found` is what a target left behind that was killed on this machine."""
    if found.made_by != "target":
        raise UsageError(
            f"the database {name} holds the data set of perfload {found.made_by}",
            hint=f"name another one in MONGODB_URL, such as {DEFAULT_DATABASE}",
        )
    is_here = found.host == socket.gethostname()
    if not is_here or psutil.pid_exists(found.pid):
        raise UsageError(
            f"another target (process {found.pid} on {found.host[:60]}) uses the database {name}",
            hint="give each its own; if that one is gone for good, drop the database",
        )


def _documents(data: DataSet, accounts: Accounts) -> dict[str, Iterator[Document]]:
    """Return the data set with `accounts` among the users, as owners, and the models that are built in."""
    collections = data.collections()
    addresses = [account.email.casefold() for account in accounts]
    owners = {
        email_of(number): addresses[number // _OWNED_BY_ACCOUNTS % len(addresses)]
        for number in range(0, data.users, _OWNED_BY_ACCOUNTS)
    }

    def users() -> Iterator[Document]:
        yield from map(_user_document, accounts)
        yield from collections[USERS]

    def models() -> Iterator[Document]:
        for model in BUILT_IN_MODELS:
            yield _model_document(model, addresses[0], FIRST_DAY)
        for document in collections[MODELS]:
            yield document | {"owner": owners.get(document["owner"], document["owner"])}

    def metrics() -> Iterator[Document]:
        for document in collections[METRICS]:
            yield document | {"owner": owners.get(document["owner"], document["owner"])}

    return {USERS: users(), MODELS: models(), METRICS: metrics()}


def _user_document(account: Account) -> Document:
    key = account.email.casefold()
    return {
        "email": key,
        "address": account.email,
        "role": account.role,
        "password_hash": _hash(key, account.password),
        "created_at": FIRST_DAY,
    }


def _model_document(model: AiModel, owner: str, created_at: datetime) -> Document:
    return {**model.as_json(), "owner": owner, "status": LIVE, "created_at": created_at}


def _hash(email: str, password: str) -> str:
    # A quick one: real ones burn processor on purpose, and these accounts protect nothing.
    return hashlib.sha256(f"{email}\0{password}".encode()).hexdigest()


class MongoUsers:
    """A `Directory` in the collection `users`."""

    def __init__(self, database: Any) -> None:
        self._users = database[USERS]

    async def log_in(self, email: str, password: str) -> Account | None:
        """See `Directory.log_in`."""
        found = await self._find(email)
        expected = str(found.get("password_hash", "")) if found else ""
        is_right = hmac.compare_digest(expected, _hash(email.casefold(), password))
        return _account(found) if found and is_right else None

    async def find(self, email: str) -> Account | None:
        """See `Directory.find`."""
        found = await self._find(email)
        return _account(found) if found else None

    async def _find(self, email: str) -> Document | None:
        with _answers():
            found: Document | None = await self._users.find_one({"email": email.casefold()})
            return found


def _account(found: Document) -> Account:
    role: Role = "admin" if found["role"] == "admin" else "user"
    return Account(str(found.get("address", found["email"])), "", role)


class MongoModels:
    """A `ModelRepository` in the collections `models` and `metrics`; an owner is offered their own models."""

    def __init__(self, database: Any) -> None:
        self._models = database[MODELS]
        self._metrics = database[METRICS]

    async def available(self, owner: str) -> list[AiModel]:
        """See `ModelRepository.available`; the newest first."""
        query = {"owner": owner.casefold(), "status": {"$gte": TRIAL}}
        with _answers():
            cursor = self._models.find(query, _FIELDS).sort("created_at", -1).limit(LISTED_MODELS)
            return [AiModel(**found) for found in await cursor.to_list()]

    async def get(self, model_id: str) -> AiModel | None:
        """See `ModelRepository.get`."""
        with _answers():
            found = await self._models.find_one({"model_id": model_id}, _FIELDS)
        return AiModel(**found) if found else None

    async def add(self, model: AiModel, owner: str) -> None:
        """See `ModelRepository.add`."""
        from pymongo.errors import DuplicateKeyError

        document = _model_document(model, owner.casefold(), datetime.now(UTC))
        with _answers():
            try:
                await self._models.insert_one(document)
            except DuplicateKeyError:
                raise DuplicateModel(model.model_id) from None

    async def remove(self, model_id: str) -> bool:
        """See `ModelRepository.remove`."""
        with _answers():
            result = await self._models.delete_one({"model_id": model_id})
        return bool(result.deleted_count)

    async def record_test(self, model_id: str, owner: str) -> None:
        """See `ModelRepository.record_test`."""
        document = {
            "owner": owner.casefold(),
            "model_id": model_id,
            "created_at": datetime.now(UTC),
            "kind": "connection_test",
            "latency_ms": 0.0,
            "tokens": 0,
            "ok": True,
        }
        with _answers():
            await self._metrics.insert_one(document)

    async def metrics(self, owner: str) -> list[dict[str, object]]:
        """See `ModelRepository.metrics`; of the owner's newest `RECENT_METRICS`."""
        is_test = {"$eq": ["$kind", "connection_test"]}
        pipeline: list[dict[str, Any]] = [
            {"$match": {"owner": owner.casefold()}},
            {"$sort": {"created_at": -1}},
            {"$limit": RECENT_METRICS},
            {
                "$group": {
                    "_id": "$model_id",
                    "calls": {"$sum": 1},
                    "connection_tests": {"$sum": {"$cond": [is_test, 1, 0]}},
                    "mean_latency_ms": {"$avg": "$latency_ms"},
                }
            },
        ]
        with _answers():
            found_rows = await (await self._metrics.aggregate(pipeline)).to_list()
            # Here and not in the server, where it would be a sort without an index, however small.
            found_rows.sort(key=lambda row: (-row["connection_tests"], -row["calls"], row["_id"]))
            rows = found_rows[:LISTED_MODELS]
            wanted = {"model_id": {"$in": [row["_id"] for row in rows]}}
            models = await self._models.find(wanted, _FIELDS).limit(LISTED_MODELS).to_list()
        scores = {found["model_id"]: found for found in models}
        return [{**scores.get(row["_id"], {}), "model_id": row.pop("_id"), **row} for row in rows]

    async def read_slowly(self) -> None:
        """Read every metric, compute with each, and return none: what the fault `slow-query` plants."""
        work = {"$sum": {"$map": {"input": {"$range": [0, _SLOW_ROUNDS]}, "in": {"$sqrt": "$$this"}}}}
        query = {"remark": {"$ne": ""}, "$expr": {"$lt": [work, 0]}}
        with _answers():
            await self._metrics.find(query).limit(LISTED_MODELS).to_list()


class Held:
    """Keeps a connection of the pool busy, as a long way to the server would: what `small-pool` plants."""

    def __init__(self, client: Any) -> None:
        self._admin = client.admin
        self._version: Any = None

    async def hold(self) -> None:
        """Occupy one connection for `CONNECTION_HELD_S`; the server waits too and has nothing to do."""
        with _answers():
            if self._version is None:
                self._version = (await self._admin.command("hello"))["topologyVersion"]
            await self._admin.command(
                "hello", topologyVersion=self._version, maxAwaitTimeMS=round(1000 * CONNECTION_HELD_S)
            )


@contextlib.asynccontextmanager
async def connected(options: MongoOptions) -> AsyncIterator[Any]:
    """Yield the asynchronous client that requests share, with its bounded pool."""
    from pymongo import AsyncMongoClient

    client = make_client(
        AsyncMongoClient,
        options.url,
        MongoAddress(options.url),
        app_name=APP_NAME,
        socketTimeoutMS=30_000,
        waitQueueTimeoutMS=30_000,
        forced={} if options.pool is None else {"maxPoolSize": options.pool},
    )
    try:
        yield client
    finally:
        await client.close()


@contextlib.contextmanager
def _answers() -> Iterator[None]:
    from pymongo.errors import PyMongoError

    try:
        yield
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB: {type(error).__name__}") from error
