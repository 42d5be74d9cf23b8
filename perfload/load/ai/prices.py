"""What tokens cost: a table that the user supplies. perfload ships no prices, for they change."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfload.errors import UsageError
from perfload.load.ai.answer import Usage

_KEYS = frozenset({"input", "cached", "output"})
_HINT = 'write for each model {"input": 2.5, "cached": 1.25, "output": 10}: the price of a million tokens'


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in whichever currency."""

    input: float
    output: float
    cached: float

    def cost_of(self, usage: Usage) -> float | None:
        """Return what `usage` costs; None where the server does not say what it counted."""
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.input_tokens or 0)
        fresh = (usage.input_tokens or 0) - cached
        return (fresh * self.input + cached * self.cached + (usage.output_tokens or 0) * self.output) / 1e6


class PriceTable:
    """Prices by model. A name that ends in `*` stands for all that begin so; the longest one wins."""

    def __init__(self, table: Mapping[str, Any], source: str = "prices") -> None:
        """Raise `UsageError` for a table that is not as it has to be."""
        if not isinstance(table, Mapping):
            raise UsageError(f"{source} is no table of prices", hint=_HINT)
        self._prices = {model: _price(model, given, source) for model, given in table.items()}

    @classmethod
    def read(cls, path: Path) -> PriceTable:
        """Return the table of a JSON file; raises `UsageError`."""
        try:
            return cls(json.loads(path.read_text("utf-8")), str(path))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path}: no prices can be read from it ({error})", hint=_HINT) from None

    def of(self, model: str) -> Price | None:
        """Return the price of `model`; None when it is not in the table."""
        if model in self._prices:
            return self._prices[model]
        fitting = [
            name for name in self._prices if name.endswith("*") and model.startswith(name.removesuffix("*"))
        ]
        return self._prices[max(fitting, key=len)] if fitting else None


def _price(model: str, given: Any, source: str) -> Price:
    if not isinstance(given, Mapping) or not {"input", "output"} <= given.keys() <= _KEYS:
        raise UsageError(f"{source}: the price of {model!r} is not understood", hint=_HINT)
    for name, value in given.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0:
            raise UsageError(f"{source}: {name!r} of {model!r} is {value!r}", hint=_HINT)
    return Price(float(given["input"]), float(given["output"]), float(given.get("cached", given["input"])))
