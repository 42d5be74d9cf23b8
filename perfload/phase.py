"""One phase of a load plan, as the author of a shape writes it."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from perfload.errors import UsageError
from perfload.units import parse_duration_s

ALL_PHASES = "all"
"""What summaries call the row over all phases (without warm-up phases)."""

Model = Literal["arrivals", "users", "pause"]

_EXAMPLE = 'for example Phase(name="Normal", duration="5m", arrival_rate=50)'
_WHOLE = ("arrival_count", "users", "ramp_to_users", "max_users", "poisson_seed")
_NUMBERS = ("arrival_rate", "ramp_to", *_WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of a load plan, as its author writes it.

    Open model: `arrival_rate` (virtual users per second), optionally `ramp_to`; or `arrival_count` spread
    evenly over the phase; or `arrival_times`, seconds into the phase in ascending order. Closed model:
    `users` (concurrent), optionally `ramp_to_users`. `pause=True`: nothing. Exactly one of these five is
    given; anything else raises `UsageError`.

    `max_users` caps the virtual users in flight (open model): an arrival above it is dropped and counted.
    `poisson_seed` makes arrivals without times a Poisson process drawn from that seed; else they are evenly
    spaced.
    `warmup=True` keeps the phase out of totals and thresholds.
    """

    name: str
    duration: str | float
    arrival_rate: float | None = None
    ramp_to: float | None = None
    arrival_count: int | None = None
    arrival_times: Sequence[float] | None = field(default=None, repr=False)
    """Kept as a tuple of floats."""
    users: int | None = None
    ramp_to_users: int | None = None
    pause: bool = False
    max_users: int | None = None
    poisson_seed: int | None = None
    warmup: bool = False
    duration_s: float = field(init=False)
    model: Model = field(init=False)

    def __new__(cls, **options: object) -> Phase:
        """Refuse an option that does not exist with the nearest one that does, instead of a `TypeError`."""
        known = [option.name for option in fields(cls) if option.init]
        for option in options.keys() - set(known):
            near = difflib.get_close_matches(option, known, n=1)
            raise UsageError(
                f"phase {options.get('name', '?')!r} has an unknown option {option!r}",
                hint=(f"did you mean {near[0]}? " if near else "") + f"Known: {', '.join(known)}",
            )
        for option in ("name", "duration"):
            if option not in options:
                raise UsageError(f"phase {options.get('name', '?')!r} has no {option}", hint=_EXAMPLE)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        duration_s = parse_duration_s(self.duration, f"phase {self.name!r}, duration")
        object.__setattr__(self, "duration_s", duration_s)
        if self.arrival_times is not None:
            object.__setattr__(self, "arrival_times", self._times(self.arrival_times))
        self._check_kinds()
        object.__setattr__(self, "model", self._model())
        self._check()

    def _times(self, given: Sequence[float]) -> tuple[float, ...]:
        """Return the arrival times as floats, checked; there may be a million of them."""
        hint = f"arrival_times are seconds into the phase in ascending order, of 0 to {self.duration_s:g}"
        try:
            times = tuple(map(float, () if isinstance(given, str | bytes) else given))
        except (TypeError, ValueError, OverflowError):
            times = ()
        if not times:
            raise self._error("has no arrival_times that are numbers", hint)
        for number, value in enumerate(times):
            if not 0 <= value <= self.duration_s:
                raise self._error(f"arrival_times[{number}] is {value}", hint)
        for number, (before, value) in enumerate(itertools.pairwise(times), start=1):
            if value < before:
                raise self._error(f"arrival_times[{number}] is {value}, after {before}", hint)
        return times

    def _check_kinds(self) -> None:
        for option in _NUMBERS:
            value = getattr(self, option)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self._error(f"{option} is {value!r}", f"{option} is a number")
            if option in _WHOLE and not float(value).is_integer():
                raise self._error(f"{option} is {value!r}", f"{option} is a whole number")
        for option in ("pause", "warmup"):
            if not isinstance(getattr(self, option), bool):
                raise self._error(f"{option} is {getattr(self, option)!r}", f"{option} is True or False")

    def _model(self) -> Model:
        given = {
            "arrival_rate": self.arrival_rate is not None,
            "arrival_count": self.arrival_count is not None,
            "arrival_times": self.arrival_times is not None,
            "users": self.users is not None,
            "pause": self.pause,
        }
        names = [name for name, is_given in given.items() if is_given]
        if len(names) != 1:
            raise self._error(
                f"needs exactly one of {', '.join(given)}; it has {' and '.join(names) or 'none'}",
                _EXAMPLE,
            )
        if names[0] == "pause":
            return "pause"
        return "users" if names[0] == "users" else "arrivals"

    def _check(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or self.name == ALL_PHASES:
            raise UsageError(
                f"a phase is named {self.name!r}",
                hint=f"give it a name of its own, other than {ALL_PHASES!r}",
            )
        if self.duration_s <= 0:
            raise self._error("has no duration", 'write a duration above zero, such as "90s"')
        for option in ("arrival_rate", "ramp_to", "arrival_count", "users", "ramp_to_users"):
            value = getattr(self, option)
            if value is not None and (not math.isfinite(value) or value < 0):
                raise self._error(f"{option} is {value}", f"{option} is a number of at least 0")
        if self.max_users is not None and self.max_users < 1:
            raise self._error(f"max_users is {self.max_users}", "max_users is at least 1")
        self._check_pairs()

    def _check_pairs(self) -> None:
        pairs = (
            ("ramp_to", "arrival_rate"),
            ("ramp_to_users", "users"),
            ("max_users", "arrivals"),
            ("poisson_seed", "arrivals"),
        )
        for option, base in pairs:
            if getattr(self, option) is None:
                continue
            if base == "arrivals" and self.model != "arrivals":
                raise self._error(f"{option} needs arrivals", "use it with arrival_rate or arrival_count")
            if option == "poisson_seed" and self.arrival_times is not None:
                raise self._error("has a poisson_seed and arrival_times", "give one of the two")
            if base != "arrivals" and getattr(self, base) is None:
                raise self._error(f"{option} needs {base}", f"give {base} too, or leave {option} out")

    def _error(self, message: str, hint: str) -> UsageError:
        return UsageError(f"phase {self.name!r} {message}", hint=hint)

    @property
    def start(self) -> float:
        """Arrivals per second, or concurrent users, at the phase's start; of `arrival_times` the mean."""
        if self.model == "users":
            return float(self.users or 0)
        if self.arrival_count is not None:
            return self.arrival_count / self.duration_s
        if self.arrival_times is not None:
            return len(self.arrival_times) / self.duration_s
        return float(self.arrival_rate or 0)

    @property
    def end(self) -> float:
        """Arrivals per second, or concurrent users, at the phase's end."""
        target = self.ramp_to_users if self.model == "users" else self.ramp_to
        return self.start if target is None else float(target)
