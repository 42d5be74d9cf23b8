from __future__ import annotations

import pytest

from perfload.target.routes import allowed_methods, find


@pytest.mark.parametrize(
    ("method", "path", "name", "parameter"),
    [
        ("POST", "/api/auth/login", "POST /api/auth/login", ""),
        ("GET", "/health", "GET /health", ""),
        ("DELETE", "/api/ai-models/gpt-4.1", "DELETE /api/ai-models/{id}", "gpt-4.1"),
        ("DELETE", "/api/ai-models/available", "DELETE /api/ai-models/{id}", "available"),
    ],
)
def test_routes_that_are_found(method: str, path: str, name: str, parameter: str) -> None:
    found = find(method, path)
    assert found is not None
    assert (found[0].name, found[1]) == (name, parameter)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/auth/login"),
        ("DELETE", "/api/ai-models/"),
        ("DELETE", "/api/ai-models/a/b"),
        ("GET", "/api/ai-models/{id}"),
        ("GET", "/"),
    ],
)
def test_routes_that_are_not(method: str, path: str) -> None:
    assert find(method, path) is None


def test_allowed_methods() -> None:
    assert allowed_methods("/api/auth/login") == ["POST"]
    assert allowed_methods("/api/ai-models/available") == ["DELETE", "GET"]
    assert allowed_methods("/api/none") == []
