"""Profilers that killed runs have left behind, put back from the notes on disk, as `perfload doctor` does."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfload.errors import PerfloadError
from perfload.monitors.mongodb import profile_note
from perfload.monitors.mongodb.connection import address_of, connect, explained, failures_explained
from perfload.monitors.mongodb.member import member_url
from perfload.monitors.mongodb.profile_lease import restore
from perfload.monitors.mongodb.profile_note import ProfilerNote

if TYPE_CHECKING:
    from pymongo import MongoClient


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one note."""

    server: str
    database: str
    is_done: bool
    text: str
    """What was done, or why nothing was."""


def recover(url: str, notes: Path, *, force: bool = False) -> list[Recovered]:
    """Put back every profiler of which there is a note, on the servers that `url` leads to.

    Those of a perfload that still runs, or that cannot be looked for from this machine, only with `force`.
    Raises `MonitorUnavailable` when there are notes and the server cannot be reached.
    """
    left = profile_note.read_all(notes)
    if not left:
        return []
    if not url:
        return [_left(note, "set MONGODB_URL to this server's address, and try again") for note in left]
    with contextlib.closing(connect(url)) as client:
        with failures_explained(address_of(url)):
            client.admin.command("ping")
        servers = _servers(client)
    return [_recover(note, url, servers, notes, force=force) for note in left]


def _servers(client: MongoClient[dict[str, Any]]) -> Sequence[str]:
    nodes = {*client.nodes, client.address} - {None}
    return [f"{node[0]}:{node[1]}" for node in nodes if node is not None]


def _recover(note: ProfilerNote, url: str, servers: Sequence[str], notes: Path, *, force: bool) -> Recovered:
    from pymongo.errors import PyMongoError

    owner = note.owner
    if not force and profile_note.is_alive(owner):
        here = owner.machine == profile_note.this_process().machine
        state = "still runs" if here else f"may still run on {owner.machine}"
        return _left(note, f"the perfload that set it (process {owner.pid}) {state}; if not so: --force")
    if note.server not in servers:
        known = ", ".join(sorted(servers))
        return _left(note, f"MONGODB_URL leads to {known}; set it to this server's address")
    try:
        with contextlib.closing(connect(member_url(url, note.server))) as client:
            done = restore(client[note.database], note, notes)
    except PyMongoError as error:
        return _left(note, explained(error, note.server).message)
    except PerfloadError as error:
        return _left(note, error.message)
    return Recovered(note.server, note.database, True, done)


def _left(note: ProfilerNote, reason: str) -> Recovered:
    return Recovered(note.server, note.database, False, reason)
