"""Where a master may listen."""

import logging

import pytest

from perfload.errors import UsageError
from perfload.load.cluster.exposure import check_exposure, is_loopback

LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.1", "localhost", "::1", "[::1]"]
ELSEWHERE = [
    "*",
    "0.0.0.0",
    "::",
    "[::]",
    "0",
    "192.0.2.1",
    "10.0.0.1",
    "fe80::1",
    "lo",
    "eth0",
    "x" * 300,
    "",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_needs_no_key(host: str, caplog: pytest.LogCaptureFixture) -> None:
    assert is_loopback(host)
    check_exposure(host, is_keyed=False, is_insecure=False)
    assert caplog.records == []


@pytest.mark.parametrize("host", ELSEWHERE)
def test_every_other_address_does(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UsageError) as error:
        check_exposure(host, is_keyed=False, is_insecure=False)
    assert f"may not listen on {host}:" in str(error.value)
    assert "PERFLOAD_CLUSTER_KEY" in error.value.hint
    assert "--insecure-cluster" in error.value.hint


def test_a_name_is_what_all_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [(0, 0, 0, "", ("127.0.0.1", 0)), (0, 0, 0, "", ("192.0.2.1", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: addresses)
    assert not is_loopback("both.example.com")
    addresses.pop()
    assert is_loopback("both.example.com")


def test_a_key_allows_every_address_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    check_exposure("*", is_keyed=True, is_insecure=False)
    assert caplog.records == []


def test_whoever_asks_for_it_is_warned_once(caplog: pytest.LogCaptureFixture) -> None:
    check_exposure("0.0.0.0", is_keyed=False, is_insecure=True)
    assert [(record.levelno, record.name) for record in caplog.records] == [(logging.WARNING, "perfload")]
    assert "0.0.0.0 without a key" in caplog.text
    check_exposure("127.0.0.1", is_keyed=False, is_insecure=True)
    assert len(caplog.records) == 1
