"""Numbers for people: three significant digits, thousands separated, a dash where nothing was measured."""

from __future__ import annotations

import math

from perfload.report.escape import shortened

NOTHING = "\N{EN DASH}"
"""What stands where nothing was measured. Never a zero."""

_UNIT_CHARACTERS = 16
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def number(value: float | None) -> str:
    """Return `value` to three significant digits, and all of its whole part: `1,234`, `12.3`, `0.12`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    size = abs(value)
    if size < 0.01:
        return f"{value:.2g}"
    # 9.995 and 99.95 round up to the next magnitude, where one decimal less is shown.
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:,.{decimals}f}"


def count(value: int) -> str:
    """Return a count, thousands separated."""
    return f"{value:,}"


def percent(value: float | None) -> str:
    """Return a percentage that is 0 % or 100 % only when it is exactly that."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if 0 < value < 0.01:
        return "<0.01 %"
    if 99.99 < value < 100:
        return ">99.99 %"
    decimals = 0 if value == int(value) else 3 if 99.9 < value < 100 else 2
    return f"{value:.{decimals}f} %"


def latency(milliseconds: float | None) -> str:
    """Return milliseconds with the unit that fits: `0.42 ms`, `147 ms`, `1.23 s`."""
    if milliseconds is None or not math.isfinite(milliseconds):
        return NOTHING
    if abs(milliseconds) < 999.5:
        return f"{number(milliseconds)} ms"
    return f"{number(milliseconds / 1000)} s"


def quantity(value: float | None, unit: str) -> str:
    """Return `value` with its unit; milliseconds and bytes in the form that fits them."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if unit == "ms":
        return latency(value)
    if unit in ("B", "bytes", "byte"):
        return _bytes(value)
    return number(value) + _suffix(unit)


def _suffix(unit: str) -> str:
    """Return what follows a number: its unit, cut short because an author may write anything there."""
    shown = shortened(unit, _UNIT_CHARACTERS)
    return shown if not unit or unit.startswith("/") else f" {shown}"


def _bytes(value: float) -> str:
    for unit in _BYTE_UNITS:
        if abs(value) < 1024 or unit == _BYTE_UNITS[-1]:
            return f"{number(value)} {unit}"
        value /= 1024
    raise AssertionError("the loop returns at its last unit")


def observed_and_limit(observed: float | None, limit: float, unit: str) -> tuple[str, str]:
    """Return both for a reader who compares them: two different numbers never look the same."""
    shown = (
        (percent(observed), percent(limit))
        if unit == "%"
        else (quantity(observed, unit), quantity(limit, unit))
    )
    if observed is None or observed == limit or shown[0] != shown[1]:
        return shown
    for decimals in range(1, 10):
        exact = f"{observed:,.{decimals}f}", f"{limit:,.{decimals}f}"
        if exact[0] != exact[1]:
            break
    else:
        exact = repr(observed), repr(limit)
    return exact[0] + _suffix(unit), exact[1] + _suffix(unit)


def phase_name(name: str, *, warmup: bool) -> str:
    """Return a phase's name, with a remark if it is a warm-up and does not say so."""
    return f"{name} (warm-up)" if warmup and "warm" not in name.casefold() else name


def clock(seconds: float) -> str:
    """Return seconds since the run's start as `mm:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes:02}:{rest_s:02}"
