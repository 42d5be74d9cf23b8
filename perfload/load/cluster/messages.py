"""What master and workers say to each other, checked where it arrives.

Locust carries each message as (type, data, identity). Whatever is not what it should be raises `ValueError`:
whoever receives it counts that and goes on.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from perfload.codec import decode_window, encode_window
from perfload.load.node import Assignment, Batch
from perfload.model import AnyWindow
from perfload.readings import decode_reading, encode_reading
from perfload.shares import Era

BEAT, START, SHARES = "perfload_beat", "perfload_start", "perfload_shares"
BATCH, ACK, ROWS, STOP = "perfload_batch", "perfload_ack", "perfload_rows", "perfload_stop"

MAX_WINDOWS = 200
"""Windows in one message, so that none grows with the number of requests' names; the rest go in the next."""

Data = dict[str, Any]

_WIDEST = 1 << 63
"""Whole numbers in messages are no wider."""
_GREATEST = sys.float_info.max


def whole(data: Mapping[str, Any], key: str, *, least: int = 0) -> int:
    """Return the whole number under `key`; raises `ValueError` if there is none."""
    value = data.get(key)
    if not _is_whole(value, least):
        raise ValueError(f"{key} is no whole number of at least {least}")
    return value


def _is_whole(value: object, least: int = 0) -> TypeGuard[int]:
    """Say whether `value` is a whole number that a message has room for."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 63


def number(data: Mapping[str, Any], key: str) -> float:
    """Return the finite number under `key`; raises `ValueError` if there is none."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _GREATEST:
        raise ValueError(f"{key} is no finite number")
    return float(value)


def text(data: Mapping[str, Any], key: str, *, longest: int = 500) -> str:
    """Return the text under `key`; raises `ValueError` if there is none, or one that is too long."""
    value = data.get(key)
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{key} is no text of up to {longest} characters")
    return value


def _items(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key} is no list")
    return value


def wholes(data: Mapping[str, Any], key: str) -> list[int]:
    """Return the list of whole numbers under `key`; raises `ValueError` if there is none."""
    values = _items(data, key)
    if not all(map(_is_whole, values)):
        raise ValueError(f"{key} holds something that is no whole number")
    return values


# --- money

_KINDS = ("tokens", "cost")


def decode_account(data: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return what a beat says of money: by kind, the cap and what is spent; empty where nothing is capped.

    Raises `ValueError` for a kind that is not known, and for what are no two amounts.
    """
    account = {}
    for kind, held in _by_kind(data, "account").items():
        if not isinstance(held, list) or len(held) != 2:
            raise ValueError(f"the account of {kind} has two parts: the cap, and what is spent")
        account[kind] = _amount({kind: held[0]}, kind), _amount({kind: held[1]}, kind)
    return account


def decode_grants(data: Mapping[str, Any]) -> dict[str, float]:
    """Return how much a worker may have spent, by kind; raises `ValueError` if `data` does not say."""
    granted = _by_kind(data, "granted")
    return {kind: _amount(granted, kind) for kind in granted}


def _by_kind(data: Mapping[str, Any], key: str) -> Data:
    value = data.get(key, {})
    if not isinstance(value, dict) or not all(kind in _KINDS for kind in value):
        raise ValueError(f"{key} is no table of {' and '.join(_KINDS)}")
    return value


def _amount(data: Mapping[str, Any], key: str) -> float:
    value = number(data, key)
    if value < 0:
        raise ValueError(f"{key} is less than nothing")
    return value


# --- batches


def encode_batches(first: int, run_id: str, batch: Batch) -> Iterator[Data]:
    """Yield `batch` as the data of `perfload_batch` messages, numbered from `first`."""
    parts = [batch.windows[at : at + MAX_WINDOWS] for at in range(0, len(batch.windows), MAX_WINDOWS)] or [[]]
    for place, windows in enumerate(parts):
        is_last = place == len(parts) - 1
        yield {
            "number": first + place,
            "run": run_id,
            "windows": [encode_window(window) for window in windows],
            "readings": [encode_reading(reading) for reading in batch.readings] if is_last else [],
            "idle": batch.idle and is_last,
            "final": batch.final and is_last,
        }


def decode_batch(data: Mapping[str, Any], *, run_id: str, node: str, until_s: float = math.inf) -> Batch:
    """Return the batch in a message's data; raises `ValueError` if it is none of `node` in this run.

    Nor can it hold anything of a second after `until_s`: room is made for every second up to the last.
    """
    windows: list[AnyWindow] = [decode_window(window) for window in _items(data, "windows")]
    readings = []
    for line in _items(data, "readings"):
        if not isinstance(line, str):
            raise ValueError("a reading is no text")
        readings.append(decode_reading(line))
    foreign = next((w for w in windows if (w.run_id, w.node) != (run_id, node) or w.second < 0), None)
    if foreign is not None or any(reading.node != node for reading in readings):
        raise ValueError(f"it holds results that are not those of {node} in this run")
    if any(window.second > until_s for window in windows):
        raise ValueError("it holds results of a time to come")
    return Batch(windows, readings, idle=data.get("idle") is True, final=data.get("final") is True)


# --- assignments and shares


def encode_assignment(terms: Assignment) -> Data:
    """Return `terms` as the data of a `perfload_start` message."""
    return dataclasses.asdict(terms) | {"eras": encode_eras(terms.eras)}


def decode_assignment(data: Mapping[str, Any]) -> Assignment:
    """Return the assignment in a message's data; raises `ValueError` if it is none."""
    for key in ("run_id", "node", "shape", "phases"):
        text(data, key)
    for key in ("index", "count", "version"):
        whole(data, key)
    whole(data, "seed", least=-_WIDEST)
    for key in ("started_at_s", "lease_until_s", "zero_s", "time_scale"):
        number(data, key)
    allow = _items(data, "allow")
    if not all(isinstance(host, str) for host in allow):
        raise ValueError("allow holds something that is no text")
    try:
        return Assignment(**dict(data) | {"eras": decode_eras(data), "allow": tuple(allow)})
    except TypeError as error:
        raise ValueError(f"it is no assignment: {error}") from error


def encode_eras(eras: Sequence[Era]) -> list[list[Any]]:
    """Return `eras` as lists."""
    return [[era.from_s, list(era.owners), era.reserved_users] for era in eras]


def decode_eras(data: Mapping[str, Any]) -> tuple[Era, ...]:
    """Return the eras under `eras`; raises `ValueError` if there are none."""
    eras = tuple(_era(value) for value in _items(data, "eras"))
    if not eras:
        raise ValueError("there are no eras")
    return eras


def _era(value: object) -> Era:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("an era has three parts: from when on, the owners, and users to leave room for")
    era = dict(zip(("from_s", "owners", "reserved_users"), value, strict=True))
    return Era(number(era, "from_s"), tuple(wholes(era, "owners")), whole(era, "reserved_users"))
