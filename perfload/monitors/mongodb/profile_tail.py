"""`system.profile` read while it is written: each entry once, and it is noticed when some were written over.

Read backwards, from the newest entry to where the read before had ended, so that a read costs what is new. A
tailable cursor would lose entries: those that become visible after later ones (seen with six clients at once,
four of 7,200). Hence the newest moments are left to the next read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from perfload.monitors.mongodb.connection import APP_NAME
from perfload.monitors.mongodb.operations import PROFILE_FIELDS, Entry
from perfload.monitors.mongodb.profile_level import COLLECTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.collection import Collection
    from pymongo.database import Database

MAX_ENTRIES_PER_READ = 5_000
"""Takes half a second of one core."""

BATCH = 200

SETTLED_AFTER = timedelta(milliseconds=200)
"""By then an entry is visible, and so are all that are older."""


@dataclass(frozen=True, slots=True)
class Tailed:
    """What one read brought."""

    entries: list[Entry]
    lost: str = ""
    """Why some are missing, in words; "" when none are."""


class ProfileTail:
    """Follows the entries of one database, perfload's own left out. Raises pymongo's errors."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        from bson.codec_options import CodecOptions, DatetimeConversion

        # Users' commands may hold dates that Python has not, and names that are no UTF-8.
        options: CodecOptions[dict[str, Any]] = CodecOptions(
            datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
        )
        self._database = database.with_options(codec_options=options)
        self._collection: Collection[dict[str, Any]] = self._database[COLLECTION]
        self._read_until = datetime.min + SETTLED_AFTER
        self._has_anchor = False
        """Whether there is an entry up to `_read_until`: when it is gone, so are those behind it."""

    def start(self) -> None:
        """Skip what was recorded before."""
        newest = next(self._backwards(), None)
        if newest is not None:
            self._read_until = newest["ts"]
            self._has_anchor = True

    def read(self, limit: int = MAX_ENTRIES_PER_READ, *, is_last: bool = False) -> Tailed:
        """Return the entries since the last time; with `is_last`, those of the last moment too."""
        until = datetime.max if is_last else self._now() - SETTLED_AFTER
        entries: list[Entry] = []
        oldest: datetime | None = None
        is_whole = False
        for entry in self._backwards():
            oldest = entry["ts"]
            if oldest <= self._read_until:
                is_whole = True
                # Neighbours may be in no strict order.
                if oldest < self._read_until - SETTLED_AFTER:
                    break
            elif oldest <= until:
                entries.append(entry)
            if len(entries) > limit:
                break
        lost = ""
        if len(entries) > limit:
            lost = f"more than {limit:,} operations were recorded between two reads; the earlier are missing"
        elif self._has_anchor and not is_whole:
            missing = "all of it" if oldest is None else _seconds(oldest - self._read_until)
            lost = f"system.profile was written over before it could be read: {missing} is missing"
        self._has_anchor = self._has_anchor or is_whole or bool(entries)
        self._read_until = max(self._read_until, until)
        return Tailed([entry for entry in reversed(entries[:limit]) if _is_wanted(entry)], lost)

    def _backwards(self) -> Iterator[dict[str, Any]]:
        found = self._collection.find({}, dict.fromkeys((*PROFILE_FIELDS, "appName"), 1))
        for entry in found.sort("$natural", -1).batch_size(BATCH):
            if isinstance(entry.get("ts"), datetime):
                yield entry

    def _now(self) -> datetime:
        """Return the server's time, which its entries carry."""
        now: datetime = self._database.command("hello", codec_options=self._database.codec_options)[
            "localTime"
        ]
        return now


def _is_wanted(entry: Entry) -> bool:
    return entry.get("appName") != APP_NAME and ".system." not in str(entry.get("ns", ""))


def _seconds(gap: timedelta) -> str:
    return f"what was recorded in {gap.total_seconds():.3g} s"
