"""Medians, spreads, and ratios of measurements that were taken side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median and range of a measurement's repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return median and range; raises ValueError without values."""
        if not values:
            raise ValueError("no values")
        return cls(statistics.median(values), min(values), max(values))


def ratio(values: Sequence[float], others: Sequence[float]) -> Spread:
    """Return the spread of the ratios of each repetition, `values` over `others`.

    Both lists hold the repetitions in the same order. What disturbs one repetition disturbs both of its
    values, so their ratio is steadier than the ratio of the two medians.
    """
    if len(values) != len(others):
        raise ValueError(f"{len(values)} repetitions against {len(others)}")
    return Spread.of([one / other for one, other in zip(values, others, strict=True)])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of the ordered values do not exceed."""
    if not ordered:
        raise ValueError("no values")
    rank = -int(-percent * len(ordered) // 100)  # rounded up
    return ordered[min(len(ordered), max(1, rank)) - 1]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the straight line through these points with the least squares of errors."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    width = sum((x - mean_x) ** 2 for x, _ in points)
    if not width:
        raise ValueError("a slope needs points at two different places")
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / width
