"""What a peer may say to the master: every message is checked before Locust sees it.

Locust's master takes messages at their word. One that is malformed ends the greenlet that listens to all
workers, and one in another worker's name is taken for that worker's.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from locust import runners
from locust.rpc import Message

logger = logging.getLogger("perfload")

MAX_STRANGER_BYTES = 65_536
"""The longest message of a peer that has not joined: what it has to say until then is short."""
MAX_TEXT = 1_000_000
MAX_PEERS = 20
"""Peers that are named for one reason; of those after them it is only counted that they were refused."""
MAX_SHOWN = 60

Check = Callable[[Any], bool]


def _is_nothing(value: object) -> bool:
    return value is None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_line(value: object) -> bool:
    """Say whether `value` may be shown in a terminal, as Locust does with identities and versions."""
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _map_of(key: Check, held: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(key(name) and held(value[name]) for name in value)


def _fields(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """Return a check of dictionaries; other fields may hold anything: listeners of events add some."""
    others = optional or {}

    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and held(value[name]) for name, held in required.items())
            and all(name not in value or held(value[name]) for name, held in others.items())
        )

    return check


_STATES = frozenset(held for name, held in vars(runners).items() if name.startswith("STATE_"))

_ENTRY = _fields(
    {"name": _is_text, "method": _is_text},
    {
        **dict.fromkeys(("num_requests", "num_none_requests", "num_failures"), _is_count),
        **dict.fromkeys(("start_time", "total_response_time", "max_response_time"), _is_number),
        **dict.fromkeys(("last_request_timestamp", "min_response_time"), _optional(_is_number)),
        "total_content_length": _is_number,
        "response_times": _map_of(_is_number, _is_count),
        **dict.fromkeys(("num_reqs_per_sec", "num_fail_per_sec"), _map_of(_is_whole, _is_count)),
    },
)
_ERROR = _fields(
    {"method": _is_text, "name": _is_text, "error": _is_text, "occurrences": _is_count},
    dict.fromkeys(("first_seen", "last_seen"), _optional(_is_number)),
)
_USERS: dict[str, Check] = {"user_classes_count": _map_of(_is_text, _is_count), "user_count": _is_count}

CHECKS: dict[str, Check] = {
    "client_ready": lambda data: data == -1 or _is_line(data),
    "client_stopped": _is_nothing,
    "exception": _fields({"msg": _is_text, "traceback": _is_text}),
    "heartbeat": _fields(
        {"state": lambda state: isinstance(state, str) and state in _STATES, "current_cpu_usage": _is_number},
        {"current_memory_usage": _is_number},
    ),
    "locustfile": _fields({"version": _is_line}),
    "logs": _fields({"worker_id": _is_text, "logs": _list_of(_is_text)}),
    "quit": _is_nothing,
    "spawning": _is_nothing,
    "spawning_complete": _fields(_USERS),
    "stats": _fields(
        {"stats": _list_of(_ENTRY), "stats_total": _ENTRY, "errors": _map_of(_is_text, _ERROR), **_USERS}
    ),
}
"""Locust's own messages to a master, by type: what their data has to be so that no listener trips over it."""

_OPENING = ("client_ready", "locustfile")
"""What a peer may say that has not joined."""


class Refusal(ValueError):
    """Why a message does not reach Locust."""


class Gate:
    """Lets messages in or refuses them; knows who has joined.

    What is refused is counted by reason, and said once for each peer and reason, up to `MAX_PEERS` of them:
    whoever sends the most must not fill the log, or the memory.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        """How many messages and connections were refused, by reason."""
        self._joined: set[str] = set()
        self._named: dict[str, set[str]] = {}

    def admit(self, frames: Sequence[bytes], *, hands_out_files: bool) -> Message | None:
        """Return the message in `frames`, a ROUTER's, the sender's identity first; None if it is refused."""
        peer = frames[0].decode(errors="backslashreplace")
        try:
            if peer.encode() != frames[0] or not _is_line(peer):
                raise Refusal("its sender has no proper name")
            if len(frames) != 2:
                raise Refusal("it is no message of Locust's")
            if peer not in self._joined and len(frames[1]) > MAX_STRANGER_BYTES:
                raise Refusal("it is too long for a peer that has not joined")
            message = _decode(frames[1])
            self._check(message, peer, hands_out_files)
        except Refusal as refusal:
            self.refuse(peer, str(refusal))
            return None
        if message.type == "client_ready":
            self._joined.add(peer)
        elif message.type == "quit":
            self._joined.discard(peer)
        return message

    def _check(self, message: Message, peer: str, hands_out_files: bool) -> None:
        kind, data = message.type, message.data
        if message.node_id != peer:
            raise Refusal("it is in another's name")
        check = CHECKS.get(kind)
        if check is None:
            # One that somebody has registered, which `rpc` sees to; its handler knows what it has to hold.
            if kind.startswith("perfload_") and not isinstance(data, dict):
                raise Refusal("it holds no data")
            return
        if kind not in _OPENING and peer not in self._joined:
            raise Refusal("its sender has not joined")
        if not check(data):
            raise Refusal(f"its data is not that of {kind}")
        if kind == "logs" and data["worker_id"] != peer:
            raise Refusal("it is in another's name")
        if kind == "locustfile" and not hands_out_files:
            raise Refusal("it asks for the scenario, which a master without a key hands out on loopback only")

    def refuse(self, peer: str, reason: str, detail: str = "") -> None:
        """Count what `peer` tried, and say so when it is the first time."""
        self.refused[reason] += 1
        peers = self._named.setdefault(reason, set())
        if peer in peers or len(peers) >= MAX_PEERS:
            return
        peers.add(peer)
        last = " (of further peers it is only counted)" if len(peers) == MAX_PEERS else ""
        # What peers call themselves, and errors about what they sent, are theirs to choose.
        said = f": {ascii(detail)[:300]}" if detail else ""
        logger.warning("refused from %s: %s%s%s", ascii(peer)[:MAX_SHOWN], reason, said, last)


def _decode(body: bytes) -> Message:
    try:
        message: Message = Message.unserialize(body)  # type: ignore[no-untyped-call]
    except Exception:
        # Of a dozen kinds: those of msgpack, of Unicode, of keys that cannot be keys, of dates that are none.
        raise Refusal("it is no message of Locust's") from None
    if not _is_line(message.type):
        raise Refusal("it is no message of Locust's")
    return message
