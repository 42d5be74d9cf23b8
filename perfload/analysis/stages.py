"""Where the time of requests went: sums over stage windows, without warm-ups."""

from __future__ import annotations

from collections import defaultdict

from perfload.analysis.schema import Breakdown, RequestBreakdown, StagesSummary, StageSummary
from perfload.analysis.tally import counted_phases, spread
from perfload.histogram import Histogram
from perfload.model import STAGES, RunRecord, StageWindow

SETUP = ("dns", "connect", "tls")
"""The stages that a request does without when it finds a connection open."""

NOTABLE_SETUP_PERCENT = 20.0
"""A run in which connections take a larger share of the time than this says so."""


class _Sum:
    """The sum of some stage windows."""

    def __init__(self) -> None:
        self._stages: defaultdict[str, Histogram] = defaultdict(Histogram)

    def add(self, window: StageWindow) -> None:
        for stage, histogram in window.stages:
            self._stages[stage].add(histogram)

    def breakdown(self) -> Breakdown:
        responses = self._stages["wait"].count
        connections = self._stages["connect"].count
        total_us = sum(histogram.sum for histogram in self._stages.values())
        return Breakdown(
            responses=responses,
            mean_ms=total_us / responses / 1000 if responses else None,
            connections_per_100_requests=100 * connections / responses if responses else None,
            stages=[
                _stage(stage, self._stages[stage], total_us) for stage in STAGES if self._stages[stage].count
            ],
        )


def _stage(stage: str, histogram: Histogram, total_us: int) -> StageSummary:
    share_percent = 100 * histogram.sum / total_us if total_us else None
    return StageSummary(
        stage=stage, count=histogram.count, share_percent=share_percent, time_ms=spread(histogram)
    )


def stages(record: RunRecord) -> StagesSummary:
    """Return the stages of all requests together, and of each; no responses where a record has no stages."""
    counted = counted_phases(record.manifest)
    total = _Sum()
    requests: defaultdict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for window in record.stages:
        if window.phase in counted:
            total.add(window)
            requests[window.name, window.method].add(window)
    return StagesSummary(
        total=total.breakdown(),
        requests=[
            RequestBreakdown(method=method, name=name, **requests[name, method].breakdown())
            for name, method in sorted(requests)
        ],
    )


def share_percent(breakdown: Breakdown, names: tuple[str, ...]) -> float | None:
    """Return the share of the time that the stages `names` have together; None when there was no time."""
    shares = {stage["stage"]: stage["share_percent"] for stage in breakdown["stages"]}
    if not any(share is not None for share in shares.values()):
        return None
    return sum(shares.get(name) or 0.0 for name in names)


def setup_note(total: Breakdown) -> str:
    """Return, in words, that connections took a notable share of the time; "" if they did not."""
    setup, connections = share_percent(total, SETUP), total["connections_per_100_requests"]
    if setup is None or connections is None or setup <= NOTABLE_SETUP_PERCENT:
        return ""
    return (
        f"Setting up connections took {setup:.0f} % of the time of all requests: "
        f"{connections:.3g} connections were made per 100 requests."
    )
