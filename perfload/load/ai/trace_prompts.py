"""What the requests of a trace ask: a text of the recorded length, the same where the trace says it was."""

from __future__ import annotations

import hashlib
import struct
from random import Random

from perfload.load.ai.prompts import WORDS, Prompt
from perfload.trace import BLOCK_TOKENS, TraceRequest

_PIECES = 4096
_PIECE_WORDS = 16
_NUMBERS = struct.Struct(f"<{BLOCK_TOKENS // _PIECE_WORDS}H")
"""One number for each piece of a block; together the longest digest of BLAKE2b."""


class TracePrompts:
    """Prompts for the requests of a trace: one word for each token of the input, of about one token.

    A block id of the trace is always the same text, on every load generator with the same `seed`, so the
    server's cache meets the prefixes that the original met. Words without an id are new ones each time.
    """

    def __init__(self, seed: int = 0) -> None:
        source = Random(seed)
        self._pieces = [" ".join(source.choices(WORDS, k=_PIECE_WORDS)) for _ in range(_PIECES)]
        self._fresh = Random()

    def make(self, request: TraceRequest) -> Prompt:
        """Return what to ask for `request`; its `max_tokens` is the length of the recorded answer."""
        blocks = -(-request.input_tokens // BLOCK_TOKENS)
        ids = [str(block) for block in request.blocks[:blocks]]
        ids += [f"new {self._fresh.getrandbits(64)}" for _ in range(blocks - len(ids))]
        last = request.input_tokens - BLOCK_TOKENS * (blocks - 1)
        texts = [self._text(name, BLOCK_TOKENS) for name in ids[:-1]] + [self._text(ids[-1], last)]
        return Prompt((" ".join(texts),), max_tokens=request.output_tokens)

    def _text(self, name: str, words: int) -> str:
        """Return the first `words` words of the block that `name` stands for.

        Drawn in pieces, as numbers of a hash, that takes 3 us: too little to keep the blocks that come again.
        """
        numbers = _NUMBERS.unpack(hashlib.blake2b(name.encode()).digest())
        whole, rest = divmod(words, _PIECE_WORDS)
        pieces = [self._pieces[number % _PIECES] for number in numbers[:whole]]
        if rest:
            pieces.append(" ".join(self._pieces[numbers[whole] % _PIECES].split(" ")[:rest]))
        return " ".join(pieces)
