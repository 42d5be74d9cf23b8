"""What is asked: prompts of a file, and synthetic ones of given lengths."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from perfload.errors import UsageError

_COMMON = (
    "time year people way day man thing woman life child world school state family student group country "
    "problem hand part place case week company system program question work number night point home water "
    "room mother area money story fact month lot right study book eye job word business issue side kind "
    "head house service friend father power hour game line end member law car city name team minute idea "
    "body back parent face level office door health person art war history party result change morning "
    "reason research girl guy moment air teacher force education foot boy age policy music market sense"
)
WORDS = tuple(_COMMON.split())
"""Common and short: about one token each, for nearly every tokenizer."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Something to ask, perhaps in several turns."""

    turns: tuple[str, ...]
    system: str = ""
    max_tokens: int | None = None

    @property
    def text(self) -> str:
        """The first turn."""
        return self.turns[0]


class PromptFile:
    """Prompts of a file with one JSON object a line.

    Each has `prompt` (a text) or `turns` (a list of texts), and perhaps `system`, `max_tokens` and `weight`.
    Raises `UsageError` for a file that cannot be read, and names the line.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        read = list(self._read())
        if not read:
            raise UsageError(f"{path} holds no prompts", hint='write a line such as {"prompt": "Hello"}')
        self.prompts = tuple(prompt for prompt, _ in read)
        self._weights = tuple(weight for _, weight in read)

    def __len__(self) -> int:
        return len(self.prompts)

    def pick(self, random: Random) -> Prompt:
        """Return one of them, by their weights."""
        return random.choices(self.prompts, self._weights)[0]

    def _read(self) -> Iterator[tuple[Prompt, float]]:
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise UsageError(f"{self._path} cannot be read: {error}", hint="name a file of prompts") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield self._prompt(line, f"{self._path}, line {number}")

    def _prompt(self, line: str, where: str) -> tuple[Prompt, float]:
        hint = 'write {"prompt": "…"} or {"turns": ["…", "…"]}, perhaps with system, max_tokens and weight'
        try:
            held = json.loads(line)
        except (ValueError, RecursionError):
            held = None
        if not isinstance(held, dict) or not held.keys() <= {
            "prompt",
            "turns",
            "system",
            "max_tokens",
            "weight",
        }:
            raise UsageError(f"{where} is no prompt", hint=hint)
        turns = held.get("turns", [held.get("prompt")])
        is_texts = isinstance(turns, list) and turns and all(isinstance(turn, str) and turn for turn in turns)
        system, limit, weight = held.get("system", ""), held.get("max_tokens"), held.get("weight", 1)
        is_limit = limit is None or (isinstance(limit, int) and limit > 0)
        is_weight = isinstance(weight, int | float) and math.isfinite(weight) and weight > 0
        if not (is_texts and isinstance(system, str) and is_limit and is_weight):
            raise UsageError(f"{where} is no prompt", hint=hint)
        return Prompt(tuple(turns), system, limit), float(weight)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many tokens: log-normal about `median`, as real requests are; with `sigma` 0 always the same."""

    median: int
    sigma: float = 0.0
    lowest: int = 1
    highest: int = 1_000_000

    def __post_init__(self) -> None:
        if not (1 <= self.lowest <= self.median <= self.highest and 0 <= self.sigma <= 10):
            raise UsageError(f"{self} makes no sense", hint="1 <= lowest <= median <= highest, sigma >= 0")

    def draw(self, random: Random) -> int:
        """Return one of them."""
        drawn = round(self.median * math.exp(random.gauss(0.0, self.sigma))) if self.sigma else self.median
        return min(max(drawn, self.lowest), self.highest)


class SyntheticPrompts:
    """Prompts of random words, about one token each, of which the first `shared_prefix` are always the same.

    The prefix is what servers keep in a cache; `prefixes` different ones share the requests evenly. The same
    `seed` gives the same prefixes on every load generator. A real count of tokens is in `input_tokens`.
    """

    def __init__(
        self,
        lengths: Lengths,
        *,
        shared_prefix: int = 0,
        prefixes: int = 1,
        output: Lengths | None = None,
        seed: int = 0,
    ) -> None:
        if shared_prefix < 0 or prefixes < 1:
            raise UsageError("a prefix has no words, or some; and there is one at least")
        self._lengths, self._output = lengths, output
        source = Random(seed)
        self._prefixes = [_words(source, shared_prefix) for _ in range(prefixes)]

    def pick(self, random: Random) -> Prompt:
        """Return a new one; what follows the prefix has a length of its own, of one word at least."""
        prefix = random.choice(self._prefixes)
        own = _words(random, max(1, self._lengths.draw(random) - len(prefix)))
        limit = self._output.draw(random) if self._output else None
        return Prompt((" ".join(prefix + own),), max_tokens=limit)


def _words(random: Random, count: int) -> list[str]:
    return random.choices(WORDS, k=count)
