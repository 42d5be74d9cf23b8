"""Cookies by RFC 6265, without a server."""

import pytest

from perfload.load.http.cookies import CookieJar, parse
from perfload.load.http.origin import Origin

SHOP = Origin.of("https", "shop.example.com", 443)
PLAIN = Origin.of("http", "shop.example.com", 80)
SISTER = Origin.of("https", "pay.example.com", 443)
ABOVE = Origin.of("https", "example.com", 443)
NOW_S = 1_700_000_000.0


def sent(field: str, origin: Origin, path: str = "/", *, stored_from: str = "/a/b") -> str:
    """Return what goes to `origin` once the shop has set one cookie."""
    jar = CookieJar()
    jar.store([field], SHOP, stored_from)
    return jar.header_for(origin, path)


@pytest.mark.parametrize(
    ("field", "origin", "path", "expected"),
    [
        ("a=1; Path=/", SHOP, "/", "a=1"),
        ("a=1; Path=/", SISTER, "/", ""),
        ("a=1; Path=/", ABOVE, "/", ""),
        ("a=1; Path=/; Domain=example.com", SISTER, "/", "a=1"),
        ("a=1; Path=/; Domain=.Example.COM", ABOVE, "/", "a=1"),
        ("a=1; Path=/; Domain=com", SHOP, "/", ""),
        ("a=1; Path=/; Domain=pay.example.com", SISTER, "/", ""),
        ("a=1; Path=/; Domain=ple.com", SHOP, "/", ""),
        ("a=1; Path=/; Secure", PLAIN, "/", ""),
        ("a=1; Path=/", PLAIN, "/", "a=1"),
        ("a=1", SHOP, "/a/c?x=/", "a=1"),
        ("a=1", SHOP, "/ab", ""),
        ("a=1", SHOP, "/", ""),
        ("a=1; Path=/x", SHOP, "/x", "a=1"),
        ("a=1; Path=/x", SHOP, "/xy", ""),
        ("a=1; Path=/x/", SHOP, "/x/y", "a=1"),
        ("a=1; Path=elsewhere", SHOP, "/a/c", "a=1"),
        ('a="1 2"; Path=/', SHOP, "/", 'a="1 2"'),
        ("a==; Path=/", SHOP, "/", "a=="),
        ("a; Path=/", SHOP, "/", ""),
        ("=1; Path=/", SHOP, "/", ""),
        ("a=\x01; Path=/", SHOP, "/", ""),
        ("a=1; Path=/; Max-Age=100", SHOP, "/", "a=1"),
        ("a=1; Path=/; Max-Age=-1", SHOP, "/", ""),
        ("a=1; Path=/; Max-Age=never", SHOP, "/", "a=1"),
        ("a=1; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT", SHOP, "/", ""),
        ("a=1; Path=/; Max-Age=5; Expires=Wed, 21 Oct 2015 07:28:00 GMT", SHOP, "/", "a=1"),
    ],
)
def test_where_a_cookie_goes(field: str, origin: Origin, path: str, expected: str) -> None:
    assert sent(field, origin, path) == expected


def test_when_a_cookie_ends() -> None:
    cookie = parse("a=1; Max-Age=60", SHOP, "/", NOW_S)
    assert cookie is not None
    assert cookie.expires_s == NOW_S + 60
    cookie = parse("a=1; Expires=Sun, 06-Nov-94 08:49:37 GMT", SHOP, "/", NOW_S)
    assert cookie is not None
    assert cookie.expires_s == 784111777


def test_a_cookie_for_an_address_stays_there() -> None:
    jar = CookieJar()
    jar.store(["a=1; Domain=0.0.1"], Origin.of("http", "127.0.0.1", 80), "/")
    assert len(jar) == 0


def test_longer_paths_come_first_and_then_older_cookies() -> None:
    jar = CookieJar()
    jar.store(["a=1; Path=/", "b=2; Path=/x", "c=3; Path=/", "a=4; Path=/"], SHOP, "/")
    assert jar.header_for(SHOP, "/x") == "b=2; a=4; c=3"
    jar.store(["c=; Path=/; Max-Age=0"], SHOP, "/")
    assert [cookie.name for cookie in jar] == ["a", "b"]


def test_cookies_of_the_scenario() -> None:
    jar = CookieJar()
    jar.set("a", "1")
    jar.set("b", "2", domain="Pay.example.com")
    assert (jar["a"], jar.get("b"), jar.get("c"), bool(jar)) == ("1", "2", None, True)
    assert jar.header_for(SHOP, "/") == "a=1"
    assert jar.header_for(SISTER, "/") == "a=1; b=2"
    with pytest.raises(ValueError, match="not a cookie"):
        jar.set("a", "1\r\nX: 2")
    jar.clear()
    with pytest.raises(KeyError):
        jar["a"]
