"""The header fields of a response, taken apart when they are first looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Headers(Mapping[str, str]):
    """Header fields by name, case-insensitive; a name that came several times has its values joined by `, `.

    `head` is the head of a response that the parser has accepted, from its status line on, without the
    empty line at its end.
    """

    __slots__ = ("_fields",)

    def __init__(self, head: bytes = b"") -> None:
        self._fields: dict[str, tuple[str, list[str]]] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            written = name.decode("latin-1").strip()
            field = self._fields.setdefault(written.lower(), (written, []))
            field[1].append(value.decode("latin-1").strip(" \t"))

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._fields[name.lower()][1])

    def __iter__(self) -> Iterator[str]:
        return (written for written, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name` in the order of arrival: `Set-Cookie` must not be joined."""
        return list(self._fields[name.lower()][1]) if name.lower() in self._fields else []
