"""The nearest valid name, for errors about a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CUTOFF = 0.55
"""Similarity (difflib's ratio) from which a name is worth suggesting."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"did you mean NAME? "` for the one of `known` nearest to `word`, or `""`; case is ignored."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=_CUTOFF)
    return f"did you mean {by_lower[close[0]]}? " if close else ""
