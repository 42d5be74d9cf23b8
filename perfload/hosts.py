"""Where load may go. A load test aimed at the wrong host is an attack, so hosts are named before it starts.

Nothing here asks a name server: a rule is about the name that was written, and an address is recognised in
every spelling that a resolver accepts (`http://2130706433` is 127.0.0.1).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from perfload.errors import UsageError
from perfload.redact import redact

_DEFAULT_PORTS = {"http": 80, "https": 443, "mongodb": 27017}
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*")
_ENTRY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]{1,5}))?")
_MAX_PORT = 65535
_PAID_SERVICES = (
    ".api.openai.com",
    ".openai.azure.com",
    ".api.anthropic.com",
    ".generativelanguage.googleapis.com",
    ".api.mistral.ai",
    ".api.deepseek.com",
    ".api.groq.com",
    ".api.together.xyz",
    ".api.x.ai",
    ".openrouter.ai",
)
"""How the names of some end that sell answers of language models; only a hint depends on it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str
    """Canonical; starts with `.` where any name below it is meant."""
    port: int | None

    def names(self, host: str) -> bool:
        return host.endswith(self.host) if self.host.startswith(".") else host == self.host


class HostRules:
    """The hosts that load may go to.

    Each entry of `allow` is `host`, `host:port` or `*.example.com[:port]` (any name below example.com, not
    example.com itself). Without a port, every port is allowed. Loopback is always allowed: `localhost`,
    `*.localhost`, 127.0.0.0/8 and ::1. Raises `UsageError` for an entry that is none of these.
    """

    __slots__ = ("_entries", "allow")

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self.allow = tuple(allow)
        self._entries = tuple(_parse_entry(entry) for entry in self.allow)

    def __eq__(self, other: object) -> bool:
        return self.allow == other.allow if isinstance(other, HostRules) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.allow)

    def __repr__(self) -> str:
        return f"HostRules({list(self.allow)!r})"

    def check(self, url: str) -> None:
        """Return when load may go to `url`; raise `UsageError` that says how to allow it when not.

        A URL that two programs could read differently (blanks, backslashes, two `@`, octal addresses) is
        refused whatever its host.
        """
        host, port = _target(url)
        if _is_loopback(host):
            return
        named = [entry for entry in self._entries if entry.names(host)]
        if any(entry.port in {None, port} for entry in named):
            return
        shown = f"[{host}]" if ":" in host else host
        if named:
            shown = f"{shown}:{port}"
        owner = "if that system is yours"
        if f".{host}".endswith(_PAID_SERVICES):
            owner = "that is somebody else's service, and every request costs money: if you may load it"
        raise UsageError(
            f"load may not go to {shown}",
            hint=f"{owner}, name it in [target] allow of perfload.toml or pass --allow-host {shown}",
        )


def _target(url: str) -> tuple[str, int]:
    """Return the canonical host and the port of `url`."""
    if "://" not in url:
        raise _bad_url(url, "has no scheme", f"write http://{_shown(url).lstrip('/') or 'localhost'}")
    if "\\" in url or any(not character.isprintable() or character.isspace() for character in url):
        raise _bad_url(url, "holds a blank, a control character or a backslash", "write it without")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad_url(url, f"is not a URL ({error})", "write http://host:port") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise _bad_url(url, f"has the scheme {parts.scheme!r}", "load goes to http:// or https:// only")
    host = _canonical_host(_written_host(url, parts), url)
    return host, _DEFAULT_PORTS[parts.scheme] if port is None else port


def _written_host(url: str, parts: SplitResult) -> str:
    if parts.netloc.count("@") > 1:
        raise _bad_url(url, "has more than one @", "write @ in a password as %40")
    if not parts.hostname:
        raise _bad_url(url, "names no host", "write http://host:port")
    if "[" in parts.netloc:
        return f"[{parts.hostname}]"
    return parts.hostname


def _canonical_host(written: str, where: str) -> str:
    """Return `written` in lower case, addresses in their one canonical form; `where` is for errors."""
    host = written.lower()
    if host.startswith("["):
        return _canonical_ipv6(host[1:-1], where)
    host = host.removesuffix(".")
    if _NUMERIC.fullmatch(host):
        return _canonical_ipv4(host, where)
    if not _HOST_NAME.fullmatch(host):
        raise _bad_url(where, f"has the host {written!r}", "write ASCII; other names in their xn-- form")
    return host


def _canonical_ipv6(address: str, where: str) -> str:
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        raise _bad_url(where, f"has the address [{address}]", "write an IPv6 address such as [::1]") from None
    return str(parsed.ipv4_mapped or parsed)


def _canonical_ipv4(host: str, where: str) -> str:
    # 0177.0.0.1 is 127.0.0.1 to some resolvers and 177.0.0.1 to others.
    if any(len(part) > 1 and part.startswith("0") and part[1] != "x" for part in host.split(".")):
        raise _bad_url(where, f"has the ambiguous address {host}", "write it without leading zeros")
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise _bad_url(where, f"has the address {host}", "write four numbers from 0 to 255") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse_entry(entry: str) -> _Entry:
    hint = "write a host, host:port or *.example.com"
    if entry.strip() == "*":
        raise UsageError("allowed host '*' would allow every host", hint="name the hosts that are yours")
    text = entry.strip().lower()
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # a bare IPv6 address
    match = _ENTRY.fullmatch(text)
    if match is None or not match["host"] or int(match["port"] or 1) not in range(1, _MAX_PORT + 1):
        raise UsageError(f"allowed host {redact(entry)!r} is no host", hint=hint)
    host, port = match["host"], int(match["port"]) if match["port"] else None
    below = host.startswith("*.")
    try:
        canonical = _canonical_host(host.removeprefix("*."), entry)
    except UsageError as error:
        raise UsageError(f"allowed host {redact(entry)!r} is no host", hint=error.hint or hint) from None
    return _Entry(f".{canonical}" if below else canonical, port)


def _bad_url(url: str, what: str, hint: str) -> UsageError:
    return UsageError(f"the target {_shown(url)!r} {what}", hint=hint)


def _shown(url: str) -> str:
    """Return `url` without its password, which is recognised behind a scheme only."""
    return redact(url) if "://" in url else redact(f"://{url}").removeprefix("://")
