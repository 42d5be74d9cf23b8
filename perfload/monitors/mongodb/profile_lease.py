"""The profiler of one database, borrowed for a run: noted as found, set, and put back."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfload.errors import PerfloadError
from perfload.monitors.mongodb import profile_note
from perfload.monitors.mongodb.connection import UNAUTHORIZED, reason_in
from perfload.monitors.mongodb.profile_level import (
    COLLECTION,
    COLLECTION_BYTES,
    Mode,
    ProfilerSettings,
    is_ours,
    looks_like_perfload,
    profiling_command,
    read_settings,
    restoring_command,
)
from perfload.monitors.mongodb.profile_note import ProfilerNote

if TYPE_CHECKING:
    from pymongo.database import Database


class ProfilerLease:
    """What a run changes of one database's profiler. Raises pymongo's errors where nothing else is said."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        *,
        server: str,
        server_version: tuple[int, ...],
        notes: Path,
    ) -> None:
        self._database = database
        self._server = server
        self._server_version = server_version
        self._notes = notes
        self._note: ProfilerNote | None = None
        self.found: ProfilerSettings | None = None
        """As they were before."""
        self.cleared_up = ""
        """What was put back of an earlier run that could not do it, in words."""

    @property
    def is_held(self) -> bool:
        """Whether something has to be put back."""
        return self._note is not None

    def take(self, mode: Mode, slow_ms: float) -> str:
        """Note how the profiler is set, and set it; return why that was not done, in words, or ""."""
        from pymongo.errors import OperationFailure

        try:
            return self._take(mode, slow_ms)
        except OperationFailure as error:
            return _refusal(error, self._database.name)
        except PerfloadError as error:
            return f"{error.message}; {error.hint}"

    def _take(self, mode: Mode, slow_ms: float) -> str:
        left = profile_note.read(self._notes, self._server, self._database.name)
        if left is not None:
            if left.owner != profile_note.this_process() and profile_note.is_alive(left.owner):
                return _belongs_to(left)
            self.cleared_up = restore(self._database, left, self._notes)
        self.found = self._found()
        if looks_like_perfload(self.found):
            return (
                "the profiler is as a perfload on another machine sets it, so it is left as it is; if none "
                'runs: db.setProfilingLevel(0, {filter: "unset"})'
            )
        note = ProfilerNote(
            server=self._server,
            database=self._database.name,
            found=self.found,
            changed=profiling_command(mode, slow_ms, server_version=self._server_version),
            made_collection=self.found.level == 0 and not self._has_collection(),
            owner=profile_note.this_process(),
        )
        if not profile_note.claim(self._notes, note):
            return "there is a note of another perfload on this profiler, so it is left as it is"
        self._note = note
        self._change(note)
        return ""

    def _found(self) -> ProfilerSettings:
        """Return the settings as they were before this run changed any."""
        found = read_settings(self._database)
        for note in profile_note.read_all(self._notes):
            is_ours = note.server == self._server and note.owner == profile_note.this_process()
            if is_ours and "slowms" in note.changed:
                # Of another database: these two hold for the whole server.
                return replace(found, slow_ms=note.found.slow_ms, sample_rate=note.found.sample_rate)
        return found

    def _change(self, note: ProfilerNote) -> None:
        from pymongo.errors import OperationFailure

        try:
            if note.made_collection:
                # Without the right to make one, MongoDB makes its own, which is smaller.
                with contextlib.suppress(OperationFailure):
                    self._database.create_collection(COLLECTION, capped=True, size=COLLECTION_BYTES)
            self._database.command(dict(note.changed))
            self._note = profile_note.confirm(self._notes, note, read_settings(self._database))
        except OperationFailure:
            with contextlib.suppress(OperationFailure):
                self.give_back()
            if self._note is not None:
                # Refused: there is nothing to put back.
                profile_note.remove(self._notes, self._note)
                self._note = None
            raise

    def _has_collection(self) -> bool:
        return COLLECTION in self._database.list_collection_names(filter={"name": COLLECTION})

    def give_back(self) -> str:
        """Put back what was changed; return in words what was done, "" if there was nothing to do."""
        if self._note is None:
            return ""
        done = restore(self._database, self._note, self._notes)
        self._note = None
        return done


def restore(database: Database[dict[str, Any]], note: ProfilerNote, notes: Path) -> str:
    """Undo what `note` says was changed and remove it; return in words what was done.

    Settings that somebody has changed since, or that a restart of the server has reset, are left alone.
    Raises pymongo's errors, and then keeps the note.
    """
    now = read_settings(database)
    if note.ours is not None and not is_ours(now, note.ours, note.changed):
        done = f"left at level {now.level}, which is not what perfload had set: changed since, or a restart"
    else:
        database.command(restoring_command(note.found, note.changed))
        done = f"put back to level {note.found.level}"
        now = read_settings(database)
    if note.made_collection and now.level == 0:
        database.drop_collection(COLLECTION)
        done += f", {COLLECTION} removed"
    profile_note.remove(notes, note)
    return done


def _belongs_to(note: ProfilerNote) -> str:
    owner = note.owner
    where = "" if owner.machine == profile_note.this_process().machine else f" on {owner.machine}"
    return (
        f"another perfload (process {owner.pid}{where}) has set this profiler, so it is left as it is; if "
        "none runs there: perfload doctor --force"
    )


def _refusal(error: Exception, database: str) -> str:
    if getattr(error, "code", None) == UNAUTHORIZED:
        return f"setting the profiler needs the role dbAdmin on {database} (action enableProfiler)"
    return f"the server refuses to set the profiler: {reason_in(error)}"
