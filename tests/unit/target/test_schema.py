from __future__ import annotations

import pytest

from perfload.target.asgi import HttpError
from perfload.target.schema import Fields


def problems(fields: Fields) -> list[tuple[str, str]]:
    with pytest.raises(HttpError) as caught:
        fields.check()
    assert caught.value.status == 422
    assert isinstance(caught.value.detail, list)
    return [(problem["type"], ".".join(problem["loc"])) for problem in caught.value.detail]


def test_fields_that_are_right() -> None:
    fields = Fields(b'{"name": "a", "score": 7, "more": null}')
    assert fields.text("name") == "a"
    assert fields.text("title", default="none") == "none"
    assert fields.number("score", default=1, lowest=0, highest=10) == 7.0
    assert fields.number("speed", default=1, lowest=0, highest=10) == 1
    fields.check()


def test_all_problems_are_reported_at_once() -> None:
    fields = Fields(b'{"a": 1, "b": " ", "c": "x y", "d": "high", "e": 11, "f": true, "g": null}')
    for name in ("a", "b", "z", "g"):
        fields.text(name)
    fields.text("c", pattern="[a-z]+", rule="letters")
    for name in ("d", "e", "f"):
        fields.number(name, default=1, lowest=0, highest=10)
    assert problems(fields) == [
        ("string_type", "body.a"),
        ("string_pattern_mismatch", "body.b"),
        ("missing", "body.z"),
        ("string_type", "body.g"),
        ("string_pattern_mismatch", "body.c"),
        ("float_type", "body.d"),
        ("out_of_range", "body.e"),
        ("float_type", "body.f"),
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b"\xff", "json_invalid"),
        (b"[" * 100_000, "json_invalid"),
        (b"[]", "model_attributes_type"),
        (b'"text"', "model_attributes_type"),
    ],
)
def test_bodies_that_are_no_object(body: bytes, kind: str) -> None:
    with pytest.raises(HttpError) as caught:
        Fields(body)
    assert caught.value.status == 422
    assert caught.value.detail[0]["type"] == kind  # type: ignore[index]
