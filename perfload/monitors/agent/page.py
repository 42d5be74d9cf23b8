"""What an agent answers: one page of its entries. The agent writes it and the master reads it back.

    {"format":1,"node":"db-1","session":"5f0c…","next":4711,"lost":0,"entries":["{…}",…],
     "received_s":1767225600.25,"now_s":1767225600.26}

`next` is what to ask after the next time; `session` changes when the agent is started anew; `lost` counts the
entries that were asked for and had left its memory. The two times are of the agent's clock: when the question
came, and when the answer went. Entries are lines as in readings.jsonl and observations.jsonl.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perfload.model import Observation, Reading
from perfload.observations import MAX_LINE_CHARS, decode_observation, encode_observation
from perfload.readings import MAX_TEXT_CHARS, decode_reading, encode_reading

FORMAT = 1

PATH = "/readings"

MAX_ENTRIES = 5000
"""In one page: a minute and more of what a machine has to say; the rest comes with the next."""

MAX_PAGE_CHARS = 4_000_000
"""Of the entries in one page."""

MAX_PAGE_BYTES = 16 * 1024 * 1024
"""No page is larger, quotes escaped; what is, comes from something else."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer, checked; its entries are still to be decoded one by one."""

    node: str
    session: str
    next: int
    lost: int
    entries: Sequence[str]
    received_s: float
    now_s: float


def encode_entry(entry: Reading | Observation) -> str:
    """Return `entry` as one line; raises `ValueError` for one that could not be read back."""
    return encode_reading(entry) if isinstance(entry, Reading) else encode_observation(entry)


def decode_entry(line: str) -> Reading | Observation:
    """Return what `encode_entry` wrote; raises `ValueError` for anything else."""
    # The value of a text has its quotes escaped, so this is a name.
    return decode_observation(line) if '"kind":"' in line[:4096] else decode_reading(line)


def encode_page(page: Page) -> bytes:
    """Return `page` as JSON in ASCII."""
    fields = {
        "format": FORMAT,
        "node": page.node,
        "session": page.session,
        "next": page.next,
        "lost": page.lost,
        "entries": list(page.entries),
        "received_s": page.received_s,
        "now_s": page.now_s,
    }
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")


def decode_page(body: bytes) -> Page:
    """Return the page in `body`; raises `ValueError` for anything that no agent writes."""
    try:
        fields = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ValueError(f"not a page of format {FORMAT}")
    received_s, now_s = _time(fields, "received_s"), _time(fields, "now_s")
    if not 0 <= now_s - received_s <= 3600:
        raise ValueError("its clock ran backwards, or it took an hour")
    return Page(
        node=_text(fields, "node"),
        session=_text(fields, "session"),
        next=_count(fields, "next"),
        lost=_count(fields, "lost"),
        entries=_lines(fields),
        received_s=received_s,
        now_s=now_s,
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT_CHARS:
        raise ValueError(f"{name} is no text of 1 to {MAX_TEXT_CHARS} characters")
    return text


def _count(fields: Mapping[str, Any], name: str) -> int:
    number = fields.get(name)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 63:
        raise ValueError(f"{name} is no count")
    return number


def _time(fields: Mapping[str, Any], name: str) -> float:
    number = fields.get(name)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < 1e12:
        raise ValueError(f"{name} is no time in seconds since 1970")
    if not math.isfinite(number):
        raise ValueError(f"{name} is not finite")
    return float(number)


def _lines(fields: Mapping[str, Any]) -> list[str]:
    lines = fields.get("entries")
    if not isinstance(lines, list) or len(lines) > MAX_ENTRIES:
        raise ValueError(f"entries is no list of at most {MAX_ENTRIES}")
    if not all(isinstance(line, str) and len(line) <= MAX_LINE_CHARS for line in lines):
        raise ValueError("entries holds something else than lines")
    return lines
