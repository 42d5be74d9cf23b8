"""The charts over time of a run that asked language models, and their spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from perfload.histogram import Histogram
from perfload.model import METRIC_SCALE, RunRecord
from perfload.report import spectrum
from perfload.report.ai_metrics import Recorded, percentile, scaled_sum
from perfload.report.drawing import Figure, bars, line, over_time
from perfload.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from perfload.report.series import MAX_BINS, Series, TimeAxis, time_axis
from perfload.report.spectrum import Curve

_SHOWN_MS = "%{y:,.4~g} ms"
_STRAY_SHARE = 0.01

_ANSWERS_PER_BIN = 30
_MIN_BINS = 20


def axis_of_answers(record: RunRecord, recorded: Recorded) -> TimeAxis:
    """Return the time of the run in bins with enough answers for percentiles; a dozen if there are few."""
    answers = recorded.total("e2e").count
    return time_axis(record, max_bins=min(MAX_BINS, max(_MIN_BINS, answers // _ANSWERS_PER_BIN)))


def first_token(record: RunRecord, recorded: Recorded, axis: TimeAxis) -> Figure | None:
    """Draw TTFT; TTFO beside it where a model thought before it answered."""
    bins = recorded.binned("ttft", axis)
    wanted = [
        _Wanted("p50", bins, 50, GREEN),
        _Wanted("p95", bins, 95, ORANGE, "dash"),
        _Wanted("p99", bins, 99, PURPLE, "dot"),
        _Wanted("slowest", bins, 100, GREY, "dot"),
    ]
    if _thinks_first(recorded):
        content = recorded.binned("ttfo", axis)
        wanted.append(_Wanted("first token of content, p50", content, 50, BLUE))
        wanted.append(_Wanted("first token of content, p95", content, 95, BLUE, "dash"))
    return _percentiles(record, axis, wanted, "time to first token, ms")


def _thinks_first(recorded: Recorded) -> bool:
    """Return whether content came later than the first token, in more than an answer here and there.

    Where it did not, TTFO is TTFT to the nanosecond: each value is among the other's, and those without are
    answers that had no content, such as calls of tools.
    """
    first, content = recorded.total("ttft"), recorded.total("ttfo")
    later = sum(max(0, n - first.slots.get(slot, 0)) for slot, n in content.slots.items())
    return later > _STRAY_SHARE * content.count


def gaps(record: RunRecord, recorded: Recorded, axis: TimeAxis) -> Figure | None:
    """Draw TPOT and ICL."""
    tpot, icl = (recorded.binned(metric, axis) for metric in ("tpot", "icl"))
    wanted = [
        _Wanted("time per output token, p50", tpot, 50, GREEN),
        _Wanted("time per output token, p95", tpot, 95, GREEN, "dash"),
        _Wanted("time per output token, p99", tpot, 99, GREEN, "dot"),
        _Wanted("from chunk to chunk, p50", icl, 50, BLUE),
        _Wanted("from chunk to chunk, p99", icl, 99, BLUE, "dot"),
    ]
    return _percentiles(record, axis, wanted, "ms")


def times_spectrum(recorded: Recorded) -> Figure | None:
    """Draw all of TTFT and TPOT, over the phases that count."""
    curves = [
        Curve("time to first token", recorded.total("ttft"), BLUE, "solid"),
        Curve("time per output token", recorded.total("tpot"), GREEN, "dash"),
    ]
    if _thinks_first(recorded):
        curves.insert(1, Curve("first token of content", recorded.total("ttfo"), PURPLE, "dot"))
    return spectrum.figure(curves, "took at most, ms")


def tokens(record: RunRecord, recorded: Recorded, axis: TimeAxis) -> Figure | None:
    """Draw the output tokens of the answers that ended in each bin, per second of it; none after the last."""
    sums = [scaled_sum(found) for found in recorded.binned("output_tokens", axis)]
    if not any(sums):
        return None
    last = max(index for index, total in enumerate(sums) if total)
    # Where none ended before that, none came: a stall is a zero, not a gap.
    values: Series = [
        total / axis.width_s(index) if index <= last else None for index, total in enumerate(sums)
    ]
    trace = line("output tokens of answers that ended", values, axis, BLUE, "%{y:,.4~g}/s", shape="hv")
    return over_time(record, axis, [trace], "tokens per second", height=240)


def goodput(record: RunRecord, recorded: Recorded, axis: TimeAxis) -> Figure | None:
    """Draw the share of good answers among those that ended."""
    bins = recorded.binned("good", axis)
    values: Series = [found.mean / METRIC_SCALE if found.count else None for found in bins]
    if all(value is None for value in values):
        return None
    trace = _centred(line("goodput", values, axis, GREEN, "%{y:.1f} %"), axis)
    figure = over_time(record, axis, [trace], "% of the answers", height=240)
    figure["layout"]["yaxis"]["range"] = [0, 101]
    return figure


def left(record: RunRecord, recorded: Recorded, axis: TimeAxis) -> Figure | None:
    """Draw what the headers said is left of the rate limits, the lowest of each bin, in a scale for each."""
    requests = _lowest(recorded.binned("remaining_requests", axis))
    of_tokens = _lowest(recorded.binned("remaining_tokens", axis))
    has_requests, has_tokens = (any(v is not None for v in values) for values in (requests, of_tokens))
    traces = []
    if has_requests:
        traces.append(line("requests left", requests, axis, BLUE, "%{y:,} requests", shape="hv"))
    if has_tokens:
        beside = {"yaxis": "y2"} if has_requests else {}
        traces.append(
            line("tokens left", of_tokens, axis, ORANGE, "%{y:,} tokens", dash="dash", shape="hv", **beside)
        )
    if not traces:
        return None
    figure = over_time(record, axis, traces, "requests" if has_requests else "tokens", height=240)
    if has_requests and has_tokens:
        figure["layout"]["yaxis2"] = {
            **figure["layout"]["yaxis"],
            "title": {"text": "tokens", "font": {"size": 12}},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "tickmode": "auto",
        }
    return figure


def _lowest(bins: list[Histogram]) -> Series:
    return [values.min / METRIC_SCALE if values.count else None for values in bins]


def refused(record: RunRecord, recorded: Recorded, axis: TimeAxis) -> Figure | None:
    """Draw the requests that met a limit, per second; those that met none leave zeros."""
    kinds = (
        ("429, rate limited", "rate_limited", ORANGE),
        ("529 or 503, overloaded", "overloaded", RED),
    )
    traces = []
    for name, metric, color in kinds:
        values = _hits_per_s(recorded.binned(metric, axis), axis)
        if any(values):
            traces.append(bars(name, values, axis, color, "%{y:,.4~g}/s"))
    return over_time(record, axis, traces, "requests per second", height=240) if traces else None


def _hits_per_s(bins: list[Histogram], axis: TimeAxis) -> Series:
    """Return how many values per second are 100 % and not 0."""
    return [
        scaled_sum(found) / 100 / axis.width_s(index) if found.count else None
        for index, found in enumerate(bins)
    ]


class _Wanted(NamedTuple):
    """A percentile of each bin, as a line."""

    name: str
    bins: list[Histogram]
    percent: float
    color: str
    dash: str = "solid"


def _percentiles(record: RunRecord, axis: TimeAxis, wanted: Sequence[_Wanted], title: str) -> Figure | None:
    """Draw those lines that have any values."""
    traces = []
    for name, bins, percent, color, dash in wanted:
        values: Series = [percentile(found, percent) for found in bins]
        if any(value is not None for value in values):
            traces.append(_centred(line(name, values, axis, color, _SHOWN_MS, dash=dash), axis))
    return over_time(record, axis, traces, title) if traces else None


def _centred(trace: dict[str, Any], axis: TimeAxis) -> dict[str, Any]:
    """Return `trace` with its points in the middle of bins wider than a second, not at their beginning."""
    middle = datetime.fromtimestamp((axis.bin_s - 1) / 2, UTC)
    # As text: plotly takes a number of four digits for a year.
    return trace | {"x0": f"{middle:%Y-%m-%d %H:%M:%S.%f}"}
