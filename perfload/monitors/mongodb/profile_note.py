"""A note on disk of how a profiler was found, written before it is changed: a killed run cannot put it back.

One file per server and database, below `$XDG_STATE_HOME/perfload/` or `~/.local/state/perfload/`, for its
owner's eyes only. It holds settings of the profiler and names the process that changed them; no password.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from perfload.errors import PerfloadError
from perfload.monitors.mongodb.profile_level import ProfilerSettings

FOLDER = Path("perfload") / "mongodb-profiler"

MAX_NOTE_BYTES = 1 << 20

START_TOLERANCE_S = 2.0
"""A process's start is derived from the boot time, which moves when the clock is set."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that changed a profiler."""

    machine: str
    pid: int
    started_at_s: float


@dataclass(frozen=True, slots=True)
class ProfilerNote:
    """How the profiler of one database was found, and what was then changed."""

    server: str
    """host:port"""
    database: str
    found: ProfilerSettings
    changed: Mapping[str, Any]
    """The command that was sent."""
    made_collection: bool
    """Whether there was no `system.profile`."""
    owner: Owner
    ours: ProfilerSettings | None = None
    """The settings after the change, as the server has them; None until it has confirmed them."""


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where notes are kept."""
    home = environment.get("XDG_STATE_HOME", "")
    # A relative one is to be ignored: https://specifications.freedesktop.org/basedir-spec/
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    return base / FOLDER


def this_process() -> Owner:
    """Return the process that asks."""
    return Owner(os.uname().nodename, os.getpid(), psutil.Process().create_time())


def is_alive(owner: Owner) -> bool:
    """Say whether `owner` still runs; True also when that cannot be told from this machine."""
    if owner.machine != os.uname().nodename:
        return True
    try:
        started_at_s = psutil.Process(owner.pid).create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
    return bool(abs(started_at_s - owner.started_at_s) <= START_TOLERANCE_S)


def claim(folder: Path, note: ProfilerNote) -> bool:
    """Write `note`; False if there is one of its server and database already. Raises `PerfloadError`."""
    path = _path(folder, note)
    draft = _write_draft(path, note)
    try:
        # Unlike a rename, a link never replaces the note of somebody who was quicker.
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return True


def confirm(folder: Path, note: ProfilerNote, ours: ProfilerSettings) -> ProfilerNote:
    """Add to one's own note what the server made of the change."""
    confirmed = replace(note, ours=ours)
    path = _path(folder, note)
    _write_draft(path, confirmed).replace(path)
    return confirmed


def remove(folder: Path, note: ProfilerNote) -> None:
    """Remove the note: nothing is left to be put back."""
    _path(folder, note).unlink(missing_ok=True)


def read(folder: Path, server: str, database: str) -> ProfilerNote | None:
    """Return the note of one database, if there is one that can be read."""
    return _read(folder / _name(server, database))


def read_all(folder: Path) -> list[ProfilerNote]:
    """Return every note."""
    notes = [_read(path) for path in sorted(folder.glob("*.json"))]
    return [note for note in notes if note is not None]


def _path(folder: Path, note: ProfilerNote) -> Path:
    return folder / _name(note.server, note.database)


def _name(server: str, database: str) -> str:
    # Names of databases may hold what those of files must not.
    return hashlib.sha256(f"{server}\n{database}".encode()).hexdigest()[:32] + ".json"


def _write_draft(path: Path, note: ProfilerNote) -> Path:
    from bson import json_util

    text = json_util.dumps(asdict(note))
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _cannot_write(path.parent, error) from error
    return draft


def _cannot_write(folder: Path, error: OSError) -> PerfloadError:
    return PerfloadError(
        f"the profiler is left as it is: how it was found cannot be noted in {folder}: {error.strerror}",
        hint="make that folder writable, or set XDG_STATE_HOME to one that is",
    )


def _read(path: Path) -> ProfilerNote | None:
    from bson import json_util
    from bson.errors import BSONError

    try:
        with path.open(encoding="utf-8") as file:
            values = json_util.loads(file.read(MAX_NOTE_BYTES))
        ours = values.pop("ours")
        return ProfilerNote(
            **values
            | {"found": ProfilerSettings(**values["found"]), "owner": Owner(**values["owner"])}
            | {"ours": ProfilerSettings(**ours) if ours else None}
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, BSONError):
        return None
