"""Which servers are there to be used, and may be: looked at before anything is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from perfload.errors import TargetUnreachable, UsageError
from perfload.hosts import HostRules
from perfload.seeding.claim import read_claim, refuse_strangers
from perfload.seeding.connection import MongoAddress, check_node, failures_explained, open_client

ANSWER_WITHIN_MS = 500
APP_NAME = "perfload demo"

_DATABASE_PART = re.compile(r"(?P<before>mongodb(?:\+srv)?://[^/?]*)(?:/[^?]*)?(?P<options>\?.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers; `what` says in words what would be kept where, without secrets."""

    url: str
    what: str


def mongodb(url: str, rules: HostRules, database: str) -> Server:
    """Return the MongoDB at `url`, with `database` in the place of the one that `url` names.

    Raises `UsageError` when the client is not installed, load may not go there, nobody answers, or the
    database holds anything that perfload did not make.
    """
    address = MongoAddress(url)
    address.check(rules)
    wait = {"serverSelectionTimeoutMS": ANSWER_WITHIN_MS, "connectTimeoutMS": ANSWER_WITHIN_MS}
    with failures_explained(address), open_client(url, address, app_name=APP_NAME, forced=wait) as client:
        client.admin.command("hello")
        for host, port in client.nodes:
            check_node(host, port, rules)
        refuse_strangers(client[database], read_claim(client[database]))
    return Server(
        in_database(url, address, database), f"its data in the MongoDB at {address}, database {database}"
    )


def in_database(url: str, address: MongoAddress, database: str) -> str:
    """Return `url` with `database` as its database; who logs in is looked up where it was before."""
    match = _DATABASE_PART.fullmatch(url)
    if match is None:
        raise UsageError("MONGODB_URL is no valid address of a MongoDB", hint="mongodb://localhost:27017")
    options = match["options"] or ""
    if address.database and "authsource" not in address.options and address.has_password:
        options += f"{'&' if options else '?'}authSource={address.database}"
    return f"{match['before']}/{database}{options}"


def redis(url: str, rules: HostRules) -> Server:
    """Return the Redis at `url`; raises `UsageError` as `mongodb` does."""
    try:
        import redis as client_library
    except ImportError:
        raise UsageError("the Redis client is not installed", hint="pip install 'perfload[redis]'") from None
    parts = urlsplit(url)
    check_node(parts.hostname or "localhost", _port_of(url), rules)
    answer_within_s = ANSWER_WITHIN_MS / 1000
    try:
        client = client_library.Redis.from_url(
            url, socket_timeout=answer_within_s, socket_connect_timeout=answer_within_s
        )
        with client:
            client.ping()
    except ValueError:
        raise UsageError("REDIS_URL is no address of a Redis", hint="redis://localhost:6379/0") from None
    except (client_library.RedisError, OSError) as error:
        raise TargetUnreachable(f"Redis does not answer: {type(error).__name__}") from error
    return Server(
        url, f"its sessions in the Redis at {parts.hostname or 'this machine'}, below perfload_target:"
    )


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        raise UsageError("REDIS_URL is no address of a Redis", hint="redis://localhost:6379/0") from None
