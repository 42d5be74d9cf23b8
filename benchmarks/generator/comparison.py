"""Rows of windows turned into figures: what each tool did in one case, and how it compares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.generator.paired import Spread, ratio
from benchmarks.generator.table import with_range
from benchmarks.generator.window import Window

REFERENCE = "FastHttpUser"
COLUMNS = (
    "tool",
    "requests/s (range)",
    "CPU us/request",
    "target CPU %",
    f"x {REFERENCE} (range)",
    "in CPU",
)
TARGET_IS_FULL = 95.0
"""Per cent of its core from which on the target, not the tool, is what was measured."""


@dataclass(frozen=True)
class Figures:
    """Medians and ranges of one tool in one case."""

    per_s: Spread
    cpu_us: Spread
    cpu_percent: Spread
    target_percent: Spread

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Figures:
        """Return the figures of these windows."""
        return cls(
            Spread.of([window.per_s for window in windows]),
            Spread.of([window.cpu_us for window in windows]),
            Spread.of([window.cpu_percent for window in windows]),
            Spread.of([window.target_percent for window in windows]),
        )

    def as_json(self) -> dict[str, Any]:
        """Return them for a results file."""
        return dataclasses.asdict(self)

    def cells(self) -> tuple[str, str, str]:
        """Return what stands in a table below `COLUMNS`, behind the name."""
        target = f"{self.target_percent.median:.0f}"
        # Both full is what a fast tool looks like; a full target behind an idle tool is its limit.
        is_limit = self.target_percent.median >= TARGET_IS_FULL and self.cpu_percent.median < TARGET_IS_FULL
        return (
            with_range(self.per_s),
            f"{self.cpu_us.median:.1f}",
            target + (" (its limit)" if is_limit else ""),
        )


def rate_ratio(windows: Sequence[Window], others: Sequence[Window]) -> Spread:
    """Return how many times the requests per second of `others`, repetition by repetition."""
    return ratio([window.per_s for window in windows], [window.per_s for window in others])


def cpu_ratio(windows: Sequence[Window], others: Sequence[Window]) -> Spread:
    """Return how many times the CPU per request `others` took, repetition by repetition."""
    return ratio([window.cpu_us for window in others], [window.cpu_us for window in windows])


def table(
    names: list[str], windows: dict[str, list[Window]], problems: dict[str, str]
) -> list[tuple[str, ...]]:
    """Return a row for each tool, for those that could not be measured too."""
    rows: list[tuple[str, ...]] = []
    reference = windows.get(REFERENCE)
    for name in names:
        if name not in windows:
            rows.append((name, problems[name].partition(";")[0], "", "", "", ""))
            continue
        cells = Figures.of(windows[name]).cells()
        if reference is None:
            rows.append((name, *cells, "", ""))
            continue
        rate, cpu = rate_ratio(windows[name], reference), cpu_ratio(windows[name], reference)
        rows.append((name, *cells, with_range(rate, ".2f"), f"{cpu.median:.2f}"))
    return rows


def ratios(windows: dict[str, list[Window]]) -> dict[str, dict[str, float]]:
    """Return perfload's median ratios to each other tool: requests per second, and CPU per request."""
    ours = windows.get("perfload")
    if ours is None:
        return {}
    return {
        name: {"rate": rate_ratio(ours, other).median, "cpu": cpu_ratio(ours, other).median}
        for name, other in windows.items()
        if other is not ours
    }
