"""The level of MongoDB's profiler: what was found, what a run sets, and how it is put back.

With a filter (MongoDB 4.4.2 and later) a run changes one database and leaves perfload's own operations out.
Without, `slowms` has to be set, which holds for the whole server: it is put back as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from perfload.monitors.mongodb.connection import APP_NAME

if TYPE_CHECKING:
    from pymongo.database import Database

Mode = Literal["slow", "all"]

COLLECTION = "system.profile"

COLLECTION_BYTES = 32 * 1024 * 1024
"""Made where there is none. MongoDB's own has 1 MiB: 700 operations, which a second of load writes over."""

FILTER_SINCE = (4, 4, 2)

UNSET = "unset"
"""What MongoDB takes for no filter."""


@dataclass(frozen=True, slots=True)
class ProfilerSettings:
    """What a profiler records, as `{profile: -1}` has it."""

    level: int
    slow_ms: int
    sample_rate: float
    filter: Mapping[str, Any] | None


def read_settings(database: Database[dict[str, Any]]) -> ProfilerSettings:
    """Return the settings in force; raises pymongo's errors."""
    return settings_in(database.command({"profile": -1}))


def settings_in(answer: Mapping[str, Any]) -> ProfilerSettings:
    """Return the settings in an answer to `profile`."""
    found = answer.get("filter")
    return ProfilerSettings(
        level=int(answer.get("was", 0)),
        slow_ms=int(answer.get("slowms", 100)),
        sample_rate=float(answer.get("sampleRate", 1.0)),
        filter=dict(found) if isinstance(found, Mapping) else None,
    )


def profiling_command(mode: Mode, slow_ms: float, *, server_version: tuple[int, ...]) -> dict[str, Any]:
    """Return the command that records all operations, or those of `slow_ms` and more."""
    # At level 2 MongoDB ignores a filter, and one at level 1 that takes all would fill the server's log.
    if mode == "all" or slow_ms < 1:
        return {"profile": 2}
    if server_version >= FILTER_SINCE:
        return {"profile": 1, "filter": {"appName": {"$ne": APP_NAME}, "millis": {"$gte": round(slow_ms)}}}
    return {"profile": 1, "slowms": round(slow_ms), "sampleRate": 1.0}


def restoring_command(found: ProfilerSettings, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the command that undoes the command `changed`; what that left alone stays as it is now."""
    command: dict[str, Any] = {"profile": found.level}
    if "filter" in changed:
        command["filter"] = dict(found.filter) if found.filter is not None else UNSET
    if "slowms" in changed:
        command["slowms"] = found.slow_ms
    if "sampleRate" in changed:
        command["sampleRate"] = found.sample_rate
    return command


def is_ours(now: ProfilerSettings, ours: ProfilerSettings, changed: Mapping[str, Any]) -> bool:
    """Say whether `now` is still what perfload set, not changed since by somebody or by a restart."""
    # Not slowms: it is the whole server's, so putting back another database has changed it.
    return now.level == ours.level and ("filter" not in changed or now.filter == ours.filter)


def looks_like_perfload(settings: ProfilerSettings) -> bool:
    """Say whether a filter is of the kind that perfload sets: by a run on another machine, or left behind."""
    return settings.level == 1 and settings.filter is not None and _names_us(settings.filter)


def _names_us(part: object) -> bool:
    if isinstance(part, Mapping):
        return any(
            APP_NAME in _texts(value) if name == "appName" else _names_us(value)
            for name, value in part.items()
        )
    return isinstance(part, list) and any(_names_us(item) for item in part)


def _texts(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    return [value] if isinstance(value, str) else []
