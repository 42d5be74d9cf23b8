"""One level of a sweep as a load shape: `perfload sweep` starts a Locust process with it for each level.

What the level is comes as JSON in the environment variable `PERFLOAD_SWEEP_LEVEL`. Its name and content
are between the two of them, and may change.
"""

from __future__ import annotations

import os

from perfload.analysis.sweep_plan import VARIABLE, LevelPlan
from perfload.load import PhasedShape


class Level(PhasedShape):
    """A warm-up that does not count, and a measured phase, both at one load."""

    phases = LevelPlan.parse(os.environ.get(VARIABLE, "")).phases()
