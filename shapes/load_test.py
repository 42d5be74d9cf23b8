"""The load test: five phases, 65 minutes, 244,500 virtual users."""

from perfload.load import Phase, PhasedShape


class LoadTest(PhasedShape):
    """Warm up, ramp, normal, peak and stress, as arrivals per second."""

    phases = (
        Phase(name="Warm up", duration="5m", arrival_rate=5),
        Phase(name="Gradual increase", duration="10m", arrival_rate=10, ramp_to=50),
        Phase(name="Normal load", duration="30m", arrival_rate=50),
        Phase(name="Peak load", duration="15m", arrival_rate=100),
        Phase(name="Stress test", duration="5m", arrival_rate=150),
    )
