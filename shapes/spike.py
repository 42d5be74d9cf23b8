"""The spike: ten times the load within seconds, and back, to see whether the system recovers."""

from perfload.load import Phase, PhasedShape


class Spike(PhasedShape):
    """A calm before, to compare the calm after with."""

    phases = (
        Phase(name="Before", duration="2m", arrival_rate=20),
        Phase(name="Spike up", duration="10s", arrival_rate=20, ramp_to=200),
        Phase(name="Spike", duration="1m", arrival_rate=200),
        Phase(name="Spike down", duration="10s", arrival_rate=200, ramp_to=20),
        Phase(name="After", duration="3m", arrival_rate=20),
    )
