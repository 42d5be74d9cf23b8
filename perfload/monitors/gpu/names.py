"""What a card is called in the brackets of a metric: its index and a short form of its name."""

from __future__ import annotations

import re

MAX_NAME_CHARS = 24

_COMMON = re.compile(r"\b(?:NVIDIA|GeForce|Graphics Device)\b\s*")
_OTHER = re.compile(r"[^A-Za-z0-9 ._+-]")


def label(index: int, name: str) -> str:
    """Return `"0 H100 PCIe"` for card 0, an `"NVIDIA H100 PCIe"`."""
    return f"{index} {short_name(name)}".strip()


def short_name(text: str) -> str:
    """Return `text` without what all cards are called, and cut."""
    return _OTHER.sub("", _COMMON.sub("", text)).strip()[:MAX_NAME_CHARS].strip()
