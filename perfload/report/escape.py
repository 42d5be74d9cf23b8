"""Text from outside, made harmless for the place where it is shown.

Request names, failure reasons, hosts and nodes are chosen by whoever wrote the scenario or answers for the
target. Each of the places below reads other characters as commands, so each has its own function; HTML itself
is `perfload.report.markup`.
"""

from __future__ import annotations

import json
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiner: Persian, the scripts of India and emoji are misspelt without them."""


def visible(text: str) -> str:
    r"""Return `text` with every character that acts instead of showing as its escape, such as `\x1b`.

    Those are control and format characters (terminal commands, line breaks, right-to-left overrides) and lone
    surrogates, which no file can be written with. Zero-width joiners stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def shortened(text: str, length: int) -> str:
    """Return `text` in at most `length` characters, its end replaced by an ellipsis when it is longer."""
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"


def plotly_label(text: str) -> str:
    """Return `text` for a title, legend or annotation of plotly, which reads `<b>`, `<a>` and entities."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def script_json(value: object) -> str:
    """Return `value` as JSON that can stand inside a `<script>` element whatever its strings hold.

    Raises `ValueError` for a NaN or an infinity: neither is JSON, and both would draw a wrong chart.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
