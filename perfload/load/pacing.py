"""Paced users out of step.

Users that Locust spawns together and paces with `constant_pacing` or `constant_throughput` fire together for
ever: the system sees bursts that nobody asked for, and the generator measures its own queue.
"""

from __future__ import annotations

import random
from typing import Any


def dephase(user: Any) -> None:
    """Shorten the first wait of `user` to a random part of it, if it is paced; its pace stays the same."""
    wait_time = user.wait_time
    if not getattr(wait_time, "__qualname__", "").startswith("constant_pacing."):
        return

    def first_wait_s() -> float:
        del user.wait_time  # from now on the class's own
        # Locust keeps the pace by what it believes it has waited.
        user._cp_last_wait_time = random.random() * wait_time()
        return float(user._cp_last_wait_time)

    user.wait_time = first_wait_s
