"""The soak: four hours of normal load, to find what grows: memory, connections, queues."""

from perfload.load import Phase, PhasedShape


class Soak(PhasedShape):
    """Random arrivals: evenly spaced ones are kinder to a system than real users."""

    phases = (
        Phase(name="Ramp", duration="5m", arrival_rate=1, ramp_to=50, warmup=True),
        Phase(name="Soak", duration="4h", arrival_rate=50, poisson_seed=1),
    )
