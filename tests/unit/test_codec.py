import base64
import json
import struct
import zlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.codec import (
    decode_histogram,
    decode_manifest,
    decode_window,
    encode_histogram,
    encode_manifest,
    encode_window,
)
from perfload.histogram import (
    _COOKIE_V2,
    _COOKIE_V2_COMPRESSED,
    _HEADER,
    Histogram,
    _zigzag_leb128,
)
from perfload.model import (
    SCHEMA_VERSION,
    STAGES,
    AnyWindow,
    ArrivalWindow,
    Manifest,
    MetricWindow,
    NodeEvent,
    NodeEventKind,
    NodeRecord,
    PhaseSpan,
    StageWindow,
    Window,
)

ANY_TEXT = st.one_of(st.text(max_size=20), st.just("half \ud800 of a character"))
COUNTS = st.integers(0, 10**12)
SECONDS = st.integers(-5, 10**6)
REASONS = st.lists(st.tuples(ANY_TEXT, COUNTS), max_size=3).map(tuple)
HISTOGRAMS = st.builds(Histogram, st.lists(st.integers(0, 2**53), max_size=20))

HEADS = {"run_id": ANY_TEXT, "node": ANY_TEXT, "second": SECONDS, "phase": ANY_TEXT}
REQUESTS = st.builds(
    Window,
    **HEADS,
    method=ANY_TEXT,
    name=ANY_TEXT,
    latency=HISTOGRAMS,
    service=HISTOGRAMS,
    failed=HISTOGRAMS,
    received_bytes=COUNTS,
    due=st.lists(st.tuples(SECONDS, COUNTS, COUNTS), max_size=3).map(tuple),
    reasons=REASONS,
)
ARRIVALS = st.builds(ArrivalWindow, **HEADS, lag=HISTOGRAMS, dropped=COUNTS, errors=REASONS)
METRICS = st.builds(MetricWindow, **HEADS, metric=ANY_TEXT, unit=ANY_TEXT, values=HISTOGRAMS)
STAGE_TIMES = st.dictionaries(st.sampled_from(STAGES), HISTOGRAMS).map(
    lambda times: tuple((stage, times[stage]) for stage in STAGES if stage in times)
)
STAGE_WINDOWS = st.builds(StageWindow, **HEADS, method=ANY_TEXT, name=ANY_TEXT, stages=STAGE_TIMES)
WINDOWS = st.one_of(REQUESTS, ARRIVALS, METRICS, STAGE_WINDOWS)

NUMBERS = st.floats(0, 1e9)
SPANS = st.builds(
    PhaseSpan,
    name=ANY_TEXT,
    start_s=NUMBERS,
    duration_s=NUMBERS,
    model=st.sampled_from(["arrivals", "users", "pause"]),
    start=NUMBERS,
    end=NUMBERS,
    planned=COUNTS,
    warmup=st.booleans(),
)
NODES = st.builds(
    NodeRecord,
    node=ANY_TEXT,
    index=st.integers(0, 99),
    complete=st.booleans(),
    last_second=SECONDS,
    note=ANY_TEXT,
    joined_s=NUMBERS,
    left_s=st.none() | NUMBERS,
    given=st.none() | COUNTS,
    lost=st.lists(st.tuples(SECONDS, ANY_TEXT, COUNTS), max_size=3).map(tuple),
    clock_offset_ms=st.none() | NUMBERS,
    clock_error_ms=st.none() | NUMBERS,
)
EVENTS = st.builds(
    NodeEvent,
    at_s=NUMBERS,
    node=ANY_TEXT,
    kind=st.sampled_from(get_args(NodeEventKind)),
    note=ANY_TEXT,
)
TEXTS = st.lists(ANY_TEXT, max_size=3).map(tuple)
PLAIN = st.one_of(ANY_TEXT, st.booleans(), st.integers(0, 9), NUMBERS)
MANIFESTS = st.builds(
    Manifest,
    run_id=ANY_TEXT,
    started_at_s=NUMBERS,
    host=ANY_TEXT,
    scenarios=TEXTS,
    shape=ANY_TEXT,
    phases=st.lists(SPANS, min_size=1, max_size=3).map(tuple),
    thresholds=TEXTS,
    time_scale=NUMBERS,
    max_lag_p95_ms=NUMBERS,
    max_generator_cpu_percent=NUMBERS,
    options=st.dictionaries(ANY_TEXT, PLAIN, max_size=3),
    environment=st.dictionaries(ANY_TEXT, PLAIN, max_size=3),
    nodes=st.lists(NODES, max_size=3).map(tuple),
    events=st.lists(EVENTS, max_size=3).map(tuple),
    ended_at_s=st.one_of(st.none(), NUMBERS),
    end_reason=st.sampled_from(["running", "finished", "stopped", "interrupted", "aborted"]),
    end_note=ANY_TEXT,
)


