from __future__ import annotations

import jwt
import pytest

from perfload.target.tokens import InvalidToken, TokenIssuer

SECRET = b"0123456789abcdef0123456789abcdef"
NOW_S = 1_700_000_000.5


def test_a_token_names_its_subject_until_it_expires() -> None:
    issuer = TokenIssuer(SECRET, 60)
    token = issuer.issue("admin@test.com", NOW_S)
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert jwt.decode(token, options={"verify_signature": False}) == {
        "sub": "admin@test.com",
        "iat": 1_700_000_000,
        "exp": 1_700_000_061,
    }
    assert issuer.subject(token, NOW_S) == "admin@test.com"
    assert issuer.subject(token, 1_700_000_060.999) == "admin@test.com"
    with pytest.raises(InvalidToken, match="token has expired"):
        issuer.subject(token, 1_700_000_061)


def test_only_its_own_signature_counts() -> None:
    issuer = TokenIssuer(SECRET, 60)
    foreign = TokenIssuer(SECRET[::-1], 60).issue("admin@test.com", NOW_S)
    unsigned = jwt.encode({"sub": "admin@test.com", "exp": 1_800_000_000}, None, algorithm="none")
    endless = jwt.encode({"sub": "admin@test.com"}, SECRET, algorithm="HS256")
    for token in (foreign, unsigned, endless, "", "a.b.c", "ä"):
        with pytest.raises(InvalidToken, match="invalid token"):
            issuer.subject(token, NOW_S)


def test_a_lifetime_is_stated_in_whole_seconds() -> None:
    assert TokenIssuer(SECRET, 1.2).lifetime_s == 2
