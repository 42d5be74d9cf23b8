"""A `Reading` as one line of JSON: what the sampler appends and the run record reads back.

    {"at_s":1767225600.25,"node":"db-1","source":"host","metric":"cpu_percent","unit":"%","value":37.5}
    {"at_s":1767225601.25,"node":"db-1","source":"host","metric":"cpu_percent","unit":"%","unavailable":"…"}

A line has either a `value` or the reason why there is none. Both directions hold a reading to the same
rules, so nothing is written that could not be read back.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from perfload.model import Reading

MAX_TEXT_CHARS = 256
"""Longest node, source, metric, unit or reason: room for any host name, and a bound on what a line costs."""

MAX_LINE_CHARS = 16_384
"""No line is longer: five texts of `MAX_TEXT_CHARS`, each character escaped to at most twelve."""

_NAMES = ("node", "source", "metric")
_REQUIRED = frozenset({"at_s", "node", "source", "metric", "unit"})
_OUTCOMES = frozenset({"value", "unavailable"})


def encode_reading(reading: Reading) -> str:
    """Return `reading` as one line of ASCII, without the newline; raises `ValueError` as `check_reading`."""
    check_reading(reading)
    fields: dict[str, object] = {
        "at_s": reading.at_s,
        "node": reading.node,
        "source": reading.source,
        "metric": reading.metric,
        "unit": reading.unit,
    }
    if reading.value is None:
        fields["unavailable"] = reading.unavailable
    else:
        fields["value"] = reading.value
    # ASCII: some readers also end a line at U+2028 and its like, which JSON leaves as they are.
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def decode_reading(line: str) -> Reading:
    """Return the reading that `encode_reading` wrote; the newline may still be there.

    Raises `ValueError` with the reason for anything else: a line cut short, two lines run together, a number
    that is not finite, a text that is too long, a field that is missing, unknown, doubled or of a wrong type.
    """
    if len(line) > MAX_LINE_CHARS:
        raise ValueError(f"a reading has at most {MAX_LINE_CHARS} characters, this line has {len(line)}")
    try:
        fields = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("not a reading: nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError(f"not a reading: a JSON {type(fields).__name__} where an object belongs")
    _check_names_of(fields)
    reading = Reading(
        at_s=_number(fields["at_s"], "at_s"),
        node=fields["node"],
        source=fields["source"],
        metric=fields["metric"],
        unit=fields["unit"],
        value=_number(fields["value"], "value") if "value" in fields else None,
        unavailable=fields.get("unavailable", ""),
    )
    check_reading(reading)
    return reading


def check_reading(reading: Reading) -> None:
    """Raise `ValueError` unless `reading` can be written and read back as it is.

    That is: a finite time that is not negative, texts of at most `MAX_TEXT_CHARS`, a node, a source and a
    metric that are not empty, and either a finite value or a reason why there is none.
    """
    if _number(reading.at_s, "at_s") < 0:
        raise ValueError(f"at_s is {reading.at_s}: a time before 1970")
    for name in ("node", "source", "metric", "unit", "unavailable"):
        _check_text(getattr(reading, name), name)
    for name in _NAMES:
        if not getattr(reading, name):
            raise ValueError(f"{name} is empty")
    if reading.value is None:
        if not reading.unavailable:
            raise ValueError("neither a value nor the reason why there is none")
        return
    _number(reading.value, "value")
    if reading.unavailable:
        raise ValueError(f"both a value and a reason why there is none: {reading.unavailable!r}")


def _check_names_of(fields: dict[str, Any]) -> None:
    names = frozenset(fields)
    if missing := _REQUIRED - names:
        raise ValueError(f"not a reading: no {', '.join(sorted(missing))}")
    if unknown := names - _REQUIRED - _OUTCOMES:
        raise ValueError(f"not a reading: unknown {', '.join(repr(name[:40]) for name in sorted(unknown))}")
    if len(names & _OUTCOMES) != 1:
        raise ValueError("not a reading: it has one of value and unavailable")


def _check_text(text: object, name: str) -> None:
    if not isinstance(text, str):
        raise ValueError(f"{name} is a {type(text).__name__}, not a text")
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"{name} has {len(text)} characters, at most {MAX_TEXT_CHARS} are kept")
    # A lone surrogate passes through JSON and then fails in whatever writes or renders it.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{name} holds half a character")


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is a {type(value).__name__}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is not finite")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is given twice")
    return fields
