"""Bodies as they are meant: out of gzip, deflate, br and zstd, and from bytes to text."""

from __future__ import annotations

import sys
import zlib

import brotli  # type: ignore[import-untyped]

from perfload.load.http.failures import TOO_LARGE, BadContent

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
"""8 MiB, the most that this coding may want a client to keep (RFC 9659)."""


def decode(body: bytes, codings: str, max_bytes: int) -> bytes:
    """Return `body` without its content codings, the last one first.

    A coding that is not known is left as it is. Raises `BadContent` when the body is damaged, cut short, or
    more than `max_bytes` long: a small body can decode to a very large one.
    """
    for coding in reversed(codings.lower().split(",")):
        if not body:
            break
        name = coding.strip()
        if name in {"gzip", "x-gzip"}:
            body = _inflate(body, 16 + zlib.MAX_WBITS, max_bytes)
        elif name == "deflate":
            # Some servers send the bare stream; the first byte of a wrapped one says so.
            wrapped = body[0] & 0x0F == 8 and len(body) > 1 and int.from_bytes(body[:2], "big") % 31 == 0
            body = _inflate(body, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS, max_bytes)
        elif name == "br":
            body = _unbrotli(body, max_bytes)
        elif name == "zstd":
            body = _unzstd(body, max_bytes)
        elif name != "identity":
            break
    return body


def _inflate(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    left = max_bytes
    while body:  # a gzip body may be several, one after the other
        inflater = zlib.decompressobj(window_bits)
        try:
            piece = inflater.decompress(body, left + 1)
        except zlib.error as error:
            raise BadContent("the body is damaged") from error
        left -= len(piece)
        if left < 0:
            raise BadContent(TOO_LARGE)
        if not inflater.eof:
            raise BadContent("the body is cut short")
        pieces.append(piece)
        body = inflater.unused_data.lstrip(b"\0") if window_bits > zlib.MAX_WBITS else b""
    return b"".join(pieces)


def _unbrotli(body: bytes, max_bytes: int) -> bytes:
    decoder = brotli.Decompressor()
    pieces: list[bytes] = []
    size = 0
    try:
        piece = decoder.process(body, output_buffer_limit=65536)
        while piece or not decoder.can_accept_more_data():
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise BadContent(TOO_LARGE)
            piece = decoder.process(b"", output_buffer_limit=65536)
    except brotli.error as error:
        raise BadContent("the body is damaged") from error
    if not decoder.is_finished():
        raise BadContent("the body is cut short")
    return b"".join(pieces)


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    left = max_bytes
    while body:  # as with gzip, it may be several
        decoder = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        try:
            piece = decoder.decompress(body, left + 1)
        except zstd.ZstdError as error:
            raise BadContent("the body is damaged") from error
        left -= len(piece)
        if left < 0:
            raise BadContent(TOO_LARGE)
        if not decoder.eof:
            raise BadContent("the body is cut short")
        pieces.append(piece)
        body = decoder.unused_data
    return b"".join(pieces)


def charset_of(content_type: str) -> str:
    """Return the character set that a `Content-Type` names or implies, or ""."""
    kind, _, parameters = content_type.partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("'\"")
    kind = kind.strip().lower()
    if kind in {"application/json", "text/event-stream"} or kind.endswith("+json"):
        return "utf-8"
    return ""


def to_text(content: bytes, charset: str) -> str:
    """Return `content` as text; without a (known) charset as UTF-8 if it is that, else as Latin-1."""
    if charset:
        try:
            return content.decode(charset, errors="replace")
        except (LookupError, ValueError):
            pass
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
