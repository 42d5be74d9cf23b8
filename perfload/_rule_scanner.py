"""Walk along the text of a threshold, and point at the place where it is wrong."""

from __future__ import annotations

import re
import unicodedata

from perfload.errors import UsageError

_BLANKS = str.maketrans("\t\r\n", "   ")


class Scanner:
    """The text of a rule, and how far it has been read. Every error is made here, so that all look alike."""

    def __init__(self, text: str, label: str) -> None:
        self.text = text.translate(_BLANKS).strip()
        self.label = label
        self.at = 0
        for position, character in enumerate(self.text):
            if not character.isprintable():
                raise self.error(
                    f"it holds the invisible character U+{ord(character):04X}", "retype it", position
                )

    def at_end(self) -> bool:
        """Skip blanks; return whether nothing is left."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at == len(self.text)

    def take(self, pattern: re.Pattern[str]) -> str:
        """Skip blanks and take what `pattern` matches here; `""` when it does not match."""
        self.at_end()
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[0]

    def take_quoted(self) -> str | None:
        """Take a text in single or double quotes; None when no quote stands here."""
        if self.at_end() or self.text[self.at] not in "\"'":
            return None
        start, quote = self.at, self.text[self.at]
        end = self.text.find(quote, start + 1)
        if end < 0:
            raise self.error("the quote is not closed", f"close it with {quote}", start)
        self.at = end + 1
        if end == start + 1:
            raise self.error("the name is empty", "write a name between the quotes", start, self.at)
        return self.text[start + 1 : end]

    def error(self, message: str, hint: str, start: int, end: int | None = None) -> UsageError:
        """Return the error about `text[start:end]` (one character without `end`)."""
        shown = "".join(char if char.isprintable() else "?" for char in self.text)
        before, wrong = shown[:start], shown[start : start + 1 if end is None else end]
        marks = " " * _columns(before) + "^" * max(1, _columns(wrong))
        return UsageError(
            f"{self.label} is not understood: {message}\n    {shown}\n    {marks}", hint=hint.strip()
        )


def _columns(text: str) -> int:
    """Return how many columns a terminal gives to `text`: two for wide characters, none for accents."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
