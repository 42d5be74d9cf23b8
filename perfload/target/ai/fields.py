"""Reading JSON that anybody may have sent: field by field, each flaw in the words of the provider."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from perfload.target.ai.refusal import BAD_REQUEST, Refusal

Kind = Literal["string", "integer", "number", "boolean", "object", "array", "null"]
Place = tuple[str | int, ...]
"""Where a value is: names of members and places in lists, from the outside in."""
MAX_SHOWN = 100
"""Characters of a wrong value that an error repeats."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with one value."""

    problem: Literal["missing", "type", "low", "high", "value", "empty", "long"]
    place: Place
    wanted: Kind = "string"
    found: str = ""
    """The kind of the value, if that is wrong, else the value; of a list, its length."""
    bound: float = 0
    allowed: tuple[str, ...] = ()


_KINDS: dict[type, Kind] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    type(None): "null",
}
Wording = Callable[[Flaw], Refusal]


def kind_of(value: object) -> Kind:
    """Return what JSON calls the type of `value`."""
    return _KINDS.get(type(value), "array")


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, all of whose texts fit into UTF-8; raises `Refusal`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(BAD_REQUEST, "We could not parse the JSON body of your request.") from error
    if not isinstance(found, dict):
        raise Refusal(BAD_REQUEST, "The body of the request is not a JSON object.")
    return found


class Fields:
    """The members of one object. A member that is null counts as missing. All methods raise `Refusal`."""

    __slots__ = ("_wording", "body", "place")

    def __init__(self, body: dict[str, Any], wording: Wording, place: Place = ()) -> None:
        self.body = body
        self.place = place
        self._wording = wording

    def __contains__(self, name: str) -> bool:
        return self.body.get(name) is not None

    def text(self, name: str) -> str:
        """Return the text `name`, which has to be there and not empty."""
        value = self.maybe_text(name)
        if not value:
            raise self.flaw("missing", name)
        return value

    def maybe_text(self, name: str) -> str | None:
        """Return the text `name`."""
        value: str | None = self._typed(name, str, "string")
        return value

    def flag(self, name: str) -> bool:
        """Return the flag `name`, False when it is missing."""
        return bool(self._typed(name, bool, "boolean"))

    def count(self, name: str, least: int, most: int) -> int | None:
        """Return the whole number `name`."""
        value: int | None = self._typed(name, int, "integer")
        self._check_bounds(name, "integer", value, least, most)
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """Return the number `name`, whole or not."""
        value: float | None = self._typed(name, (int, float), "number")
        self._check_bounds(name, "number", value, least, most)
        return value

    def choice(self, name: str, allowed: Iterable[str]) -> str | None:
        """Return the text `name`, one of `allowed`."""
        value = self.maybe_text(name)
        options = tuple(allowed)
        if value is not None and value not in options:
            raise self.flaw("value", name, found=value[:MAX_SHOWN], allowed=options)
        return value

    def inner(self, name: str) -> Fields:
        """Return the object `name`, without members when it is missing."""
        value = self._typed(name, dict, "object")
        return Fields(value or {}, self._wording, (*self.place, name))

    def objects(self, name: str) -> list[Fields]:
        """Return the objects of the list `name`, [] when it is missing."""
        return [
            Fields(value, self._wording, (*self.place, name, index))
            for index, value in enumerate(self._items(name, dict, "object"))
        ]

    def texts(self, name: str, most: int) -> list[str]:
        """Return the texts of the list `name`, `most` at most, [] when it is missing."""
        values: list[str] = self._items(name, str, "string")
        if len(values) > most:
            raise self.flaw("long", name, "array", found=str(len(values)), bound=most)
        return values

    def flaw(
        self,
        problem: Literal["missing", "type", "low", "high", "value", "empty", "long"],
        name: str | int,
        wanted: Kind = "string",
        *,
        found: str = "",
        bound: float = 0,
        allowed: tuple[str, ...] = (),
    ) -> Refusal:
        """Return the refusal for a member, to be raised."""
        return self._wording(Flaw(problem, (*self.place, name), wanted, found, bound, allowed))

    def _typed(self, name: str, types: type | tuple[type, ...], wanted: Kind) -> Any:
        value = self.body.get(name)
        if value is None or (isinstance(value, types) and isinstance(value, bool) == (types is bool)):
            return value
        raise self.flaw("type", name, wanted, found=kind_of(value))

    def _items(self, name: str, item_type: type, wanted: Kind) -> list[Any]:
        values = self._typed(name, list, "array") or []
        for index, value in enumerate(values):
            if not isinstance(value, item_type):
                within = Fields(self.body, self._wording, (*self.place, name))
                raise within.flaw("type", index, wanted, found=kind_of(value))
        return list(values)

    def _check_bounds(self, name: str, kind: Kind, value: float | None, least: float, most: float) -> None:
        if value is None or least <= value <= most:
            return
        problem: Literal["low", "high"] = "low" if value < least else "high"
        bound = least if value < least else most
        raise self.flaw(problem, name, kind, found=str(value)[:MAX_SHOWN], bound=bound)
