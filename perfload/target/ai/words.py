"""What the emulator counts and says: one word between white space is one token, in and out."""

from __future__ import annotations

import random
import re

_SOME = """
the of and to a in is it you that was for on are with as be at one have this from or had by word but
what some we can out other were all there when up use your how said an each she which do their time
if will way about many then them write would like so these her long make thing see him two has look
more day could go come did number sound no most people my over know water than call first who may
down side been now find café naïve Zürich → 東京 жизнь
"""
VOCABULARY = tuple(_SOME.split())
"""Some of several bytes, which a reader may find cut in two."""

_TEXT = [f" {word}" for word in random.Random(1).choices(VOCABULARY, k=4096)]
_TOKEN = re.compile(r"\s*\S+")


def count_words(value: object) -> int:
    """Return the words in `value`: in a text, or in all texts within lists and objects, keys not counted."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, dict):
        return sum(count_words(item) for item in value.values())
    if isinstance(value, list):
        return sum(count_words(item) for item in value)
    return 0


def some_words(count: int, source: random.Random) -> list[str]:
    """Return `count` tokens that make a text when joined: all but the first begin with a space."""
    if count < 1:
        return []
    # A piece of one long text: to draw word by word would hold up the streams that are due meanwhile.
    start = source.randrange(len(_TEXT))
    tokens = _TEXT[start : start + count]
    while len(tokens) < count:
        tokens += _TEXT[: count - len(tokens)]
    tokens[0] = tokens[0].lstrip()
    return tokens


def as_tokens(text: str) -> list[str]:
    """Return `text` cut into words, each with the white space before it; the last has the rest."""
    tokens = _TOKEN.findall(text)
    if tokens:
        tokens[-1] += text[sum(map(len, tokens)) :]
    return tokens
