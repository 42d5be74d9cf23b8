"""What OpenAI's API says of a request that it does not take: message, `param` and `code`.

Source: https://platform.openai.com/docs/guides/error-codes, and the answers of the API itself.
"""

from __future__ import annotations

from perfload.target.ai.fields import MAX_SHOWN, Flaw, Place
from perfload.target.ai.refusal import BAD_REQUEST, Refusal

_KINDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a decimal",
    "boolean": "a boolean",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def refused(message: str, param: str | None, code: str | None = None) -> Refusal:
    """Return a refusal of the request, to be raised."""
    return Refusal(BAD_REQUEST, message, param=param, code=code)


def words_for(flaw: Flaw) -> Refusal:
    """Return the refusal that says what `flaw` is."""
    param = path_of(flaw.place)
    found = f"but got {_KINDS.get(flaw.found, flaw.found)} instead."
    if flaw.problem == "missing":
        return refused(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    if flaw.problem == "type":
        wanted = f"expected {_KINDS[flaw.wanted]}, {found}"
        return refused(f"Invalid type for '{param}': {wanted}", param, "invalid_type")
    if flaw.problem == "value":
        allowed = ", ".join(f"'{name}'" for name in flaw.allowed)
        rule = f"Invalid value: '{flaw.found}'. Supported values are: {allowed}."
        return refused(rule, param, "invalid_value")
    if flaw.problem == "empty":
        rule = "empty array. Expected an array with minimum length 1, but got an empty array instead."
        return refused(f"Invalid '{param}': {rule}", param, "empty_array")
    if flaw.problem == "long":
        rule = f"array too long. Expected an array with maximum length {flaw.bound:g}"
        rule += f", but got an array with length {flaw.found} instead."
        return refused(f"Invalid '{param}': {rule}", param, "array_above_max_length")
    kind = "integer" if flaw.wanted == "integer" else "decimal"
    side, sign = ("below minimum", ">=") if flaw.problem == "low" else ("above maximum", "<=")
    rule = f"{kind} {side} value. Expected a value {sign} {flaw.bound:.12g}, {found}"
    code = f"{kind}_{'below_min' if flaw.problem == 'low' else 'above_max'}_value"
    return refused(f"Invalid '{param}': {rule}", param, code)


def path_of(place: Place) -> str:
    """Return a place as OpenAI writes it: `messages[0].role`."""
    path = ""
    for step in place:
        shown = str(step)[:MAX_SHOWN]
        path += f"[{step}]" if isinstance(step, int) else f".{shown}" if path else shown
    return path
