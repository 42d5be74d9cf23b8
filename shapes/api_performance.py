"""The API performance test: one minute at 20 virtual users per second."""

from perfload.load import Phase, PhasedShape


class ApiPerformance(PhasedShape):
    """A constant rate, to compare one build with the next."""

    phases = (Phase(name="API performance", duration="60s", arrival_rate=20),)
