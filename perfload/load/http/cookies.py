"""The cookies of one virtual user, by RFC 6265."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.cookiejar import http2time  # type: ignore[attr-defined]

from perfload.load.http.origin import Origin

_FOREVER_S = float("inf")


@dataclass(slots=True)
class Cookie:
    """One cookie, and where it may go."""

    name: str
    value: str
    domain: str
    """In lower case; "" is any host, for a cookie that the scenario has set itself."""
    is_host_only: bool
    path: str
    is_secure: bool = False
    expires_s: float = _FOREVER_S
    """Seconds since the epoch."""

    def goes_to(self, origin: Origin, path: str) -> bool:
        """Return whether it belongs into a request for `path` of `origin`."""
        if self.is_secure and not origin.is_secure:
            return False
        if self.domain:
            exact = origin.host == self.domain
            if not exact and (self.is_host_only or not _is_below(origin.host, self.domain)):
                return False
        return _path_matches(path, self.path)


class CookieJar:
    """Keeps what servers set, and says what to send."""

    __slots__ = ("_cookies", "is_used")

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        self.is_used = False
        """Whether it has ever held a cookie; until then it costs a request nothing."""

    def __len__(self) -> int:
        return len(self._cookies)

    def __iter__(self) -> Iterator[Cookie]:
        return iter(list(self._cookies.values()))

    def __getitem__(self, name: str) -> str:
        for cookie in self._cookies.values():
            if cookie.name == name:
                return cookie.value
        raise KeyError(name)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of the first cookie of that name."""
        return next((cookie.value for cookie in self._cookies.values() if cookie.name == name), default)

    def set(self, name: str, value: str, *, domain: str = "", path: str = "/") -> None:
        """Add a cookie: for one host, or without `domain` for every host that is asked."""
        if not _is_printable(name + value) or ";" in value:
            raise ValueError(f"not a cookie: {name}={value!r}")
        self._keep(Cookie(name, value, domain.lower(), True, path))

    def clear(self) -> None:
        """Forget all cookies."""
        self._cookies.clear()

    def store(self, fields: Iterable[str], origin: Origin, path: str) -> dict[str, str]:
        """Take the `Set-Cookie` fields of a response to a request for `path`; return the cookies in them."""
        taken: dict[str, str] = {}
        for field in fields:
            cookie = parse(field, origin, path, time.time())
            if cookie is not None:
                taken[cookie.name] = cookie.value
                self._keep(cookie)
        return taken

    def header_for(self, origin: Origin, target: str) -> str:
        """Return the `Cookie` field for a request, or "": longer paths first, then older cookies."""
        path = target.partition("?")[0]
        now_s = time.time()
        for cookie in [item for item in self._cookies.values() if item.expires_s <= now_s]:
            del self._cookies[_key(cookie)]
        chosen = [cookie for cookie in self._cookies.values() if cookie.goes_to(origin, path)]
        if len(chosen) > 1:
            chosen.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join([f"{cookie.name}={cookie.value}" for cookie in chosen])

    def _keep(self, cookie: Cookie) -> None:
        # A cookie that is set again keeps its place in the order, as a dictionary does.
        if cookie.expires_s <= time.time():
            self._cookies.pop(_key(cookie), None)
        else:
            self._cookies[_key(cookie)] = cookie
            self.is_used = True


def parse(field: str, origin: Origin, path: str, now_s: float) -> Cookie | None:
    """Return the cookie of one `Set-Cookie` field, or None if it must be ignored (RFC 6265, 5.2, 5.3)."""
    pair, *parts = field.split(";")
    name, equals, value = pair.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or not _is_printable(field):
        return None
    attributes = {
        key.strip().lower(): value.strip() for key, _, value in (part.partition("=") for part in parts)
    }
    domain = attributes.get("domain", "").removeprefix(".").lower()
    if domain and domain != origin.host and ("." not in domain or not _is_below(origin.host, domain)):
        return None
    own_path = attributes.get("path", "")
    return Cookie(
        name,
        value,
        domain or origin.host,
        not domain,
        own_path if own_path.startswith("/") else _default_path(path),
        "secure" in attributes,
        _expiry_s(attributes, now_s),
    )


def _expiry_s(attributes: dict[str, str], now_s: float) -> float:
    max_age = attributes.get("max-age", "")
    if max_age.removeprefix("-").isdecimal() and max_age.isascii():
        return now_s + int(max_age[:12]) if int(max_age[:12]) > 0 else 0.0
    expires_s = http2time(attributes["expires"]) if attributes.get("expires") else None
    return _FOREVER_S if expires_s is None else float(expires_s)


def _default_path(path: str) -> str:
    above = path.partition("?")[0].rpartition("/")[0]
    return above if above.startswith("/") else "/"


def _path_matches(path: str, cookie_path: str) -> bool:
    if cookie_path in {"/", path}:
        return True
    return path.startswith(cookie_path) and (cookie_path.endswith("/") or path[len(cookie_path)] == "/")


def _is_below(host: str, domain: str) -> bool:
    return host.endswith(f".{domain}") and not _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_printable(text: str) -> bool:
    return all(character >= " " and character != "\x7f" for character in text)


def _key(cookie: Cookie) -> tuple[str, str, str]:
    return cookie.domain, cookie.path, cookie.name
