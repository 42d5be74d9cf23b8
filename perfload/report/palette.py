"""The colours of the report's charts."""

from __future__ import annotations

BLUE, ORANGE, GREEN, RED, PURPLE, TEAL, PINK, GREY = PALETTE = (
    "#2f7de1",
    "#c8751a",
    "#16936a",
    "#d9483b",
    "#8b6fd6",
    "#178fa3",
    "#cf4f97",
    "#7d8794",
)
"""Lines for a light and for a dark page: each has a contrast of at least 3:1 with both."""
