"""Where the target keeps what it knows: in memory, or in a MongoDB and a Redis that it was given."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfload.target.accounts import Accounts, Directory
from perfload.target.plants import Hook
from perfload.target.repository import InMemoryModelRepository, ModelRepository
from perfload.target.sessions import Sessions, SignedSessions
from perfload.target.tokens import TokenIssuer

if TYPE_CHECKING:
    from perfload.target.mongodb import MongoOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The servers that the target was given; the default is none."""

    mongodb: MongoOptions | None = None
    redis_url: str = ""
    rate_limit: int = 0
    """Requests a second of one session; 0 limits nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the API works on."""

    accounts: Directory
    models: ModelRepository
    sessions: Sessions
    slow_query: Hook | None = None
    hold_connection: Hook | None = None


def in_memory(accounts: Accounts, token_lifetime_s: float) -> Stores:
    """Return stores without any server."""
    issuer = TokenIssuer(secrets.token_bytes(32), token_lifetime_s)
    return Stores(accounts=accounts, models=InMemoryModelRepository(), sessions=SignedSessions(issuer))


@contextlib.contextmanager
def prepared(backends: Backends, accounts: Accounts) -> Iterator[str]:
    """Fill the MongoDB, if there is one, and yield the name of its database, else ""."""
    if backends.mongodb is None:
        yield ""
        return
    from perfload.target import mongodb

    with mongodb.prepared(backends.mongodb, accounts) as database:
        yield database


@contextlib.asynccontextmanager
async def opened(backends: Backends, stores: Stores, database: str) -> AsyncIterator[Stores]:
    """Yield `stores` with those in their place that live in a server."""
    async with contextlib.AsyncExitStack() as stack:
        if backends.mongodb is not None:
            from perfload.target import mongodb

            client = await stack.enter_async_context(mongodb.connected(backends.mongodb))
            models = mongodb.MongoModels(client[database])
            stores = replace(
                stores,
                accounts=mongodb.MongoUsers(client[database]),
                models=models,
                slow_query=models.read_slowly,
                hold_connection=mongodb.Held(client).hold,
            )
        if backends.redis_url:
            from perfload.target.redis_sessions import open_redis_sessions

            sessions = await stack.enter_async_context(
                open_redis_sessions(
                    backends.redis_url,
                    lifetime_s=stores.sessions.lifetime_s,
                    rate_limit=backends.rate_limit,
                )
            )
            stores = replace(stores, sessions=sessions)
        yield stores
