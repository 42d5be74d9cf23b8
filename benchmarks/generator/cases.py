"""What is asked of the target, by name."""

from __future__ import annotations

from dataclasses import dataclass

JSON_BODY = {"email": "admin@test.com", "tags": ["load", "test"], "rating": 0.5, "text": "a few words " * 78}
"""About 1 kB when it is encoded."""


@dataclass(frozen=True)
class Case:
    """One kind of request."""

    name: str
    path: str
    about: str
    method: str = "GET"
    tls: bool = False
    accepts_gzip: bool = False


_ALL = (
    Case("get", "/get", "GET, 300 B"),
    Case("post", "/post", "POST, 1 kB of JSON", method="POST"),
    Case("large", "/large", "GET, 100 kB"),
    Case("chunked", "/chunked", "GET, 4 kB in chunks of 1 kB"),
    Case("gzip", "/gzip", "GET, 8 kB of text compressed beforehand", accepts_gzip=True),
    Case("tls", "/get", "GET, 300 B over TLS", tls=True),
)
CASES = {case.name: case for case in _ALL}
