from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.redact import redact


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mongodb://root:hunter2@db:27017/app", "mongodb://***@db:27017/app"),
        ("redis://:hunter2@cache:6379/0", "redis://***@cache:6379/0"),
        ("https://ghp_token1@git.example.com/a", "https://***@git.example.com/a"),
        ("mongodb://root:p@ss/w@rd@db:27017/app", "mongodb://***@db:27017/app"),
        ("a http://u:p@one/x and http://u:p@two/y", "a http://***@one/x and http://***@two/y"),
        ("http://localhost:8000/@someone", "http://localhost:8000/@someone"),
        ("http://[::1]:8000/mail?to=a@b.com", "http://[::1]:8000/mail?to=a@b.com"),
        ("POST /api/auth/login", "POST /api/auth/login"),
    ],
)
def test_urls_lose_their_user_part(text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("password=hunter2", "password=***"),
        ("GET /a?access_token=abc.def&page=2", "GET /a?access_token=***&page=2"),
        ("TEST_ADMIN_PASSWORD=a,b;c", "TEST_ADMIN_PASSWORD=***"),
        ("(secret: abc), rest", "(secret: ***), rest"),
        ('{"password": "a b\\"c", "user": "ann"}', '{"password": "***", "user": "ann"}'),
        ("{'client_secret': 'a b', 'n': 1}", "{'client_secret': '***', 'n': 1}"),
        (r"{\"api_key\": \"a b\", \"n\": 1}", r"{\"api_key\": \"***\", \"n\": 1}"),
        ('cut off: {"password": "hunter tw', 'cut off: {"password": "***'),
        ("X-API-Key: abc", "X-API-Key: ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("authorization: Bearer abc.def", "authorization: ***"),
        ("sent Bearer abc.def, got 401", "sent Bearer ***, got 401"),
        ("Incorrect API key provided: sk-proj-abc_123DEF.", "Incorrect API key provided: ***."),
        ("got eyJhbGciOi.eyJzdWIi.c2ln-_x back", "got *** back"),
        ("task-force and risk-free", "task-force and risk-free"),
        ("max_tokens=100, tokens: 12.5", "max_tokens=100, tokens: 12.5"),
        ("time_to_first_token_ms=35", "time_to_first_token_ms=35"),
        ("refresh_tokens=abc", "refresh_tokens=***"),
        ("token=123456", "token=***"),
    ],
)
def test_texts_lose_their_secrets(text, redacted):
    assert redact(text) == redacted


def test_mappings_lose_the_values_of_secret_keys_at_any_depth():
    options = {
        "host": "http://u:p@localhost",
        "Password": "hunter2",
        "headers": {"AUTHORIZATION": "x", "Accept": "json"},
        "accounts": [{"email": "a@b.com", "api-key": "k"}, ("sk-abcdefgh", 3)],
        "secrets": {"a": 1},
        "max_tokens": 100,
        "empty_token": "",
        "no_token": None,
        "users": 10,
    }
    assert redact(options) == {
        "host": "http://***@localhost",
        "Password": "***",
        "headers": {"AUTHORIZATION": "***", "Accept": "json"},
        "accounts": [{"email": "a@b.com", "api-key": "***"}, ("***", 3)],
        "secrets": "***",
        "max_tokens": 100,
        "empty_token": "",
        "no_token": None,
        "users": 10,
    }
    assert options["Password"] == "hunter2"


SECRETS = st.text(st.characters(categories=["L", "N"], max_codepoint=0x2FF), min_size=12, max_size=30)


@given(secret=SECRETS, before=st.text(max_size=9), after=st.text(max_size=9))
def test_no_secret_survives_in_any_surroundings(secret, before, after):
    for written in (f"http://user:{secret}@host/", f'"password": "{secret}"', f"Bearer {secret}"):
        assert secret not in redact(f"{before} {written} {after}")


@given(st.text())
def test_redacting_twice_changes_nothing_more(text):
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "://" * 30_000,
        "a:" * 50_000,
        "://a:" * 20_000,
        "token" * 20_000,
        'token="' + "\\" * 100_000,
        "token='\"" * 10_000,
        'token=\\"' * 10_000,
        "eyJ-" * 25_000,
        "token=" + "," * 100_000,
        "token" + " " * 100_000,
    ],
)
def test_hostile_texts_take_linear_time(text):
    started_s = time.process_time()
    redact(text)
    assert time.process_time() - started_s < 2
