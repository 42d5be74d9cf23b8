"""Take secrets out of what is stored, shown or logged. When in doubt, out: a report is passed around."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import overload

MASK = "***"

_WORDS = "password|passwd|passphrase|secret|token|(?:api|cluster)[_-]?key|authorization|credential"
_SECRET_KEY = re.compile(_WORDS, re.IGNORECASE)
_COUNT_KEY = re.compile(
    r"tokens|(?:first|inter|per)_?token|token_(?:count|limit|budget|us|ms|s)$", re.IGNORECASE
)
"""Tokens of language models, not of a login; only numbers are kept under such a key."""
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")

_BEFORE_AT = re.compile(
    r"""(://)
    (?: [^\s/?#@\[:"'<>]* : (?! [0-9]+ (?:[/?#\s"'] | $) ) [^\s"'<>]{0,512}  # user:password, / and @ included
      | [^\s/?#"'<>]{0,512}                                                  # a user or a token alone
    ) @""",
    re.VERBOSE,
)
_BEARER = re.compile(r"\b(Bearer)\s+[^\s,;\"'<>]+", re.IGNORECASE)
_KEY = re.compile(r"(?<![A-Za-z0-9])(?:sk-|plk1_)[A-Za-z0-9_-]{4,}")
"""Of language models, and of clusters."""
_JSON_WEB_TOKEN = re.compile(r"(?<![\w-])eyJ[\w-]++\.[\w-]++\.[\w-]*")
_ASSIGNMENT = re.compile(
    rf"""(?<![\w.-]) (?=[\w.-]*?(?:{_WORDS})) (?P<key>[\w.-]++)
    (?P<sign> \\?["']? \s* [:=] \s* )
    (?: (?P<open>\\["']) (?P<escaped> (?:(?!(?P=open)).)*+ ) (?P<shut> (?P=open)|\Z )   # JSON in JSON
      | (?P<quote>["']) (?P<quoted> (?:\\.|(?!(?P=quote))[^\\])*+ ) (?P<unquote> (?P=quote)|\\?\Z )
      | (?P<plain> (?:(?:Bearer|Basic|Digest|Token|ApiKey)\s+)? [^\s&"'}}\])]* [^\s&"'}}\]),;] ) )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
"""Linear in the length of the text, which a hostile target may choose; a value that is cut off is covered."""


@overload
def redact(value: str) -> str: ...
@overload
def redact(value: Mapping[str, object]) -> dict[str, object]: ...
@overload
def redact(value: object) -> object: ...
def redact(value: object) -> object:
    """Return `value` with every secret replaced by `***`; the argument is not changed.

    In texts: the user part of URLs, `key=value` and `"key": "value"` whose key names a secret, bearer
    tokens, JSON web tokens, `sk-...` keys and keys of clusters. In mappings: the values of such keys. Lists,
    tuples and mappings are gone through to any depth; other values stay as they are.
    """
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, Mapping):
        return {key: MASK if _is_secret(key, held) else redact(held) for key, held in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    if isinstance(value, tuple):
        return tuple(redact(item) for item in value)
    return value


def _is_secret(key: object, value: object) -> bool:
    if value is None or value == "" or not isinstance(key, str) or not _SECRET_KEY.search(key):
        return False
    return not (_COUNT_KEY.search(key) and _NUMBER.fullmatch(str(value)))


def _redact_text(text: str) -> str:
    text = _BEFORE_AT.sub(rf"\1{MASK}@", text)
    text = _ASSIGNMENT.sub(_redact_assignment, text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    return _JSON_WEB_TOKEN.sub(MASK, _KEY.sub(MASK, text))


def _redact_assignment(match: re.Match[str]) -> str:
    value = match["escaped"] or match["quoted"] or match["plain"]
    if not _is_secret(match["key"], value):
        return match[0]
    before = match["key"] + match["sign"] + (match["open"] or match["quote"] or "")
    return before + MASK + (match["shut"] or match["unquote"] or "")
