"""Windows and manifests as JSON: one form for the files of a run record and for the messages of a cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from perfload.histogram import Histogram, slot_of
from perfload.model import (
    SCHEMA_VERSION,
    STAGES,
    AnyWindow,
    ArrivalWindow,
    EndReason,
    Manifest,
    MetricWindow,
    NodeEvent,
    NodeEventKind,
    NodeRecord,
    PhaseSpan,
    StageWindow,
    Window,
)

JsonObject = dict[str, Any]

_TOO_LARGE = 1 << 63
"""The encoding has room for 64 bits; a value beyond them comes from nobody who measured."""


def encode_histogram(histogram: Histogram) -> list[object] | None:
    """Return `[V2 text, sum, min, max]`, or None for an empty histogram."""
    if not histogram.count:
        return None
    return [histogram.encode(), histogram.sum, histogram.min, histogram.max]


def decode_histogram(value: object) -> Histogram:
    """Return what `encode_histogram` wrote; raises `ValueError` on anything else."""
    if value is None:
        return Histogram()
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[0], str):
        raise ValueError("a histogram is null or [text, sum, min, max]")
    total, least, greatest = (_whole(number) for number in value[1:])
    histogram = Histogram.decode(value[0], total=total, least=least, greatest=greatest)
    if not (0 <= least < _TOO_LARGE and 0 <= greatest < _TOO_LARGE and 0 <= total < _TOO_LARGE**2):
        raise ValueError("a histogram has a sum, minimum or maximum that cannot be")
    if max(histogram.slots, default=0) >= slot_of(_TOO_LARGE):
        raise ValueError("a histogram holds a value that cannot be")
    return histogram


def encode_window(window: AnyWindow) -> JsonObject:
    """Return `window` as JSON values, `kind` first."""
    head: JsonObject = {"kind": _KINDS[type(window)], "run": window.run_id, "node": window.node}
    head |= {"second": window.second, "phase": window.phase}
    if isinstance(window, Window):
        return head | {
            "method": window.method,
            "name": window.name,
            "latency": encode_histogram(window.latency),
            "service": encode_histogram(window.service),
            "failed": encode_histogram(window.failed),
            "bytes": window.received_bytes,
            "due": [list(row) for row in window.due],
            "reasons": [list(row) for row in window.reasons],
        }
    if isinstance(window, ArrivalWindow):
        errors = [list(row) for row in window.errors]
        return head | {"lag": encode_histogram(window.lag), "dropped": window.dropped, "errors": errors}
    if isinstance(window, StageWindow):
        stages = {stage: encode_histogram(histogram) for stage, histogram in window.stages}
        return head | {"method": window.method, "name": window.name, "stages": stages}
    return head | {"metric": window.metric, "unit": window.unit, "values": encode_histogram(window.values)}


def decode_window(value: object) -> AnyWindow:
    """Return the window that `encode_window` wrote; raises `ValueError` that says what is wrong."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str) or kind not in _READERS:
        raise ValueError(f"a window has a kind of {', '.join(_READERS)}")
    try:
        head = (_text(value["run"]), _text(value["node"]), _whole(value["second"]), _text(value["phase"]))
        return _READERS[kind](head, value)
    except KeyError as error:
        raise ValueError(f"a window lacks {error}") from error
    except TypeError as error:
        raise ValueError(f"a window holds no list of rows where one belongs: {error}") from error


_Head = tuple[str, str, int, str]


def _read_requests(head: _Head, value: JsonObject) -> Window:
    return Window(
        *head,
        method=_text(value["method"]),
        name=_text(value["name"]),
        latency=decode_histogram(value["latency"]),
        service=decode_histogram(value["service"]),
        failed=decode_histogram(value["failed"]),
        received_bytes=_whole(value["bytes"]),
        due=tuple((_whole(second), _whole(ok), _whole(failed)) for second, ok, failed in value["due"]),
        reasons=_counts(value["reasons"]),
    )


def _read_arrivals(head: _Head, value: JsonObject) -> ArrivalWindow:
    return ArrivalWindow(
        *head,
        lag=decode_histogram(value["lag"]),
        dropped=_whole(value["dropped"]),
        errors=_counts(value["errors"]),
    )


def _read_metric(head: _Head, value: JsonObject) -> MetricWindow:
    values = decode_histogram(value["values"])
    return MetricWindow(*head, metric=_text(value["metric"]), unit=_text(value["unit"]), values=values)


def _read_stages(head: _Head, value: JsonObject) -> StageWindow:
    stages = value["stages"]
    if not isinstance(stages, dict) or not stages.keys() <= set(STAGES):
        raise ValueError(f"stages is an object of histograms by {', '.join(STAGES)}")
    return StageWindow(
        *head,
        method=_text(value["method"]),
        name=_text(value["name"]),
        stages=tuple((stage, decode_histogram(stages[stage])) for stage in STAGES if stage in stages),
    )


_KINDS: dict[type[AnyWindow], str] = {
    Window: "requests",
    ArrivalWindow: "arrivals",
    MetricWindow: "metric",
    StageWindow: "stages",
}
_READERS: dict[str, Callable[[_Head, JsonObject], AnyWindow]] = {
    "requests": _read_requests,
    "arrivals": _read_arrivals,
    "metric": _read_metric,
    "stages": _read_stages,
}


def encode_manifest(manifest: Manifest) -> JsonObject:
    """Return `manifest` as the JSON object of `run.json`."""
    return dataclasses.asdict(manifest)


def decode_manifest(value: object) -> Manifest:
    """Return the manifest in a `run.json`; raises `ValueError` that says what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    schema = value.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA_VERSION:
        raise ValueError(f"it has schema {schema!r}; this perfload reads up to {SCHEMA_VERSION}")
    try:
        return _read_manifest(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it lacks or mistakes {error}") from error


def _read_manifest(value: JsonObject) -> Manifest:
    known = {item.name for item in dataclasses.fields(Manifest)}
    plain = {key: item for key, item in value.items() if key in known}
    plain["phases"] = tuple(PhaseSpan(**span) for span in value["phases"])
    if not plain["phases"]:
        raise ValueError("it has no phases")
    plain["nodes"] = tuple(_read_node(node) for node in value["nodes"])
    plain["events"] = tuple(_read_event(event) for event in value.get("events", ()))
    plain["scenarios"] = tuple(_text(path) for path in value["scenarios"])
    plain["thresholds"] = tuple(_text(rule) for rule in value["thresholds"])
    if value["end_reason"] not in get_args(EndReason):
        raise ValueError(f"it ended for an unknown reason {value['end_reason']!r}")
    return Manifest(**cast(Mapping[str, Any], plain))


def _read_node(value: JsonObject) -> NodeRecord:
    lost = ((_whole(second), _text(phase), _whole(count)) for second, phase, count in value.get("lost", ()))
    return NodeRecord(**value | {"lost": tuple(lost)})


def _read_event(value: JsonObject) -> NodeEvent:
    event = NodeEvent(**value)
    if isinstance(event.at_s, bool) or not isinstance(event.at_s, (int, float)):
        raise ValueError(f"an event has the time {event.at_s!r}")
    if event.kind not in get_args(NodeEventKind):
        raise ValueError(f"an event is of an unknown kind {event.kind!r}")
    return replace(event, node=_text(event.node), note=_text(event.note))


def _counts(rows: Iterable[Any]) -> tuple[tuple[str, int], ...]:
    return tuple((_text(reason), _whole(count)) for reason, count in rows)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number")
    return value
