"""Fill a MongoDB with the data set of locustfiles/mongodb_load.py, or empty it again.

The server is the one that MONGODB_URL names, in .env.performance or the environment; the database is that of
MONGODB_DATABASE or of the URL, else perfload_load. It has to be empty: whatever perfload did not make is
never touched. The same number and seed make the same documents: one in twenty a user, one in five a model,
the rest metrics, with an index for each query of the scenario.

    perfload seed --documents 100000            for the scenario
    perfload seed --documents 100000 --drop     another data set in the place of the one that is there
    perfload seed --drop                        delete it
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

from perfload.cli.output import show
from perfload.config import load_config
from perfload.errors import ExitCode, UsageError
from perfload.seeding import claim
from perfload.seeding.connection import MongoAddress, failures_explained, open_client
from perfload.seeding.documents import METRICS, MODELS, USERS, DataSet
from perfload.seeding.fill import fill

DEFAULT_DATABASE = "perfload_load"
APP_NAME = "perfload seed"
LEFT_OVER = {"_id": {"$gte": "run:", "$lt": "run;"}}
"""What scenarios inserted whose process was killed before it could delete it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload seed`."""
    parser.add_argument("--documents", type=int, metavar="N", help="how many documents to make")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="S", help="what they are drawn from (default: 1)"
    )
    parser.add_argument(
        "--drop", action="store_true", help="delete the data set that is there, first or only"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        metavar="HOST",
        help="a host that may be written to, besides loopback and [target] allow of perfload.toml",
    )


def run(arguments: argparse.Namespace) -> int:
    """Fill or empty the database; returns the exit code."""
    if arguments.documents is None and not arguments.drop:
        raise UsageError("how many documents?", hint="for example perfload seed --documents 100000")
    data = None if arguments.documents is None else DataSet(arguments.documents, arguments.seed)
    flags = {"target.allow": arguments.allow_host}
    config = load_config(directory=Path.cwd(), environ=os.environ, flags=flags)
    url = config.settings.get("MONGODB_URL", "")
    address = MongoAddress(url)
    address.check(config.host_rules)
    name = config.settings.get("MONGODB_DATABASE") or os.environ.get("MONGODB_DATABASE", "")
    with failures_explained(address), open_client(url, address, app_name=APP_NAME) as client:
        database = client[name or address.database or DEFAULT_DATABASE]
        found = claim.read_claim(database)
        if arguments.drop and found is not None:
            _drop(database, found, address)
            found = None
        elif arguments.drop and data is None:
            show(f"The database {database.name} at {address} holds no data set of perfload.")
        if data is not None:
            _seed(database, data, found, address)
    return int(ExitCode.PASSED)


def _drop(database: Any, found: claim.Claim, address: MongoAddress) -> None:
    if found.made_by != "seed":
        raise UsageError(
            f"the database {database.name} is used by perfload {found.made_by}",
            hint="it deletes its data itself when it stops",
        )
    claim.clear(database, found)
    show(f"Deleted the data set of {found.documents:,} documents from {database.name} at {address}.")


def _seed(database: Any, data: DataSet, found: claim.Claim | None, address: MongoAddress) -> None:
    claim.refuse_strangers(database, found)
    if found is not None:
        _check_same(database, data, found)
        left = sum(database[name].delete_many(LEFT_OVER).deleted_count for name in found.collections)
        note = f"; deleted {left:,} documents that killed runs left behind" if left else ""
        show(f"{database.name} at {address} holds these {data.documents:,} documents already{note}.")
        return
    own = claim.Claim(
        made_by="seed",
        collections=(USERS, MODELS, METRICS),
        documents=data.documents,
        seed=data.seed,
        host=socket.gethostname(),
        pid=os.getpid(),
        token=secrets.token_hex(8),
    )
    claim.stake(database, own)
    progress = _Progress(data)
    try:
        fill(database, data.collections(), progress)
    except BaseException:
        progress.end()
        claim.clear(database, own)
        raise
    claim.complete(database)
    progress.end()
    counts = f"{data.users:,} users, {data.models:,} models, {data.metrics:,} metrics"
    show(f"Put {data.documents:,} documents into {database.name} at {address}: {counts}.")


def _check_same(database: Any, data: DataSet, found: claim.Claim) -> None:
    """Raise `UsageError` unless what is there is what is asked for."""
    if found.made_by != "seed":
        raise UsageError(
            f"the database {database.name} is used by perfload {found.made_by}",
            hint=f"name another one in MONGODB_DATABASE, such as {DEFAULT_DATABASE}",
        )
    if not found.complete:
        raise UsageError(
            f"the data set in {database.name} is not complete: it is being put in, or that was broken off",
            hint="add --drop to begin anew",
        )
    if (found.documents, found.seed) != (data.documents, data.seed):
        raise UsageError(
            f"{database.name} holds {found.documents:,} documents of seed {found.seed}",
            hint="add --drop to have others in their place",
        )


class _Progress:
    """A line on a terminal that says how far it is; nothing where nobody looks."""

    def __init__(self, data: DataSet) -> None:
        self._total = data.documents
        self._done: dict[str, int] = {}
        self._is_shown = sys.stderr.isatty()

    def __call__(self, collection: str, count: int) -> None:
        self._done[collection] = count
        done = sum(self._done.values())
        self._write(f"\r{done:,} of {self._total:,} documents ({100 * done // self._total} %)")

    def end(self) -> None:
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if self._is_shown:
            sys.stderr.write(text)
            sys.stderr.flush()
