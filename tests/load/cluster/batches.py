"""Results of workers, for tests that send them somewhere."""

from perfload.histogram import Histogram
from perfload.load.node import Batch
from perfload.model import ArrivalWindow, Reading, Window

STARTED_AT_S = 1_700_000_000.0


def batch(second: int, *, final: bool = False, node: str = "worker-0", run_id: str = "run-1") -> Batch:
    """Return what a node may hand over for one second: a request, an arrival and a reading."""
    latency = Histogram([1_000 + second])
    return Batch(
        windows=[
            Window(run_id, node, second, "Load", "GET", "/a", latency, latency, Histogram()),
            ArrivalWindow(run_id, node, second, "Load", Histogram([100])),
        ],
        readings=[Reading(STARTED_AT_S + 0.5 + second, node, "generator", "users", "users", 3.0)],
        idle=final,
        final=final,
    )
