"""Load on a language model: three phases, 30 minutes, 9,120 virtual users."""

from perfload.load import Phase, PhasedShape


class AiLoad(PhasedShape):
    """Warm up, normal, peak: as arrivals per second, each with an answer of some seconds to wait for."""

    phases = (
        Phase(name="Warm up", duration="4m", arrival_rate=2, warmup=True),
        Phase(name="Normal load", duration="16m", arrival_rate=4),
        Phase(name="Peak load", duration="10m", arrival_rate=8),
    )
