from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.target.ai.words import as_tokens, count_words, some_words

pytestmark = pytest.mark.ai


@pytest.mark.parametrize(
    ("value", "words"), [("", 0), (" a  b\nc ", 3), (["a b", {"k k": "c"}], 3), (None, 0), (7, 0)]
)
def test_counting(value: object, words: int) -> None:
    assert count_words(value) == words


@pytest.mark.parametrize("count", [0, 1, 2, 4096, 10_000])
def test_as_many_tokens_as_words_in_the_text(count: int) -> None:
    tokens = some_words(count, random.Random(3))
    assert len(tokens) == count
    assert len("".join(tokens).split()) == count
    assert not "".join(tokens).startswith(" ")


def test_words_follow_from_the_seed() -> None:
    assert some_words(9, random.Random(3)) == some_words(9, random.Random(3))
    assert some_words(9, random.Random(3)) != some_words(9, random.Random(4))


@given(st.text())
def test_tokens_are_the_text_cut_up(text: str) -> None:
    tokens = as_tokens(text)
    assert len(tokens) == count_words(text)
    assert "".join(tokens) == (text if tokens else "")
