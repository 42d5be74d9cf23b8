"""Durations and bounds as people write them: `300`, `"5m"`, `"90s"`, `"1h30m"`, `"800ms"`, `"1%"`."""

from __future__ import annotations

import math
import re

from perfload.errors import UsageError

SECONDS_PER_UNIT = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def parse_duration_s(text: str | float, what: str = "duration") -> float:
    """Return the seconds that `text` names: a number of seconds, or number-unit pairs (`us ms s m h`).

    Raises `UsageError` that quotes `text` and names `what`; the value may be zero, never negative.
    """
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise _bad_duration(text, what)
    seconds = _parse_text(text.strip(), what) if isinstance(text, str) else float(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise _bad_duration(text, what)
    return seconds


def _parse_text(text: str, what: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise _bad_duration(text, what)
    return sum(float(number) * SECONDS_PER_UNIT[unit] for number, unit in parts)


def _bad_duration(text: object, what: str) -> UsageError:
    return UsageError(
        f"{what}: {text!r} is not a duration",
        hint='write seconds (300) or units: "90s", "5m", "1h30m", "800ms"',
    )


def format_duration(seconds: float) -> str:
    """Return `seconds` for a person: `"850 ms"`, `"12.5 s"`, `"5 min"`, `"1 h 5 min"`."""
    if seconds < 0.9995:  # what is not rounded up to 1,000 ms
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.4g} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest_s, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value)
