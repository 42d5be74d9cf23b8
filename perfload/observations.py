"""An `Observation` as one line of JSON: what a monitor found that is no number.

    {"at_s":1767225600.25,"node":"db-1","source":"mongodb","kind":"index","data":{"ns":"app.models",…}}

Readings have a form of their own (`perfload.readings`): there are a thousand of them to one of these.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from perfload.model import Observation
from perfload.readings import MAX_TEXT_CHARS

MAX_LINE_CHARS = 262_144
"""No line is longer; whoever watches cuts plans and lists to fit."""

_TEXTS = ("node", "source", "kind")
_FIELDS = frozenset({"at_s", "data", *_TEXTS})


def encode_observation(observation: Observation) -> str:
    """Return `observation` as one line of ASCII, without the newline.

    Raises `ValueError` for one that could not be read back: too long, nested too deeply, no JSON.
    """
    fields = {
        "at_s": observation.at_s,
        "node": observation.node,
        "source": observation.source,
        "kind": observation.kind,
        "data": dict(observation.data),
    }
    _check(fields)
    try:
        line = json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from error
    if len(line) > MAX_LINE_CHARS:
        raise ValueError(f"an observation has at most {MAX_LINE_CHARS} characters, this one has {len(line)}")
    return line


def decode_observation(line: str) -> Observation:
    """Return the observation that `encode_observation` wrote; raises `ValueError` for anything else."""
    if len(line) > MAX_LINE_CHARS:
        raise ValueError(f"an observation has at most {MAX_LINE_CHARS} characters, this line has {len(line)}")
    try:
        fields = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("not an observation: nested too deeply") from None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise ValueError(f"not an observation: it has to have {', '.join(sorted(_FIELDS))}")
    _check(fields)
    node, source, kind = (fields[name] for name in _TEXTS)
    return Observation(float(fields["at_s"]), node, source, kind, fields["data"])


def _check(fields: Mapping[str, Any]) -> None:
    at_s = fields["at_s"]
    if isinstance(at_s, bool) or not isinstance(at_s, (int, float)) or not 0 <= at_s < math.inf:
        raise ValueError("at_s is no time in seconds since 1970")
    for name in _TEXTS:
        text = fields[name]
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT_CHARS:
            raise ValueError(f"{name} is no text of 1 to {MAX_TEXT_CHARS} characters")
    if not isinstance(fields["data"], dict):
        raise ValueError("data is no JSON object")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
