"""Histograms in Prometheus' text format, written by hand: they are nine lines in ten of `/metrics`.

`prometheus_client` takes ten times as long for them, of a processor that has load to generate. The lines are
the same in OpenMetrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from perfload.load.live import BOUNDS_S, Distribution, Live

Series = tuple[Mapping[str, str], Distribution]

SERIES_AT_A_TIME = 10
"""After so many, a fraction of a millisecond, others get their turn."""

_LIMITS = [*(f'le="{bound_s!r}"}} ' for bound_s in map(float, BOUNDS_S)), 'le="+Inf"} ']


def histograms(live: Live, pause: Callable[[], None]) -> str:
    """Return all histograms as text; `pause` lets others run meanwhile."""
    families: tuple[tuple[str, str, Iterable[Series]], ...] = (
        (
            "perfload_response_time_seconds",
            "from the intended start to the last byte",
            _response_times(live),
        ),
        (
            "perfload_service_time_seconds",
            "from the actual send, of what succeeded",
            [
                ({"method": method, "name": name}, request.service)
                for (method, name), request in live.totals.requests.items()
            ],
        ),
        (
            "perfload_arrival_lag_seconds",
            "from the intended to the actual start of users",
            [({}, live.totals.lag)],
        ),
    )
    lines: list[str] = []
    written = 0
    for name, about, series in families:
        lines.append(f"# HELP {name} {about}\n# TYPE {name} histogram\n")
        for labels, distribution in list(series):
            lines += _lines(name, labels, distribution)
            written += 1
            if not written % SERIES_AT_A_TIME:
                pause()
    return "".join(lines)


def _response_times(live: Live) -> Iterator[Series]:
    for (method, name), request in live.totals.requests.items():
        labels = {"method": method, "name": name}
        yield {**labels, "outcome": "ok"}, request.latency
        if request.failed.count:
            yield {**labels, "outcome": "failed"}, request.failed


def _lines(name: str, labels: Mapping[str, str], distribution: Distribution) -> list[str]:
    inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    head = f"{name}_bucket{{{inside}," if inside else f"{name}_bucket{{"
    below = 0
    lines = []
    for limit, count in zip(_LIMITS, distribution.buckets, strict=True):
        below += count
        lines.append(f"{head}{limit}{below}\n")
    outside = f"{{{inside}}}" if inside else ""
    lines.append(f"{name}_count{outside} {below}\n")
    lines.append(f"{name}_sum{outside} {distribution.sum_us / 1_000_000!r}\n")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
