"""Where a URL leads: its origin, and what the origin is asked for."""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote, unquote

from perfload.redact import redact

_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#\\]*)(?P<rest>[^#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(
    r"(?:(?P<user>[^@]*)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]@]+)(?::(?P<port>[0-9]{0,5}))?"
)
_PLAIN = re.compile(r"[!$-;=?-Z_a-z~&@\[\]]*")
"""What may stand in a request line as it is; `%` stays, for what is already quoted."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin:
    """A scheme, host and port; there is one object for each, so that they are compared by identity."""

    __slots__ = ("host", "host_header", "is_secure", "port", "scheme")

    _known: ClassVar[dict[tuple[str, str, int], Origin]] = {}

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.scheme = scheme
        self.host = host
        """Without the brackets of an IPv6 address."""
        self.port = port
        self.is_secure = scheme == "https"
        shown = f"[{host}]" if ":" in host else host
        self.host_header = shown if port == _DEFAULT_PORTS[scheme] else f"{shown}:{port}"

    def __repr__(self) -> str:
        return f"{self.scheme}://{self.host_header}"

    @classmethod
    def of(cls, scheme: str, host: str, port: int) -> Origin:
        """Return the one object for these three."""
        key = (scheme, host, port)
        if key not in cls._known:
            cls._known[key] = cls(*key)
        return cls._known[key]

    def keeps_secrets_of(self, other: Origin) -> bool:
        """Return whether credentials meant for `other` may be sent here: to it, or to its secure side."""
        upgraded = (other.scheme, other.port, self.scheme, self.port) == ("http", 80, "https", 443)
        return self is other or (upgraded and self.host == other.host)


class Place:
    """A URL taken apart: the origin, the target of the request line, and the credentials it may hold."""

    __slots__ = ("credentials", "origin", "target", "url")

    def __init__(self, url: str) -> None:
        match = _URL.match(url)
        authority = _AUTHORITY.fullmatch(match["authority"]) if match else None
        if not match or not authority or any(ord(character) < 33 for character in match["authority"]):
            raise ValueError(f"not a URL that can be requested: {redact(url)!r}")
        scheme = match["scheme"].lower()
        port = int(authority["port"] or _DEFAULT_PORTS[scheme])
        if not 0 < port < 65536:
            raise ValueError(f"not a URL that can be requested: {redact(url)!r}")
        self.origin = Origin.of(scheme, _ascii_host(authority["host"]), port)
        self.target = quote_target(match["rest"])
        self.url = f"{scheme}://{self.origin.host_header}{self.target}"
        """Without credentials and fragment."""
        user, _, password = (authority["user"] or "").partition(":")
        self.credentials = (unquote(user), unquote(password)) if authority["user"] else None


def quote_target(rest: str) -> str:
    """Return `rest`, what follows the authority in a URL, as it may stand in a request line."""
    if not rest.startswith("/"):
        rest = f"/{rest}"
    if _PLAIN.fullmatch(rest):
        return rest
    return quote(rest, safe="!$%&'()*+,/:;=?@[]~")


def _ascii_host(written: str) -> str:
    host = written.strip("[]").lower()
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"not a host name: {written!r}") from None
