"""What a user class says about money and goals, checked before the load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfload.errors import UsageError
from perfload.load.ai.budget import Cap
from perfload.load.ai.objectives import Objectives
from perfload.load.ai.prices import Price, PriceTable


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one user class."""

    cap: Cap
    prices: PriceTable
    objectives: Objectives | None

    @classmethod
    def of(cls, user_class: Any, cap: Cap, prices: str) -> Terms:
        """Read those of `user_class`; raises `UsageError` that names the class.

        `cap` is that of the configuration, of which it can only take away; `prices` is the path of the prices
        that it has if it does not bring its own.
        """
        objectives = user_class.objectives
        try:
            terms = cls(
                cap.lowest(Cap.of(user_class.max_cost, user_class.max_tokens_total)),
                _prices(user_class.prices or prices),
                None if objectives is None else Objectives.of(objectives),
            )
            if user_class.model:
                terms.price_of(user_class.model)
        except UsageError as error:
            raise UsageError(f"{user_class.__name__}: {error.message}", hint=error.hint) from None
        return terms

    def price_of(self, model: str) -> Price | None:
        """Return the price of `model`; raises `UsageError` when a cap on cost cannot be kept without it."""
        price = self.prices.of(model)
        if price is None and self.cap.cost != float("inf"):
            raise UsageError(
                f"there is a cap on cost, but no price of {model!r}",
                hint="name the model in `prices` of the user class, or in the file that ai.prices names",
            )
        return price


def _prices(given: Mapping[str, Any] | str | Path) -> PriceTable:
    if isinstance(given, str | Path):
        return PriceTable.read(Path(given)) if given else PriceTable({})
    return PriceTable(given)
