"""Requests as bytes, prepared once for each way of asking and used by every virtual user."""

from __future__ import annotations

import functools
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from perfload import __version__
from perfload.load.http.body import JSON
from perfload.load.http.origin import Origin, Place

_MAX_KEPT = 4096
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110, 9.2.2: sent twice, they have the effect of once."""
_SENDS_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_DEFAULT_FIELDS = {
    "User-Agent": f"perfload/{__version__}",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept": "*/*",
}

Fields = Mapping[str, Any]


class Prepared:
    """A request without its body and cookies."""

    __slots__ = (
        "_head",
        "bare",
        "fields",
        "has_cookies",
        "is_head_request",
        "is_idempotent",
        "method",
        "origin",
        "target",
        "url",
    )

    def __init__(self, method: str, place: Place, fields: dict[str, str]) -> None:
        self.method = method
        self.is_head_request = method == "HEAD"
        self.is_idempotent = method in _IDEMPOTENT
        self.origin: Origin = place.origin
        self.target = place.target
        self.url = place.url
        self.fields = fields
        """The header fields but `Host` and what tells the length."""
        self.has_cookies = any(name.lower() == "cookie" for name in fields)
        """Whether the scenario has chosen the cookies itself."""
        host = next(
            (value for name, value in fields.items() if name.lower() == "host"), place.origin.host_header
        )
        lines = [f"{method} {place.target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in fields.items() if name.lower() != "host"]
        self._head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        self.bare = self.message(None, "")
        """All of it, when it has neither a body nor cookies."""

    def message(self, body: bytes | None, cookies: str) -> bytes:
        """Return the bytes to send with `body` and the `Cookie` field `cookies`."""
        head = self._head
        if cookies:
            head = b"%bCookie: %b\r\n" % (head, cookies.encode("latin-1", "replace"))
        if body is not None:
            return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        if self.method in _SENDS_LENGTH:
            return b"%bContent-Length: 0\r\n\r\n" % head
        return b"%b\r\n" % head


class Preparer:
    """Prepares the requests of all users with the same base URL and default headers."""

    def __init__(self, base_url: str, default_headers: tuple[tuple[str, str], ...]) -> None:
        base = Place(base_url) if base_url else None
        self._base = str(base.origin) + base.target.rstrip("/") if base else ""
        self._base_credentials = (base.origin, base.credentials) if base and base.credentials else None
        self._fields = merged(_DEFAULT_FIELDS, dict(default_headers))
        self._kept: dict[object, Prepared] = {}

    def url_of(self, url: str) -> str:
        """Return `url`, behind the base URL unless it is absolute."""
        if _ABSOLUTE.match(url):
            return url
        return f"{self._base}{url}" if url[:1] in {"/", "?", ""} else f"{self._base}/{url}"

    def prepare(self, method: str, url: str, headers: Fields | None, content_type: str) -> Prepared:
        """Return the request; raises ValueError for what HTTP cannot carry."""
        key = (method, url, content_type, tuple(headers.items()) if headers else None)
        prepared = self._kept.get(key)
        if prepared is None:
            prepared = self._prepare(method, url, headers or {}, content_type)
            if len(self._kept) >= _MAX_KEPT:
                # Paths with an identifier in them: keeping them all would be a leak.
                self._kept.clear()
            self._kept[key] = prepared
        return prepared

    def _prepare(self, method: str, url: str, headers: Fields, content_type: str) -> Prepared:
        place = Place(self.url_of(url))
        fields = dict(self._fields)
        if content_type:
            fields["Content-Type"] = content_type
            if content_type == JSON:
                fields["Accept"] = JSON
        credentials = place.credentials
        if not credentials and self._base_credentials and self._base_credentials[0] is place.origin:
            credentials = self._base_credentials[1]
        if credentials:
            fields["Authorization"] = basic(*credentials)
        return prepare(method, place, merged(fields, headers))


def prepare(method: str, place: Place, fields: dict[str, str]) -> Prepared:
    """Return a request for `place`; raises ValueError for what would be another request on the wire."""
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"not a method: {method!r}")
    for name, value in fields.items():
        if not _TOKEN.fullmatch(name) or any(sign in value for sign in "\r\n\0"):
            raise ValueError(f"not a header field: {name!r}")
        if name.lower() == "transfer-encoding":
            raise ValueError("Transfer-Encoding cannot be set: bodies are sent with their length")
    try:
        return Prepared(method, place, fields)
    except UnicodeEncodeError:
        raise ValueError("header fields hold Latin-1 only") from None


def merged(fields: Fields, others: Fields) -> dict[str, str]:
    """Return `fields` with those of `others`, which go before, whatever the case; None takes a field away."""
    given = {name.lower() for name in others}
    result = {name: value for name, value in fields.items() if name.lower() not in given}
    for name, value in others.items():
        if value is not None and name.lower() != "content-length":
            result[name] = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return result


def basic(user: str | bytes, password: str | bytes) -> str:
    """Return the value of `Authorization` for basic authentication."""
    pair = [part.encode() if isinstance(part, str) else part for part in (user, password)]
    return f"Basic {b64encode(b':'.join(pair)).decode('ascii')}"


@functools.lru_cache(64)
def preparer_for(base_url: str, default_headers: tuple[tuple[str, str], ...]) -> Preparer:
    """Return the preparer that all sessions with these two share."""
    return Preparer(base_url, default_headers)
