"""Responses that break the rules, or bend them: each is one failure or one response, and none gives two."""

import pytest

from perfload.load.http.connection import MAX_HEAD_BYTES
from tests.load.http.verdict import CUT_SHORT, MALFORMED, MAX_BYTES, TOO_LARGE, answer

OK = "HTTP/1.1 200 OK\r\n"
CHUNKED = f"{OK}Transfer-Encoding: chunked\r\n"
EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


@pytest.mark.parametrize(
    "data",
    [
        f"{OK}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        f"{OK}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        f"{OK}Content-Length: 3, 3\r\n\r\nabc",
        f"{OK}Content-Length: 3, 4\r\n\r\nabcd",
        f"{OK}Content-Length: -3\r\n\r\nabc",
        f"{OK}Content-Length: +3\r\n\r\nabc",
        f"{OK}Content-Length: 0x3\r\n\r\nabc",
        f"{OK}Content-Length: 3 4\r\n\r\nabc",
        f"{OK}Content-Length:\r\n\r\nabc",
        f"{OK}Content-Length: 18446744073709551616\r\n\r\nabc",
        f"{OK}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n-3\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n0x3\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n3\r\nabcd\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n3\nabc\n0\n\n",
        f"{CHUNKED}\r\n3 \r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n10000000000000000\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n3;\0\r\nabc\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n0\r\nContent-Length: 9\r\n\r\n",
        f"{OK}A: b\0c\r\n\r\n",
        f"{OK}A\0: b\r\n\r\n",
        f"{OK}A : b\r\n\r\n",
        f"{OK}: b\r\n\r\n",
        f"{OK}A b\r\n\r\n",
        f"{OK}A: b\rC: d\r\n\r\n",
        f"{OK}A: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        f"{OK} A: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 0200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "<html>an answer of HTTP/0.9</html>",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_malformed(data: str) -> None:
    raw = data.encode("latin-1")
    assert answer([raw]) == (MALFORMED, False)
    assert answer([raw[index : index + 1] for index in range(len(raw))]) == (MALFORMED, False)


@pytest.mark.parametrize(
    ("data", "body", "is_reusable"),
    [
        (f'{CHUNKED}\r\n3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n', "abc", True),
        (f"{CHUNKED}\r\n0000000003\r\nabc\r\n000\r\n\r\n", "abc", True),
        (
            f"{CHUNKED}\r\n3\r\nabc\r\n0\r\nHost: x\r\nSet-Cookie: a=b\r\n\r\n",
            "abc",
            True,
        ),
        (f"{OK}Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", True),
        (f"{OK}Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", True),
        (f"{OK}Transfer-Encoding: gzip\r\n\r\nabc", "abc", False),
        (f"{OK}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "0\r\n\r\n", False),
        (f"{OK}\r\nuntil the end", "until the end", False),
        (f"{OK}Content-Length: 003\r\n\r\nabc", "abc", True),
        (f"{OK}Content-Length: 0\r\nConnection: Close\r\n\r\n", "", False),
        (f"{OK}Content-Length: 0\r\nConnection: x, close, y\r\n\r\n", "", False),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", False),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc", "abc", True),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nabc", "abc", False),
        ("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", "abc", True),
        ("HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", "", True),
        ("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", "", True),
        (f"{OK}Content-Length: 3\r\n\r\nabc\r\n\r\n", "abc", True),
        (f"{OK}Content-Length: 3\r\n\r\nabc\0", "abc", False),
        (f"{OK}Content-Length: 3\r\n\r\nabc{EVIL}", "abc", False),
        (f"{CHUNKED}\r\n0\r\n\r\n{EVIL}", "", False),
        (f"HTTP/1.1 204 No\r\nContent-Length: 44\r\n\r\n{EVIL}", "", False),
    ],
)
def test_what_is_unusual(data: str, body: str, *, is_reusable: bool) -> None:
    raw = data.encode("latin-1")
    (_, fields, found), kept = answer([raw])
    assert (found, kept) == (body.encode("latin-1"), is_reusable)
    assert "Set-Cookie" not in fields
    (_, _, found), _ = answer([raw[index : index + 1] for index in range(len(raw))])
    assert found == body.encode("latin-1")


@pytest.mark.parametrize(
    "rest",
    [
        "x",
        "abc\r\n\r\n",
        EVIL,
        "0\r\n\r\n",
        "3\r\n",
        "0\r\nA: b\r\n\r\n",
    ],
)
def test_what_follows_the_response_to_head(rest: str) -> None:
    found, is_reusable = answer([f"{CHUNKED}\r\n{rest}".encode()], is_head_request=True)
    assert (found, is_reusable) == ((200, {"Transfer-Encoding": "chunked"}, b""), False)


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 100 Continue\r\nA: b",
        b"HTTP/1.1 200 OK\r\nA: ",
        b"HTTP/1.1 200 OK",
        b"\r\n\r\n",
    ],
)
def test_heads_without_end(begun: bytes) -> None:
    filler = b"\r\n" if begun == b"\r\n\r\n" else b"x"
    pieces = [begun, *[filler * 10_000] * 14]
    assert sum(map(len, pieces)) > 2 * MAX_HEAD_BYTES
    assert answer(pieces) == (TOO_LARGE, False)


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (f"{CHUNKED}\r\n", "1" + ";x" * 30_000 + "\r\na\r\n"),
        (f"{CHUNKED}\r\n0\r\n", "A: " + "x" * 30_000 + "\r\n"),
        (f"{CHUNKED}\r\n", "7530\r\n" + "x" * 30_000 + "\r\n"),
        (f"{OK}\r\n", "x" * 30_000),
    ],
)
def test_bodies_without_end(begun: str, piece: str) -> None:
    pieces = [begun.encode(), *[piece.encode()] * 45]
    assert sum(map(len, pieces)) > MAX_BYTES + MAX_HEAD_BYTES
    assert answer(pieces) == (TOO_LARGE, False)


def test_what_was_promised_and_did_not_come() -> None:
    for length in ("10", "999999", "9223372036854775807"):
        assert answer([f"{OK}Content-Length: {length}\r\n\r\nabc".encode()]) == (CUT_SHORT, False)
    assert answer([f"{CHUNKED}\r\nfffffff\r\nabc".encode()]) == (CUT_SHORT, False)
