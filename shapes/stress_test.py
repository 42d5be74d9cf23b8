"""The stress test: rising steps until something gives.

Stop it there with a rule such as `error_rate <= 5% for 10s abort`.
"""

from perfload.load import Phase, PhasedShape

RATES_PER_S = (25, 50, 100, 150, 200, 300, 400, 500)


class StressTest(PhasedShape):
    """Two minutes on each step, so that queues have time to show."""

    phases = tuple(Phase(name=f"{rate}/s", duration="2m", arrival_rate=rate) for rate in RATES_PER_S)