def through_json(value: object) -> object:
    return json.loads(json.dumps(value, allow_nan=False))


@given(WINDOWS)
def test_every_window_survives_the_round_trip(window: AnyWindow) -> None:
    assert decode_window(through_json(encode_window(window))) == window


@given(MANIFESTS)
def test_every_manifest_survives_the_round_trip(manifest: Manifest) -> None:
    assert decode_manifest(through_json(encode_manifest(manifest))) == manifest


def test_an_empty_histogram_takes_no_room() -> None:
    assert encode_histogram(Histogram()) is None
    assert decode_histogram(None) == Histogram()


def with_value_in_slot(slot: int) -> str:
    """Return the encoding of one value in `slot`; a few bytes, however far that is."""
    body = b"".join(_zigzag_leb128(number) for number in (-slot, 1))
    raw = _HEADER.pack(_COOKIE_V2, len(body), 0, 3, 1, 3_600_000_000, 1.0) + body
    packed = zlib.compress(raw)
    return base64.b64encode(struct.pack(">ii", _COOKIE_V2_COMPRESSED, len(packed)) + packed).decode("ascii")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([10**400, 5, 5], "a sum, minimum or maximum that cannot be"),
        ([5, 5, 10**400], "a sum, minimum or maximum that cannot be"),
        ([-5, 5, 5], "a sum, minimum or maximum that cannot be"),
        ([5, -5, 5], "a sum, minimum or maximum that cannot be"),
    ],
)
def test_sums_that_no_float_can_hold_are_refused(numbers: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_histogram([with_value_in_slot(5), *numbers])


def test_a_value_that_would_fill_the_memory_is_refused() -> None:
    assert decode_histogram([with_value_in_slot(5), 5, 5, 5]) == Histogram([5])
    with pytest.raises(ValueError, match="a histogram holds a value that cannot be"):
        decode_histogram([with_value_in_slot(2**50), 5, 5, 5])


def test_the_largest_value_that_can_be_written_is_read() -> None:
    large = Histogram([2**63 - 1] * 1000)
    assert decode_histogram(through_json(encode_histogram(large))) == large


WINDOW = encode_window(
    Window("run", "node", 3, "Load", "GET", "/a", Histogram([1000]), Histogram([900]), Histogram())
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "weather"}, "a window has a kind of requests, arrivals, metric, stages"),
        ({"kind": ["requests"]}, "a window has a kind of"),
        ({"second": "3"}, "'3' is no whole number"),
        ({"second": True}, "True is no whole number"),
        ({"second": 3.0}, "3.0 is no whole number"),
        ({"node": None}, "None is no text"),
        ({"latency": "x"}, "a histogram is null or"),
        ({"latency": ["x", 1, 1, 1]}, "not an encoded histogram"),
        ({"latency": [Histogram([5]).encode(), 5, 5, "5"]}, "'5' is no whole number"),
        ({"due": None}, "no list of rows"),
        ({"due": [7]}, "no list of rows"),
        ({"due": [[7, 1]]}, "not enough values"),
        ({"reasons": 5}, "no list of rows"),
        ({"bytes": None}, "None is no whole number"),
    ],
)
def test_a_window_that_was_tampered_with_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_window(WINDOW | change)


@pytest.mark.parametrize("field", sorted(WINDOW.keys() - {"kind"}))
def test_a_window_that_lacks_a_field_is_refused_by_its_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"^a window lacks '{field}'$"):
        decode_window({key: value for key, value in WINDOW.items() if key != field})


STAGE_WINDOW = encode_window(
    StageWindow(
        "run", "node", 10, "Load", "GET", "/a", (("wait", Histogram([7])), ("receive", Histogram([3])))
    )
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": "10"}, "'10' is no whole number"),
        ({"method": None}, "None is no text"),
        ({"name": 5}, "5 is no text"),
        ({"stages": None}, "stages is an object of histograms by dns, connect, tls, send, wait, receive"),
        ({"stages": []}, "stages is an object"),
        ({"stages": [["wait", None]]}, "stages is an object"),
        ({"stages": "wait"}, "stages is an object"),
        ({"stages": {"think": None}}, "stages is an object"),
        ({"stages": {"wait": None, "": None}}, "stages is an object"),
        ({"stages": {"wait": 5}}, "a histogram is null or"),
        ({"stages": {"wait": ["x", 1, 1, 1]}}, "not an encoded histogram"),
        ({"stages": {"wait": [Histogram([5]).encode(), 5.5, 5, 5]}}, "5.5 is no whole number"),
    ],
)
def test_stages_that_were_tampered_with_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_window(STAGE_WINDOW | change)


