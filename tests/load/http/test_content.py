"""Content codings and texts, without a server."""

import gzip
import sys
import zlib

import brotli
import pytest

from perfload.load.http import BadContent
from perfload.load.http.content import charset_of, decode, to_text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY = bytes(range(256)) * 400
SKIPPED = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
"""A frame of zstd that holds nothing."""

ENCODED = {
    "gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "br": brotli.compress(BODY),
    "zstd": zstd.compress(BODY),
}


@pytest.mark.parametrize("coding", ENCODED)
def test_what_is_whole_is_decoded(coding: str) -> None:
    assert decode(ENCODED[coding], coding, len(BODY)) == BODY
    assert decode(ENCODED[coding], f" {coding.upper()} ", len(BODY)) == BODY
    assert decode(b"", coding, 10) == b""


@pytest.mark.parametrize("coding", ENCODED)
def test_what_would_be_too_large_is_not_made(coding: str) -> None:
    with pytest.raises(BadContent, match="response too large"):
        decode(ENCODED[coding], coding, len(BODY) - 1)


@pytest.mark.parametrize("coding", ENCODED)
def test_what_is_cut_short(coding: str) -> None:
    encoded = ENCODED[coding]
    for size in (len(encoded) // 2, len(encoded) - 1):
        with pytest.raises(BadContent, match="the body is cut short"):
            decode(encoded[:size], coding, len(BODY))


@pytest.mark.parametrize("coding", ENCODED)
def test_what_is_damaged(coding: str) -> None:
    with pytest.raises(BadContent, match="the body is damaged"):
        decode(b"\xff" * 40, coding, len(BODY))


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_may_be_several(coding: str) -> None:
    assert decode(ENCODED[coding] * 3, coding, 3 * len(BODY)) == BODY * 3
    with pytest.raises(BadContent, match="response too large"):
        decode(ENCODED[coding] * 3, coding, 3 * len(BODY) - 1)
    with pytest.raises(BadContent, match="damaged"):
        decode(ENCODED[coding] + b"more and more", coding, 3 * len(BODY))


def test_frames_of_zstd_that_hold_nothing() -> None:
    assert decode(SKIPPED + ENCODED["zstd"] + SKIPPED, "zstd", len(BODY)) == BODY


def test_a_window_of_zstd_that_is_too_large_for_the_web() -> None:
    widest = {zstd.CompressionParameter.window_log: 23}
    wider = {zstd.CompressionParameter.window_log: 24}
    body = bytes(20_000_000)
    assert len(decode(zstd.compress(body, options=widest), "zstd", 1 << 30)) == len(body)
    with pytest.raises(BadContent, match="damaged"):
        decode(zstd.compress(body, options=wider), "zstd", 1 << 30)


def test_a_small_body_that_would_fill_the_memory() -> None:
    bomb = zstd.compress(bytes(200_000_000))
    assert len(bomb) < 50_000
    with pytest.raises(BadContent, match="response too large"):
        decode(bomb, "zstd", 1_000_000)


def test_codings_on_top_of_each_other_and_unknown_ones() -> None:
    both = zstd.compress(gzip.compress(BODY))
    assert decode(both, "gzip, zstd", len(BODY)) == BODY
    assert decode(both, "gzip, identity, zstd", len(BODY)) == BODY
    assert decode(ENCODED["zstd"], "zstd, rot13", len(BODY)) == ENCODED["zstd"]


@pytest.mark.parametrize(
    ("content_type", "content", "text"),
    [
        ("text/plain; charset=iso-8859-1", b"\xe4", "ä"),
        ("text/plain; Charset='UTF-8'", "ä€".encode(), "ä€"),
        ("application/json", "ä".encode(), "ä"),
        ("application/problem+json", b"\xff", "\ufffd"),
        ("text/event-stream", "ä".encode(), "ä"),
        ("text/html", "ä".encode(), "ä"),
        ("text/html", b"\xe4", "ä"),
        ("text/plain; charset=none-such", b"\xe4", "ä"),
        ("", b"plain", "plain"),
    ],
)
def test_texts(content_type: str, content: bytes, text: str) -> None:
    assert to_text(content, charset_of(content_type)) == text
