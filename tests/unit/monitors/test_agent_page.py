import json

import pytest

from perfload.model import Observation, Reading
from perfload.monitors.agent.page import (
    MAX_ENTRIES,
    Page,
    decode_entry,
    decode_page,
    encode_entry,
    encode_page,
)

PAGE = Page(
    node="db-1",
    session="5f0c",
    next=4711,
    lost=2,
    entries=('{"a":"b"}', "x"),
    received_s=1000.25,
    now_s=1000.5,
)


def test_a_page_is_read_back_as_it_was_written() -> None:
    read = decode_page(encode_page(PAGE))
    assert read == Page("db-1", "5f0c", 4711, 2, ['{"a":"b"}', "x"], 1000.25, 1000.5)


@pytest.mark.parametrize(
    "entry",
    [
        Reading(1000.5, "db-1", "host", "cpu_percent", "%", 37.5),
        Reading(1000.5, "db-1", "host", "*", "", None, 'he said "kind":"x"'),
        Observation(1000.5, "db-1", "mongodb", "index", {"metric": "no"}),
    ],
)
def test_an_entry_is_read_back_as_it_was_written(entry: Reading | Observation) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"node": ""},
        {"node": "n" * 257},
        {"session": 7},
        {"next": -1},
        {"next": True},
        {"next": 1.5},
        {"lost": 1 << 63},
        {"entries": {}},
        {"entries": [1]},
        {"entries": ["x"] * (MAX_ENTRIES + 1)},
        {"entries": ["x" * 300_000]},
        {"received_s": "1000"},
        {"now_s": 1e300},
        {"now_s": float("nan")},
        {"now_s": float("inf")},
        {"now_s": 999.0},
        {"received_s": -5.0},
    ],
)
def test_a_page_that_no_agent_writes_is_refused(change: dict[str, object]) -> None:
    fields = json.loads(encode_page(PAGE)) | change
    with pytest.raises(ValueError, match=r"."):
        decode_page(json.dumps(fields).encode())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_page(body)
