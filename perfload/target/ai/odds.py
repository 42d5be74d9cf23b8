"""Log probabilities of tokens: not those of a model, but as they could be, and the same for the same seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any

from perfload.target.ai.words import VOCABULARY

MAX_ALTERNATIVES = 20
_LEAST = 0.5
"""Of the token that is written: no other can be more likely."""
_MOST = 0.999
_SHARE = 0.6
"""Of what is left of 1, for each alternative: together they stay below it."""


class Odds:
    """Says how likely each token was, in the order in which they are written."""

    def __init__(self, alternatives: int, seed: int) -> None:
        self._alternatives = alternatives
        self._random = random.Random(seed)

    def of(self, words: Iterable[str]) -> list[dict[str, Any]]:
        """Return the entries of OpenAI's `logprobs.content` for the next tokens."""
        return [self._entry(word) for word in words]

    def _entry(self, word: str) -> dict[str, Any]:
        likely = self._random.uniform(_LEAST, _MOST)
        others = [f" {other}" for other in self._random.sample(VOCABULARY, MAX_ALTERNATIVES)]
        left = 1 - likely
        top = [_candidate(word, likely)]
        for other in others:
            if other != word:
                top.append(_candidate(other, left * _SHARE))
                left -= left * _SHARE
        return top[0] | {"top_logprobs": top[: self._alternatives]}


def _candidate(word: str, probability: float) -> dict[str, Any]:
    return {"token": word, "logprob": round(math.log(probability), 8), "bytes": list(word.encode())}