@pytest.mark.parametrize("field", sorted(STAGE_WINDOW.keys() - {"kind"}))
def test_stages_that_lack_a_field_are_refused_by_its_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"^a window lacks '{field}'$"):
        decode_window({key: value for key, value in STAGE_WINDOW.items() if key != field})


def test_stages_are_read_in_the_order_of_a_request() -> None:
    wait, dns = Histogram([7]), Histogram([3])
    told = STAGE_WINDOW | {"stages": {"wait": encode_histogram(wait), "dns": encode_histogram(dns)}}
    decoded = decode_window(told)
    assert isinstance(decoded, StageWindow)
    assert decoded.stages == (("dns", dns), ("wait", wait))


@pytest.mark.parametrize("value", [None, 5, "requests", ["requests"], {}])
def test_what_is_no_window_at_all_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a window has a kind of"):
        decode_window(value)


MANIFEST = encode_manifest(
    Manifest(
        run_id="run",
        started_at_s=1.0,
        host="http://localhost",
        scenarios=("A",),
        shape="",
        phases=(PhaseSpan("Load", 0.0, 10.0, "arrivals", 1.0, 1.0, 10),),
        thresholds=(),
    )
)


NODE = {"node": "worker-1", "index": 1, "complete": True, "last_second": 9}
EVENT = {"at_s": 2.5, "node": "worker-1", "kind": "lost", "note": "not heard of"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": SCHEMA_VERSION + 1}, f"schema {SCHEMA_VERSION + 1}; this perfload reads up to"),
        ({"schema": "1"}, "schema '1'"),
        ({"schema": None}, "schema None"),
        ({"phases": [{"name": "Load"}]}, "it lacks or mistakes"),
        ({"phases": []}, "it has no phases"),
        ({"nodes": 5}, "it lacks or mistakes"),
        ({"nodes": [5]}, "it lacks or mistakes"),
        ({"nodes": [NODE | {"lost": 5}]}, "it lacks or mistakes"),
        ({"nodes": [NODE | {"lost": [[1, "Load"]]}]}, "not enough values"),
        ({"nodes": [NODE | {"lost": [[1.5, "Load", 3]]}]}, "1.5 is no whole number"),
        ({"nodes": [NODE | {"lost": [[1, None, 3]]}]}, "None is no text"),
        ({"nodes": [NODE | {"lost": [[1, "Load", True]]}]}, "True is no whole number"),
        ({"events": [5]}, "it lacks or mistakes"),
        ({"events": [{"at_s": 1.0}]}, "it lacks or mistakes"),
        ({"events": [EVENT | {"at_s": "now"}]}, "an event has the time 'now'"),
        ({"events": [EVENT | {"at_s": True}]}, "an event has the time True"),
        ({"events": [EVENT | {"kind": "bored"}]}, "an event is of an unknown kind 'bored'"),
        ({"events": [EVENT | {"node": 7}]}, "7 is no text"),
        ({"events": [EVENT | {"note": None}]}, "None is no text"),
        ({"thresholds": [5]}, "5 is no text"),
        ({"end_reason": "bored"}, "unknown reason 'bored'"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_manifest(MANIFEST | change)


def test_a_manifest_that_lacks_a_field_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="lacks or mistakes 'nodes'"):
        decode_manifest({key: value for key, value in MANIFEST.items() if key != "nodes"})


def test_a_field_that_a_later_perfload_added_is_ignored() -> None:
    later = MANIFEST | {"weather": "fine"}
    assert decode_manifest(later) == decode_manifest(MANIFEST)


def test_a_record_from_before_shares_could_move_knows_nothing_of_them() -> None:
    manifest = decode_manifest({key: value for key, value in MANIFEST.items() if key != "events"})
    assert manifest.events == ()
    (node,) = decode_manifest(MANIFEST | {"nodes": [NODE]}).nodes
    assert node == NodeRecord("worker-1", 1, complete=True, last_second=9)
    assert (node.joined_s, node.left_s, node.given, node.lost) == (0.0, None, None, ())
    assert (node.clock_offset_ms, node.clock_error_ms) == (None, None)
