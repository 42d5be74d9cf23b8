"""What goes wrong on demand: a share of all requests, or the one request that asks for it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perfload.errors import UsageError
from perfload.suggest import did_you_mean
from perfload.target.ai.refusal import BAD_REQUEST, ON_DEMAND, Refusal
from perfload.target.ai.spread import share
from perfload.units import parse_duration_s

FAULT_HEADER = b"x-perfload-fault"
MAX_ASKED_STALL_S = 86_400
"""Anybody may ask for one, and it takes a place in the batch."""

STREAM_ERROR = "stream_error"
CUT = "cut"
EARLY_END = "early_end"
STALL = "stall"
MALFORMED = "malformed"
REFUSAL = "refusal"
IN_STREAM = {
    STREAM_ERROR: "an error event half-way, under status 200",
    CUT: "the connection is closed half-way",
    EARLY_END: "the stream ends half-way, without a reason or an end mark",
    STALL: "nothing comes half-way for the time of --ai-stall, then the rest",
    MALFORMED: "half-way, an event that is not JSON",
    REFUSAL: "the model declines: a whole answer, which says that there is none",
}
ENDING = (STREAM_ERROR, CUT, EARLY_END)
"""Those after which nothing more comes."""
NAMES = (*ON_DEMAND, *IN_STREAM)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: a name of `NAMES`; `stall_s` is how long a stall lasts."""

    name: str
    stall_s: float = 0.0


def parse_shares(settings: Iterable[str]) -> dict[str, float]:
    """Read `rate_limit=5%`, `cut=0.01`; raises `UsageError` that quotes the setting."""
    shares: dict[str, float] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in NAMES:
            raise UsageError(f"--ai-fault: {name!r} is no fault", hint=did_you_mean(name, NAMES))
        shares[name] = share(text, f"--ai-fault {name}")
    if sum(shares.values()) > 1 + 1e-9:
        raise UsageError(
            f"--ai-fault: the shares add up to {sum(shares.values()):.9g}", hint="100% is all requests"
        )
    return shares


class FaultSource:
    """Says for each request what goes wrong with it; the n-th has the same fate for the same seed."""

    def __init__(self, shares: Mapping[str, float], *, stall_s: float, seed: int) -> None:
        self._shares = dict(shares)
        self._stall_s = stall_s
        self._random = random.Random(f"{seed}:ai faults")

    def next(self, headers: Mapping[bytes, bytes]) -> Fault | None:
        """Return the fault of the request that arrives now; raises `Refusal` for a header that names none."""
        draw = self._random.random() if self._shares else 1.0
        asked = headers.get(FAULT_HEADER)
        if asked is not None:
            return self._asked(asked.decode("latin-1"))
        for name, part in self._shares.items():
            if draw < part:
                return Fault(name, self._stall_s)
            draw -= part
        return None

    def _asked(self, text: str) -> Fault | None:
        name, _, duration = text.partition("=")
        if name == "none":
            return None
        if name not in NAMES:
            rule = f"none, {', '.join(NAMES)}"
            raise Refusal(BAD_REQUEST, f"{FAULT_HEADER.decode()}: one of {rule} is required")
        try:
            stall_s = parse_duration_s(duration) if duration else self._stall_s
        except UsageError as error:
            raise Refusal(BAD_REQUEST, f"{FAULT_HEADER.decode()}: {error}") from error
        if duration and stall_s > MAX_ASKED_STALL_S:
            raise Refusal(BAD_REQUEST, f"{FAULT_HEADER.decode()}: at most {MAX_ASKED_STALL_S} s")
        return Fault(name, stall_s)
