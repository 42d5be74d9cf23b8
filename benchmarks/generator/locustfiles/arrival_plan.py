"""The arrivals of `arrival.py` under perfload: BENCH_RATE a second, for BENCH_SECONDS."""

from __future__ import annotations

import os

from perfload.load import Phase, PhasedShape


class Arrivals(PhasedShape):
    """A constant rate."""

    phases = (
        Phase(
            name="Arrivals",
            duration=float(os.environ["BENCH_SECONDS"]),
            arrival_rate=float(os.environ["BENCH_RATE"]),
        ),
    )
