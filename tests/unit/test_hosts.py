from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.errors import UsageError
from perfload.hosts import HostRules


def refusal(url: str, allow: tuple[str, ...] = ()) -> UsageError:
    with pytest.raises(UsageError) as caught:
        HostRules(allow).check(url)
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "http://LocalHost:8000/path?q=a@b",
        "https://localhost.:8443",
        "http://api.localhost:3000",
        "http://127.0.0.1:8000",
        "http://127.255.1.2",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001:80",
        "http://0X7F.0.0.1",
        "http://[::1]:8000",
        "http://[0:0:0:0:0:0:0:1]",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://user:pass@localhost:8000",
    ],
)
def test_loopback_is_always_allowed(url):
    HostRules().check(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://api.example.com/login", "api.example.com"),
        ("http://localhost@evil.com", "evil.com"),
        ("http://localhost:80@evil.com", "evil.com"),
        ("http://evil.com/@localhost", "evil.com"),
        ("http://evil.com?@localhost", "evil.com"),
        ("http://evil.com#@localhost", "evil.com"),
        ("http://localhost.evil.com", "localhost.evil.com"),
        ("http://notlocalhost", "notlocalhost"),
        ("http://127.0.0.1.nip.io", "127.0.0.1.nip.io"),
        ("http://134744072", "8.8.8.8"),
        ("http://0x08080808", "8.8.8.8"),
        ("http://8.8.2056", "8.8.8.8"),
        ("http://0.0.0.0", "0.0.0.0"),
        ("http://[::ffff:8.8.8.8]", "8.8.8.8"),
        ("http://[2001:DB8::1]:80", "[2001:db8::1]"),
        ("http://[::127.0.0.1]", "[::7f00:1]"),
    ],
)
def test_any_other_host_is_refused_by_its_true_name(url, host):
    error = refusal(url)
    assert error.message == f"load may not go to {host}"
    assert error.hint == (
        f"if that system is yours, name it in [target] allow of perfload.toml or pass --allow-host {host}"
    )


@pytest.mark.parametrize(
    "host", ["api.openai.com", "api.anthropic.com", "mine.openai.azure.com", "eu.api.openai.com"]
)
def test_a_service_that_costs_money_is_not_taken_for_one_s_own(host):
    error = refusal(f"https://{host}/v1")
    assert error.message == f"load may not go to {host}"
    assert error.hint == (
        "that is somebody else's service, and every request costs money: if you may load it, name it in "
        f"[target] allow of perfload.toml or pass --allow-host {host}"
    )


@pytest.mark.parametrize("host", ["notapi.openai.com", "api.openai.com.example.com"])
def test_a_name_that_only_looks_like_a_service_is_any_other(host):
    assert "if that system is yours" in refusal(f"https://{host}").hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000", "has no scheme"),
        ("//localhost", "has no scheme"),
        ("", "has no scheme"),
        ("ftp://localhost", "has the scheme 'ftp'"),
        ("file:///etc/passwd", "has the scheme 'file'"),
        ("http://", "names no host"),
        ("http://:80", "names no host"),
        ("http:///path", "names no host"),
        ("http://localhost\\@evil.com", "backslash"),
        ("http://local host", "holds a blank"),
        ("http://localhost\n.evil.com", "control character"),
        ("http://localhost:http", "is not a URL"),
        ("http://localhost:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://evil.com@x@localhost", "more than one @"),
        ("http://0177.0.0.1", "ambiguous address 0177.0.0.1"),
        ("http://127.0.0.256", "has the address 127.0.0.256"),
        ("http://%6cocalhost", "has the host"),
        ("http://ⓛocalhost", "has the host"),
        ("http://localhost..", "has the host"),
        ("http://-x", "has the host"),
    ],
)
def test_unclear_urls_are_refused(url, said):
    error = refusal(url, ("evil.com",))
    assert said in error.message
    assert error.hint


def test_missing_scheme_shows_the_url_to_write():
    assert refusal("localhost:8000").hint == "write http://localhost:8000"
    assert refusal("//localhost:8000").hint == "write http://localhost:8000"


@pytest.mark.parametrize(
    "url", ["ftp://ann:hunter2@localhost", "ann:hunter2@localhost", "http://a:hunter2@b@c"]
)
def test_refusals_hide_passwords(url):
    assert "hunter2" not in str(refusal(url))


@pytest.mark.parametrize(
    ("entry", "allowed", "refused"),
    [
        (
            "API.example.com.",
            ["http://api.example.com", "https://api.EXAMPLE.com.:9"],
            ["http://example.com"],
        ),
        ("api.example.com:8443", ["https://api.example.com:8443"], ["https://api.example.com"]),
        ("api.example.com:443", ["https://api.example.com"], ["http://api.example.com"]),
        ("*.example.com", ["http://a.example.com", "http://a.b.example.com:1"], ["http://example.com"]),
        ("*.example.com", [], ["http://aexample.com", "http://a.example.com.evil.com"]),
        ("*.example.com:80", ["http://a.example.com"], ["https://a.example.com"]),
        (
            "10.0.0.7",
            ["http://10.0.0.7:9", "http://167772167", "http://[::ffff:10.0.0.7]"],
            ["http://10.0.0.70"],
        ),
        ("fd00::7", ["http://[fd00:0::7]:80"], ["http://[fd00::8]"]),
        ("[fd00::7]:8000", ["http://[fd00::7]:8000"], ["http://[fd00::7]"]),
    ],
)
def test_entries(entry, allowed, refused):
    rules = HostRules([entry])
    for url in allowed:
        rules.check(url)
    for url in refused:
        refusal(url, (entry,))


def test_refused_port_of_an_allowed_host_is_named():
    error = refusal("http://api.example.com", ("api.example.com:8443",))
    assert error.message == "load may not go to api.example.com:80"
    assert error.hint.endswith("--allow-host api.example.com:80")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.",
        "https://api.example.com",
        "host/path",
        "host:0",
        "host:70000",
        "host:x",
        "a b",
        "[::1",
        "10.0.0.0/8",
    ],
)
def test_wrong_entries_are_refused(entry):
    with pytest.raises(UsageError, match="allowed host"):
        HostRules([entry])


def test_rules_compare_by_their_entries():
    assert HostRules(["a", "b"]) == HostRules(("a", "b"))
    assert HostRules(["a"]) != HostRules(["b"])
    assert repr(HostRules(["a"])) == "HostRules(['a'])"


@given(st.text(max_size=40))
def test_no_text_is_allowed_by_accident_or_raises_anything_else(text):
    for url in (text, f"http://{text}.example.com", f"http://localhost{text}@evil.example"):
        try:
            HostRules(["only.test"]).check(url)
        except UsageError:
            continue
        assert "localhost" in url or "127" in url


@given(st.integers(0, 2**32 - 1))
def test_an_address_is_the_same_in_every_spelling(address):
    dotted = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
    for spelled in (str(address), hex(address), dotted, f"[::ffff:{dotted}]"):
        HostRules([dotted]).check(f"http://{spelled}:8000/")
