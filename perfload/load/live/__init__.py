"""What is known of a run while it goes on: for the web UI's tabs and for Prometheus."""

from perfload.load.live.latest import WHOLE_SOURCE, LatestReadings, Standing
from perfload.load.live.run import Live, LiveRun, NodeHealth, WatchedRun
from perfload.load.live.totals import BOUNDS_S, OTHER, Distribution, RequestTotals, Totals

__all__ = [
    "BOUNDS_S",
    "OTHER",
    "WHOLE_SOURCE",
    "Distribution",
    "LatestReadings",
    "Live",
    "LiveRun",
    "NodeHealth",
    "RequestTotals",
    "Standing",
    "Totals",
    "WatchedRun",
]
